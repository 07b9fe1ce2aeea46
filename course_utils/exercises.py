"""`check`: is an answer right, and if not, which slip is in it?

What a chapter asks stands beside it, in notebooks/exercises/topic.py: each exercise holds its right answer as text (the
lines of the solution cell) and *slips*, typical mistakes written as edits of that text. An answer is compared with the
right one, then with each slip, then with pairs of slips; the first that gives the same names the mistake.
"""

import copy
import difflib
import importlib
import inspect
import itertools
import math
import numbers
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

PASSED, WRONG, NOT_ATTEMPTED = "passed", "not yet", "not attempted yet"
LOOKS = {PASSED: ("✓", "#2a9d4a"), WRONG: ("✗", "#bd1f01"), NOT_ATTEMPTED: ("…", "#94a4a2")}
UNTOUCHED = "Replace the line with the dots (...) in the cell above, then run both cells."

Slip = tuple  # what to say, then pairs: a piece of the right answer, and what stands in its place


@dataclass(frozen=True)
class Verdict:
    """What `check` found: passed, not yet (with the reason), or not attempted yet."""

    name: str
    status: str
    message: str

    @property
    def passed(self) -> bool:
        return self.status == PASSED

    def __repr__(self) -> str:
        return f"{LOOKS[self.status][0]} {self.name}: {self.status}. {self.message}"

    def _repr_html_(self) -> str:
        sign, color = LOOKS[self.status]
        return (
            f"<div style='border-left: 4px solid {color}; padding: 0.2em 0.8em; white-space: pre-line'>"
            f"<b>{sign} {escape(self.name)}: {self.status}.</b> {escape(self.message)}</div>"
        )


class NotAttempted(Exception):
    """The stub is untouched: there is nothing to judge yet."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: `judge` returns None for a right answer or the message to show; it raises NotAttempted."""

    judge: Callable[[object], str | None]
    praise: str
    right: str  # the lines of the solution cell, after its first, "# Solution"
    slips: Sequence[Slip] = ()


def check(name: str, answer: object) -> Verdict:
    """Judge an answer to the exercise `name`, for example check("01/parameter_count", 98), and say what is wrong.

    Never raises for a wrong answer, so a whole notebook can run; random states, gradient mode and default dtype stay as
    they are. Raises ValueError, with the nearest names, for a name that does not exist.
    """
    exercise = find(name)
    try:
        with undisturbed():
            if untouched(answer):
                raise NotAttempted
            message = exercise.judge(answer)
    except NotAttempted:
        return Verdict(name, NOT_ATTEMPTED, UNTOUCHED)
    except Exception as error:
        message = f"the answer cannot be compared: {type(error).__name__}: {error}"
    return Verdict(name, PASSED, exercise.praise) if message is None else Verdict(name, WRONG, message)


def find(name: str) -> Exercise:
    """Return the exercise "chapter/exercise". Raises ValueError, with the nearest names, when there is none."""
    known = exercises(str(name).split("/")[0])
    if name not in known:
        everything = known or {other: None for chapter in topics() for other in exercises(chapter)}
        near = difflib.get_close_matches(str(name), everything, n=3, cutoff=0.3) or everything
        raise ValueError(f"there is no exercise {name!r}: did you mean {' or '.join(near)}?")
    return known[name]


def exercises(chapter: str) -> dict[str, Exercise]:
    """Return a chapter's exercises by name: what its file defines; {} for a chapter without any."""
    topic = topics().get(chapter)
    defined = vars(importlib.import_module(f"exercises.{topic}")) if topic else {}
    return {f"{chapter}/{name}": exercise for name, exercise in defined.items() if isinstance(exercise, Exercise)}


def topics() -> dict[str, str]:
    """Return each chapter's topic by its number: {"07": "batchnorm", …}, from the files beside `exercises/`."""
    folder = Path(importlib.import_module("exercises").__file__).parent
    names = [path.stem for path in folder.parent.glob("[0-9][0-9]_*.ipynb")]
    return {name[:2]: name[3:] for name in sorted(names) if (folder / f"{name[3:]}.py").exists()}


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
            got = [attempt(run, answer, *copy.deepcopy(case)) for case in inputs]
        if any(map(untouched, got)):
            raise NotAttempted
        if forbidden.called:
            return f"{forbidden.called} does this exercise's work: write it without"
        for message, other in variants(right, slips):
            if all(
                same(mine, attempt(run, other, *copy.deepcopy(case))) for mine, case in zip(got, inputs, strict=True)
            ):
                return message or next(filter(None, (law(answer, written(right), inputs) for law in laws)), None)
        failed = any(isinstance(mine, Raised) for mine in got) or all(mine is None for mine in got)
        return otherwise if otherwise and not failed else first_difference(written(right), run, inputs, got)

    return Exercise(judge, praise, right, slips)


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


# ----------------------------------------------------------------------------------------------------- kinds: modules


def module(*, right: str, cases: Sequence[tuple], slips: Sequence[Slip], praise: str) -> Exercise:
    """Return an exercise whose answer is a class or function that makes modules.

    With the answer's own parameters, whatever their names and order, the right module must compute the same in training
    and eval mode. `cases` are pairs: the arguments it is called with, and the shape of an input.
    """

    def judge(answer: object) -> str | None:
        if isinstance(answer, nn.Module) or not callable(answer):
            return f"expected the class or function itself, got {type(answer).__name__}: pass its name without brackets"
        with torch.no_grad():
            return next(filter(None, (judge_module(answer, right, slips, *case) for case in cases)), None)

    return Exercise(judge, praise, right, slips)


def judge_module(answer: Callable, right: str, slips: Sequence[Slip], arguments: tuple, shape: tuple) -> str | None:
    """Make one module and look for the variant of the right answer that computes the same, or return None."""
    where = f"for {named(argument_names(written(right)), arguments)}: " if arguments else ""
    model, x = attempt(answer, *arguments), torch.randn(*shape)
    if untouched(model):
        raise NotAttempted
    if not isinstance(model, nn.Module):
        missing = ": is the return missing?" if model is None else ""
        raised = f"it raised {model.kind}: {model.text}" if isinstance(model, Raised) else ""
        return where + (raised or f"expected an nn.Module back, got {describe(model)}{missing}")
    first = attempt(model.cpu().float().eval(), x.clone())  # lazy layers learn their sizes here
    if untouched(first):
        raise NotAttempted
    if not isinstance(first, Raised):
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))  # fresh norms would all be alike
    got = list(results(model, x))
    if not same(got[-2], attempt(model, x.clone())):
        return f"{where}the same x gives another output each time: make layers once, in __init__, and without dropout"
    most = 1 if isinstance(got[0], Raised) or got[0] is None else 2
    for message, other in variants(right, slips, most):
        made = attempt(other, *arguments)
        twins = dressed(made, model) if isinstance(made, nn.Module) else ()
        if any(all(map(same, got, results(twin, x))) for twin in twins):
            return where + message if message else None
    return where + unlike(model, got[0], x, written(right)(*arguments))


def results(model: nn.Module, x: Tensor) -> Iterator:
    """Yield the output in training mode, which moves running statistics, then in eval mode; and x afterwards."""
    given = x.clone()
    out = attempt(model.train(), given)
    yield out
    if isinstance(out, Raised):  # then it matters which layer has which stride
        yield sorted(layer.extra_repr() for found in layers(model).values() for layer in found)
    yield attempt(model.eval(), x.clone())
    yield given


def dressed(twin: nn.Module, model: nn.Module) -> Iterator[nn.Module]:
    """Yield the twin with the model's parameters, in each order that shapes allow: the names of layers are free."""
    mine, its = layers(model), layers(twin)
    if {sizes: len(found) for sizes, found in mine.items()} != {sizes: len(found) for sizes, found in its.items()}:
        return
    for orders in itertools.product(*(itertools.permutations(mine[sizes]) for sizes in its)):
        copied = copy.deepcopy(twin)
        for sizes, order in zip(its, orders, strict=True):
            for target, layer in zip(layers(copied)[sizes], order, strict=True):
                for theirs, ours in zip(target.parameters(recurse=False), layer.parameters(recurse=False), strict=True):
                    theirs.copy_(ours.view_as(theirs))
        yield copied


def layers(model: nn.Module) -> dict[tuple, list[nn.Module]]:
    """Return the layers with parameters, by the sizes of these: a 5×5 from 16 to 120 is like a dense 400 → 120."""
    groups: dict[tuple, list[nn.Module]] = {}
    for layer in model.modules():
        sizes = tuple((len(p), p.numel()) for p in layer.parameters(recurse=False))
        if sizes:
            groups.setdefault(sizes, []).append(layer)
    return groups


def unlike(model: nn.Module, got: object, x: Tensor, right: nn.Module) -> str:
    """Say what is known of a module that equals no variant: it raised, its output's shape, its parameters."""
    expected, shape = right(x), tuple(x.shape)
    mine, its = (Counter({sizes: len(found) for sizes, found in layers(m).items()}) for m in (model, right))
    if isinstance(got, Raised):
        return f"the module raised {got.kind} for x of shape {shape}: {got.text}; trace_shapes shows where"
    if not isinstance(got, Tensor) or got.shape != expected.shape:
        return f"for x of shape {shape} {difference(got, expected)}; trace_shapes shows where"
    if mine == its:
        return "shapes and parameters are right, the numbers are not: compare the order of the steps line by line"
    if not mine:
        return "the module has no parameters: make its layers in __init__ (self.… = …), so that they can be trained"
    parts = [("missing", right, its - mine), ("too much", model, mine - its)]
    return "; ".join(f"{word}: {in_words(layers(of), counts)}" for word, of, counts in parts if counts)


def in_words(found: Mapping[tuple, list[nn.Module]], counts: Counter) -> str:
    """Name so many of these layers with their parameters: Conv2d with weight (6, 1, 5, 5) and bias (6,)."""
    chosen = [layer for sizes, count in counts.items() for layer in found[sizes][:count]]
    shapes = [" and ".join(f"{n} {tuple(p.shape)}" for n, p in m.named_parameters(recurse=False)) for m in chosen]
    return ", ".join(f"{type(layer).__name__} with {text}" for layer, text in zip(chosen, shapes, strict=True))


# ------------------------------------------------------------------------------------------------------- kinds: draws

CALLS, BATCH = 100, 20  # an answer is called so often, on so many images: 2000 draws


def draws(
    *,
    right: str,
    picture: Tensor,
    arguments: Sequence[tuple],
    slips: Sequence[Slip],
    praise: str,
    laws: Sequence[Callable] = (),
    otherwise: str = "image {k} comes out as no right answer makes it",
) -> Exercise:
    """Return an exercise whose answer changes each image of a batch at random, judged by how often what comes out.

    It gets multiples of one `picture` (C, H, W) of whole numbers, so outcomes of different images can be counted
    together; `arguments` are what follows the images, one tuple a case. An answer agrees with a variant when the same
    outcomes occur, as often, and the images of a batch depend on each other as much, up to what chance would do.
    `otherwise` is said of an image {k} that comes out as no right answer makes it.
    """

    def judge(answer: object) -> str | None:
        if not callable(answer):
            return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
        got = [outcomes(answer, picture, case) for case in arguments]
        for message, other in variants(right, slips):
            if all(alike(mine, outcomes(other, picture, case)) for mine, case in zip(got, arguments, strict=True)):
                small = [(multiples(picture, size), *case) for size in (3, 1) for case in arguments]
                return message or next(filter(None, (law(answer, written(right), small) for law in laws)), None)
        expected = [outcomes(written(right), picture, case) for case in arguments]
        k = next(k for k, pair in enumerate(zip(got, expected, strict=True)) if not alike(*pair))
        where = f"for {named(argument_names(written(right))[1:], arguments[k])}: " if arguments[k] else ""
        known = {kind for sample in expected for kind in sample.counts}
        return where + other_draws(got[k], expected[k], known, otherwise, picture)

    return Exercise(judge, praise, right, slips)


def multiples(picture: Tensor, count: int) -> Tensor:
    """Return the picture times 1, 2, …, count, as a batch (count, C, H, W)."""
    return picture * torch.arange(1, count + 1).view(-1, 1, 1, 1)


class Sample:
    """What became of a picture, as bytes, in each call and place of a batch."""

    def __init__(self, calls: list[list[bytes]]) -> None:
        self.calls = calls
        self.counts = Counter(itertools.chain.from_iterable(calls))
        self.together = {pair for call in calls for pair in itertools.product(set(call), repeat=2)}
        self.always_the_same = all(call == calls[0] for call in calls)

    def spread(self) -> float:
        """Return how much an outcome's number varies from call to call: 1 where each image has a draw of its own.

        Far above 1 the images of a batch share a draw; at 0 each call has the same number of each outcome.
        """
        calls, counts = [Counter(call) for call in self.calls], self.counts.items()
        squares = sum((call[kind] - n / CALLS) ** 2 / (n / CALLS) for kind, n in counts for call in calls)
        return squares / ((CALLS - 1) * max(1, len(counts) - 1))


def outcomes(answer: Callable, picture: Tensor, arguments: tuple) -> object:
    """Return the Sample of an answer, or what else came back."""
    images, calls = multiples(picture, BATCH), []
    for _ in range(CALLS):
        result = attempt(answer, images.clone(), *arguments)
        if untouched(result):
            raise NotAttempted
        if not isinstance(result, Tensor) or result.shape != images.shape or not result.is_floating_point():
            return describe(result) if isinstance(result, Tensor) else [result]
        found = (result.detach() / multiples(torch.ones_like(picture), BATCH)).round(decimals=2) + 0.0
        calls.append([image.tobytes() for image in found.numpy()])
    return Sample(calls)


def alike(a: object, b: object) -> bool:
    """Say whether two samples may come from the same way of drawing; chance fools this once in 10⁸ times."""
    if not isinstance(a, Sample) or not isinstance(b, Sample):
        return same(a, b)
    if a.always_the_same or b.always_the_same:
        return a.calls == b.calls
    if len(a.together & b.together) < 0.6 * len(a.together | b.together):
        return False
    kinds, free = a.counts | b.counts, len(a.counts | b.counts) - 1
    chi_squared = sum((a.counts[kind] - b.counts[kind]) ** 2 / (a.counts[kind] + b.counts[kind]) for kind in kinds)
    spreads = a.spread(), b.spread()
    as_tied = max(spreads) < 3 * min(spreads) + 0.2
    return as_tied and chi_squared / max(1, *spreads) < free + 8 * math.sqrt(2 * free) + 20


def other_draws(got: object, right: Sample, known: set[bytes], otherwise: str, picture: Tensor) -> str:
    """Say in which way outcomes differ from the right ones that no slip makes; `known` are right elsewhere."""
    if isinstance(got, str):
        return f"expected images of the same shape, {(BATCH, *picture.shape)}, got {got}"
    if not isinstance(got, Sample):
        several = isinstance(got[0], list | tuple)
        advice = f"expected one tensor of images, got a {type(got[0]).__name__}: torch.stack makes one of several"
        return advice if several else difference(got[0], multiples(picture, BATCH))
    strange = {kind: k for call in got.calls for k, kind in enumerate(call) if kind not in right.counts}
    if strange.keys() & known:
        return "some images come out in a way that is right only for other arguments"
    if strange:
        for part, size in (("channels", 4 * picture[0].numel()), ("pixels", 4)):
            if pieces(got, size) <= pieces(right, size):
                return f"the {part} of one image are mixed up: one draw an image, the same for its {part}"
        return otherwise.format(k=min(strange.values()))
    if got.always_the_same:
        return "each call makes the same draws: draw anew in each call, for each image, without a seed of your own"
    if all(len(set(call)) == 1 for call in got.calls):
        return "all images of a batch got the same draw: draw B numbers, one an image"
    if len(got.counts) < len(right.counts):
        return f"{len(right.counts) - len(got.counts)} of {len(right.counts)} outcomes never occur: all should"
    if got.spread() < 0.3:
        return "each call gives exactly the same number of each outcome: it is not drawn for each image alone"
    mine, its = (
        ", ".join(f"{sample.counts[kind] / CALLS / BATCH:.0%}" for kind, _ in got.counts.most_common(5))
        for sample in (got, right)
    )
    return f"each outcome is a right one, but not as often as it should be: in {mine}, of a right answer's in {its}"


def pieces(sample: Sample, size: int) -> set[tuple[int, bytes]]:
    """Return the parts of all outcomes, of `size` bytes each, with their places."""
    return {(k, kind[k : k + size]) for kind in sample.counts for k in range(0, len(kind), size)}


def moves_pixels(answer: Callable, right: Callable, cases: Sequence[tuple]) -> str | None:
    """Law: pixels keep their values and dtype, also as bytes, in gray, in a batch of one."""
    for images, *arguments in cases:
        for batch in (images, images.byte(), images[:, :1].byte()):
            result = attempt(answer, batch.clone(), *arguments)
            kind, shape = (str(batch.dtype).removeprefix("torch."), tuple(batch.shape))
            if not isinstance(result, Tensor) or result.shape != batch.shape:
                return f"for {kind} images of shape {shape}: {difference(result, batch)}"
            if result.dtype != batch.dtype:
                return f"{kind} images came back as {str(result.dtype).removeprefix('torch.')}: keep the dtype"
            if (result != result.round()).any():
                return "the values are interpolated: move the pixels themselves"
    return None


# ------------------------------------------------------------------------------------------ the right answer, and slips


def written(source: str) -> object:
    """Run a cell and return what it defines last."""
    names = {"torch": torch, "nn": nn, "F": F, "math": math, "copy": copy, "np": np, "partial": partial}
    exec(source, names)
    return list(names.values())[-1]


def edited(source: str, edits: Sequence[str]) -> str:
    """Return the source with each piece replaced by its successor, or "" where one does not occur any more."""
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        source = source.replace(old, new) if old in source else ""
    return source


def variants(right: str, slips: Sequence[Slip], most: int = 2) -> Iterator[tuple[str, Callable]]:
    """Yield (what to say, answer): the right one with nothing to say, then each slip alone, then `most` together."""
    for count in range(most + 1):
        for chosen in itertools.combinations(slips, count):
            source = right
            for slip in chosen:
                source = edited(source, slip[1:])
            with suppress(SyntaxError):  # of two slips that do not go together
                if source:
                    yield "; and ".join(dict.fromkeys(filter(None, (slip[0] for slip in chosen)))), written(source)


# ------------------------------------------------------------------------------------------------ running and comparing


@contextmanager
def undisturbed() -> Iterator[None]:
    """Seed all random states inside the block; afterwards these, gradient mode and default dtype are as before."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_grad_enabled(gradients)
            torch.set_default_dtype(dtype)


@dataclass(frozen=True)
class Raised:
    """An answer raised instead of returning."""

    kind: str
    text: str


ADVICE = {  # what torch says, and what to do about it
    "must match the size of tensor": "two shapes do not line up: print both. keepdim=True keeps an axis of 1",
    "stack expects each tensor to be equal size": "the parts have different shapes: print them",
    "leaf Variable": "write into weights inside torch.no_grad(), with copy_",
    "'NoneType'": "something here is None, for example the bias of a layer that has none",
}
IMAGE_ADVICE = {  # the same, where one of the arguments is a batch (B, C, H, W)
    "must match the size of tensor": "beside (B, C, H, W), .view(1, -1, 1, 1) places one number a channel and "
    ".view(-1, 1, 1, 1) one an image",
    "stack expects each tensor to be equal size": "for one image (C, H, W) rot90 and flip want their axes, (1, 2)",
}


def attempt(function: Callable, *arguments: object) -> object:
    """Return what a function returns, or what it raises as a value."""
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        images = any(isinstance(argument, Tensor) and argument.dim() == 4 for argument in arguments)
        known = [*ADVICE.items(), *(IMAGE_ADVICE.items() if images else ())]
        advice = [text for piece, text in known if piece in str(error)]
        return Raised(type(error).__name__, "; ".join([str(error), *advice]))


def untouched(value: object) -> bool:
    """Say whether a value still holds the stub's dots, however deep."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return value is ... or (isinstance(value, tuple | list) and any(map(untouched, value)))


def same(a: object, b: object) -> bool:
    """Compare two results: numbers up to float rounding, shapes and kinds of dtypes exactly, tuples in parts.

    Two errors are the same when they are of one kind and name the same numbers (sizes).
    """
    if isinstance(a, Raised) or isinstance(b, Raised):
        sizes = [sorted(re.findall(r"\d+", error.text)) for error in (a, b) if isinstance(error, Raised)]
        return len(sizes) == 2 and a.kind == b.kind and sizes[0] == sizes[1]
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.is_floating_point() != b.is_floating_point():
            return False
        return torch.allclose(a.detach().double(), b.detach().double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    if is_number(a) and is_number(b):
        return same(torch.as_tensor(float(a)), torch.as_tensor(float(b)))
    return type(a) is type(b) and bool(a == b)


def is_number(value: object) -> bool:
    """Say whether a value is one number: Python's, NumPy's, or a tensor without axes."""
    return isinstance(value, numbers.Number) or (isinstance(value, Tensor) and value.dim() == 0)


# ------------------------------------------------------------------------------------------- saying what is different


def first_difference(right: Callable, run: Callable, inputs: Sequence[tuple], got: Sequence) -> str:
    """Describe the first case in which the answer differs: its arguments by name, and the place."""
    names = argument_names(right) if run is call else argument_names(run)[1:]
    for case, mine in zip(inputs, got, strict=True):
        expected = attempt(run, right, *copy.deepcopy(case))
        if not same(mine, expected):
            break
    if all(value is None for value in got):
        return "your function returned None: is the return missing?"
    return f"for {named(names, case)}: {difference(mine, expected)}"


def difference(mine: object, right: object) -> str:
    """Say what came, what was expected, and in which place they first differ."""
    if isinstance(mine, Raised):
        return f"your function raised {mine.kind}: {mine.text}"
    numbers_alone = as_tensor(mine)
    is_other = isinstance(right, Tensor) and not isinstance(mine, Tensor) and isinstance(numbers_alone, Tensor)
    if is_other and same(numbers_alone.to(right.dtype), right):
        return f"the numbers are right, but they come as {type(mine).__name__}: return a tensor"
    if isinstance(mine, tuple | list) and isinstance(right, tuple | list) and len(mine) == len(right):
        k = next(k for k, pair in enumerate(zip(mine, right, strict=True)) if not same(*pair))
        return f"part {k + 1} of {len(right)}: {difference(mine[k], right[k])}"
    if isinstance(mine, Tensor) and isinstance(right, Tensor) and mine.dim() and mine.shape == right.shape:
        places = ~torch.isclose(mine.double(), right.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
        if mine.is_floating_point() == right.is_floating_point() and places.any():
            place = tuple(places.nonzero()[0].tolist())
            return (
                f"the shape {tuple(right.shape)} is right; at {list(place)} expected {describe(right[place])}, got "
                f"{describe(mine[place])} ({places.float().mean():.0%} of the numbers differ)"
            )
    missing = ": is the return missing?" if mine is None else ""
    return f"expected {describe(right)}, got {describe(mine)}{missing}"


def as_tensor(value: object) -> object:
    """Return an array, a number, or lists of numbers in lists, as a tensor, and anything else as it is."""
    try:
        return torch.as_tensor(np.array(value, order="C")) if isinstance(value, np.ndarray | tuple | list) else value
    except (TypeError, ValueError, RuntimeError):
        return value


def argument_names(function: Callable) -> list[str]:
    """Return the names of a function's arguments."""
    return list(inspect.signature(function).parameters)


def named(names: Sequence[str], values: Sequence) -> str:
    """Write arguments with their names in one line."""
    return ", ".join(f"{name} = {describe(value)}" for name, value in zip(names, values, strict=False))


def describe(value: object) -> str:
    """Write a value in a few words: small ones whole, large tensors by dtype and shape."""
    if isinstance(value, Tensor):
        if value.numel() > 6:
            return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        return describe(value.item()) if value.dim() == 0 else f"tensor({describe(value.tolist())})"
    if isinstance(value, tuple | list):
        inside = ", ".join(map(describe, value[:6])) + (", …" if len(value) > 6 else "")
        return f"({inside}{',' * (len(value) == 1)})" if isinstance(value, tuple) else f"[{inside}]"
    if isinstance(value, float):
        return f"{value:.5g}"
    text = repr(value)
    return text if len(text) <= 60 else type(value).__name__
