"""Is my answer right? `check(name, answer)` says so and names typical mistakes; `hint(name)` helps a step further."""

from course_utils.checks.engine import check, hint

__all__ = ["check", "hint"]
