"""What an exercise is: a right answer as text, and slips, typical mistakes written as edits of that text."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

Slip = tuple  # what to say, then pairs: a piece of the right answer, and what stands in its place


class NotAttempted(Exception):
    """The stub is untouched: there is nothing to judge yet."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: `judge` returns None for a right answer or the message to show; it raises NotAttempted."""

    judge: Callable[[object], str | None]
    praise: str
    right: str  # the lines of the solution cell, after its first, "# Solution"
    slips: Sequence[Slip] = ()


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
