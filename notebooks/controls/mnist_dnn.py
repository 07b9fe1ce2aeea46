"""Chapter 03's controls: softmax and its gradient on three classes; five optimizers in a long, narrow valley.

Beside them stands what the notebook may not show, because readers write it themselves.
"""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.optim import SGD, Adam, RMSprop

from course_utils.controls import Control, add_boxes, choice, slider
from course_utils.plotting import COLORS, new_figure

# ------------------------------------------------------------------------------------------------------------- softmax


def softmax_numbers(logits: np.ndarray, right: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Return probabilities (K,), the loss −log p of the right class, and the loss's gradient p − y (K,)."""
    powers = np.exp(logits - logits.max())
    probabilities = powers / powers.sum()
    loss = math.log(powers.sum()) - (logits[right] - logits.max())
    return probabilities, loss, probabilities - np.eye(len(logits))[right]


def draw_softmax(left: Axes, middle: Axes, last: Axes, *, a: float, b: float, c: float, add: float, right: str) -> str:
    """Draw three logits, their probabilities beside the target (outlined), and the gradient of the loss."""
    logits, target = np.array([a, b, c]) + add, "abc".index(right)
    probabilities, loss, gradient = softmax_numbers(logits, target)
    for axes, values in ((left, logits), (middle, probabilities), (last, gradient)):
        add_boxes(axes, np.arange(3) - 0.35, 0, 0.7, values, facecolor=COLORS[:3])
        for k, value in enumerate(values):
            place = {"va": "bottom" if value >= 0 else "top", "ha": "center"}
            axes.text(k, value, f"{value:.2f}".replace("-", "−"), fontsize=9, **place)
    add_boxes(middle, [target - 0.4], 0, 0.8, 1, facecolor="none", edgecolor="black", linestyle="--")
    numbers = [", ".join(f"{value:.3f}" for value in values) for values in (probabilities, gradient)]
    text = f"probabilities {numbers[0]}; loss −log p = {abs(loss):.3f}; gradient p − y = {numbers[1]}."
    return text.replace("-", "−") + (" Target reached: loss below 0.01." if loss < 0.01 else "")


def softmax_explorer() -> Control:
    """Return controls for three logits, a number added to all of them, and the right class."""
    _, all_axes = new_figure(8, 2.9, columns=3)
    frames = {"logits z": (-11, 11), "probabilities p (dashed: target y)": (0, 1.12), "gradient p − y": (-1.2, 1.2)}
    for axes, (title, limits) in zip(all_axes, frames.items(), strict=True):
        axes.axhline(0, color="black", linewidth=0.8, zorder=0.5)
        axes.set(xlim=(-0.6, 2.6), ylim=limits, xticks=range(3), xticklabels=["a", "b", "c"])
        axes.set_title(title, fontsize=10)
    first = {"a": 2.0, "b": 0.0, "c": 1.0}
    logits = {name: slider(f"logit {name}", value, -5.0, 5.0, 0.5) for name, value in first.items()}
    added = slider("added to all", 0.0, -5.0, 5.0, 0.5)
    return Control(draw_softmax, all_axes, **logits, add=added, right=choice("right class", list("abc"), "b"))


# -------------------------------------------------------------------------------------------------------------- valley

OPTIMIZERS = {
    "SGD": lambda points, rate, beta: SGD(points, rate),
    "momentum": lambda points, rate, beta: SGD(points, rate, momentum=beta),
    "Nesterov": lambda points, rate, beta: SGD(points, rate, momentum=beta, nesterov=beta > 0),
    "RMSProp": lambda points, rate, beta: RMSprop(points, rate),
    "Adam": lambda points, rate, beta: Adam(points, rate, betas=(beta, 0.999)),
}
USE = {"SGD": " SGD uses no momentum.", "RMSProp": " RMSProp uses no momentum.", "Adam": " Adam takes β as its β1."}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0)
START = (-9.0, 2.0)


def valley(x: Tensor, y: Tensor) -> Tensor:
    """Return x²/20 + y²·2: forty times steeper across than along."""
    return x.square() / 20 + y.square() * 2


def descend(optimizer: str, rate: float, momentum: float, steps: int = 50) -> Tensor:
    """Return the points (steps + 1, 2) that a torch optimizer visits from START; it stops where it leaves the plane."""
    point = nn.Parameter(torch.tensor(START))
    descent = OPTIMIZERS[optimizer]([point], rate, momentum)
    path = [point.detach().clone()]
    while len(path) <= steps and path[-1].abs().max() <= 1e4:
        descent.zero_grad()
        valley(*point).backward()
        descent.step()
        path.append(point.detach().clone())
    return torch.stack(path)


def draw_valley(plane: Axes, curve: Axes, *, optimizer: str, rate: float, momentum: float, arrows_at: int) -> str:
    """Draw 50 steps from (−9, 2), their losses, and two arrows at one point: the step, and rate times −gradient."""
    path = descend(optimizer, rate, momentum)
    losses = valley(*path.T).clamp(1e-6, 1e6).numpy()
    seen = path.clamp(-1e3, 1e3)
    plane.plot(*seen.T.numpy(), marker="o", markersize=3, linewidth=1.2, color=COLORS[0])
    curve.plot(losses, color=COLORS[0])
    k = min(arrows_at, len(path) - 2)
    slope = torch.tensor([0.1, 4.0]) * seen[k]
    for arrow, color in ((seen[k + 1] - seen[k], COLORS[2]), (-rate * slope, COLORS[1])):
        plane.quiver(*seen[k], *arrow, angles="xy", scale_units="xy", scale=1, color=color, width=0.008, zorder=3)
    curve.axvline(k, color=COLORS[2], linewidth=1, linestyle=":")
    first, last, steps = losses[0], losses[-1], len(path) - 1
    end = f"the loss falls from {first:.1f} to {last:.2g} in {steps} steps."
    if last > first:
        end = f"it diverges: the loss grows from {first:.1f} to {last:.2g} in {steps} steps."
    elif last > first / 10:
        end = f"after {steps} steps the loss is still {last:.2g}, from {first:.1f} at the start."
    return end + (" Target reached: below 0.001." if last < 0.001 else "") + USE.get(optimizer, "")


def valley_explorer() -> Control:
    """Return controls for optimizer, learning rate, momentum and the arrows' place, above the valley and its losses."""
    _, (plane, curve) = new_figure(8, 3.2, columns=2, width_ratios=(1.5, 1))
    x, y = torch.meshgrid(torch.linspace(-11, 11, 120), torch.linspace(-3, 3, 80), indexing="xy")
    levels = [0.02, 0.1, 0.4, 1, 2, 4, 7, 11, 16]
    plane.contour(x.numpy(), y.numpy(), valley(x, y).numpy(), levels=levels, colors="0.75", linewidths=0.8)
    plane.plot(0, 0, marker="*", color=COLORS[3], markersize=12)
    plane.set(xlim=(-11, 11), ylim=(-3, 3), xlabel="x (gentle)", ylabel="y (steep)", title="loss = x²/20 + 2y²")
    plane.plot([], [], color=COLORS[2], label="the step")
    plane.plot([], [], color=COLORS[1], label="−rate · gradient")
    plane.legend(loc="lower right", fontsize=8, ncols=2)
    curve.set(xlim=(0, 50), ylim=(1e-5, 1e3), yscale="log", xlabel="step", ylabel="loss")
    return Control(
        draw_valley,
        (plane, curve),
        optimizer=choice("optimizer", list(OPTIMIZERS), "SGD"),
        rate=choice("learning rate", [(f"{rate:g}", rate) for rate in RATES], 0.3),
        momentum=slider("momentum β", 0.9, 0.0, 0.99, 0.01),
        arrows_at=slider("arrows at step", 2, 0, 49, 1),
    )


# --------------------------------------------------------------------------------------------------- reader's own work


def paired_counts(answers_a: Tensor, answers_b: Tensor, labels: Tensor) -> tuple[int, int]:
    """Return how many images only a reads rightly, and how many only b; all are int64 (N,)."""
    right_a, right_b = answers_a == labels, answers_b == labels
    return (right_a & ~right_b).sum().item(), (right_b & ~right_a).sum().item()
