"""Chapter 03's control: five optimizers on their way down a long, narrow valley."""

import numpy as np
import torch
from torch import nn

from course_utils.plotting import COLORS, new_figure
from course_utils.widgets.canvas import Explorer, choice, explore, slider

OPTIMIZERS = {
    "SGD": lambda parameters, rate, momentum: torch.optim.SGD(parameters, lr=rate),
    "momentum": lambda parameters, rate, momentum: torch.optim.SGD(parameters, lr=rate, momentum=momentum),
    "Nesterov": lambda parameters, rate, momentum: torch.optim.SGD(
        parameters, lr=rate, momentum=momentum, nesterov=momentum > 0
    ),
    "RMSProp": lambda parameters, rate, momentum: torch.optim.RMSprop(parameters, lr=rate),
    "Adam": lambda parameters, rate, momentum: torch.optim.Adam(parameters, lr=rate, betas=(momentum, 0.999)),
}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0)
START = (-9.0, 2.0)


def valley(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return x²/20 + y²·2: forty times steeper across than along."""
    return x.square() / 20 + y.square() * 2


def descend(optimizer: str, rate: float, momentum: float, steps: int = 50) -> np.ndarray:
    """Return the points (steps + 1, 2) that a torch optimizer visits from START; it stops where it leaves the plane."""
    point = nn.Parameter(torch.tensor(START))
    descent = OPTIMIZERS[optimizer]([point], rate, momentum)
    path = [point.detach().clone()]
    for _ in range(steps):
        descent.zero_grad()
        valley(*point).backward()
        descent.step()
        path.append(point.detach().clone())
        if not torch.isfinite(point).all() or point.abs().max() > 1e4:
            break
    return torch.stack(path).numpy()


class ValleyPicture:
    """The valley's height lines, the path of one optimizer, and its loss by step."""

    def __init__(self) -> None:
        self.figure, (plane, curve) = new_figure(8, 3.2, columns=2, width_ratios=(1.5, 1))
        x, y = torch.meshgrid(torch.linspace(-11, 11, 120), torch.linspace(-3, 3, 80), indexing="xy")
        levels = [0.02, 0.1, 0.4, 1, 2, 4, 7, 11, 16]
        plane.contour(x.numpy(), y.numpy(), valley(x, y).numpy(), levels=levels, colors="0.75", linewidths=0.8)
        plane.plot(0, 0, marker="*", color=COLORS[2], markersize=12)
        (self.path,) = plane.plot([], [], marker="o", markersize=3, linewidth=1.2, color=COLORS[0])
        plane.set(xlim=(-11, 11), ylim=(-3, 3), xlabel="x (gentle)", ylabel="y (steep)", title="loss = x²/20 + 2y²")
        (self.loss,) = curve.plot([], [], color=COLORS[0])
        self.moving = [self.path, self.loss]
        curve.set(xlim=(0, 50), ylim=(1e-5, 1e3), yscale="log", xlabel="step", ylabel="loss")

    def update(self, optimizer: str, rate: float, momentum: float) -> str:
        """Draw 50 steps of the optimizer from (−9, 2); the minimum is the star at (0, 0)."""
        path = descend(optimizer, rate, momentum)
        losses = np.clip(valley(*torch.from_numpy(path).T).numpy(), 1e-6, 1e6)
        self.path.set_data(*path.clip(-1e3, 1e3).T)
        self.loss.set_data(range(len(losses)), losses)
        uses = {"SGD": "not used", "RMSProp": "not used", "Adam": f"β1 = {momentum:g}"}.get(
            optimizer, f"β = {momentum:g}"
        )
        end = f"the loss falls from {losses[0]:.1f} to {losses[-1]:.2g} in {len(path) - 1} steps"
        if losses[-1] > losses[0] / 10:
            end = f"after {len(path) - 1} steps the loss is still {losses[-1]:.2g}, from {losses[0]:.1f} at the start"
        if losses[-1] > losses[0]:
            end = f"it diverges: the loss grows from {losses[0]:.1f} to {losses[-1]:.2g} in {len(path) - 1} steps"
        target = " Target reached: below 0.001." if losses[-1] < 0.001 else ""
        return f"{optimizer}, learning rate = {rate:g}, momentum {uses}: {end}.{target}"


def valley_explorer() -> Explorer:
    """Return controls for optimizer, learning rate and momentum above the valley."""
    return explore(
        ValleyPicture(),
        optimizer=choice("optimizer", list(OPTIMIZERS), "SGD"),
        rate=choice("learning rate", [(f"{rate:g}", rate) for rate in RATES], 0.3),
        momentum=slider("momentum", 0.9, 0.0, 0.99, 0.01),
    )
