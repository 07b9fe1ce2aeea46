"""Every example in a docstring of the package is true."""

import doctest
import importlib
import pkgutil

import course_utils


def test_examples_in_docstrings():
    attempted = 0
    for module in pkgutil.walk_packages(course_utils.__path__, "course_utils."):
        if not module.name.endswith("__main__"):
            result = doctest.testmod(importlib.import_module(module.name), raise_on_error=False)
            assert result.failed == 0, f"{module.name}: run python -m doctest on it"
            attempted += result.attempted
    assert attempted > 0
