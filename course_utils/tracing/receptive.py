"""Which input pixels a unit can see: the receptive field, followed through a model layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from course_utils.tracing.functions import Function, Shape, per_axis, window
from course_utils.tracing.recorder import OpenModule, Recorder, check_model, recording
from course_utils.tracing.shapes import trace_shapes
from course_utils.tracing.sizes import padding_by_word

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
        for position, count in zip(unit, self.units, strict=True):
            if not 0 <= position < count:
                raise ValueError(f"expected a unit from 0 to {count - 1}, got {position}")
        firsts = [o + p * s for o, p, s in zip(self.offset, unit, self.stride, strict=True)]
        return tuple(
            slice(max(0, first), max(0, min(first + size, length)))
            for first, size, length in zip(firsts, self.size, image, strict=True)
        )

    def __str__(self) -> str:
        lines = [f"{name}: {field.line()}" for name, field in self.layers]
        return "\n".join([*lines, f"Each unit sees {self.line()}"])

    def line(self) -> str:
        """Return size, stride and offset in words."""
        return (
            f"{times(self.size)} pixels, jump {times(self.stride)}; "
            f"the first unit begins at pixel {', '.join(map(str, dict.fromkeys(self.offset)))}"
            f"{' (in the padding)' if min(self.offset, default=0) < 0 else ''}"
        )

    __repr__ = __str__


def times(numbers: Sequence[int]) -> str:
    """Write sizes along the axes: 5×5."""
    return "×".join(map(str, numbers))


def receptive_field(model: nn.Module, x: Tensor) -> ReceptiveField:
    """Return which pixels of `x` (B, C, H, W) a unit of the model's output can see.

    Follows size r, stride (jump) j and offset o through each layer with kernel K, stride S, padding P, dilation D:
    r + D·(K − 1)·j, j·S, o − P·j (Araujo et al. 2019, doi:10.23915/distill.00021, equations 1 to 3). Where branches
    meet, the field covers all of them. A dense layer sees what all units before it see.
    Raises TypeError and ValueError as `trace_shapes` does, and ValueError for layers it cannot follow (up-sampling).
    """
    check_model(model, (x,))
    if x.dim() < 3:
        raise ValueError(f"expected an input with pixels, (B, C, H, W) or (B, C, L), got shape {tuple(x.shape)}")
    follower = Follower(x)
    try:
        with recording(model, follower):
            output = model(x)
    except (RuntimeError, ValueError, IndexError, TypeError):
        trace_shapes(model, x)  # says in plain words what is wrong, if the model cannot run
        raise
    field = follower.fields.get(id(output))
    if field is None:
        raise ValueError("the model's output does not come from the input by layers that can be followed")
    return ReceptiveField(field.size, field.stride, field.offset, field.units, tuple(follower.layers))


class Follower(Recorder):
    """Keep the receptive field of every tensor that comes from the input."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        axes = x.dim() - 2
        one, zero = (1,) * axes, (0,) * axes
        self.axes = axes
        self.fields = {id(x): ReceptiveField(one, one, zero, tuple(x.shape[2:]))}
        self.alive = [x]  # else Python might give a new tensor an old one's id
        self.layers: list[tuple[str, ReceptiveField]] = []

    def function_ends(self, function: Function, inside: OpenModule) -> None:
        before = [self.fields[id(tensor)] for tensor in function.inputs if id(tensor) in self.fields]
        if not before:
            return
        after = self.step(function, joined(before))
        for tensor in function.outputs:
            self.fields[id(tensor)] = after
            self.alive.append(tensor)
        if after.size != before[0].size or after.stride != before[0].stride:
            self.layers.append((inside.name if inside.is_layer else f"{function.name}()", after))

    def step(self, function: Function, field: ReceptiveField) -> ReceptiveField:
        """Return the field after a function."""
        shape = tuple(function.outputs[0].shape)
        units = shape[-self.axes :]
        sliding = window(function)
        if function.name == "pad":
            return padded(field, function, units, self.axes)
        if sliding and not sliding["transposed"]:
            return slid(field, sliding, units)
        same = len(shape) == self.axes + 2 and units == field.units
        if (
            function.name in MIXES_ALL_POSITIONS
            or "adaptive" in function.name
            or (function.name in REDUCES and not same)
        ):
            after = units if "adaptive" in function.name else (1,) * self.axes
            return slid(field, adaptive(field.units, after), after)
        if not sliding and (len(shape) < self.axes + 2 or same):  # flattened, or each unit for itself
            return field
        raise ValueError(f"receptive_field cannot follow {function.name}() from {field.units} to {units} units")


def slid(field: ReceptiveField, sliding: dict, units: Shape) -> ReceptiveField:
    """Return the field after a window has been slid over the units."""
    axes = len(field.size)
    kernels, strides, dilations, paddings = (
        as_tuple(sliding[name], axes) for name in ("kernel_size", "stride", "dilation", "padding")
    )
    wides = [d * (k - 1) + 1 for k, d in zip(kernels, dilations, strict=True)]
    before = [
        p if isinstance(p, int) else padding_by_word(p, wide, 1)[0] for p, wide in zip(paddings, wides, strict=True)
    ]
    return ReceptiveField(
        tuple(r + (wide - 1) * j for r, wide, j in zip(field.size, wides, field.stride, strict=True)),
        tuple(j * s for j, s in zip(field.stride, strides, strict=True)),
        tuple(o - p * j for o, p, j in zip(field.offset, before, field.stride, strict=True)),
        units,
    )


def adaptive(before: Shape, after: Shape) -> dict:
    """Return the window with which an adaptive pooling goes from so many units to so many."""
    for m, n in zip(before, after, strict=True):
        if m % n:
            raise ValueError(f"receptive_field cannot follow an adaptive pooling from {m} to {n}: its windows differ")
    kernel = tuple(m // n for m, n in zip(before, after, strict=True))
    return {"kernel_size": kernel, "stride": kernel, "dilation": 1, "padding": 0}


def padded(field: ReceptiveField, function: Function, units: Shape, axes: int) -> ReceptiveField:
    """Return the field after F.pad, whose amounts come last axis first: (left, right, top, bottom)."""
    amounts = tuple(function.arguments["pad"])
    before = [amounts[2 * k] if 2 * k < len(amounts) else 0 for k in reversed(range(axes))]
    offset = tuple(o - p * j for o, p, j in zip(field.offset, before, field.stride, strict=True))
    return ReceptiveField(field.size, field.stride, offset, units)


def joined(fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """Return the field that covers those of several branches."""
    if len(fields) == 1:
        return fields[0]
    widest = max(fields, key=lambda field: field.units)  # a map times one number a channel: the map's grid counts
    firsts = []
    for field in fields:  # what was one number for the whole map does not move on with the units: cover it from each
        axes = zip(field.offset, field.units, widest.units, widest.stride, strict=True)
        firsts.append(tuple(o - (n - 1) * s if m == 1 else o for o, m, n, s in axes))
    first = tuple(map(min, zip(*firsts, strict=True)))
    ends = [tuple(o + r for o, r in zip(field.offset, field.size, strict=True)) for field in fields]
    size = tuple(max(end) - start for start, end in zip(first, zip(*ends, strict=True), strict=True))
    return ReceptiveField(size, widest.stride, first, widest.units)


def as_tuple(value: object, axes: int) -> tuple:
    """Return one value an axis."""
    value = per_axis(value, axes)
    return value if isinstance(value, tuple) else (value,) * axes
