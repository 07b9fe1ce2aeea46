"""What is known of torch's functions: the window that slides, the size formula, and the multiplications."""

import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from course_utils.tracing.sizes import DEFAULTS, size_formula

Shape = tuple[int, ...]
# The names of positional arguments, which torch's compiled functions do not tell
ARGUMENTS = {
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "max_pool": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg_pool": ("input", "kernel_size", "stride", "padding", "ceil_mode"),
    "linear": ("input", "weight", "bias"),
    "batch_norm": ("input", "running_mean"),
    "pad": ("input", "pad"),
}
WINDOWS = ("conv", "conv_transpose", "max_pool", "avg_pool")
PRODUCTS = ("linear", "matmul", "bmm", "mm")
FLATTENING = ("flatten", "view", "reshape")


class Function:
    """One call of a torch function, seen while a model runs; `kind` is its name without what only varies it."""

    def __init__(self, name: str, args: tuple, kwargs: Mapping) -> None:
        self.name = name
        # conv2d is a conv over 2 axes, max_pool1d_with_indices a max_pool over 1, add_ and __add__ are an add
        self.kind, axes = re.fullmatch(r"_*(.*?)(?:(\d)d(?:_with_indices)?)?_*", name).groups()
        self.axes = int(axes or 0)
        self.arguments = {**dict(zip(ARGUMENTS.get(self.kind, ("input",)), args, strict=False)), **kwargs}
        self.inputs = tensors_in([args, kwargs])
        self.before = shapes_of(self.inputs)  # from before the call: some functions change their own input
        self.outputs: list[Tensor] = []
        self.after: tuple[Shape, ...] = ()


def tensors_in(value: object) -> list[Tensor]:
    """Return the tensors in a value: itself, or those in its lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, list | tuple) else []


def shapes_of(tensors: Iterable[Tensor]) -> tuple[Shape, ...]:
    """Return the shapes of some tensors."""
    return tuple(tuple(tensor.shape) for tensor in tensors)


def product_text(shape: Shape) -> str:
    """Write the product of some axes: 32·7·7."""
    return "·".join(map(str, shape))


def window(function: Function) -> dict:
    """Return the numbers of a window that slides, for `split_axes`."""
    known, axes = function.arguments, function.axes
    kernel_size = known.get("kernel_size") or known["weight"].shape[-axes:]
    stride = known.get("stride") or (kernel_size if "pool" in function.kind else 1)  # a pooling's may be None or ()
    others = {name: known.get(name, DEFAULTS[name]) for name in ("padding", "dilation", "output_padding")}
    return {"size": function.before[0][-axes:], "kernel_size": kernel_size, "stride": stride, **others}


def window_formula(function: Function) -> str:
    """Return the size formula of a window that slides, or nothing. Raises ValueError where it does not fit."""
    if function.kind not in WINDOWS:
        return ""
    rounding, transposed = function.arguments.get("ceil_mode", False), function.kind == "conv_transpose"
    return size_formula(**window(function), ceil_mode=rounding, transposed=transposed)


def formula(function: Function) -> str:
    """Return how the output's size comes about, with the numbers put in, or "" where there is nothing to say."""
    before, after, kind = function.before[0], function.after[0], function.kind
    if kind == "linear":
        return f"{before[-1]} → {after[-1]}"
    if kind in FLATTENING and len(after) == 2 and before[0] == after[0]:
        return f"{product_text(before[1:])} = {after[1]}"
    if kind == "cat":
        axis = next((k for k, size in enumerate(after) if size != before[k]), 0)
        return f"{' + '.join(str(shape[axis]) for shape in function.before)} = {after[axis]}"
    if "adaptive" in kind:
        return f"any size → {product_text(after[-function.axes :])}"
    return window_formula(function)


def multiply_adds(function: Function) -> int:
    """Return how many multiplications, each with an addition, a function needs; 0 where it only adds or compares.

    A convolution needs one for each output number and each weight of its filter; the others are products of matrices.
    """
    if function.kind in ("conv", "conv_transpose"):
        maps = function.after if function.kind == "conv" else function.before
        return math.prod(maps[0]) * math.prod(function.arguments["weight"].shape[1:])
    if function.kind in PRODUCTS:
        return math.prod(function.after[0]) * function.before[0][-1]
    if function.kind == "scaled_dot_product_attention":
        query, key, value = function.before[:3]
        return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return 0
