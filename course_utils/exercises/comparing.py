"""Running answers, comparing what they return, and saying in words what is different."""

import inspect
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, allclose, isclose  # as they are now: an answer may put something else into torch


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
        if a.shape != b.shape or kind_of(a) != kind_of(b):
            return False
        return allclose(a.detach().double(), b.detach().double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    if is_number(a) and is_number(b):
        return same(torch.as_tensor(float(a)), torch.as_tensor(float(b)))
    return type(a) is type(b) and bool(a == b)


def kind_of(tensor: Tensor) -> tuple:
    """Return what two tensors must have in common before their numbers can be compared."""
    return tensor.is_floating_point(), tensor.is_complex(), tensor.layout, tensor.is_meta


def is_number(value: object) -> bool:
    """Say whether a value is one real number: Python's, NumPy's, or a tensor without axes."""
    if isinstance(value, Tensor):
        return value.dim() == 0 and not (value.is_complex() or value.is_meta)
    return isinstance(value, numbers.Real)


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
    both = isinstance(mine, Tensor) and isinstance(right, Tensor)
    if both and mine.dim() and mine.shape == right.shape and kind_of(mine) == kind_of(right):
        places = ~isclose(mine.double(), right.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
        if places.any():
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
        plain = value.layout == torch.strided and not value.is_meta
        if value.numel() > 6 or not plain:
            kind = "" if plain else "meta " if value.is_meta else f"{value.layout} "
            return f"{kind}{value.dtype} {tuple(value.shape)}".replace("torch.", "")
        return describe(value.item()) if value.dim() == 0 else f"tensor({describe(value.tolist())})"
    if isinstance(value, tuple | list):
        inside = ", ".join(map(describe, value[:6])) + (", …" if len(value) > 6 else "")
        return f"({inside}{',' * (len(value) == 1)})" if isinstance(value, tuple) else f"[{inside}]"
    if isinstance(value, float):
        return f"{value:.5g}"
    text = repr(value)
    return text if len(text) <= 60 else type(value).__name__
