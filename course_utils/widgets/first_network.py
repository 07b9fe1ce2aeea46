"""Chapter 01's controls: the boundary of one neuron, and what learning rate and batch size do to a training."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from course_utils.plotting import COLORS, add_baselines, class_style, new_figure
from course_utils.widgets.canvas import Explorer, choice, explore, slider


class NeuronPicture:
    """The slice x3 = 0.5 of the cube: shaded, the output relu(w1·x1 + w2·x2 + w3·x3 + b); dots, the rows near it."""

    def __init__(self, rows: Tensor, sums_above_one: Tensor) -> None:
        self.rows, self.truth = rows, sums_above_one
        self.figure, axes = new_figure(4.6, 3.6)
        ticks = torch.linspace(0, 1, 41)
        x2, x1 = torch.meshgrid(ticks, ticks, indexing="ij")
        self.square = torch.stack([x1, x2, torch.full_like(x1, 0.5)], dim=-1)  # (41, 41, 3)
        self.shade = axes.imshow(np.zeros((41, 41)), origin="lower", extent=(0, 1, 0, 1), cmap="Greys", vmin=0, vmax=2)
        near = (rows[:, 2] - 0.5).abs() < 0.05
        self.moving = [self.shade]
        for k, name in enumerate(("sum below 1", "sum above 1")):
            points = rows[near & (sums_above_one == bool(k))]
            dots = axes.scatter(*points[:, :2].T.numpy(), s=6, linewidths=0, label=name, **class_style(k))
            self.moving.append(dots)
        (self.line,) = axes.plot([], [], color="black", linewidth=2)
        self.moving.append(self.line)
        self.moving += axes.spines.values()  # the shade is drawn anew, above the frame of the background
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="x1", ylabel="x2", title="One neuron, on the slice x3 = 0.5")
        self.figure.colorbar(self.shade, ax=axes, label="output of the neuron", shrink=0.8)
        self.figure.legend(loc="outside lower center", ncols=2, markerscale=2.5)

    def update(self, w1: float, w2: float, w3: float, bias: float) -> str:
        """Move the boundary; say where the neuron is on and how well that answers "is the sum above 1?"."""
        weights = torch.tensor([w1, w2, w3], dtype=torch.float32)
        self.shade.set_data((self.square @ weights + bias).relu().numpy())
        self.line.set_data(*boundary(w1, w2, bias + 0.5 * w3))
        on = self.rows @ weights + bias > 0
        right = (on == self.truth).float().mean()
        return (
            f"w1 = {w1:g}, w2 = {w2:g}, w3 = {w3:g}, bias = {bias:g}: the neuron is on (output above 0) for "
            f"{on.float().mean():.1%} of all rows. On means that the sum is above 1, off that it is below: "
            f"{right:.1%} of the rows agree."
        )


def boundary(w1: float, w2: float, offset: float) -> tuple[list[float], list[float]]:
    """Return two points far outside the unit square on the line w1·x1 + w2·x2 + offset = 0, or none without a line."""
    length = w1 * w1 + w2 * w2
    if length == 0:
        return [], []
    foot = (-offset * w1 / length, -offset * w2 / length)
    along = (-w2 * 9 / length**0.5, w1 * 9 / length**0.5)
    return [foot[0] - along[0], foot[0] + along[0]], [foot[1] - along[1], foot[1] + along[1]]


def neuron_explorer(rows: Tensor, labels: Tensor) -> Explorer:
    """Return sliders for the weights and bias of one neuron over `rows` (N, 3); `labels` (N,) as in chapter 01."""
    return explore(
        NeuronPicture(rows, labels > 0),
        w1=slider("w1", 1.0, -2, 2, 0.25),
        w2=slider("w2", 0.0, -2, 2, 0.25),
        w3=slider("w3", 0.0, -2, 2, 0.25),
        bias=slider("bias", -0.5, -2, 2, 0.25),
    )


class DescentPicture:
    """The loss by step of one training out of several, chosen by learning rate and batch size; the others in gray."""

    def __init__(self, losses: Mapping[tuple[float, int], Sequence[float]], accuracy: Mapping, baseline: float) -> None:
        self.losses, self.accuracy, self.baseline = losses, accuracy, baseline
        self.figure, axes = new_figure(6.5, 3.4)
        for curve in losses.values():
            axes.plot(*smoothed(curve), color="0.85", linewidth=1)
        (self.line,) = axes.plot([], [], color=COLORS[0], linewidth=2)
        self.moving = [self.line]
        add_baselines(axes, {"best constant answer": baseline})
        longest = max(map(len, losses.values()))
        axes.set(
            xlim=(0, longest + 1), ylim=(0, 2.2), xlabel="step", ylabel="training loss\n(gray: the others, smoothed)"
        )

    def update(self, rate: float, batch_size: int) -> str:
        """Show the training with this learning rate and batch size."""
        curve = np.asarray(self.losses[rate, batch_size])
        self.line.set_data(range(1, len(curve) + 1), np.clip(np.nan_to_num(curve, nan=9, posinf=9), 0, 2.2))
        return (
            f"learning rate = {rate:g}, batch size = {batch_size:,}: after {len(curve)} steps the loss is "
            f"{curve[-20:].mean():.3f} (mean of the last 20 steps) and the test accuracy "
            f"{self.accuracy[rate, batch_size]:.1%}."
        )


def smoothed(curve: Sequence[float], window: int = 21) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, running means over `window` steps): what a curve does apart from its noise."""
    window = min(window, len(curve))
    means = np.convolve(np.nan_to_num(np.clip(curve, 0, 9), nan=9), np.ones(window) / window, mode="valid")
    return np.arange(len(means)) + (window + 1) / 2, means


def descent_explorer(
    losses: Mapping[tuple[float, int], Sequence[float]], accuracy: Mapping[tuple[float, int], float], baseline: float
) -> Explorer:
    """Return sliders over finished trainings.

    `losses` and `accuracy` hold, by (learning rate, batch size), the training loss of each step and the test accuracy;
    `baseline` is the loss of the best constant answer. Raises ValueError when they are empty or do not belong together.
    """
    if not losses or losses.keys() != accuracy.keys():
        raise ValueError("expected losses and accuracy for the same (learning rate, batch size) pairs, at least one")
    rates, sizes = (sorted({key[k] for key in losses}) for k in (0, 1))
    if len(losses) != len(rates) * len(sizes):
        raise ValueError("expected one training for each pair of learning rate, batch size: some are missing")
    return explore(
        DescentPicture(losses, accuracy, baseline),
        rate=choice("learning rate", [(f"{rate:g}", rate) for rate in rates], rates[len(rates) // 2]),
        batch_size=choice("batch size", [(f"{size:,}", size) for size in sizes], sizes[len(sizes) // 2]),
    )
