"""Which input pixels a unit can see: the receptive field, followed through a model layer by layer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from torch import Tensor, nn

from course_utils.tracing.functions import WINDOWS, Function, window
from course_utils.tracing.sizes import both_paddings, split_axes
from course_utils.tracing.tracer import OpenModule, Tracer

MIXES_ALL_POSITIONS = ("linear", "matmul", "bmm", "scaled_dot_product_attention")
REDUCES = ("mean", "sum", "max", "min", "amax", "amin", "std", "var", "norm", "logsumexp")  # over positions or channels


@dataclass(frozen=True)
class ReceptiveField:
    """What a unit sees, along each axis (height, width): how many pixels, how far its neighbor's field is moved, and
    the index of the first pixel that unit 0 sees, which is negative where the field begins in the padding."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: tuple[int, ...]
    units: tuple[int, ...]  # how many units there are along each axis
    layers: tuple[tuple[str, "ReceptiveField"], ...] = ()  # how it grew: after each layer that slides a window

    def pixels(self, unit: Sequence[int], image: Sequence[int]) -> tuple[slice, ...]:
        """Return the part of an image (height, width) that one unit (row, column) sees, cut at the image's edges.

        Raises ValueError for a unit that does not exist.
        """
        for name, numbers in (("unit", unit), ("image", image)):
            if len(numbers) != len(self.units):
                raise ValueError(f"expected one number an axis as {name}, {len(self.units)} in all, got {numbers}")
        slices = []
        for k, position in enumerate(unit):
            if not 0 <= position < self.units[k]:
                raise ValueError(f"expected a unit from 0 to {self.units[k] - 1}, got {position}")
            first = self.offset[k] + position * self.stride[k]
            slices.append(slice(max(0, first), max(0, min(first + self.size[k], image[k]))))
        return tuple(slices)

    def __str__(self) -> str:
        lines = [f"{name}: {field.line()}" for name, field in self.layers]
        return "\n".join([*lines, f"Each unit sees {self.line()}"])

    def line(self) -> str:
        """Return size, stride and offset in words."""
        return (
            f"{'×'.join(map(str, self.size))} pixels, jump {'×'.join(map(str, self.stride))}; "
            f"the first unit begins at pixel {', '.join(map(str, dict.fromkeys(self.offset)))}"
            f"{' (in the padding)' if min(self.offset, default=0) < 0 else ''}"
        )

    __repr__ = __str__


class Field(NamedTuple):
    """What a unit sees along one axis: unit k of `units` sees `size` pixels from pixel start + k·jump on."""

    size: int = 1
    jump: int = 1
    start: int = 0
    units: int = 1

    def slide(self, kernel_size: int, stride: int = 1, padding: int | str = 0, dilation: int = 1) -> "Field":
        """Return the field after a window (Araujo et al. 2019, doi:10.23915/distill.00021, equations 1 to 3)."""
        wide = dilation * (kernel_size - 1)
        before, _ = both_paddings(padding, wide + 1, stride)
        return Field(self.size + wide * self.jump, self.jump * stride, self.start - before * self.jump, self.units)


def receptive_fields(layers: Iterable[Mapping[str, int]]) -> list[tuple[int, int, int]]:
    """Return (size, jump, start) along one axis after each layer: unit k sees `size` pixels from start + k·jump on.

    A layer is {"kernel_size": 3}, with "stride", "padding" and "dilation" where they are not 1, 0 and 1.

    >>> receptive_fields([{"kernel_size": 5, "padding": 2}, {"kernel_size": 2, "stride": 2}])
    [(5, 1, -2), (6, 2, -2)]
    """
    field, fields = Field(), []
    for layer in layers:
        field = field.slide(**layer)
        fields.append(field[:3])
    return fields


def receptive_field(model: nn.Module, x: Tensor) -> ReceptiveField:
    """Return which pixels of `x` (B, C, H, W) a unit of the model's output can see.

    Where branches meet, the field covers all of them. A dense layer sees what all units before it see.
    Raises TypeError and ValueError as `trace_shapes` does, and ValueError for layers it cannot follow (up-sampling).
    """
    follower = Follower()
    output = follower.watch(model, x)
    if x.dim() < 3:
        raise ValueError(f"expected an input with pixels, (B, C, H, W) or (B, C, L), got shape {tuple(x.shape)}")
    fields = {id(x): [Field(units=size) for size in x.shape[2:]]}  # of every tensor that comes from the input
    layers = []
    for name, function in follower.functions:
        before = [fields[id(tensor)] for tensor in function.inputs if id(tensor) in fields]
        if not before:
            continue
        after = step(function, [joined(axis) for axis in zip(*before, strict=True)])
        fields.update({id(tensor): after for tensor in function.outputs})
        if any(a[:2] != b[:2] for a, b in zip(after, before[0], strict=True)):
            layers.append((name, ReceptiveField(*zip(*after, strict=True))))
    if id(output) not in fields:
        raise ValueError("the model's output does not come from the input by layers that can be followed")
    return ReceptiveField(*zip(*fields[id(output)], strict=True), tuple(layers))


class Follower(Tracer):
    """Keep every function that runs, and so its tensors: Python might give a new one the id of one that is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: list[tuple[str, Function]] = []

    def function_ends(self, function: Function, inside: OpenModule) -> None:
        super().function_ends(function, inside)
        self.functions.append((inside.name if inside.is_layer else f"{function.name}()", function))


def step(function: Function, fields: list[Field]) -> list[Field]:
    """Return the field along each axis after a function."""
    kind, shape, before = function.kind, function.after[0], tuple(field.units for field in fields)
    units, adaptive = shape[-len(fields) :], "adaptive" in function.kind
    same = units == before and len(shape) == len(fields) + 2
    if kind == "pad":  # its amounts come last axis first: (left, right, top, bottom)
        left = [*function.arguments["pad"][::2], 0, 0, 0][: len(fields)]
        windows = [(1, 1, amount) for amount in reversed(left)]
    elif kind in WINDOWS and kind != "conv_transpose":
        slides = itemgetter("kernel_size", "stride", "padding", "dilation")
        windows = [slides(axis) for axis in split_axes(**window(function))]
    elif adaptive or kind in MIXES_ALL_POSITIONS or (kind in REDUCES and not same):
        units = units if adaptive else (1,) * len(fields)
        uneven = [f"from {m} to {n}" for m, n in zip(before, units, strict=True) if m % n]
        if uneven:
            raise ValueError(f"receptive_field cannot follow an adaptive pooling {uneven[0]}: its windows differ")
        windows = [(m // n, m // n) for m, n in zip(before, units, strict=True)]
    elif kind != "conv_transpose" and (same or len(shape) < len(fields) + 2):  # each unit for itself, or flattened
        return fields
    else:
        raise ValueError(f"receptive_field cannot follow {function.name}() from {before} to {units} units")
    return [field.slide(*w)._replace(units=n) for field, w, n in zip(fields, windows, units, strict=True)]


def joined(fields: Sequence[Field]) -> Field:
    """Return the field that covers those of several branches along one axis."""
    widest = max(fields, key=lambda field: field.units)  # a map times one number a channel: the map's grid counts
    if len({field.jump for field in fields if field.units == widest.units > 1}) > 1:
        raise ValueError("receptive_field cannot follow branches that meet with different strides")
    # what was one number for the whole map does not move on with the units: cover it from each
    last = (widest.units - 1) * widest.jump
    start = min(field.start - last * (field.units == 1) for field in fields)
    end = max(field.start + field.size for field in fields)
    return Field(end - start, widest.jump, start, widest.units)
