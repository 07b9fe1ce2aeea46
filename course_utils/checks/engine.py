"""How an answer is judged: exercises, verdicts, hints. What is asked stands in one file a chapter beside this one."""

import copy
import difflib
import importlib
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from torch import Tensor

CHAPTERS = {
    "00": "start_here",
    "01": "first_network",
    "03": "mnist_dnn",
    "04": "convolution_arithmetic",
    "05": "lenet",
    "07": "batchnorm",
    "09": "data_augmentation",
    "11": "resnet",
}
PASSED, WRONG, NOT_ATTEMPTED = "passed", "not yet", "not attempted yet"


@dataclass(frozen=True)
class Verdict:
    """What `check` found: passed, not yet (with the reason), or not attempted yet."""

    name: str
    status: str
    message: str

    @property
    def passed(self) -> bool:
        return self.status == PASSED

    def __str__(self) -> str:
        return f"{SIGNS[self.status]} {self.name}: {self.status}. {self.message}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return (
            f"<div style='border-left: 4px solid {EDGES[self.status]}; padding: 0.2em 0.8em'>"
            f"<b>{SIGNS[self.status]} {escape(self.name)}: {self.status}.</b> {escape(self.message)}</div>"
        )


SIGNS = {PASSED: "✓", WRONG: "✗", NOT_ATTEMPTED: "…"}
EDGES = {PASSED: "#2a9d4a", WRONG: "#bd1f01", NOT_ATTEMPTED: "#94a4a2"}


@dataclass(frozen=True)
class Hint:
    """An exercise's hints, each folded until it is opened."""

    name: str
    hints: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"Hint {k} of {len(self.hints)}: {text}" for k, text in enumerate(self.hints, start=1))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(
            f"<details><summary>Hint {k} of {len(self.hints)}</summary><p>{escape(text)}</p></details>"
            for k, text in enumerate(self.hints, start=1)
        )


class NotAttempted(Exception):
    """The stub is untouched: there is nothing to judge yet."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: `judge` returns None for a right answer or the message to show; it raises NotAttempted."""

    judge: Callable[[object], str | None]
    praise: str
    hints: tuple[str, ...]


def check(name: str, answer: object) -> Verdict:
    """Judge an answer to the exercise `name`, for example check("01/parameter_count", 98), and say what is wrong.

    Never raises for a wrong answer, so a whole notebook can run. Raises ValueError for a name that does not exist.
    """
    exercise = find(name)
    try:
        if answer is ...:
            raise NotAttempted
        message = exercise.judge(answer)
    except NotAttempted:
        return Verdict(
            name, NOT_ATTEMPTED, "Replace the line with the dots (...) in the cell above, then run both cells."
        )
    return Verdict(name, PASSED, exercise.praise) if message is None else Verdict(name, WRONG, message)


def hint(name: str) -> Hint:
    """Return the hints of the exercise `name`, one after another. Raises ValueError for a name that does not exist."""
    return Hint(name, find(name).hints)


def find(name: str) -> Exercise:
    """Return the exercise "chapter/exercise". Raises ValueError, with the nearest names, when there is none."""
    chapter = str(name).split("/")[0]
    known = exercises(chapter) if chapter in CHAPTERS else {}
    if name not in known:
        everything = [exercise for number in CHAPTERS for exercise in exercises(number)]
        near = difflib.get_close_matches(str(name), everything, n=3, cutoff=0.3) or everything
        raise ValueError(f"there is no exercise {name!r}: did you mean {' or '.join(near)}?")
    return known[name]


def exercises(chapter: str) -> dict[str, Exercise]:
    """Return a chapter's exercises by name."""
    module = importlib.import_module(f"course_utils.checks.{CHAPTERS[chapter]}")
    return {f"{chapter}/{name}": exercise for name, exercise in module.EXERCISES.items()}


# ---------------------------------------------------------------------------------------------- kinds of exercises


@dataclass(frozen=True)
class Mistake:
    """A typical wrong way to write the answer and the message that names it.

    `wrong` takes the same arguments as the right answer. It may raise: then it matches an answer that raises alike.
    """

    message: str
    wrong: Callable


def function_exercise(
    reference: Callable,
    cases: Callable[[torch.Generator], Sequence[tuple]],
    mistakes: Sequence[Mistake],
    *,
    praise: str,
    hints: Sequence[str],
    run: Callable[[Callable, tuple], object] | None = None,
    otherwise: str = "",
) -> Exercise:
    """Return an exercise whose answer is a function, compared with `reference` on random `cases`.

    `run` calls an answer on a case, where that takes more than answer(*case): it may build a model and train it.
    `otherwise` is said of a mistake that is not known, in place of the first case that differs.
    """
    run = run or (lambda function, case: function(*case))

    def judge(answer: object) -> str | None:
        if not callable(answer):
            return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
        inputs = cases(torch.Generator().manual_seed(0))
        expected = outputs(run, reference, inputs)
        got = outputs(run, answer, inputs)
        if any(untouched(value) for value in got):
            raise NotAttempted
        if all(map(same, got, expected)):
            return None
        for mistake in mistakes:
            if all(map(same, got, outputs(run, mistake.wrong, inputs))):
                return mistake.message
        failed = any(isinstance(value, Raised) or value is None for value in got)
        return otherwise if otherwise and not failed else first_difference(inputs, got, expected)

    return Exercise(judge, praise, tuple(hints))


def value_exercise(
    expected: float, mistakes: Mapping[float, str], *, praise: str, hints: Sequence[str], tolerance: float = 1e-3
) -> Exercise:
    """Return an exercise whose answer is a number; `mistakes` maps typical wrong numbers to their messages."""

    def judge(answer: object) -> str | None:
        answer = answer.item() if isinstance(answer, Tensor) and answer.numel() == 1 else answer
        if answer is None:
            return "the answer is None: give a number"
        if isinstance(answer, bool) or not isinstance(answer, numbers.Real):
            return f"expected a number, got {answer!r}"
        close = {value: abs(answer - value) <= tolerance * max(1, abs(value)) for value in (expected, *mistakes)}
        if close[expected]:
            return None
        return next((text for value, text in mistakes.items() if close[value]), f"{answer:g} is not it; try hint(…)")

    return Exercise(judge, praise, tuple(hints))


def choice_exercise(right: str, wrong: Mapping[str, str], *, praise: str, hints: Sequence[str]) -> Exercise:
    """Return an exercise whose answer is one of a few letters; `wrong` maps the others to what speaks against them."""

    def judge(answer: object) -> str | None:
        letter = str(answer).strip().lower()
        if letter == right:
            return None
        letters = sorted([right, *wrong])
        return wrong.get(letter, f"expected one of {', '.join(map(repr, letters))}, got {answer!r}")

    return Exercise(judge, praise, tuple(hints))


# ------------------------------------------------------------------------------------------- comparing two answers


@dataclass(frozen=True)
class Raised:
    """An answer's function raised instead of returning."""

    kind: str
    text: str


def outputs(run: Callable[[Callable, tuple], object], function: Callable, inputs: Sequence[tuple]) -> list:
    """Run a function on copies of all cases; what it raises becomes a value."""
    return [attempt(run, function, copy.deepcopy(case)) for case in inputs]


def attempt(function: Callable, *arguments: object) -> object:
    """Return what a function returns, or what it raises as a value."""
    try:
        return function(*arguments)
    except Exception as error:
        return Raised(type(error).__name__, with_advice(str(error)))


ADVICE = {  # what torch says, and what to do about it
    "must match the size of tensor": "two shapes do not line up: print both. keepdim=True keeps an axis of 1; beside "
    "(B, C, H, W), .view(1, -1, 1, 1) places one number a channel and .view(-1, 1, 1, 1) one an image",
    "stack expects each tensor to be equal size": "the parts have different shapes: print them. For one "
    "image (C, H, W) rot90 and flip want their axes, (1, 2)",
    "leaf Variable": "write into weights inside torch.no_grad(), with copy_",
    "'NoneType'": "something here is None, for example the bias of a layer that has none",
}


def with_advice(text: str) -> str:
    """Return the message of an error and, for those that torch words for experts, what to do."""
    return "; ".join([text, *(advice for piece, advice in ADVICE.items() if piece in text)])


def untouched(value: object) -> bool:
    """Say whether a returned value still holds the stub's dots, however deep."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return value is ... or (isinstance(value, tuple | list) and any(map(untouched, value)))


def as_tensor(value: object) -> object:
    """Return an array, or lists of numbers in lists, as a tensor, and anything else as it is."""
    if not isinstance(value, np.ndarray | tuple | list):
        return value
    try:
        return torch.as_tensor(np.array(value, order="C"))
    except (TypeError, ValueError, RuntimeError):
        return value


def same(a: object, b: object) -> bool:
    """Compare two results: numbers up to float rounding, shapes and dtype kinds exactly, tuples in parts."""
    if isinstance(a, Raised) or isinstance(b, Raised):
        return isinstance(a, Raised) and isinstance(b, Raised) and a.kind == b.kind
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.is_floating_point() != b.is_floating_point():
            return False
        return torch.allclose(a.detach().double(), b.detach().double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    if is_number(a) and is_number(b):
        return same(torch.as_tensor(float(a)), torch.as_tensor(float(b)))
    return type(a) is type(b) and a == b


def is_number(value: object) -> bool:
    """Say whether a value is one number: Python's, NumPy's, or a tensor without axes."""
    return isinstance(value, numbers.Number) or (isinstance(value, Tensor) and value.dim() == 0)


def first_difference(inputs: Sequence[tuple], got: Sequence, expected: Sequence) -> str:
    """Describe the first case in which the answer differs."""
    case, mine, right = next(row for row in zip(inputs, got, expected, strict=True) if not same(*row[1:]))
    if isinstance(mine, Raised):
        return f"your function raised {mine.kind}: {mine.text} (for {describe_all(case)})"
    if mine is None:
        return "your function returned None: is the return missing?"
    return f"for {describe_all(case)} expected {describe(right)}, got {describe(mine)}"


def describe_all(values: Sequence) -> str:
    """Write a case's arguments in one line."""
    return ", ".join(describe(value) for value in values)


def describe(value: object) -> str:
    """Write a value in a few words: small ones whole, large tensors by shape and dtype."""
    if isinstance(value, Tensor):
        small = value.numel() <= 6
        kind = str(value.dtype).removeprefix("torch.")
        if small and value.is_floating_point() and value.dim() < 2:
            return describe(value.item()) if value.dim() == 0 else f"[{', '.join(map(describe, value.tolist()))}]"
        if small:
            return f"{value.tolist()}"
        begins = ", ".join(f"{number:.4g}" for number in value.detach().flatten()[:3].tolist())
        return f"a {kind} tensor of shape {tuple(value.shape)} that begins {begins}"
    if isinstance(value, tuple | list):
        inside = ", ".join(describe(part) for part in value[:4]) + (", …" if len(value) > 4 else "")
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    return f"{value:.5g}" if isinstance(value, float) else repr(value)
