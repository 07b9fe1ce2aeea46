"""Chapter 04's pictures without knobs: a block that becomes one number, connections, accuracy against parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from course_utils.controls import add_boxes
from course_utils.plotting import COLORS, LINES, MARKERS, new_figure


def draw_grid(axes: Axes, left: float, top: float, side: int, color: str, full: slice | None = None) -> None:
    """Draw a grid (side, side) with these rows and columns filled, or all."""
    y, x = np.indices((side, side)).reshape(2, -1)
    chosen = np.arange(side)[full or slice(None)]
    faces = [color if row in chosen and column in chosen else "white" for row, column in zip(y, x, strict=True)]
    add_boxes(axes, left + x, top + y, 1, 1, facecolor=faces, edgecolor=COLORS[8], linewidth=0.7)


def draw_block() -> Figure:
    """Draw how three channels' windows and one filter's three kernels become one number of one map."""
    figure, axes = new_figure(8, 4)
    arrow, middle = {"arrowstyle": "->", "color": COLORS[8], "linewidth": 1.2}, {"ha": "center", "va": "center"}
    for channel, color in enumerate((COLORS[0], COLORS[1], COLORS[4])):
        top = 6 * channel
        draw_grid(axes, 0, top, 5, color, slice(1, 4))
        axes.text(6.5, top + 2.5, "·", fontsize=16, **middle)
        draw_grid(axes, 8, top + 1, 3, color)
        axes.annotate("", (14.3, top + 2.5), (11.5, top + 2.5), arrowprops=arrow)
        axes.text(12.8, top + 1.2, "9 products,\nadded", fontsize=8, **middle)
        draw_grid(axes, 14.5, top + 2, 1, color)
        axes.annotate("", (21.6, 8.5), (15.8, top + 2.5), arrowprops=arrow)
        axes.text(-0.4, top + 2.5, f"channel {channel + 1}", fontsize=9, ha="right", va="center")
    draw_grid(axes, 21.5, 6, 3, COLORS[9])  # behind: the map of filter 2
    draw_grid(axes, 20.7, 7, 3, COLORS[2], slice(1, 2))
    axes.text(17.3, 7.2, "added,\n+ bias", fontsize=8, **middle)
    for x, text in ((2.5, "the window:\na block (C, K, L)"), (9.5, "filter 1:\nalso (C, K, L)")):
        axes.text(x, 17.4, text, fontsize=9, ha="center", va="top")
    axes.text(
        23.0,
        12.0,
        "output (N, H′, W′)\nin front: filter 1's map,\nbehind: filter 2's",
        fontsize=9,
        ha="center",
        va="top",
    )
    axes.set(xlim=(-4.5, 27), ylim=(20, -0.3), aspect="equal")
    axes.axis("off")
    return figure


def draw_links(panels: Mapping[str, Tensor]) -> Figure:
    """Draw which inputs (below) each output (above) reads: int (outputs, inputs), 0 for no connection.

    Equal numbers have equal colors. Raises ValueError for another shape.
    """
    if any(links.dim() != 2 for links in panels.values()):
        raise ValueError(f"expected links (outputs, inputs), got {[tuple(links.shape) for links in panels.values()]}")
    figure, all_axes = new_figure(8, 2.2, columns=len(panels))
    for axes, (title, links) in zip(np.atleast_1d(all_axes), panels.items(), strict=True):
        outputs, inputs = links.shape
        numbers = links[links > 0].unique().tolist()
        for out, into in links.nonzero().tolist():
            share = numbers.index(links[out, into].item()) / max(len(numbers) - 1, 1)
            middle = (inputs - outputs) / 2
            axes.plot([into, out + middle], [0, 1], color=colormaps["viridis"](0.9 * share), linewidth=1.3)
        axes.plot(range(inputs), [0] * inputs, "o", color="black", markersize=5)
        axes.plot(torch.arange(outputs) + (inputs - outputs) / 2, [1] * outputs, "s", color="black", markersize=5)
        axes.set_title(title, fontsize=9)
        axes.set(xlim=(-0.5, inputs - 0.5), ylim=(-0.2, 1.2))
        axes.axis("off")
    return figure


def plot_by_size(families: Mapping[str, Mapping[int, Sequence[float]]], *, ylabel: str, title: str) -> Figure:
    """Draw runs against the number of parameters, on a logarithmic axis: a dot a run, a line through the means."""
    figure, axes = new_figure(6.8, 3.4)
    for k, (name, runs) in enumerate(families.items()):
        look = {"color": COLORS[k], "marker": MARKERS[k]}
        axes.plot(list(runs), [np.mean(values) for values in runs.values()], LINES[k], label=name, **look)
        for count, values in runs.items():
            axes.scatter([count] * len(values), values, s=14, alpha=0.5, linewidths=0, **look)
    axes.set_xscale("log")
    axes.set(xlabel="parameters", ylabel=f"{ylabel} (a dot a run)", title=title)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend()
    return figure
