"""Chapter 04's further controls: output size, receptive field, and pooling of a map that can be shifted."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from controls.convolution_stepper import PresetFields, listed, number, windows
from course_utils.controls import Control, add_boxes, choice, slider, text_writer, toggle
from course_utils.plotting import COLORS, new_figure
from course_utils.tracing import conv_output_size, receptive_fields, size_formula

# ------------------------------------------------------------------------------------------------------- output size


def draw_sizes(row: Axes, curve: Axes, *, size: int, ceil_mode: bool, **layer: int) -> str:
    """Draw a layer's windows over a row of pixels; below, the output size for every input size."""
    kernel_size, padding = layer["kernel_size"], layer["padding"]
    if ceil_mode and padding > kernel_size // 2:
        raise ValueError(
            f"only poolings round up, and they refuse a padding of {padding} for a kernel of {kernel_size} pixels: "
            f"use at most half of it ({kernel_size // 2}), or turn ceil off"
        )
    formula = size_formula(size, **layer, ceil_mode=ceil_mode)
    sizes = np.array([size_or_nan(one, **layer, ceil_mode=ceil_mode) for one in range(1, 65)])
    output = sizes[size - 1]
    taken = windows(np.arange(output, dtype=int), **layer)  # (output, K)
    missed = np.setdiff1d(np.arange(size), taken)
    draw_windows(row, size, padding, taken, missed)
    curve.plot(range(1, 65), sizes, "o-", markersize=3, linewidth=0.8, color=COLORS[0], drawstyle="steps-mid")
    curve.plot(size, output, "o", markersize=9, color=COLORS[6])
    curve.set_ylim(0, 1.1 * np.nanmax(sizes))
    used = f"No window reaches {listed('pixel', missed + 1)}" if len(missed) else "Every pixel is used"
    same = np.flatnonzero(sizes == output) + 1
    alone = "No other input up to 64 pixels gives this size"
    plateau = f"Inputs from {same[0]} to {same[-1]} pixels all give this size" if len(same) > 1 else alone
    return f"output size {formula}. {used}. {plateau}."


def size_or_nan(size: int, **layer: int) -> float:
    """Return the output size, or nan where the kernel does not fit."""
    try:
        return conv_output_size(size, **layer)
    except ValueError:
        return np.nan


def draw_windows(axes: Axes, size: int, padding: int, taken: np.ndarray, missed: np.ndarray) -> None:
    """Draw the pixels in a row; below it the first four windows and the last: a span, and a box for each pixel."""
    end = max(size + padding, taken.max() + 1)  # rounding up, the last window may leave the padding
    pixels, unit = np.arange(-padding, end), 1 / max(end + padding, 12)
    colors = np.select([pixels < 0, pixels < size, pixels < size + padding], ["0.8", COLORS[0], "0.8"], "0.95")
    white = {"edgecolor": "white", "linewidth": 0.5}
    add_boxes(axes, (pixels + padding) * unit, 0, unit, 1, facecolor=colors, **white)
    axes.plot((missed + padding + 0.5) * unit, 0 * missed + 0.5, "x", color=COLORS[2], markersize=7, markeredgewidth=2)
    for pixel in (1, size):
        axes.text((pixel + padding - 0.5) * unit, -0.4, pixel, ha="center", va="center", fontsize=9)
    left = (np.concatenate([taken[:4], taken[-1:]]) + padding) * unit
    y, colors = np.array([*range(len(left) - 1), 4]) + 1.9, [COLORS[1]] * (len(left) - 1) + [COLORS[4]]
    add_boxes(axes, left[:, 0], y - 0.05, np.ptp(left, axis=1) + unit, 0.1, facecolor=colors, linewidth=0)
    count = left.shape[1]
    add_boxes(axes, left.ravel(), y.repeat(count) - 0.35, unit, 0.7, facecolor=np.repeat(colors, count), **white)


def output_size_explorer() -> Control:
    """Return sliders for input, kernel, stride, padding and dilation, and a box to tick for rounding up."""
    _, (row, curve) = new_figure(8, 4.4, rows=2, height_ratios=(1.1, 1))
    row.set(xlim=(-0.18, 1), ylim=(6.4, -1))
    row.set_title("the pixels (gray: padding; ×: never used) and the windows over them", loc="left", fontsize=11)
    row.axis("off")
    for k, name in enumerate(("window 1", "window 2", "window 3", "window 4", "last window")):
        row.text(-0.01, 1.9 + k, name, ha="right", va="center", fontsize=9)
    curve.set(xlim=(0, 65), ylim=(0, 15), xlabel="input size H", ylabel="output size")
    curve.grid(color="0.9")
    curve.yaxis.set_animated(True)  # its numbers change
    return Control(
        draw_sizes,
        (row, curve),
        size=slider("input H", 28, 1, 64, 1),
        kernel_size=slider("kernel K", 5, 1, 11, 1),
        stride=slider("stride S", 2, 1, 4, 1),
        padding=slider("padding P", 0, 0, 5, 1),
        dilation=slider("dilation D", 1, 1, 3, 1),
        ceil_mode=toggle("ceil (round up, as poolings can)"),
    )


# --------------------------------------------------------------------------------------------------- receptive field

Layer = Mapping[str, int]  # kernel_size, stride, padding, dilation
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
GRAMMAR = (
    "write one word a layer: the kernel size, then s for stride, d for dilation, p for padding, such as 3, 3s2, 3d2 "
    "or 5p2; pool2 is a 2×2 pooling with stride 2"
)


def parse_layer(word: str) -> Layer:
    """Return what a word such as 3s2p1 or pool2 says. Raises ValueError naming an unfit word."""
    match = re.fullmatch(r"(pool)?(\d{1,2})((?:[sdp]\d{1,2})*)", word)
    options = re.findall(r"([sdp])(\d+)", match[3]) if match else []
    given = {letter: int(digits) for letter, digits in options}
    if match is None or len(given) < len(options):
        raise ValueError(f"{word[:20]!r} is not a layer: {GRAMMAR}")
    size, padding, dilation = int(match[2]), given.get("p", 0), given.get("d", 1)
    stride = given.get("s", size if match[1] else 1)
    if max(size, stride, padding, dilation) > 15 or min(size, stride, dilation) < 1:
        raise ValueError(f"{word!r} has a number that is too large or too small: use 1 to 15, for paddings 0 to 15")
    if match[1] and padding > size // 2:
        raise ValueError(f"{word!r} pads by more than half of the window, which torch refuses for poolings")
    return {"kernel_size": size, "stride": stride, "padding": padding, "dilation": dilation}


def parse_layers(words: Sequence[str], shape: tuple[int, int]) -> tuple[list[Layer], np.ndarray]:
    """Return the layers that words say, and the sizes (layers + 1, 2) of the image and of each map."""
    if not 1 <= len(words) <= 6:
        raise ValueError(f"expected 1 to 6 layers, got {len(words)}: {GRAMMAR}")
    layers, sizes = [parse_layer(word) for word in words], [shape]
    for word, layer in zip(words, layers, strict=True):
        try:
            sizes.append(conv_output_size(sizes[-1], **layer))
        except ValueError as error:
            raise ValueError(f"layer {len(sizes)}, {word}: {error}") from None
    return layers, np.array(sizes)


def pixels_that_reach(unit: int, layers: Sequence[Layer], sizes: Sequence[int]) -> np.ndarray:
    """Return which pixels along one axis reach a unit: layer by layer back, what the windows take of a map."""
    reached = np.array([unit])
    for layer, size in zip(reversed(layers), reversed(sizes[: len(layers)]), strict=True):
        reached = np.intersect1d(windows(reached, **layer), np.arange(size))
    return reached


def draw_receptive_field(
    write: Callable, shape: tuple, axes: Axes, chart: Axes, *, layers: Sequence[str], after: int, row: int, column: int
) -> str:
    """Draw what a unit (row, column), counted from 1, sees after so many layers, and how the field grows."""
    words = layers[0].split()
    stack, sizes = parse_layers(words, shape)
    fields, depth = receptive_fields(stack), min(after, len(stack))
    unit = np.minimum((row, column), sizes[depth]) - 1
    rows, columns = (pixels_that_reach(unit[k], stack[:depth], sizes[:, k]) for k in (0, 1))
    tint = np.zeros((*shape, 4))
    tint[np.ix_(rows, columns)] = (1, 0.66, 0.05, 0.45)
    axes.imshow(tint, extent=(0, shape[1], shape[0], 0), zorder=2)
    draw_fields(axes, stack[:depth], sizes, fields, unit)
    draw_chart(write, chart, words, fields, depth)
    few = f"layer {len(stack)} is the last; " if after > len(stack) else ""
    cut = "this map ends at {}, {}; ".format(*sizes[depth]) if (unit + 1 < (row, column)).any() else ""
    return f"{few}{cut}{compare(fields[depth - 1], unit, rows, columns, shape)}"


def field_of(field: tuple[int, int, int], unit: np.ndarray) -> np.ndarray:
    """Return the corners ((top, left), (bottom, right)) of a unit's field."""
    size, jump, start = field
    return np.stack([start + unit * jump, start + unit * jump + size])


def draw_fields(axes: Axes, layers: Sequence[Layer], sizes: np.ndarray, fields: Sequence, unit: np.ndarray) -> None:
    """Draw a unit's field, dashed where it leaves the image, and that of the unit in its middle in each map before."""
    corners = []
    for depth, layer in reversed(list(enumerate(layers))):
        corners.append(field_of(fields[depth], unit))
        unit = windows(unit, **layer)[:, (layer["kernel_size"] - 1) // 2].clip(0, sizes[depth] - 1)
    for boxes, style in (
        (np.array(corners), {"linestyle": "--", "linewidth": 1.2, "zorder": 3}),
        (np.clip(corners, 0, sizes[0]), {"linewidth": 2, "zorder": 4}),
    ):
        (top, left), (bottom, right) = boxes.transpose(1, 2, 0)
        colors = COLORS[len(layers) - 1 :: -1]
        add_boxes(axes, left, top, right - left, bottom - top, facecolor="none", edgecolor=colors, **style)


def draw_chart(write: Callable, axes: Axes, words: Sequence[str], fields: Sequence, depth: int) -> None:
    """Draw one bar a layer, pale after the chosen one, with size and jump written beside it."""
    places, widths = np.arange(len(fields)), np.array([size for size, _, _ in fields]) * 3 / fields[-1][0]
    add_boxes(axes, 0, places, widths, 0.7, facecolor=[(COLORS[k], 1 if k < depth else 0.25) for k in places])
    write(axes, -1, places + 0.35, [f"{k}: {word}" for k, word in enumerate(words, start=1)], size=0.24, width=2)
    write(axes, 4.3, places + 0.35, [f"{size} px, jump {jump}" for size, jump, _ in fields], size=0.24, width=2)


def compare(field: tuple, unit: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> str:
    """Compare the formula's field, cut at the image's edges, with the rows and columns that really reach the unit."""
    size, jump, _ = field
    begin, end = field_of(field, unit).clip(0, shape)
    height, width = end - begin
    edge = "" if height == width == size else f", clipped at the image's edge {height} × {width} = {height * width}"
    holes = any((np.diff(pixels) > 1).any() for pixels in (rows, columns))
    why = "a dilation or stride leaves holes" if holes else "only an inner layer's padding or cut edge meets them"
    count, missing = len(rows) * len(columns), height * width - len(rows) * len(columns)
    return (
        f"the unit sees {size} × {size} pixels = {size * size}{edge}; jump {jump} "
        f"(neighboring units look {jump} pixel{'s' * (jump > 1)} apart). Poison test: {count} pixels, each made NaN "
        f"alone, reach the unit{f'; {missing} of the field do not: {why}' if missing else ', as the formula says'}."
    )


def receptive_field_explorer(image: Tensor) -> Control:
    """Return fields for a stack of layers and for one unit, over `image`, float (H, W) with values in 0..1."""
    if image.dim() != 2 or not image.is_floating_point() or not ((image >= 0) & (image <= 1)).all():
        raise ValueError(f"expected a float image (H, W) with values in 0..1, got {tuple(image.shape)} {image.dtype}")
    (height, width), margin = image.shape, 7  # pixels around the image, where fields may reach into the padding
    _, (axes, chart) = new_figure(8, 3.9, columns=2)
    axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))
    axes.set(xlim=(-margin, width + margin), ylim=(height + margin, -margin), anchor="N")
    axes.set_title("what one unit sees (tinted: used pixels)", loc="left", fontsize=11)
    chart.set(xlim=(-2, 5.4), ylim=(6, -0.2), aspect="equal", anchor="NW")
    chart.set_title("receptive field after each layer", loc="left", fontsize=11)
    for panel in (axes, chart):
        panel.axis("off")
    return Control(
        partial(draw_receptive_field, text_writer(), (height, width)),
        (axes, chart),
        layers=PresetFields("layers", STACKS, columns=1, width="20em"),
        after=choice("after layer", [1, 2, 3, 4, 5, 6], 4),
        row=slider("row", 4, 1, height, 1),
        column=slider("column", 4, 1, width, 1),
    )


# ----------------------------------------------------------------------------------------------------------- pooling

ROWS = ["379820", "121670", "002940", "017810", "169324", "498786"]
INK = torch.tensor([[float(digit) for digit in row] for row in ROWS], dtype=torch.float64)
MAP = F.pad(INK, (1, 5, 1, 1))  # 8×12; no ink leaves it when it is shifted by up to 4 pixels
BLUES = colormaps["Blues"]
SHARE = "each activation's share of its window's sum"
HOW = {
    "max": "count padding, draw and mode are not used",
    "mean": "draw and mode are not used",
    "train": f"each window passes one activation on, drawn with {SHARE} as probability (count padding is not used)",
    "eval": f"no draw, but the mean weighted by {SHARE} (count padding and draw are not used)",
}


def pool(maps: Tensor, kind: str, *, count_pad: bool = True, seed: int | None = None, **window: int) -> Tensor:
    """Return "max", "mean" or "stochastic" pooling of a map (H, W) without negative values.

    Stochastic pooling draws one activation from each window with its share of the window's sum as probability, as in
    training; without a seed it is the mean with these weights. Source: Zeiler & Fergus 2013, arXiv:1301.3557.
    """
    if kind == "max":
        return F.max_pool2d(maps[None], **window)[0]
    if kind == "mean":
        return F.avg_pool2d(maps[None], **window, count_include_pad=count_pad)[0]
    sizes, size = conv_output_size(tuple(maps.shape), **window), window["kernel_size"]
    rows, columns = (windows(range(n), size, window["stride"], window["padding"]) + size for n in sizes)
    values = F.pad(maps, [size] * 4)[rows[:, None, :, None], columns[:, None, :]].view(-1, size * size)  # (L, K·K)
    odds = torch.where(values.sum(dim=1, keepdim=True) > 0, values, 1.0)  # of zeros any may be drawn
    if seed is None:
        return ((odds * values).sum(dim=1) / odds.sum(dim=1)).view(sizes)
    drawn = torch.multinomial(odds, 1, generator=torch.Generator().manual_seed(seed))
    return values.gather(1, drawn).view(sizes)


def draw_pooling(
    write: Callable, axes: Axes, *outputs: Axes, kind: str, shift: int, draw: int, mode: str, count_pad: bool, **window
) -> str:
    """Draw the map shifted to the right by `shift` pixels with its windows, its pooled output and that of the map."""
    shifted, seed = F.pad(MAP, (shift, -shift)), draw if mode == "train" else None
    pooled = [pool(maps, kind, count_pad=count_pad, seed=seed, **window) for maps in (shifted, MAP)]
    draw_map(write, axes, shifted, 1)
    for panel, output in zip(outputs, pooled, strict=True):
        draw_map(write, panel, output, min(13 / output.shape[1], 9 / output.shape[0], 2))
    y, x = np.indices(pooled[0].shape).reshape(2, -1) * window["stride"] - window["padding"] + 0.12
    size, width = window["kernel_size"] - 0.24, [3] + [1] * (len(x) - 1)  # the first can be told from the others
    add_boxes(axes, x, y, size, size, facecolor="none", edgecolor=COLORS[6], linewidth=width, zorder=4)
    how, sizes = HOW[mode if kind == "stochastic" else kind], size_formula(tuple(MAP.shape), **window)
    return f"{how}. Output size, rows and columns: {sizes}. {shift_text(*pooled, shift, window['stride'])}"


def draw_map(write: Callable, axes: Axes, values: Tensor, cell: float) -> None:
    """Draw a map (H, W) as cells whose shade and number give the values."""
    y, x = np.indices(values.shape).reshape(2, -1) * cell
    flat = values.flatten().numpy()
    shades = BLUES(0.08 + 0.055 * flat)  # up to 9: never too dark
    add_boxes(axes, x, y, cell, cell, facecolor=shades, edgecolor="white", linewidth=0.5)
    texts = [number(round(value, 1)) for value in flat.tolist()]
    write(axes, x + cell / 2, y + cell / 2, texts, size=0.55 * cell**0.5, width=0.85 * cell)


def shift_text(output: Tensor, before: Tensor, shift: int, stride: int) -> str:
    """Say whether the output is the output before the shift, moved by whole cells; else by how much it differs."""
    if shift == 0:
        return "Without a shift both outputs are equal."
    moves = sorted({shift // stride, -(-shift // stride)})
    errors = [(output - F.pad(before, (cells, -cells))).norm() / before.norm() for cells in moves]
    error, cells = min(zip(errors, moves, strict=True))
    pixels, moved = f"{shift} pixel{'s' * (shift > 1)}", f"{cells} cell{'s' * (cells != 1)}"
    if error < 1e-9:
        return f"A shift by {pixels} moves the output by {moved}, exactly."
    why = f" ({shift} is not a multiple of the stride {stride})" if shift % stride else ""
    return (
        f"A shift by {pixels} does not move the output by whole cells{why}: "
        f"the closest move, by {moved}, is {error:.1%} off (norm)."
    )


def pooling_explorer() -> Control:
    """Return the kind of pooling, its window, the map's shift, and draw and mode of stochastic pooling."""
    titles = {"map": "shifted map and windows", "output": "its pooled output", "before": "output before the shift"}
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    panels = figure.subplot_mosaic([["map", "output"], ["map", "before"]], width_ratios=(16, 9))
    for name, axes in panels.items():
        axes.set(xlim=(0, 13), ylim=(9, 0), aspect="equal", anchor="NW")
        axes.set_title(titles[name], loc="left", fontsize=11)
        axes.axis("off")
    panels["map"].set(xlim=(-1.1, 15.1), ylim=(11.1, -1.1))  # windows reach into the padding and beyond
    return Control(
        partial(draw_pooling, text_writer()),
        panels.values(),
        kind=choice("kind", ["max", "mean", "stochastic"], "max"),
        kernel_size=choice("window K", [2, 3, 4], 2),
        stride=choice("stride S", [1, 2, 3, 4], 2),
        padding=choice("padding P", [0, 1], 0),
        ceil_mode=toggle("ceil"),
        count_pad=toggle("count padding", True),
        shift=choice("shift", [0, 1, 2, 3, 4], 1),
        draw=slider("draw", 1, 1, 20, 1),
        mode=choice("mode", ["train", "eval"], "train"),
    )
