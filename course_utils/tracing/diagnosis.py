"""Why a forward pass failed: at which layer, what came, what the layer expects, and which number to change."""

import math
from collections.abc import Sequence

from torch import Tensor

from course_utils.tracing.functions import FLATTENING, PRODUCTS, Function, Shape, product_text, window_formula


def explain(function: Function, seen: Sequence, error: Exception) -> str:
    """Return what does not fit in a function that raised `error`; `seen` are the calls before it."""
    looks = look_at_kinds, look_at_linear, look_at_convolution, look_at_window, look_at_norm, look_at_partners
    for look in looks:
        if message := look(function, seen):
            return message
    came = f"receives {' and '.join(map(str, function.before))}"
    if function.kind in FLATTENING:
        return f"{came}, which is {math.prod(function.before[0][1:])} numbers a sample, and cannot cut it so: {error}"
    return f"{came} and fails: {error}"


def look_at_kinds(function: Function, seen: Sequence) -> str | None:
    """Find inputs of another dtype or on another device than the weights."""
    x, *others = function.inputs
    other = next((t for t in others if t.is_floating_point()), x)
    if x.device != other.device:
        return f"receives a tensor on {x.device}, but its weights are on {other.device}: x.to({other.device.type!r})"
    weighted = "weight" in function.arguments or function.kind in PRODUCTS  # elsewhere indices may be whole numbers
    if x.dtype != other.dtype and weighted:
        how = "x.float()" if other.dtype.itemsize == 4 else f"x.to({other.dtype})"
        return f"receives numbers of {x.dtype}, but its weights are {other.dtype}: convert them with {how}"
    return None


def look_at_linear(function: Function, seen: Sequence) -> str | None:
    """Find a dense layer whose in_features differ from what comes."""
    shape = function.before[0]
    if function.kind != "linear" or not shape or shape[-1] == function.arguments["weight"].shape[1]:
        return None
    expected, came = function.arguments["weight"].shape[1], shape[-1]
    first = (seen[0].inputs[0] if seen and seen[0].inputs else ()) or shape  # what went into the model
    batch = first[0]
    features = math.prod(shape) // batch
    message = f"expects {expected} features but receives"
    then = "" if features == expected else f", and set in_features={features}"
    convolutions = [call for call in seen if call.kind.lower().startswith("conv")]
    if any(call.kind.lower().startswith("conv2d") and len(call.inputs[0]) == 3 for call in convolutions):
        return f"{message} {shape}, and a convolution before it no batch axis: pass (B, C, H, W), as x[None]"
    if len(shape) == 1 < len(first) and came % batch == 0:
        keep = "keep the batch axis, flatten(start_dim=1) or nn.Flatten()"
        return f"{message} one row of {came}, the whole batch: {keep}{then}"
    if len(shape) > 2 and shape[0] == batch and (convolutions or features == expected):
        return f"{message} {shape}: flatten it before, {product_text(shape[1:])} = {features}{then}"
    if len(shape) == 2 and shape[0] != batch and math.prod(shape) % batch == 0:
        there = f"though there are {batch} samples of {features}{factors(features, seen)} numbers"
        return f"{message} {shape}, {there}: keep them apart with x.flatten(1){then}"
    return f"{message} {came}{factors(came, seen)}: set in_features={came}"


def factors(features: int, seen: Sequence) -> str:
    """Return " = 16·7·7" when the last maps (B, C, H, W) before have that many numbers a sample, else nothing."""
    maps = next((shape for call in reversed(seen) for shape in call.outputs if len(shape) > 2), ())
    return f" = {product_text(maps[1:])}" if maps and math.prod(maps[1:]) == features else ""


def look_at_convolution(function: Function, seen: Sequence) -> str | None:
    """Find a convolution that gets too few axes or other channels than it expects."""
    if function.kind not in ("conv", "conv_transpose"):
        return None
    shape, weight = function.before[0], function.arguments["weight"]
    axes = weight.dim() - 2
    expected = weight.shape[1] * function.arguments.get("groups", 1) if function.kind == "conv" else weight.shape[0]
    if len(shape) not in (axes + 1, axes + 2):
        wanted = ", ".join(["B", "C", *["D", "H", "W"][3 - axes :]])
        square = len(shape) == axes == 2 and shape[0] == shape[1]
        advice = "add the missing axes, as x[None, None]" if square else "is it flattened too early?"
        return f"receives {shape}, but expects ({wanted}): {advice}"
    channels = shape[-axes - 1]
    if channels == expected:
        return None
    if len(shape) == axes + 1 and expected == 1:
        taken = f"takes it for one image of {channels} channels"
        return f"receives {shape} and {taken}: add the channel axis, as x[:, None]"
    if shape[-1] == expected:
        last = f"expects {expected} channels in the second axis, but they come last"
        return f"receives {shape}: {last}: x.permute(0, 3, 1, 2)"
    return f"expects {expected} channels but receives {channels} in {shape}: set in_channels={channels}"


def look_at_window(function: Function, seen: Sequence) -> str | None:
    """Find a window that does not fit into the picture."""
    try:
        window_formula(function)
    except ValueError as error:
        return f"receives {function.before[0]}: {error}, or keep more pixels in the layers before it"
    return None


def look_at_norm(function: Function, seen: Sequence) -> str | None:
    """Find a BatchNorm that was made for another number of channels."""
    mean, shape = function.arguments.get("running_mean"), function.before[0]
    if not isinstance(mean, Tensor) or len(shape) < 2 or shape[1] == len(mean):
        return None
    return f"expects {len(mean)} channels but receives {shape[1]} in {shape}: set num_features={shape[1]}"


def look_at_partners(function: Function, seen: Sequence) -> str | None:
    """Find two branches that are added or joined and do not fit together."""
    if function.kind not in ("add", "iadd", "sub", "mul", "cat", "concat") or len(function.before) < 2:
        return None
    a, b = function.before[:2]
    axis = first_difference(a, b, joined="cat" in function.kind) if len(a) == len(b) else None
    where = f": axis {axis} is {a[axis]} in one and {b[axis]} in the other" if axis is not None else ""
    came = " and ".join(map(str, function.before))
    return f"cannot join {came}{where}; both branches need the same stride, padding and channels"


def first_difference(a: Shape, b: Shape, joined: bool) -> int | None:
    """Return the first axis to blame: not the one along which maps are joined, nor one of size 1 that a sum repeats."""
    for axis, sizes in enumerate(zip(a, b, strict=True)):
        if sizes[0] != sizes[1] and (axis != 1 if joined else 1 not in sizes):
            return axis
    return None
