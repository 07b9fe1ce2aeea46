"""Chapter 04's last control: max, mean and stochastic pooling of a map that can be shifted."""

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.plotting import COLORS
from course_utils.tracing import conv_output_size, size_formula
from course_utils.widgets.canvas import Explorer, choice, explore, on_off, slider, toggle
from course_utils.widgets.convolution_stepper import Labels, add_boxes, boxes, number

MAP = torch.tensor(  # 8×12; no ink leaves it when it is shifted by up to 4 pixels
    [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 3, 7, 9, 8, 2, 0, 0, 0, 0, 0, 0],
        [0, 1, 2, 1, 6, 7, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 2, 9, 4, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 7, 8, 1, 0, 0, 0, 0, 0, 0],
        [0, 1, 6, 9, 3, 2, 4, 0, 0, 0, 0, 0],
        [0, 4, 9, 8, 7, 8, 6, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=torch.float64,
)


def pool(
    maps: Tensor,
    kind: str,
    kernel_size: int,
    *,
    stride: int,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return "max", "mean" or "stochastic" pooling of non-negative maps (1, 1, H, W).

    Stochastic pooling draws with the generator, as in training; without one it is the weighted mean of evaluation.
    Raises ValueError for a padding beyond half of the window, which torch refuses.
    """
    if padding > kernel_size // 2:
        raise ValueError(
            f"padding = {padding} is more than half of a window of {kernel_size} pixels: use at most {kernel_size // 2}"
        )
    window = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    if kind == "max":
        return F.max_pool2d(maps, kernel_size, **window)
    if kind == "mean":
        return F.avg_pool2d(maps, kernel_size, **window, count_include_pad=count_include_pad)
    return stochastic_pool(maps, kernel_size, **window, generator=generator)


def stochastic_pool(
    maps: Tensor, kernel_size: int, *, stride: int, padding: int, ceil_mode: bool, generator: torch.Generator | None
) -> Tensor:
    """Draw one activation from each window, with its share of the window's sum as probability; (1, 1, H, W) in and out.

    Without a generator: the mean with these probabilities. Source: Zeiler & Fergus 2013, arXiv:1301.3557, section 3.
    """
    before = tuple(maps.shape[-2:])
    height, width = conv_output_size(before, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    # zeros around the map, up to the end of the last window: they have probability 0
    below, right = (
        (n - 1) * stride + kernel_size - size - padding for n, size in zip((height, width), before, strict=True)
    )
    windows = F.unfold(F.pad(maps, (padding, right, padding, below)), kernel_size, stride=stride)[0].T  # (L, K·K)
    total = windows.sum(dim=1, keepdim=True)
    odds = torch.where(total > 0, windows, 1.0)  # a window of zeros gives 0, whatever is drawn
    if generator is None:
        return ((odds * windows).sum(dim=1) / odds.sum(dim=1)).view(1, 1, height, width)
    drawn = torch.multinomial(odds, 1, generator=generator)  # (L, 1)
    return windows.gather(1, drawn).view(1, 1, height, width)


class PoolingPicture:
    """The shifted map with the windows, its pooled output, and the output of the map before the shift."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(8, 4.2), layout="constrained")
        panels = self.figure.subplot_mosaic([["map", "output"], ["map", "before"]], width_ratios=(16, 9))
        titles = {"map": "shifted map and windows", "output": "its pooled output", "before": "output before the shift"}
        self.cells, self.numbers = [], []
        for name, axes in panels.items():
            axes.set(xlim=(0, 13), ylim=(9, 0), aspect="equal", anchor="NW")
            axes.set_title(titles[name], loc="left", fontsize=11)
            axes.axis("off")
            self.cells.append(add_boxes(axes, edgecolor="white", linewidth=0.5))
            self.numbers.append(Labels(axes, "black"))
        panels["map"].set(xlim=(-1.1, 15.1), ylim=(11.1, -1.1))  # windows reach into the padding and beyond
        self.windows = add_boxes(panels["map"], zorder=4, facecolor="none", edgecolor=COLORS[6])
        self.moving = [*self.cells, *self.numbers, self.windows]

    def update(
        self,
        kind: str,
        kernel_size: int,
        stride: int,
        padding: int,
        ceil: bool,
        count_padding: bool,
        shift: int,
        draw: float,
        mode: str,
    ) -> str:
        """Pool the map shifted to the right by `shift` pixels, and the map itself; compare the two outputs."""
        window = {"stride": stride, "padding": padding, "ceil_mode": ceil}
        shifted = F.pad(MAP, (shift, -shift))
        outputs = []
        for maps in (shifted, MAP):
            options = {**window, "count_include_pad": count_padding}
            if mode == "train":
                options["generator"] = torch.Generator().manual_seed(int(draw))
            outputs.append(pool(maps[None, None], kind, kernel_size, **options)[0, 0])
        self.draw_map(0, shifted, cell=1)
        for panel, output in enumerate(outputs, start=1):
            self.draw_map(panel, output, cell=min(13 / output.shape[1], 9 / output.shape[0], 2))
        y, x = np.mgrid[: outputs[0].shape[0], : outputs[0].shape[1]].reshape(2, -1) * stride - padding
        self.windows.set_verts(boxes(x + 0.12, y + 0.12, kernel_size - 0.24, kernel_size - 0.24))
        self.windows.set_linewidth([3] + [1] * (len(x) - 1))  # the first can be told from those that overlap it
        unused = "" if kind == "mean" else " (only the mean uses it)"
        return (
            f"kind = {kind}, window K = {kernel_size}, stride S = {stride}, padding P = {padding}, "
            f"ceil = {on_off(ceil)}, count padding = {on_off(count_padding)}{unused}, shift = {shift}, "
            f"draw = {int(draw)}, mode = {mode}{draw_text(kind, mode)}. Output size, rows and columns: "
            f"{size_formula(tuple(MAP.shape), kernel_size, **window)}. {shift_text(*outputs, shift, stride)}"
        )

    def draw_map(self, panel: int, values: Tensor, cell: float) -> None:
        """Draw a map (H, W) as cells whose shade and number give the values."""
        y, x = np.mgrid[: values.shape[0], : values.shape[1]].reshape(2, -1) * cell
        flat = values.flatten().tolist()
        self.cells[panel].set_verts(boxes(x, y, cell, cell))
        self.cells[panel].set_facecolor(colormaps["Blues"](0.08 + 0.055 * np.array(flat)))  # up to 9: never too dark
        texts = [number(round(value, 1)) for value in flat]
        self.numbers[panel].write(x + cell / 2, y + cell / 2, texts, size=0.55 * cell**0.5, width=0.85 * cell)


def draw_text(kind: str, mode: str) -> str:
    """Say what draw and mode do."""
    if kind != "stochastic":
        return " (only stochastic pooling uses draw and mode)"
    if mode == "eval":
        return ": no draw, but the mean weighted by each activation's share of its window's sum"
    return ": each window passes one activation on, drawn with its share of the window's sum as probability"


def shift_text(output: Tensor, before: Tensor, shift: int, stride: int) -> str:
    """Say whether the output is the output before the shift, moved by whole cells; else by how much it differs."""
    if shift == 0:
        return "Without a shift both outputs are equal."
    whole, rest = divmod(shift, stride)
    width = before.shape[1]
    errors = {
        cells: ((output - F.pad(before, (cells, 0))[:, :width]).norm() / before.norm()).item()
        for cells in ([whole, whole + 1] if rest else [whole])
    }
    cells = min(errors, key=errors.get)
    pixels, moved = f"{shift} pixel{'s' * (shift > 1)}", f"{cells} cell{'s' * (cells != 1)}"
    if errors[cells] < 1e-9:
        return f"A shift by {pixels} moves the output by {moved}, exactly."
    why = f" ({shift} is not a multiple of the stride {stride})" if rest else ""
    return (
        f"A shift by {pixels} does not move the output by whole cells{why}: "
        f"the closest move, by {moved}, is {errors[cells]:.1%} off (norm)."
    )


def pooling_explorer() -> Explorer:
    """Return the kind of pooling, its window, the map's shift, and draw and mode of stochastic pooling."""
    return explore(
        PoolingPicture(),
        kind=choice("kind", ["max", "mean", "stochastic"], "max"),
        kernel_size=choice("window K", [2, 3, 4], 2),
        stride=choice("stride S", [1, 2, 3, 4], 2),
        padding=choice("padding P", [0, 1], 0),
        ceil=toggle("ceil"),
        count_padding=toggle("count padding", True),
        shift=choice("shift", [0, 1, 2, 3, 4], 1),
        draw=slider("draw", 1, 1, 20, 1),
        mode=choice("mode", ["train", "eval"], "train"),
    )
