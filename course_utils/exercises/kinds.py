"""Exercises whose answer is a letter, a number, a table or a function."""

import copy
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from course_utils.exercises.comparing import (
    Raised,
    argument_names,
    as_tensor,
    attempt,
    describe,
    difference,
    named,
    same,
    untouched,
)
from course_utils.exercises.slips import Exercise, NotAttempted, Slip, edited, variants, written

# -------------------------------------------------------------------------------------------------- kinds: one answer


def choice(*, right: str, wrong: Mapping[str, str], praise: str) -> Exercise:
    """Return an exercise whose answer is one letter, or a set of letters; `wrong` maps letters to what to say of them.

    Of a set, a letter's message is shown where it is in the answer though it should not be, or the other way round.
    """
    letters = set(written(right).lower())

    def judge(answer: object) -> str | None:
        text = "".join(map(str, answer)) if isinstance(answer, list | tuple | set) else str(answer)
        given = {letter for letter in text.lower() if letter.isalnum()}
        if given == letters:
            return None
        known = sorted(letters | set(wrong))
        if not given or given - set(known) or (len(letters) == 1 and len(given) > 1):
            return f"expected {'one' if len(letters) == 1 else 'some'} of {', '.join(known)}, got {answer!r}"
        return next(text for letter, text in wrong.items() if letter in given ^ letters)

    return Exercise(judge, praise, right)


def value(*, right: str, slips: Sequence[Slip], praise: str, tolerance: float = 1e-9) -> Exercise:
    """Return an exercise whose answer is a number; a slip is an edit of the right line, or simply the wrong number."""

    def judge(answer: object) -> str | None:
        answer = answer.item() if isinstance(answer, Tensor) and answer.numel() == 1 else answer
        if answer is None:
            return "the answer is None: give a number"
        if isinstance(answer, bool) or not isinstance(answer, numbers.Real):
            return f"expected a number, got {describe(answer)}"
        if math.isclose(answer, written(right), rel_tol=tolerance):
            return None
        for message, *edits in slips:
            number = edits[0] if len(edits) == 1 else written(edited(right, edits))
            if math.isclose(answer, number, rel_tol=tolerance, abs_tol=1e-12):
                return message
        return f"{answer:g} is not it; the hints are folded under the exercise"

    return Exercise(judge, praise, right, slips)


def table(*, right: str, slips: Sequence[Slip], praise: str, otherwise: Callable | None = None) -> Exercise:
    """Return an exercise whose answer is a dict; the first entry that is wrong is named.

    A slip changes one entry. `otherwise(key, mine, right)` may say what is wrong with an entry that no slip makes.
    """

    def judge(answer: object) -> str | None:
        entries = written(right)
        if not isinstance(answer, Mapping):
            return f"expected a dict with the entries {', '.join(entries)}, got {type(answer).__name__}"
        for key, entry in entries.items():
            if key not in answer:
                return f"{key} is missing: the table has {', '.join(entries)}"
            numbers_alone = as_tensor(answer[key])
            is_row = isinstance(numbers_alone, Tensor) and numbers_alone.dim() == 1
            mine = tuple(numbers_alone.tolist()) if is_row else answer[key]
            found = [message for message, other in variants(right, slips, most=1) if same(mine, other[key])]
            if found and not found[0]:
                continue
            message = found[0] if found else otherwise(key, mine, entry) if otherwise else None
            return f"{key}: {message or f'{describe(mine)} is not it'}"
        return None

    return Exercise(judge, praise, right, slips)


# --------------------------------------------------------------------------------------------------- kinds: functions


def function(
    *,
    right: str,
    cases: Callable | Sequence[tuple],
    slips: Sequence[Slip],
    praise: str,
    laws: Sequence[Callable] = (),
    forbid: Sequence[str] = (),
    run: Callable | None = None,
    otherwise: str = "",
) -> Exercise:
    """Return an exercise whose answer is a function that must give what the right one gives.

    `cases` are tuples of arguments, or make them from a torch.Generator. `run(answer, *case)` calls an answer where
    that takes more than answer(*case). `laws` (answer, right, cases) → message | None are asked about right values;
    `forbid` names torch's functions that would do the work. `otherwise` is said of values that no slip gives.
    """
    run = run or call

    def judge(answer: object) -> str | None:
        if not callable(answer):
            return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
        inputs = cases(torch.Generator().manual_seed(0)) if callable(cases) else cases
        with Forbidden(forbid) as forbidden:
            got = list(ran(run, answer, inputs))
        if any(map(untouched, got)):
            raise NotAttempted
        if forbidden.called:
            return f"{forbidden.called} does this exercise's work: write it without"
        for message, other in variants(right, slips):
            if all(map(same, got, ran(run, other, inputs))):  # stops at the first case that differs
                return message or next(filter(None, (law(answer, written(right), inputs) for law in laws)), None)
        failed = any(isinstance(mine, Raised) for mine in got) or all(mine is None for mine in got)
        return otherwise if otherwise and not failed else first_difference(written(right), run, inputs, got)

    return Exercise(judge, praise, right, slips)


def ran(run: Callable, answer: Callable, inputs: Sequence[tuple]) -> Iterator:
    """Run an answer on copies of the cases, one after another; what it raises becomes a value."""
    return (attempt(run, answer, *copy.deepcopy(case)) for case in inputs)


def call(answer: Callable, *arguments: object) -> object:
    """Call an answer: how a function is run unless the exercise says otherwise."""
    return answer(*arguments)


class Forbidden(TorchFunctionMode):
    """Notes the first of torch's functions of these names that is called inside its block."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names, self.called = names, ""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in self.names:
            self.called = self.called or name
        return function(*args, **kwargs or {})


def keeps_its_inputs(answer: Callable, right: Callable, cases: Sequence[tuple]) -> str | None:
    """Law: no tensor that comes in is changed."""
    for case in cases:
        given = copy.deepcopy(case)
        attempt(answer, *given)
        for name, before, after in zip(argument_names(right), case, given, strict=False):
            if isinstance(before, Tensor) and not torch.equal(before, after):
                return (
                    f"the values are right, but {name} itself has changed: a = a − b makes a new tensor, a -= b and "
                    "methods with a final _ work in place"
                )
    return None


def same_gradients(*names: str) -> Callable:
    """Return the law that the first arguments, so called, get the gradients which the right answer gives them."""

    def gradients(function: Callable, case: tuple) -> tuple:
        inputs = [tensor.clone().requires_grad_() for tensor in case[: len(names)]]
        out = function(*inputs, *case[len(names) :])
        weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
        return torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True)

    def law(answer: Callable, right: Callable, cases: Sequence[tuple]) -> str | None:
        got = attempt(gradients, answer, cases[0])
        if isinstance(got, Raised):
            return f"the value is right, the gradient is not: it raised {got.kind}: {got.text}"
        for name, mine, theirs in zip(names, got, gradients(right, cases[0]), strict=True):
            if mine is None or not same(mine, theirs):
                return (
                    f"the value is right, the gradient with respect to {name} is not: no detach, .data, .item or "
                    "no_grad on its way"
                )
        return None

    return law


def first_difference(right: Callable, run: Callable, inputs: Sequence[tuple], got: Sequence) -> str:
    """Describe the first case in which the answer differs: its arguments by name, and the place."""
    if all(value is None for value in got):
        return "your function returned None: is the return missing?"
    names = argument_names(right) if run is call else argument_names(run)[1:]
    rows = zip(inputs, got, ran(run, right, inputs), strict=True)
    case, mine, expected = next(row for row in rows if not same(row[1], row[2]))
    return f"for {named(names, case)}: {difference(mine, expected)}"
