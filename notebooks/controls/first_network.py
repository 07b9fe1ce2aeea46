"""Chapter 01's controls: the boundary of one neuron, and what learning rate and batch size do to a training."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from torch import Tensor

from course_utils.controls import Control, choice, slider
from course_utils.plotting import COLORS, add_baselines, class_style, new_figure

TICKS = torch.linspace(0, 1, 41)
GRAYS = colormaps["Greys"]


def draw_neuron(rows: Tensor, above: Tensor, axes: Axes, *, w1: float, w2: float, w3: float, bias: float) -> str:
    """Shade relu(w1·x1 + w2·x2 + w3·x3 + b) on the slice x3 = 0.5; count the rows (N, 3) for which it answers rightly.

    `above` is bool (N,): is the sum of the row above 1?
    """
    output = (w1 * TICKS + w2 * TICKS[:, None] + w3 / 2 + bias).relu()  # (41, 41), a row for each x2
    axes.imshow(output.numpy(), origin="lower", extent=(0, 1, 0, 1), cmap=GRAYS, vmin=0, vmax=2)
    if w1 or w2:
        across = np.array([w1, w2])
        foot = -(w3 / 2 + bias) * across / (across @ across)  # the point of the boundary that is nearest to (0, 0)
        axes.axline(foot, foot + across[::-1] * (1, -1), color="black", linewidth=2)
    on = rows @ torch.tensor([w1, w2, w3]) + bias > 0
    return (
        f"the neuron is on (output above 0) for {on.float().mean():.1%} of all rows. On means that the sum is above 1, "
        f"off that it is below: {(on == above).float().mean():.1%} of the rows agree."
    )


def neuron_explorer(rows: Tensor, labels: Tensor) -> Control:
    """Return sliders for the weights and bias of one neuron over `rows` (N, 3); `labels` (N,) as in chapter 01."""
    figure, axes = new_figure(4.6, 3.6)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="x1", ylabel="x2")
    axes.set_title("One neuron, on the slice x3 = 0.5")
    axes.spines[:].set_animated(True)  # above the shade, like the dots
    near = (rows[:, 2] - 0.5).abs() < 0.05
    for k, name in enumerate(("sum below 1", "sum above 1")):
        x1, x2, _ = rows[near & ((labels > 0) == bool(k))].T.numpy()
        axes.scatter(x1, x2, s=6, linewidths=0, label=name, animated=True, **class_style(k))
    shades = ScalarMappable(Normalize(0, 2), GRAYS)
    figure.colorbar(shades, ax=axes, label="output of the neuron", shrink=0.8)
    figure.legend(loc="outside lower center", ncols=2, markerscale=2.5)
    return Control(
        partial(draw_neuron, rows, labels > 0),
        axes,
        w1=slider("w1", 1.0, -2, 2, 0.25),
        w2=slider("w2", 0.0, -2, 2, 0.25),
        w3=slider("w3", 0.0, -2, 2, 0.25),
        bias=slider("bias", -0.5, -2, 2, 0.25),
    )


def draw_descent(losses: Mapping, accuracy: Mapping, axes: Axes, *, rate: float, batch_size: int) -> str:
    """Draw the loss by step of the training with this learning rate and batch size."""
    curve = np.asarray(losses[rate, batch_size])
    shown = np.clip(np.nan_to_num(curve, nan=9, posinf=9), 0, 2.2)
    axes.plot(np.arange(1, len(curve) + 1), shown, color=COLORS[0], linewidth=2)
    return (
        f"after {len(curve)} steps the loss is {curve[-20:].mean():.3f} (mean of the last 20 steps) and the test "
        f"accuracy {accuracy[rate, batch_size]:.1%}."
    )


def smoothed(curve: Sequence[float], window: int = 21) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, running means over `window` steps): what a curve does apart from its noise."""
    window = min(window, len(curve))
    means = np.convolve(np.nan_to_num(np.clip(curve, 0, 9), nan=9), np.ones(window) / window, mode="valid")
    return np.arange(len(means)) + (window + 1) / 2, means


def descent_explorer(
    losses: Mapping[tuple[float, int], Sequence[float]], accuracy: Mapping[tuple[float, int], float], baseline: float
) -> Control:
    """Return sliders over finished trainings; the others are drawn in gray.

    `losses` and `accuracy` hold, by (learning rate, batch size), the training loss of each step and the test accuracy;
    `baseline` is the loss of the best constant answer. Raises ValueError when they are empty or do not belong together.
    """
    rates, sizes = (sorted({key[k] for key in losses}) for k in (0, 1))
    if not losses or losses.keys() != accuracy.keys() or len(losses) != len(rates) * len(sizes):
        raise ValueError("expected losses and accuracy of one training for each pair of learning rate, batch size")
    _, axes = new_figure(6.5, 3.4)
    axes.set(xlim=(0, max(map(len, losses.values())) + 1), ylim=(0, 2.2))
    axes.set(xlabel="step", ylabel="training loss\n(gray: the others, smoothed)")
    for curve in losses.values():
        axes.plot(*smoothed(curve), color="0.85", linewidth=1)
    add_baselines(axes, {"best constant answer": baseline})
    return Control(
        partial(draw_descent, losses, accuracy),
        axes,
        rate=choice("learning rate", [(f"{rate:g}", rate) for rate in rates], rates[len(rates) // 2]),
        batch_size=choice("batch size", [(f"{size:,}", size) for size in sizes], sizes[len(sizes) // 2]),
    )
