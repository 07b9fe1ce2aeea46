"""Chapter 03's control: five optimizers on their way down a long, narrow valley."""

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.optim import SGD, Adam, RMSprop

from course_utils.controls import Control, choice, slider
from course_utils.plotting import COLORS, new_figure

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


def draw_valley(plane: Axes, curve: Axes, *, optimizer: str, rate: float, momentum: float) -> str:
    """Draw 50 steps of the optimizer from (−9, 2), and its loss by step; the minimum is the star at (0, 0)."""
    path = descend(optimizer, rate, momentum)
    losses = valley(*path.T).clamp(1e-6, 1e6).numpy()
    plane.plot(*path.clamp(-1e3, 1e3).T.numpy(), marker="o", markersize=3, linewidth=1.2, color=COLORS[0])
    curve.plot(losses, color=COLORS[0])
    first, last, steps = losses[0], losses[-1], len(path) - 1
    end = f"the loss falls from {first:.1f} to {last:.2g} in {steps} steps."
    if last > first:
        end = f"it diverges: the loss grows from {first:.1f} to {last:.2g} in {steps} steps."
    elif last > first / 10:
        end = f"after {steps} steps the loss is still {last:.2g}, from {first:.1f} at the start."
    return end + (" Target reached: below 0.001." if last < 0.001 else "") + USE.get(optimizer, "")


def valley_explorer() -> Control:
    """Return controls for optimizer, learning rate and momentum above the valley and its height lines."""
    _, (plane, curve) = new_figure(8, 3.2, columns=2, width_ratios=(1.5, 1))
    x, y = torch.meshgrid(torch.linspace(-11, 11, 120), torch.linspace(-3, 3, 80), indexing="xy")
    levels = [0.02, 0.1, 0.4, 1, 2, 4, 7, 11, 16]
    plane.contour(x.numpy(), y.numpy(), valley(x, y).numpy(), levels=levels, colors="0.75", linewidths=0.8)
    plane.plot(0, 0, marker="*", color=COLORS[2], markersize=12)
    plane.set(xlim=(-11, 11), ylim=(-3, 3), xlabel="x (gentle)", ylabel="y (steep)", title="loss = x²/20 + 2y²")
    curve.set(xlim=(0, 50), ylim=(1e-5, 1e3), yscale="log", xlabel="step", ylabel="loss")
    return Control(
        draw_valley,
        (plane, curve),
        optimizer=choice("optimizer", list(OPTIMIZERS), "SGD"),
        rate=choice("learning rate", [(f"{rate:g}", rate) for rate in RATES], 0.3),
        momentum=slider("momentum β", 0.9, 0.0, 0.99, 0.01),
    )
