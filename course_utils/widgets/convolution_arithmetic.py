"""Chapter 04's controls: stepper, output size, receptive field, pooling."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.plotting import COLORS, new_figure
from course_utils.tracing import conv_output_size, size_formula
from course_utils.widgets.canvas import Explorer, choice, explore, slider, toggle
from course_utils.widgets.convolution_stepper import (
    Labels,
    PresetFields,
    add_boxes,
    boxes,
    preset_name,
    stepper_explorer,
)
from course_utils.widgets.pooling import pooling_explorer

__all__ = ["output_size_explorer", "pooling_explorer", "receptive_field_explorer", "stepper_explorer"]

# ------------------------------------------------------------------------------------------------------ output size


class OutputSizePicture:
    """A row of pixels with the first windows and the last one; below, the output size for every input size."""

    def __init__(self) -> None:
        self.figure, (row, curve) = new_figure(8, 4.4, rows=2, height_ratios=(1.1, 1))
        row.set(xlim=(-0.18, 1), ylim=(6.4, -1))
        row.set_title("the pixels (gray: padding; ×: never used) and the windows over them", loc="left", fontsize=11)
        row.axis("off")
        self.cells = add_boxes(row, edgecolor="white", linewidth=0.5)
        (self.missed,) = row.plot([], [], linestyle="", marker="x", color=COLORS[2], markersize=7, markeredgewidth=2)
        self.spans, self.taps = add_boxes(row, linewidth=0), add_boxes(row, zorder=3, edgecolor="white", linewidth=0.5)
        for k, name in enumerate(("window 1", "window 2", "window 3", "window 4", "last window")):
            row.text(-0.01, 1.9 + k, name, ha="right", va="center", fontsize=9)
        self.ends = [row.text(0, -0.4, "", ha="center", va="center", fontsize=9) for _ in range(2)]
        (self.sizes,) = curve.plot(
            [], [], marker="o", markersize=3, linewidth=0.8, color=COLORS[0], drawstyle="steps-mid"
        )
        (self.here,) = curve.plot([], [], marker="o", markersize=9, color=COLORS[6], linestyle="")
        curve.set(xlim=(0, 65), xlabel="input size H", ylabel="output size")
        curve.grid(color="0.9")
        self.curve = curve
        self.moving = [self.cells, self.missed, self.spans, self.taps, *self.ends, self.sizes, self.here, curve.yaxis]

    def update(
        self, size: float, kernel_size: float, stride: float, padding: float, dilation: float, ceil: bool
    ) -> str:
        """Draw the windows of these settings. Raises ValueError where torch would refuse."""
        size, kernel_size, stride, padding, dilation = map(int, (size, kernel_size, stride, padding, dilation))
        layer = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil}
        if ceil and padding > kernel_size // 2:
            raise ValueError(
                f"only poolings round up, and they refuse a padding of {padding} for a kernel of {kernel_size} pixels: "
                f"use at most half of it ({kernel_size // 2}), or turn ceil off"
            )
        output = conv_output_size(size, kernel_size, **layer)
        taps = stride * np.arange(output)[:, None] + dilation * np.arange(kernel_size) - padding  # (output, K)
        missed = np.setdiff1d(np.arange(size), taps)
        self.draw_row(size, padding, taps, missed)
        sizes = np.array([size_or_nan(h, kernel_size, layer) for h in range(1, 65)])
        self.sizes.set_data(range(1, 65), sizes)
        self.here.set_data([size], [output])
        self.curve.set_ylim(0, 1.1 * np.nanmax(sizes))
        same = np.flatnonzero(sizes == output) + 1
        plateau = f"Inputs from {same[0]} to {same[-1]} pixels all give this size" if len(same) > 1 else ""
        return (
            f"input H = {size}, kernel K = {kernel_size}, stride S = {stride}, padding P = {padding}, "
            f"dilation D = {dilation}, ceil = {'on' if ceil else 'off'}: output size "
            f"{size_formula(size, kernel_size, **layer)}. "
            f"{'No window reaches ' + ranges(missed + 1) if len(missed) else 'Every pixel is used'}. "
            f"{plateau or 'No other input up to 64 pixels gives this size'}."
        )

    def draw_row(self, size: int, padding: int, taps: np.ndarray, missed: np.ndarray) -> None:
        """Draw the pixels in one row, and below it each shown window: a thin span, a box for each pixel it takes."""
        end = max(size + padding, taps.max() + 1)  # rounding up, the last window may leave the padding
        unit = 1 / max(end + padding, 12)
        pixels = np.arange(-padding, end)
        self.cells.set_verts(boxes((pixels + padding) * unit, 0, unit, 1))
        inside, beyond = (pixels >= 0) & (pixels < size), pixels >= size + padding
        self.cells.set_facecolor(np.select([inside, beyond], [COLORS[0], "0.95"], "0.8").tolist())
        for text, pixel in zip(self.ends, (1, size), strict=True):
            text.set(text=pixel, x=(pixel + padding - 0.5) * unit)
        self.missed.set_data((missed + padding + 0.5) * unit, np.full(len(missed), 0.5))
        left = np.concatenate([taps[:4], taps[-1:]]) + padding  # (windows, K), counted from the padding's first pixel
        y = 1.9 + np.array([*range(len(left) - 1), 4])
        colors = [COLORS[1]] * (len(left) - 1) + [COLORS[4]]
        self.spans.set(verts=boxes(left[:, 0] * unit, y - 0.05, (np.ptp(left, axis=1) + 1) * unit, 0.1), color=colors)
        self.taps.set_verts(boxes(left.ravel() * unit, np.repeat(y - 0.35, left.shape[1]), unit, 0.7))
        self.taps.set_facecolor(np.repeat(colors, left.shape[1]).tolist())


def size_or_nan(size: int, kernel_size: int, layer: Mapping) -> float:
    """Return the output size, or nan where the kernel does not fit."""
    try:
        return conv_output_size(size, kernel_size, **layer)
    except ValueError:
        return np.nan


def ranges(numbers: Sequence[int], most: int = 5) -> str:
    """Write rising pixel numbers: "pixels 3–5, 9", at most `most` stretches and then the count."""
    breaks = [0, *(k + 1 for k, (a, b) in enumerate(pairwise(numbers)) if b != a + 1), len(numbers)]
    parts = [numbers[a:b] for a, b in pairwise(breaks)]
    words = [f"{part[0]}–{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts]
    more = f" … ({len(numbers)} in all)" if len(words) > most else ""
    return f"pixel{'s' * (len(numbers) > 1)} {', '.join(words[:most])}{more}"


def output_size_explorer() -> Explorer:
    """Return sliders for input, kernel, stride, padding and dilation, and a box to tick for rounding up."""
    return explore(
        OutputSizePicture(),
        size=slider("input H", 28, 1, 64, 1),
        kernel_size=slider("kernel K", 5, 1, 11, 1),
        stride=slider("stride S", 2, 1, 4, 1),
        padding=slider("padding P", 0, 0, 5, 1),
        dilation=slider("dilation D", 1, 1, 3, 1),
        ceil=toggle("ceil (round up, as poolings can)"),
    )


# -------------------------------------------------------------------------------------------------- receptive field

STACKS = {
    "two conv., two poolings": ("5p2 pool2 5p2 pool2",),
    "LeNet-5": ("5p2 pool2 5 pool2 5",),
    "two 3×3": ("3p1 3p1",),
    "three 3×3": ("3p1 3p1 3p1",),
    "two 3×3, the first with stride 2": ("3s2p1 3p1",),
    "like VGG": ("3p1 3p1 pool2 3p1 3p1 pool2",),
    "dilations 1, 2, 4": ("3p1 3p2d2 3p4d4",),
    "dilation 2 alone": ("3p2d2",),
}
WORD = re.compile(r"(pool)?(\d{1,2})((?:[sdp]\d{1,2})*)")
GRAMMAR = (
    "write one word a layer: the kernel size, then s for stride, d for dilation, p for padding, such as 3, 3s2, 3d2 "
    "or 5p2; pool2 is a 2×2 pooling with stride 2"
)


def parse_layers(text: str) -> list[dict[str, int]]:
    """Return kernel_size, stride, dilation and padding of each layer. Raises ValueError naming the unfit word."""
    words = text.split()
    if not 1 <= len(words) <= 6:
        raise ValueError(f"expected 1 to 6 layers, got {len(words)}: {GRAMMAR}")
    return [parse_word(word) for word in words]


def parse_word(word: str) -> dict[str, int]:
    """Return kernel_size, stride, dilation and padding of one layer."""
    match = WORD.fullmatch(word)
    options = re.findall(r"([sdp])(\d+)", match[3]) if match else []
    if match is None or len(dict(options)) < len(options):
        raise ValueError(f"{word[:20]!r} is not a layer: {GRAMMAR}")
    kernel_size, given = int(match[2]), {letter: int(digits) for letter, digits in options}
    layer = {
        "kernel_size": kernel_size,
        "stride": given.get("s", kernel_size if match[1] else 1),
        "dilation": given.get("d", 1),
        "padding": given.get("p", 0),
    }
    if max(layer.values()) > 15 or min(kernel_size, layer["stride"], layer["dilation"]) < 1:
        raise ValueError(f"{word!r} has a number that is too large or too small: use 1 to 15, for paddings 0 to 15")
    if match[1] and layer["padding"] > kernel_size // 2:
        raise ValueError(f"{word!r} pads by more than half of the window, which torch refuses for poolings")
    return layer


def fields_of(layers: Sequence[Mapping[str, int]]) -> list[tuple[int, int, int]]:
    """Return (size, jump, start) after each layer: unit k sees `size` pixels from pixel start + k·jump on.

    Source: the recurrence of Araujo, Norris & Sim, "Computing receptive fields of convolutional neural networks".
    """
    size, jump, start, fields = 1, 1, 0, []
    for layer in layers:
        size += layer["dilation"] * (layer["kernel_size"] - 1) * jump
        start -= layer["padding"] * jump
        jump *= layer["stride"]
        fields.append((size, jump, start))
    return fields


def map_sizes(shape: Sequence[int], words: Sequence[str], layers: Sequence[Mapping[str, int]]) -> list[tuple[int, int]]:
    """Return the size of the map after each layer. Raises ValueError naming the layer that does not fit."""
    sizes = [tuple(shape)]
    for word, layer in zip(words, layers, strict=True):
        try:
            sizes.append(conv_output_size(sizes[-1], **layer))
        except ValueError as error:
            raise ValueError(f"layer {len(sizes)}, {word}: {error}") from None
    return sizes[1:]


def pixels_that_reach(shape: Sequence[int], layers: Sequence[Mapping[str, int]], unit: tuple[int, int]) -> Tensor:
    """Return a bool map (H, W): which pixels have a gradient to one unit when every weight of every layer is 1.

    A pooling counts as a kernel of ones as well: any of its pixels can be the largest.
    """
    image = torch.ones(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    maps = image
    for layer in layers:
        ones = torch.ones(1, 1, layer["kernel_size"], layer["kernel_size"], dtype=torch.float64)
        maps = F.conv2d(maps, ones, stride=layer["stride"], padding=layer["padding"], dilation=layer["dilation"])
    (gradient,) = torch.autograd.grad(maps[0, 0, *unit], image)
    return gradient[0, 0] > 0


class ReceptiveFieldPicture:
    """An image with the fields, layer by layer, under one unit; beside it, how the field grows."""

    margin = 7  # pixels around the image, where fields may reach into the padding

    def __init__(self, image: Tensor) -> None:
        if image.dim() != 2 or not image.is_floating_point() or not ((image >= 0) & (image <= 1)).all():
            raise ValueError(
                f"expected a float image (H, W) with values in 0..1, got {tuple(image.shape)} {image.dtype}"
            )
        self.shape = tuple(image.shape)
        self.figure, (axes, chart) = new_figure(8, 3.9, columns=2, width_ratios=(1, 1))
        height, width = self.shape
        axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))
        axes.set(xlim=(-self.margin, width + self.margin), ylim=(height + self.margin, -self.margin), anchor="N")
        axes.set_title("what one unit sees (tinted: used pixels)", loc="left", fontsize=11)
        axes.axis("off")
        self.tint = axes.imshow(np.zeros((height, width, 4)), extent=(0, width, height, 0), zorder=2)
        self.whole = add_boxes(axes, zorder=3, facecolor="none", linestyle="--", linewidth=1.2)
        self.clipped = add_boxes(axes, zorder=4, facecolor="none", linewidth=2)
        chart.set(xlim=(-2, 5.4), ylim=(6, -0.2), aspect="equal", anchor="NW")
        chart.set_title("receptive field after each layer", loc="left", fontsize=11)
        chart.axis("off")
        self.bars = add_boxes(chart)
        self.words = Labels(chart, "black")
        self.moving = [self.tint, self.whole, self.clipped, self.bars, self.words]

    def update(self, layers: Sequence[str], after: int, row: float, column: float) -> str:
        """Draw what the unit (row, column), counted from 1, sees after so many of the layers."""
        words = layers[0].split()
        stack = parse_layers(layers[0])
        sizes = map_sizes(self.shape, words, stack)
        depth = min(after, len(stack))
        rows, columns = sizes[depth - 1]
        unit = min(int(row), rows) - 1, min(int(column), columns) - 1
        fields = fields_of(stack)
        used = pixels_that_reach(self.shape, stack[:depth], unit)
        self.draw_image(stack[:depth], sizes, fields, unit, used)
        self.draw_chart(words, fields, depth)
        notes = f" (there are only {len(stack)})" if after > len(stack) else ""
        cut = f" (this map ends at {rows}, {columns})" if row > rows or column > columns else ""
        return (
            f"layers = {preset_name(layers, STACKS)} ({' '.join(words)}), after layer = {after}{notes}, "
            f"row = {int(row)}, column = {int(column)}{cut}: {self.describe(fields[depth - 1], unit, used)}"
        )

    def describe(self, field: tuple[int, int, int], unit: tuple[int, int], used: Tensor) -> str:
        """Compare the formula's field, clipped at the image's edge, with the pixels that really reach the unit."""
        size, jump, start = field
        height, width = (
            end - begin
            for begin, end in (clip(start + k * jump, size, n) for k, n in zip(unit, self.shape, strict=True))
        )
        edge = "" if height == width == size else f", clipped at the image's edge {height} × {width} = {height * width}"
        count = int(used.sum())
        verdict = ", as the formula says"
        if count < height * width:
            # the pixels that count fill a grid of rows and columns: gaps in it are holes
            gaps = any((line.nonzero().diff(dim=0) > 1).any() for line in (used.any(dim=0), used.any(dim=1)))
            why = (
                "a dilation or stride leaves holes" if gaps else "only an inner layer's padding or cut edge meets them"
            )
            verdict = f"; {height * width - count} of the field do not: {why}"
        return (
            f"the unit sees {size} × {size} pixels = {size * size}{edge}; jump {jump} "
            f"(neighboring units look {jump} pixel{'s' * (jump > 1)} apart). "
            f"Poison test: {count} pixels, each made NaN alone, reach the unit{verdict}."
        )

    def draw_image(self, layers: list, sizes: list, fields: list, unit: tuple[int, int], used: Tensor) -> None:
        """Tint the used pixels; draw a box for the unit's field, and for that of the unit below it in each layer."""
        tint = np.zeros((*self.shape, 4))
        tint[used.numpy()] = (1, 0.66, 0.05, 0.45)
        self.tint.set_data(tint)
        whole, clipped, before = [], [], [self.shape, *sizes]
        for depth in reversed(range(len(layers))):
            size, jump, start = fields[depth]
            top, left = (start + k * jump for k in unit)
            (y0, y1), (x0, x1) = clip(top, size, self.shape[0]), clip(left, size, self.shape[1])
            whole.append((left, top, size, size))
            clipped.append((x0, y0, x1 - x0, y1 - y0))
            unit = [middle_unit(k, layers[depth], n) for k, n in zip(unit, before[depth], strict=True)]
        colors = COLORS[len(layers) - 1 :: -1]
        self.whole.set(verts=boxes(*np.array(whole).T), edgecolor=colors)
        self.clipped.set(verts=boxes(*np.array(clipped).T), edgecolor=colors)

    def draw_chart(self, words: Sequence[str], fields: list, depth: int) -> None:
        """Draw one bar a layer, pale after the chosen one, with size and jump written beside it."""
        widths = 3 * np.array([size for size, _, _ in fields]) / fields[-1][0]
        self.bars.set_verts(boxes(0, np.arange(len(fields)), widths, 0.7))
        self.bars.set_facecolor([(COLORS[k], 1 if k < depth else 0.25) for k in range(len(fields))])
        texts = [
            *(f"{k}: {word}" for k, word in enumerate(words, start=1)),
            *(f"{size} px, jump {jump}" for size, jump, _ in fields),
        ]
        x, y = np.repeat([-1, 4.3], len(fields)), np.tile(np.arange(len(fields)) + 0.35, 2)
        self.words.write(x, y, texts, size=0.24, width=2)


def middle_unit(unit: int, layer: Mapping[str, int], most: int) -> int:
    """Return the unit of the map before this layer under the middle of the kernel, one of `most`."""
    middle = unit * layer["stride"] - layer["padding"] + layer["dilation"] * ((layer["kernel_size"] - 1) // 2)
    return min(max(middle, 0), most - 1)


def clip(begin: int, size: int, most: int) -> tuple[int, int]:
    """Return begin and end of a stretch of pixels, cut to 0..most."""
    return min(max(begin, 0), most), min(max(begin + size, 0), most)


def receptive_field_explorer(image: Tensor) -> Explorer:
    """Return fields for a stack of layers and for one unit, over `image`, float (H, W) with values in 0..1."""
    picture = ReceptiveFieldPicture(image)
    height, width = picture.shape
    return explore(
        picture,
        layers=PresetFields("layers", STACKS, columns=1, width="20em"),
        after=choice("after layer", [1, 2, 3, 4, 5, 6], 4),
        row=slider("row", 4, 1, height, 1),
        column=slider("column", 4, 1, width, 1),
    )
