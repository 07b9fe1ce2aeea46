"""Chapter 05's pictures: LeNet-5 drawn to scale, and a browser of what each layer makes of a digit."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn
from traitlets import dlink

from course_utils.controls import Control, add_boxes, choice, draw_logits, menu, set_up_logits
from course_utils.plotting import COLORS, new_figure
from course_utils.tracing import capture_activations, trace_shapes

CELL = 24  # a map in the mosaic has at least about so many pixels each way
WIDTH = 1.25  # of the place for the mosaic, which is 1 high
SHADES = colormaps["RdBu_r"].with_extremes(bad="0.7")  # white is 0; gray are the gaps


def outputs_of(model: nn.Module, images: Tensor, *layers: str) -> dict[str, Tensor]:
    """Return by name what layers put out for standardized images (B, 1, 28, 28), and as "" the logits (B, classes).

    The model may be on any device. Raises ValueError when the logits are no finite numbers.
    """
    device = next((parameter.device for parameter in model.parameters()), images.device)
    outputs = capture_activations(model, images.to(device), [*layers, ""])
    outputs = {name: output.cpu() for name, output in outputs.items()}
    if not outputs[""].isfinite().all():
        raise ValueError("the network's output holds nan or inf: its training has diverged, take one that has not")
    return outputs


def logits_without(model: nn.Module, images: Tensor, layer: str, remove: int) -> Tensor:
    """Return the logits (B, classes) of a network in which one map of a layer's output is 0."""

    def silence(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, remove] = 0
        return output

    handle = model.get_submodule(layer).register_forward_hook(silence)
    try:
        return outputs_of(model, images)[""]
    finally:
        handle.remove()


def layers_of(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Return, by name, the output shape without batch axis of each layer that gives maps (C, H, W) or a vector (n,).

    Layers are modules without children that are called once: a reused one has several outputs under one name.
    nn.Flatten is left out: it only rearranges the maps before it.
    """
    device = next((parameter.device for parameter in model.parameters()), images.device)
    calls = trace_shapes(model, images.to(device)).calls
    times = Counter(call.layer for call in calls)
    leaves = [name for name, module in model.named_modules() if name and not any(module.children())]
    return {
        call.layer: call.outputs[0][1:]
        for call in calls
        if call.layer in leaves and times[call.layer] == 1 and call.kind != "Flatten"
        if len(call.outputs) == 1 and len(call.outputs[0]) in (2, 4)
    }


def draw_activations(
    models: Mapping, digits: Sequence, *axes: Axes, digit: int, layer: str, network: str, remove: int | str
) -> str:
    """Draw a digit, the maps that a layer makes of it, and the logits with and without one of them.

    `digits` hold image, label, and the standardized image; `remove` is the number of a map, or "none".
    """
    model, (image, label, x) = models[network], digits[digit]
    outputs = outputs_of(model, x[None], layer)
    maps, before, after = outputs[layer][0], outputs[""][0].numpy(), None
    size = f"{len(maps)} numbers" if maps.dim() == 1 else "{} maps of {}×{}".format(*maps.shape)
    largest, where = maps.abs().max(), "in all of them"
    if remove != "none":
        after = logits_without(model, x[None], layer, remove)[0].numpy()
        largest, where = maps[remove].abs().max(), "in the removed one"
    axes[0].imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=255)
    draw_maps(axes[1], maps.view(len(maps), *(maps.shape[1:] or (1, 1))).numpy(), remove)  # a vector: maps of 1×1
    draw_logits(axes[2], before, after)
    return (
        f"the digit's label is {label}. The layer has {size} (largest |value| {where}: {largest:.3g}). "
        f"{change_text(before, after)}."
    )


def draw_maps(axes: Axes, maps: np.ndarray, remove: int | str) -> None:
    """Draw maps (C, H, W) as a mosaic, in shares of their largest |value|; frame the removed one, which is now 0."""
    maps = enlarged(maps / max(np.abs(maps).max(), 1e-12))
    _, height, width = maps.shape
    if remove != "none":
        maps[remove] = 0
    mosaic, corners = tile(maps)
    scale = min(1 / mosaic.shape[0], WIDTH / mosaic.shape[1])
    extent = (0, mosaic.shape[1] * scale, mosaic.shape[0] * scale, 0)
    axes.imshow(mosaic, cmap=SHADES, vmin=-1, vmax=1, interpolation="nearest", extent=extent)
    if remove != "none":
        place = np.multiply(corners[remove][::-1], scale)
        axes.add_artist(Rectangle(place, width * scale, height * scale, fill=False, color="black", linewidth=2))


def enlarged(maps: np.ndarray) -> np.ndarray:
    """Repeat the pixels of small maps (C, H, W), so that a gap between maps is narrow beside them."""
    times = max(1, CELL // max(maps.shape[1:]))
    return maps.repeat(times, axis=1).repeat(times, axis=2)


def tile(maps: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return maps (C, H, W) row by row as one picture with gaps of NaN, and each map's upper left (row, column)."""
    count, height, width = maps.shape
    gap = max(2, height // 12)
    columns = min(count, max(1, round(math.sqrt(count * WIDTH * height / width))))
    rows = math.ceil(count / columns)
    mosaic = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan, dtype=np.float32)
    corners = [(k // columns * (height + gap), k % columns * (width + gap)) for k in range(count)]
    for one, (row, column) in zip(maps, corners, strict=True):
        mosaic[row : row + height, column : column + width] = one
    return mosaic, corners


def change_text(before: np.ndarray, after: np.ndarray | None) -> str:
    """Say the answer by the logits (classes,), and how it changes when a map is removed."""

    def certainty(logits: np.ndarray) -> str:
        return f"logit {logits.max():.2f}, {1 / np.exp(logits - logits.max()).sum():.1%}"  # softmax of the largest

    if after is None:
        return f"The answer is {before.argmax()} ({certainty(before)})"
    if before.argmax() == after.argmax():
        return f"The answer stays {before.argmax()} ({certainty(before)}; without the map {certainty(after)})"
    return f"The answer changes from {before.argmax()} ({certainty(before)}) to {after.argmax()} ({certainty(after)})"


def activation_explorer(
    models: Mapping[str, nn.Module], images: Tensor, labels: Tensor, *, mean: float, std: float, layer: str = ""
) -> Control:
    """Return menus over digits, networks, layers and maps.

    `images` is uint8 (N, 1, 28, 28), `labels` int64 (N,): the first 100 are used. `models` are networks of one
    architecture by name; they get images standardized with `mean` and `std` (of pixels in 0..1) and return logits.
    `layer` is the one that is shown first, or else the model's first.
    Raises ValueError for images that do not fit and for networks that differ in their layers.
    """
    if not models:
        raise ValueError('there is no network: expected at least one, for example {"after training": model}')
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 1 or len(images) == 0:
        raise ValueError(f"expected uint8 images of shape (N, 1, 28, 28), got {images.dtype} {tuple(images.shape)}")
    if len(labels) != len(images):
        raise ValueError(f"expected one label an image, got {len(labels)} labels and {len(images)} images")
    images, labels = images[:100], labels[:100].tolist()
    inputs = (images.float() / 255 - mean) / std
    layers = shared_layers(models, inputs[:1])
    if layer and layer not in layers:
        raise ValueError(f"there is no layer {layer!r}: choose from {', '.join(layers)}")
    kinds = {name: type(next(iter(models.values())).get_submodule(name)).__name__ for name in layers}
    which = menu("layer", [(f"{name} ({kind})", name) for name, kind in kinds.items()], layer or next(iter(layers)))
    remove = menu("remove map", ["none"], "none")
    # made before the control, it acts before it; with new entries ipywidgets chooses the first
    dlink((which, "value"), (remove, "options"), lambda name: ["none", *range(layers[name][0])])
    return Control(
        partial(draw_activations, models, list(zip(images, labels, inputs, strict=True))),
        frames(torch.cat([outputs_of(model, inputs)[""] for model in models.values()]).numpy()),
        digit=choice("digit", list(range(len(images))), 0),
        layer=which,
        network=menu("network", list(models), list(models)[-1]),
        remove=remove,
    )


def shared_layers(models: Mapping[str, nn.Module], images: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the layers that can be shown; ValueError when there are none or the networks differ in them."""
    layers, *others = (layers_of(model, images) for model in models.values())
    names = " and ".join(f'"{name}"' for name in models)
    if any(other != layers for other in others):
        raise ValueError(
            f"the networks {names} have different layers: expected one architecture with different weights, for "
            "example before and after training"
        )
    if not layers:
        raise ValueError(f"the network {names} has no layer to show: expected nn.Modules that give (B, C, H, W)")
    return layers


def frames(logits: np.ndarray) -> list[Axes]:
    """Return empty axes for a digit, its maps with their color scale, and logits, framed by all that come (N, 10)."""
    figure, (left, middle, right) = new_figure(9, 3.2, columns=3, width_ratios=(0.8, 2.5, 1.7))
    left.set(xlim=(-0.5, 27.5), ylim=(27.5, -0.5), aspect="equal", title="the digit")
    middle.set(xlim=(0, WIDTH), ylim=(1, 0), aspect="equal", title="the layer's maps (frame: removed)")
    for axes in (left, middle):
        axes.axis("off")
    bar = figure.colorbar(ScalarMappable(Normalize(-1, 1), SHADES), ax=middle, shrink=0.8)
    bar.set_ticks([-1, 0, 1], labels=["−max", "0", "max"])
    set_up_logits(right, logits, title="logits (orange: map removed)")
    return [left, middle, right]


# ------------------------------------------------------------------------------------------------ a network to scale

GAP, STEP = 2, 13  # between maps of one layer, and between layers, in pixels of the maps


def network_diagram(layers: Mapping[str, tuple[int, ...]], windows: Mapping[str, int], *, title: str) -> Figure:
    """Draw every number that comes out of every layer to scale, as a square of the same size.

    `layers` are shapes from the input on, (C, H, W) or (n,). `windows` say for some of them how wide a window of the
    layer before makes one number, such as 5 for a 5 × 5 convolution: it is drawn in that layer's last map.
    """
    figure, axes = new_figure(8, 3.3, title=title)
    left, before = 0.0, None
    for name, shape in layers.items():
        corners, side = maps_of(shape)
        right, bottom = corners.max(axis=0) + side
        corners = np.add(corners, (left, -bottom / 2))
        style = {"facecolor": "0.93", "edgecolor": COLORS[0], "linewidth": 0.8 if side > 1 else 0.3}
        add_boxes(axes, corners[:, 0], corners[:, 1], side, side, **style)
        if name in windows:
            draw_window(axes, before, windows[name], corners[-1] + round(0.5 * (side - 1)))
        before = corners[-1], side
        total = [f"= {math.prod(shape):,}"] if len(shape) > 1 else []
        words = "\n".join([name, " × ".join(map(str, shape)), *total])
        axes.text(left + right / 2, 48, words, ha="center", va="top", fontsize=7)
        left += right + STEP
    axes.set(xlim=(-6, left - 2), ylim=(64, -46), aspect="equal")
    axes.axis("off")
    return figure


def maps_of(shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Return where a layer's maps stand, side by side, as corners (x, y) (C, 2), and how wide each is."""
    count, side = shape[0], 1 if len(shape) == 1 else shape[2]
    columns = math.ceil(count / 14) if side == 1 else math.floor(math.sqrt(count))
    pitch = side + GAP * (side > 1)
    return pitch * np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1), side


def draw_window(axes: Axes, before: tuple[np.ndarray, int], size: int, place: np.ndarray) -> None:
    """Frame `size` × `size` numbers of a map, (its corner, its side), and lead lines to the number at `place`."""
    corner = before[0] + min(round(0.2 * before[1]), before[1] - size)
    axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=COLORS[6], linewidth=1.2, zorder=3))
    axes.add_patch(Rectangle(place, 1, 1, color=COLORS[6], linewidth=0.5, zorder=3))
    for end in ((0, 0), (1, 0), (0, 1), (1, 1)):
        axes.plot(*zip(corner + np.multiply(end, size), place + end, strict=True), color=COLORS[6], linewidth=0.5)
