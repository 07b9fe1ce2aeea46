"""What is known of torch's functions: the window that slides, the size formula, and the multiplications."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from course_utils.tracing.sizes import size_formula

Shape = tuple[int, ...]

# The names of positional arguments, which torch's compiled functions do not tell
CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
MAX_POOLING = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
MEAN_POOLING = ("input", "kernel_size", "stride", "padding", "ceil_mode")
ARGUMENTS = {
    **{f"conv{n}d": CONVOLUTION for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": TRANSPOSED for n in (1, 2, 3)},
    **{f"max_pool{n}d": MAX_POOLING for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": MAX_POOLING for n in (1, 2, 3)},
    **{f"avg_pool{n}d": MEAN_POOLING for n in (1, 2, 3)},
    "linear": ("input", "weight", "bias"),
    "batch_norm": ("input", "running_mean"),
    "pad": ("input", "pad"),
    "matmul": ("input", "other"),
    "bmm": ("input", "other"),
    "mm": ("input", "other"),
}
FLATTENING = ("flatten", "view", "reshape")


@dataclass(frozen=True)
class Function:
    """One call of a torch function, seen while a model runs: its name, arguments by name, tensors in and out."""

    name: str
    arguments: Mapping[str, object]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()


def argument_names(name: str, args: tuple, kwargs: Mapping) -> dict[str, object]:
    """Return the arguments of a torch function by name, as far as the names are known."""
    return {**dict(zip(ARGUMENTS.get(name, ("input",)), args, strict=False)), **kwargs}


def tensors_in(value: object) -> list[Tensor]:
    """Return the tensors in a value: itself, or those in its lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, list | tuple) else []


def shapes_of(tensors: list[Tensor] | tuple[Tensor, ...]) -> tuple[Shape, ...]:
    """Return the shapes of some tensors."""
    return tuple(tuple(tensor.shape) for tensor in tensors)


def shape_text(shape: Shape) -> str:
    """Write a shape as people do: (64, 1, 28, 28)."""
    return f"({', '.join(map(str, shape))})" if len(shape) != 1 else f"({shape[0]},)"


def product_text(shape: Shape) -> str:
    """Write the product of some axes: 32·7·7."""
    return "·".join(map(str, shape))


def window(function: Function) -> dict | None:
    """Return the arguments for `conv_output_size` of a function that slides a window, or None."""
    known, name = function.arguments, function.name
    if not name.startswith(("conv", "max_pool", "avg_pool")) or name not in ARGUMENTS:
        return None
    axes = int(name.partition("d")[0][-1])
    pooling = "pool" in name
    kernel_size = known["kernel_size"] if pooling else tuple(known["weight"].shape[-axes:])
    stride = known.get("stride") or (kernel_size if pooling else 1)  # a pooling's stride may be None or ()
    return {
        "size": tuple(known["input"].shape[-axes:]),
        "kernel_size": per_axis(kernel_size, axes),
        "stride": per_axis(stride, axes),
        "padding": per_axis(known.get("padding", 0), axes),
        "dilation": per_axis(known.get("dilation", 1), axes),
        "ceil_mode": known.get("ceil_mode", False),
        "transposed": "transpose" in name,
        "output_padding": per_axis(known.get("output_padding", 0), axes),
    }


def per_axis(value: object, axes: int) -> object:
    """Return a value for each axis; torch takes one number, or a list of one, for all of them."""
    if isinstance(value, list | tuple):
        return tuple(value) * axes if len(value) == 1 else tuple(value)
    return value


def formula(function: Function) -> str:
    """Return how the output's size comes about, with the numbers put in, or "" where there is nothing to say."""
    before, after = tuple(function.inputs[0].shape), tuple(function.outputs[0].shape)
    if sliding := window(function):
        return size_formula(**sliding)
    if function.name == "linear":
        return f"{before[-1]} → {after[-1]}"
    if function.name in FLATTENING and len(after) == 2 and before[0] == after[0]:
        return f"{product_text(before[1:])} = {after[1]}"
    if function.name == "cat":
        axis = next((k for k, size in enumerate(after) if size != before[k]), 0)
        return f"{' + '.join(str(tensor.shape[axis]) for tensor in function.inputs)} = {after[axis]}"
    if "adaptive" in function.name:
        axes = int(function.name.rpartition("pool")[2][0])
        return f"any size → {product_text(after[-axes:])}"
    return ""


def multiply_adds(function: Function) -> int:
    """Return how many multiplications, each with an addition, a function needs; 0 where it only adds or compares.

    A convolution needs one for each output number and each weight of its filter; the others are products of matrices.
    """
    known, name = function.arguments, function.name
    if name.startswith("conv_transpose"):
        return function.inputs[0].numel() * math.prod(known["weight"].shape[1:])
    if name.startswith("conv") and name in ARGUMENTS:
        return function.outputs[0].numel() * math.prod(known["weight"].shape[1:])
    if name in ("linear", "matmul", "bmm", "mm", "__matmul__"):
        return function.outputs[0].numel() * function.inputs[0].shape[-1]
    if name == "scaled_dot_product_attention":
        query, key, value = function.inputs[:3]
        return query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    return 0
