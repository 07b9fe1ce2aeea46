"""Why a forward pass failed: at which layer, what came, what the layer expects, and which number to change."""

import math
from collections.abc import Sequence

from torch import Tensor

from course_utils.tracing.functions import FLATTENING, Function, Shape, product_text, shape_text, window
from course_utils.tracing.recorder import OpenModule
from course_utils.tracing.sizes import size_formula


def explain(function: Function, inside: OpenModule, seen: Sequence, error: Exception) -> str:
    """Return in one sentence what does not fit in a function that raised `error`.

    `seen` are the calls before it (with `kind`, `inputs`, `outputs`), `inside` the innermost module.
    """
    who = name_of(function, inside)
    for look in (look_at_kinds, look_at_linear, look_at_convolution, look_at_window, look_at_norm, look_at_partners):
        if message := look(function, seen):
            return f"{who} {message}"
    came = " and ".join(shape_text(tuple(tensor.shape)) for tensor in function.inputs)
    if function.name in FLATTENING:
        numbers = math.prod(function.inputs[0].shape[1:])
        return f"{who} receives {came}, which is {numbers} numbers a sample, and cannot cut it so: {error}"
    return f"{who} receives {came} and fails: {error}"


def name_of(function: Function, inside: OpenModule) -> str:
    """Return the name a reader knows: linear "out", or add() in "block1"."""
    if inside.is_layer:
        return (
            f'{type(inside.module).__name__.lower()} "{inside.name}"' if inside.name else type(inside.module).__name__
        )
    return f'{function.name}() in "{inside.name}"' if inside.name else f"{function.name}() in the model's forward"


def look_at_kinds(function: Function, seen: Sequence) -> str | None:
    """Find inputs of another dtype or on another device than the weights."""
    x, *others = function.inputs
    other = next((t for t in others if t.is_floating_point()), None)
    if other is None:
        return None
    if x.device != other.device:
        return f"receives a tensor on {x.device}, but its weights are on {other.device}: x.to({other.device.type!r})"
    if x.dtype != other.dtype and {"weight", "other"} & function.arguments.keys():  # indices may be whole numbers
        how = "x.float()" if other.dtype.itemsize == 4 else f"x.to({other.dtype})"
        return f"receives numbers of {x.dtype}, but its weights are {other.dtype}: convert them with {how}"
    return None


def look_at_linear(function: Function, seen: Sequence) -> str | None:
    """Find a dense layer whose in_features differ from what comes."""
    if function.name != "linear" or function.inputs[0].dim() == 0:
        return None
    x, expected = function.inputs[0], function.arguments["weight"].shape[1]
    shape, came = tuple(x.shape), x.shape[-1]
    if came == expected:
        return None
    first = (seen[0].inputs[0] if seen and seen[0].inputs else ()) or shape  # what went into the model
    batch = first[0]
    message = f"expects {expected} features but receives"
    if any(call.kind.lower().startswith("conv2d") and len(call.inputs[0]) == 3 for call in seen):
        return (
            f"{message} {shape_text(shape)}, and a convolution before it no batch axis: pass (B, C, H, W), as x[None]"
        )
    features = math.prod(shape) // batch
    then = "" if features == expected else f", and set in_features={features}"
    if len(shape) == 1 < len(first) and came % batch == 0:
        keep = "keep the batch axis, flatten(start_dim=1) or nn.Flatten()"
        return f"{message} one row of {came}, the whole batch: {keep}{then}"
    after_convolution = any(call.kind.lower().startswith("conv") for call in seen)
    if len(shape) > 2 and shape[0] == batch and (after_convolution or features == expected):
        return f"{message} {shape_text(shape)}: flatten it before, {product_text(shape[1:])} = {features}{then}"
    if len(shape) == 2 and shape[0] != batch and math.prod(shape) % batch == 0:
        return (
            f"{message} {shape_text(shape)}, though there are {batch} samples of {features}{factors(features, seen)} "
            f"numbers: keep them apart with x.flatten(1){then}"
        )
    return f"{message} {came}{factors(came, seen)}: set in_features={came}"


def factors(features: int, seen: Sequence) -> str:
    """Return " = 16·7·7" when the last maps (B, C, H, W) before have that many numbers a sample, else nothing."""
    maps = next((shape for call in reversed(seen) for shape in call.outputs if len(shape) > 2), ())
    return f" = {product_text(maps[1:])}" if maps and math.prod(maps[1:]) == features else ""


def look_at_convolution(function: Function, seen: Sequence) -> str | None:
    """Find a convolution that gets too few axes or other channels than it expects."""
    if not function.name.startswith("conv"):
        return None
    x, weight = function.inputs[0], function.arguments["weight"]
    axes = weight.dim() - 2
    transposed = "transpose" in function.name
    expected = weight.shape[0] if transposed else weight.shape[1] * function.arguments.get("groups", 1)
    shape = tuple(x.shape)
    came = f"receives {shape_text(shape)}"
    if len(shape) not in (axes + 1, axes + 2):
        wanted = ", ".join(["B", "C", "D", "H", "W"][:2] + ["D", "H", "W"][3 - axes :])
        square = len(shape) == axes == 2 and shape[0] == shape[1]
        advice = "add the missing axes, as x[None, None]" if square else "is it flattened too early?"
        return f"{came}, but expects ({wanted}): {advice}"
    if shape[-axes - 1] == expected:
        return None
    if len(shape) == axes + 1 and expected == 1:
        return f"{came} and takes it for one image of {shape[0]} channels: add the channel axis, as x[:, None]"
    if shape[-1] == expected:
        return f"{came}: expects {expected} channels in the second axis, but they come last: x.permute(0, 3, 1, 2)"
    channels = shape[-axes - 1]
    return f"expects {expected} channels but receives {channels} in {shape_text(shape)}: set in_channels={channels}"


def look_at_window(function: Function, seen: Sequence) -> str | None:
    """Find a window that does not fit into the picture."""
    sliding = window(function)
    if sliding is None:
        return None
    try:
        size_formula(**sliding)
    except ValueError as error:
        came = shape_text(tuple(function.inputs[0].shape))
        return f"receives {came}: {error}, or keep more pixels in the layers before it"
    return None


def look_at_norm(function: Function, seen: Sequence) -> str | None:
    """Find a BatchNorm that was made for another number of channels."""
    mean = function.arguments.get("running_mean")
    if function.name != "batch_norm" or not isinstance(mean, Tensor) or function.inputs[0].dim() < 2:
        return None
    shape = tuple(function.inputs[0].shape)
    if shape[1] == len(mean):
        return None
    return f"expects {len(mean)} channels but receives {shape[1]} in {shape_text(shape)}: set num_features={shape[1]}"


def look_at_partners(function: Function, seen: Sequence) -> str | None:
    """Find two branches that are added or joined and do not fit together."""
    shapes = [tuple(tensor.shape) for tensor in function.inputs]
    name = function.name.strip("_")
    if name not in ("add", "iadd", "sub", "mul", "cat", "concat") or len(shapes) < 2:
        return None
    came = " and ".join(map(shape_text, shapes))
    axis = first_difference(shapes[0], shapes[1], skip=1 if name in ("cat", "concat") else None)
    where = f": axis {axis} is {shapes[0][axis]} in one and {shapes[1][axis]} in the other" if axis is not None else ""
    return f"cannot join {came}{where}; both branches need the same stride, padding and channels"


def first_difference(a: Shape, b: Shape, skip: int | None) -> int | None:
    """Return the first axis in which two shapes of equal length differ, leaving out one axis."""
    if len(a) != len(b):
        return None
    fits = (1,) if skip is None else ()  # a sum repeats an axis of size 1
    differ = (k for k, (m, n) in enumerate(zip(a, b, strict=True)) if m != n and m not in fits and n not in fits)
    return next((k for k in differ if k != skip), None)
