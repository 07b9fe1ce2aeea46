"""Exercises whose answer draws at random: judged by what comes out how often."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_utils.exercises.comparing import argument_names, attempt, describe, difference, named, same, untouched
from course_utils.exercises.slips import Exercise, NotAttempted, Slip, variants, written

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
