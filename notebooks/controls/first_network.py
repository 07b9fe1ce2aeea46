"""Chapter 01's pictures: a neuron's line, a backward pass in steps, a shore that forms, and finished trainings."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_utils.controls import Control, choice, slider, toggle
from course_utils.plotting import COLORS, add_baselines, class_style, new_figure

TICKS = torch.linspace(-1, 1, 81)
SQUARE = torch.stack(torch.meshgrid(TICKS, TICKS, indexing="xy"), dim=-1).view(-1, 2)  # (6561, 2), a row for each x2
MAP = {"origin": "lower", "extent": (-1, 1, -1, 1), "vmin": 0}
GRAYS = colormaps["Greys"]
# from the color of the dry points over white to the color of the lake
LAND_AND_WATER = LinearSegmentedColormap.from_list("land and water", [COLORS[1], "white", COLORS[0]])
GROUND, LAKE = ({**class_style(k), "label": name} for k, name in ((1, "dry"), (0, "lake")))


def set_up_map(axes: Axes, points: Tensor, labels: Tensor, *, above: bool = False) -> None:
    """Frame the map and draw the points (N, 2) with labels (N,), 1 in the lake; `above` what a control draws later."""
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    axes.spines[:].set_visible(False)
    for label, style in enumerate((GROUND, LAKE)):
        axes.scatter(*points[labels == label].T.numpy(), s=6, linewidths=0, animated=above, **style)


# -------------------------------------------------------------------------------------------------------- one neuron


def draw_line(axes: Axes, w1: float, w2: float, bias: float, **style) -> None:
    """Draw where w1·x1 + w2·x2 + bias is 0; nothing, where both weights are."""
    across = np.array([w1, w2], dtype=float)
    if across.any():
        foot = -bias * across / (across @ across)  # the point of the line that is nearest to (0, 0)
        axes.axline(foot, foot + across[::-1] * (1, -1), **style)


def draw_neuron(points: Tensor, labels: Tensor, axes: Axes, *, w1: float, w2: float, bias: float) -> str:
    """Shade relu(w1·x1 + w2·x2 + b) on the map; count the points (N, 2) for which "on" means "in the lake"."""
    output = (SQUARE @ torch.tensor([w1, w2]) + bias).relu().view(len(TICKS), -1)
    axes.imshow(output.numpy(), cmap=GRAYS, vmax=3, **MAP)
    draw_line(axes, w1, w2, bias, color="black", linewidth=2)
    on = points @ torch.tensor([w1, w2]) + bias > 0
    return (
        f"the neuron is on (output above 0) for {on.float().mean():.1%} of the points. On means “lake”, off “dry”: "
        f"{(on == (labels == 1)).float().mean():.1%} of the points are right."
    )


def neuron_explorer(points: Tensor, labels: Tensor) -> Control:
    """Return sliders for one neuron's weights and bias over `points` (N, 2) with `labels` (N,), 1 in the lake."""
    figure, axes = new_figure(4.8, 3.7)
    set_up_map(axes, points, labels, above=True)
    axes.set(xlabel="x1", ylabel="x2", title="One neuron over the map")
    figure.colorbar(ScalarMappable(Normalize(0, 3), GRAYS), ax=axes, label="output of the neuron", shrink=0.8)
    figure.legend(loc="outside lower center", ncols=2, markerscale=2.5)
    return Control(
        partial(draw_neuron, points, labels),
        axes,
        w1=slider("w1", 1.0, -2, 2, 0.25),
        w2=slider("w2", 0.0, -2, 2, 0.25),
        bias=slider("bias", 0.0, -2, 2, 0.25),
    )


# ---------------------------------------------------------------------------------------------------- a backward pass

# The network of section 5: x → two neurons with ReLU → output, with a squared error against the target.
X, TARGET, W, B, V, C = 2, 3, (1, -1), (1, 1), (2, 5), -1
PLACES = {"x": (0, 0), "first": (2, 1), "second": (2, -1), "output": (4, 0), "loss": (5.6, 0)}
ROADS = (("x", "first"), ("x", "second"), ("first", "output"), ("second", "output"), ("output", "loss"))
FORWARD, BACKWARD = COLORS[0], COLORS[2]
CENTER = {"ha": "center", "va": "center", "fontsize": 10}


def backward_steps() -> list[tuple[str, list[tuple[float, float, str, str]]]]:
    """Return (what happens, what is written then: x, y, text, color) for each step of the forward and backward pass."""
    sums = [w * X + b for w, b in zip(W, B, strict=True)]
    hidden = [max(0, z) for z in sums]
    output = sum(v * h for v, h in zip(V, hidden, strict=True)) + C
    error = output - TARGET
    back = [2 * error * v for v in V]
    through = [g * (z > 0) for g, z in zip(back, sums, strict=True)]
    rows = (1, -1)  # the heights of the two neurons
    return [
        (f"the input is {X}, the target {TARGET}", [(0, 0.42, f"x = {X}", FORWARD)]),
        ("the sums w·x + b", [(1.6, y + 0.42, f"sum {z}", FORWARD) for y, z in zip(rows, sums, strict=True)]),
        ("ReLU", [(2.4, y + 0.42, f"→ {h}", FORWARD) for y, h in zip(rows, hidden, strict=True)]),
        ("the output, and the loss (output − target)²",
         [(4, 0.42, f"{output}", FORWARD), (5.6, 0.42, f"{error**2}", FORWARD)]),
        ("backward: the output's gradient, 2·(output − target)", [(4, -0.42, f"{2 * error}", BACKWARD)]),
        ("the gradients of v, output's gradient · hidden, and of c",
         [(3.1, y / 2 - 0.26, f"v: {2 * error * h}", BACKWARD) for y, h in zip(rows, hidden, strict=True)]
         + [(4.55, -0.85, f"c: {2 * error}", BACKWARD)]),
        ("the hidden outputs' gradients, output's gradient · v",
         [(2.25, y - 0.42, f"{g}", BACKWARD) for y, g in zip(rows, back, strict=True)]),
        ("back through ReLU, where the sum is above 0",
         [(1.75, y - 0.42, f"{g} ←", BACKWARD) for y, g in zip(rows, through, strict=True)]),
        ("the gradients of w, sum's gradient · x, and of b",
         [(0.8, y / 2 - 0.26, f"w: {g * X}, b: {g}", BACKWARD) for y, g in zip(rows, through, strict=True)]),
    ]  # fmt: skip


def draw_backward(axes: Axes, *, step: int) -> str:
    """Write what is known after `step` steps; what the last step added is bold."""
    steps = backward_steps()[: step + 1]
    for k, (_, written) in enumerate(steps):
        for x, y, text, color in written:
            weight = "bold" if k == step else "normal"
            axes.text(x, y, text.replace("-", "−"), color=color, weight=weight, **CENTER)
    what, written = steps[-1]
    return f"{what} ({'; '.join(text for *_, text, _ in written)})."


def backward_explorer() -> Control:
    """Return a slider that walks forward and backward through a network with two hidden neurons."""
    _, axes = new_figure(7.6, 3.7)
    axes.set(xlim=(-0.5, 6.2), ylim=(-1.8, 1.8))
    axes.axis("off")
    axes.set_title("Two hidden neurons; blue: forward; red: gradients, backward")
    for start, end in ROADS:
        axes.plot(*zip(PLACES[start], PLACES[end], strict=True), color="0.7", linewidth=1.2, zorder=1)
    for name, place in PLACES.items():
        box = {"boxstyle": "round,pad=0.5", "facecolor": "0.93", "edgecolor": "0.5"}
        axes.text(*place, name, bbox=box, zorder=3, **CENTER)
    weights = [(0.8, 0.5, f"w = {W[0]}, b = {B[0]}"), (0.8, -0.5, f"w = {W[1]}, b = {B[1]}"),
               (3.1, 0.5, f"v = {V[0]}"), (3.1, -0.5, f"v = {V[1]}"), (3.85, -0.85, f"c = {C}")]  # fmt: skip
    for x, y, text in weights:
        axes.text(x, y, text.replace("-", "−"), bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, **CENTER)
    return Control(draw_backward, axes, step=slider("step", 0, 0, len(backward_steps()) - 1, 1))


# ----------------------------------------------------------------------------------------------- a shore that forms


def shade_lake(axes: Axes, model: nn.Module, *, neurons: bool = True) -> None:
    """Shade the map by the probability of "lake", draw the shore where it is 1/2, and the lines of the first layer."""
    with torch.no_grad():
        wet = model(SQUARE).softmax(dim=1)[:, 1].view(len(TICKS), -1).numpy()
        axes.imshow(wet, cmap=LAND_AND_WATER, vmax=1, alpha=0.6, **MAP)
        if wet.min() < 0.5 < wet.max():
            axes.contour(TICKS, TICKS, wet, levels=[0.5], colors="black", linewidths=2)
        first = next(layer for layer in model.modules() if isinstance(layer, nn.Linear))
        for (w1, w2), bias in zip(first.weight.tolist(), first.bias.tolist(), strict=True) if neurons else ():
            draw_line(axes, w1, w2, bias, color="0.35", linestyle=":", linewidth=1)


def plot_lake(
    models: Mapping[str, nn.Module | None],
    points: Tensor,
    labels: Tensor,
    *,
    title: str,
    columns: int = 3,
    size: float = 2.4,
    neurons: bool = True,
) -> Figure:
    """Draw a map for each model: the points, and shaded what it answers; None draws the points alone.

    A map is `size` inches wide; `neurons` draws the lines of the first layer.
    """
    columns = min(columns, len(models))
    rows = -(-len(models) // columns)
    figure, grid = new_figure(size * columns, size * rows + 0.7, columns, rows, title=title, squeeze=False)
    for axes in grid.ravel()[len(models) :]:
        axes.axis("off")
    for axes, (name, model) in zip(grid.ravel(), models.items(), strict=False):
        set_up_map(axes, points, labels)
        if model is not None:
            shade_lake(axes, model, neurons=neurons)
        axes.set_title(name, fontsize=10, loc="left")
    for axes in grid[:, 0]:
        axes.set_ylabel("x2")
    for axes in grid[-1]:
        axes.set_xlabel("x1")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2.5)
    return figure


def draw_shore(
    photos: Mapping[int, nn.Module], points: Tensor, labels: Tensor, axes: Axes, *, step: int, neurons: bool
) -> str:
    """Shade what the network of this step answers; count the right answers."""
    shade_lake(axes, photos[step], neurons=neurons)
    with torch.no_grad():
        right = photos[step](points).argmax(dim=1) == labels
    return f"after {step:,} training steps {right.float().mean():.1%} of the points are right."


def shore_explorer(photos: Mapping[int, nn.Module], points: Tensor, labels: Tensor) -> Control:
    """Return a slider over the networks in `photos`, by training step, and a box for the lines of their neurons."""
    figure, axes = new_figure(4.2, 3.9)
    set_up_map(axes, points, labels, above=True)
    axes.set(xlabel="x1", ylabel="x2", title="The network's answers by step")
    figure.legend(loc="outside lower center", ncols=2, markerscale=2.5)
    steps = [(f"{step:,}", step) for step in photos]
    return Control(
        partial(draw_shore, photos, points, labels),
        axes,
        step=choice("step", steps, steps[0][1]),
        neurons=toggle("lines of the neurons", True),
    )


# ------------------------------------------------------------------------------------- learning rate and batch size


def draw_descent(losses: Mapping, accuracy: Mapping, axes: Axes, *, rate: float, batch_size: int) -> str:
    """Draw the loss by step of the training with this learning rate and batch size."""
    curve = np.asarray(losses[rate, batch_size])
    shown = np.clip(np.nan_to_num(curve, nan=9, posinf=9), 0, 2.2)
    axes.plot(np.arange(1, len(curve) + 1), shown, color=COLORS[0], linewidth=2)
    return (
        f"after {len(curve)} steps the loss is {curve[-20:].mean():.3f} (mean of the last 20 steps) and the validation "
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

    `losses` and `accuracy` hold, by (learning rate, batch size), the training loss of each step and the validation
    accuracy; `baseline` is the loss of the best constant answer. Raises ValueError when they are empty or do not belong
    together.
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
