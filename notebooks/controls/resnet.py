"""Chapter 11's controls: gradients by depth, a block left out of a network, the shapes and costs of a block."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.ticker import PercentFormatter
from torch import Tensor, nn

from course_utils.controls import Control, add_boxes, choice, draw_logits, menu, set_up_logits, text_writer, toggle
from course_utils.models import PadShortcut, ResidualBlock, projection
from course_utils.plotting import COLORS, LINES, class_style, new_figure
from course_utils.tracing import Call, trace_shapes

# ---------------------------------------------------------------------------------------------------- depth and skip

DEPTHS = (9, 21, 33, 45)
LOW, HIGH = 1e-21, 1e3  # the ends of the axis of gradient norms
NAMES = {False: "plain", True: "residual"}
Errors = Mapping[tuple[int, bool], float]


def draw_depth(
    norms_of: Callable, errors: Errors, left: Axes, right: Axes, *, convolutions: int, skip: bool, norm: bool, init: str
) -> str:
    """Draw the norm of the gradient in each block before the first step, and a ring around the recorded error."""
    values = norms_of(convolutions, skip, norm, init)
    heights = np.clip(np.nan_to_num(values), LOW, HIGH) - LOW
    add_boxes(left, np.arange(len(values)) + 0.6, LOW, 0.8, heights, facecolor=class_style(int(skip))["color"])
    error, trained_so = errors.get((convolutions, skip)), norm and init == "he"
    if trained_so and error is not None:
        right.plot(convolutions, error, "o", markersize=14, markerfacecolor="none", markeredgecolor="black")
    return f"{gradient_text(values)}. {error_text(error, NAMES[skip], trained_so)}"


def gradient_text(values: np.ndarray) -> str:
    """Compare the gradients of the first and the last block in words."""
    first, last = values[0], values[-1]
    text = f"the gradient's norm is {first:.3g} in block 1 and {last:.3g} in block {len(values)}"
    if not np.isfinite(values).all():
        return text + ", and not all are finite"
    low, high = sorted((first, last))
    if low == 0:
        return f"{text} (0: nothing arrives, or too little for float32)"
    if high < 2 * low:
        return f"{text}: the same at both ends, within a factor of two"
    ratio = f"{high / low:,.0f}" if high / low < 1e5 else f"{high / low:.0e}"
    return f"{text}: {'growing' if first > last else 'shrinking'} toward the input by a factor of {ratio}"


def error_text(error: float | None, name: str, trained_so: bool) -> str:
    """Say what training error was recorded, and with which choices."""
    if not trained_so:
        return "The recorded errors, on the right, are those of networks with BatchNorm and He's initial values."
    if error is None:
        return f"No training error was recorded for a {name} network of this depth."
    return f"Recorded training error of this {name} network (ring): {error:.1%}."


def measured(gradients: Callable, convolutions: int, skip: bool, norm: bool, init: str) -> np.ndarray:
    """Return the gradient norms (blocks,) of a network, each time from the same random numbers."""
    with torch.random.fork_rng(devices=[]):  # the notebook's own random numbers stay what they would be
        torch.manual_seed(0)
        found = gradients(convolutions=convolutions, skip=skip, norm=norm, init=init)
    values, count = np.asarray(found, dtype=float), (convolutions - 1) // 2
    if values.shape != (count,):
        expected = f"{count} numbers from `gradients`, one for each block of {convolutions} convolutions"
        raise ValueError(f"expected {expected}, got {values.size}")
    return values


def depth_explorer(gradients: Callable[..., Sequence[float]], errors: Errors) -> Control:
    """Return controls for depth, shortcut, BatchNorm and initial values over the gradient norms of the blocks.

    `gradients(convolutions=…, skip=…, norm=…, init="he" or "default")` builds a network and returns the norm for each
    of its (convolutions − 1) / 2 blocks; it is called once for each choice. `errors` holds recorded training errors in
    0..1 by (convolutions, skip). Raises ValueError for errors outside 0..1.
    """
    wrong = {key: error for key, error in errors.items() if not 0 <= error <= 1}
    if wrong:
        raise ValueError(f"expected training errors from 0 to 1 by (convolutions, skip), got {wrong}")
    _, (left, right) = new_figure(8.6, 3.2, columns=2, width_ratios=(1.6, 1))
    left.set(xlim=(0.3, 22.7), xticks=[1, 5, 10, 15, 20], xlabel="block, from the input on")
    left.set(ylim=(LOW, HIGH), yscale="log", yticks=10.0 ** np.arange(-21, 4, 3), ylabel="norm of the gradient")
    left.set_title("gradients before the first step")
    left.spines["bottom"].set_animated(True)  # above the bars
    left.axhline(1, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    for skip, name in NAMES.items():
        depths = sorted(depth for depth, its_skip in errors if its_skip == skip)
        values = [errors[depth, skip] for depth in depths]
        right.plot(depths, values, linestyle=LINES[skip], label=name, **class_style(int(skip)))
    right.set(xlim=(5, 49), ylim=(-0.06, 1.06), title="training error (recorded)", xlabel="convolutions", xticks=DEPTHS)
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.legend(loc="upper left")
    return Control(
        partial(draw_depth, cache(partial(measured, gradients)), errors),
        (left, right),
        convolutions=choice("convolutions", list(DEPTHS), DEPTHS[-1]),
        skip=toggle("shortcut"),
        norm=toggle("BatchNorm", True),
        init=menu("initial values", [("He", "he"), ("PyTorch's default", "default")], "he"),
    )


# ------------------------------------------------------------------------------------------------------ drop a block


def draw_drop(
    logits_of: Callable, images: Tensor, labels: Tensor, shown: Axes, accuracy: Axes, bars: Axes, *, network: str,
    block: int | str, image: int,
) -> str:  # fmt: skip
    """Draw an image, the accuracy over all images and the image's logits: with all blocks, and without one."""
    label, whole = int(labels[image]), block == "none"
    logits = [logits_of(network, "none")] if whole else [logits_of(network, "none"), logits_of(network, block)]
    shares = [(one.argmax(dim=1) == labels).float().mean().item() for one in logits]
    answers = [int(one[image].argmax()) for one in logits]
    shown.imshow(images[image, 0].numpy(), **gray(images))
    add_boxes(accuracy, np.arange(len(shares)) - 0.35, 0, 0.7, shares, facecolor=COLORS[:2])
    draw_logits(bars, logits[0][image].numpy(), None if whole else logits[1][image].numpy())
    bars.plot(label, 0.03, "^", color="black", transform=bars.get_xaxis_transform())
    text = f"the image is of class {label}, the answer "
    if whole:
        return f"{text}is {answers[0]}; accuracy {shares[0]:.0%} of {len(images)} images."
    change = f"stays {answers[0]}" if answers[0] == answers[1] else f"changes from {answers[0]} to {answers[1]}"
    return f"{text}{change}; accuracy {shares[0]:.0%} with the block, {shares[1]:.0%} without, of {len(images)} images."


def gray(images: Tensor) -> dict:
    """Return how an image is shown: on one gray scale for all."""
    return {"cmap": "gray", "vmin": float(images.min()), "vmax": float(images.max())}


def block_places(model: nn.Sequential) -> list[int]:
    """Return where in a network its blocks stand: the layers that have a `branch`."""
    return [k for k, layer in enumerate(model) if hasattr(layer, "branch")]


@torch.no_grad()
def logits_without(models: Mapping[str, nn.Sequential], images: Tensor, network: str, block: int | str) -> Tensor:
    """Return logits (N, classes) without a block, counted from 1 (or "none"): what comes to it passes by unchanged."""
    places, x = block_places(models[network]), images
    if block != "none" and block > len(places):
        raise ValueError(f"the {network} network has no block {block}: choose 1 to {len(places)}")
    for k, layer in enumerate(models[network]):
        if block == "none" or k != places[block - 1]:
            x = layer(x)
            continue
        before, after = (f"{c} maps of {h}×{w}" for _, c, h, w in (x.shape, layer(x.clone()).shape))
        if before != after:
            raise ValueError(
                f"block {block} turns {before} into {after}: x cannot pass by it unchanged, "
                "the next block expects the new shape. Choose another block"
            )
    if not x.isfinite().all():
        raise ValueError("the network's output holds nan or inf: its training has diverged, take one that has not")
    return x


def drop_explorer(models: Mapping[str, nn.Sequential], images: Tensor, labels: Tensor) -> Control:
    """Return controls over networks, their blocks and images.

    `models` are nn.Sequentials by name whose blocks have an attribute `branch` and that return logits (N, classes) for
    `images`, float (N, 1, H, W); `labels` is int64 (N,). The networks are copied: later training changes nothing here.
    """
    for name, model in models.items():
        if not isinstance(model, nn.Sequential) or not block_places(model):
            expected = "a nn.Sequential with modules that have a `branch`"
            raise ValueError(f'the network "{name}" has no blocks: expected {expected}, got {type(model).__name__}')
    if images.dim() != 4 or images.shape[1] != 1 or not images.is_floating_point():
        raise ValueError(f"expected float images of shape (N, 1, H, W), got {images.dtype} {tuple(images.shape)}")
    if len(labels) != len(images):
        raise ValueError(f"expected one label an image, got {len(labels)} labels and {len(images)} images")
    images, labels = images.cpu(), labels.cpu()
    models = {name: copy.deepcopy(model).cpu().eval() for name, model in models.items()}
    logits_of = cache(partial(logits_without, models, images))
    _, (shown, accuracy, bars) = new_figure(9, 3, columns=3, width_ratios=(0.9, 0.9, 2))
    shown.imshow(images[0, 0].numpy(), **gray(images))
    shown.set_title("the image")
    shown.axis("off")
    accuracy.set(xlim=(-0.435, 1.435), ylim=(0, 1), title=f"accuracy, {len(images)} images")
    accuracy.set_xticks([0, 1], ["whole", "without"])
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    texts = {"title": "the image's logits (orange: without the block)", "xlabel": "class (▲: the right one)"}
    set_up_logits(bars, torch.cat([logits_of(name, "none") for name in models]).numpy(), **texts)
    most = max(len(block_places(model)) for model in models.values())
    return Control(
        partial(draw_drop, logits_of, images, labels),
        (shown, accuracy, bars),
        network=menu("network", list(models), next(iter(models))),
        block=choice("leave out block", ["none", *range(1, most + 1)], "none"),
        image=choice("image", list(range(len(images))), 0),
    )


# ------------------------------------------------------------------------------------------------- shapes of a block

SIDE, CHANNELS = 32, (4, 8, 16, 32, 64)  # SIDE: height and width of the maps that come in


class NoShortcut(nn.Identity):
    """Add nothing to the branch."""

    def forward(self, x: Tensor) -> float:
        return 0.0


SHORTCUTS = {"none": NoShortcut, "identity": nn.Identity, "slice and pad": PadShortcut, "projection": projection}


def traced(before: int, after: int, stride: int, shortcut: str) -> tuple[Sequence[Call], str]:
    """Return the calls in a block for one image (1, before, 32, 32), and why its sum fails ("" where it does not)."""
    with torch.random.fork_rng(devices=[]):  # making layers draws random numbers: the notebook's own stay as they are
        block, x = ResidualBlock(before, after, stride, nn.Identity), torch.zeros(1, before, SIDE, SIDE)
        block.shortcut = SHORTCUTS[shortcut](before, after, stride)
    try:
        return trace_shapes(block, x).calls, ""
    except ValueError as error:
        block.shortcut = NoShortcut()  # what the branch makes can be shown all the same
        return trace_shapes(block, x).calls, str(error).splitlines()[0]


def costs(calls: Sequence[Call]) -> str:
    """Sum up what one of the two ways through a block costs."""
    parameters, multiply_adds = sum(call.parameters for call in calls), sum(call.multiply_adds for call in calls)
    return f"{parameters:,} parameters, {multiply_adds:,} multiply-adds"


PLACES = {  # of the words that change: (x, y), y down
    "x": (0.8, 1.8), "inside": (3.5, 1.8), "branch": (5.85, 1.8), "sum": (7.3, 1.8), "out": (8.9, 1.8),
    "first": (2.18, 1.72), "costs": (3.5, 2.6), "sign": (6.6, 1.95),
    "entering": (1.2, 0.45), "leaving": (5.6, 0.45), "way": (3.45, 0.48), "way, second line": (3.45, 0.72),
    "way costs": (3.45, 1.12),
}  # fmt: skip
BOX = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": "0.93", "edgecolor": "black", "zorder": 3}
LINE = {"color": "black", "linewidth": 1.2, "zorder": 1}


def draw_block(write: Callable, axes: Axes, *, before: int, after: int, stride: int, shortcut: str) -> str:
    """Write the shapes and costs of a block; what cannot be added is red."""
    calls, problem = traced(before, after, stride, shortcut)
    aside = [call for call in calls if call.layer.startswith("shortcut")]
    side, branch = costs(aside), costs([call for call in calls if call not in aside])
    came, made = (str(shape).replace("(1,", "(B,") for shape in (calls[0].inputs[0], calls[-1].outputs[0]))
    end, misfits = ("?", {"branch", "leaving", "sign"}) if problem else (made, set())
    words = {"x": came, "inside": made, "branch": made, "sum": end, "out": end}
    words |= {"first": f"3×3 conv, stride {stride}", "costs": f"branch: {branch}"}
    if shortcut != "none":
        draw_shortcut(axes, COLORS[2] if problem else "black")
        words["way"], words["way, second line"] = way_text(before, after, stride, shortcut)
        words |= {"entering": came, "leaving": came if shortcut == "identity" else made}
        words |= {"way costs": f"shortcut: {side}", "sign": "≠" if problem else "+"}
    for color, names in (("black", words.keys() - misfits), (COLORS[2], misfits)):
        x, y = np.array([PLACES[name] for name in names]).reshape(-1, 2).T
        write(axes, x, y, [words[name] for name in names], size=0.125, color=color)
    if problem:
        return f"the shortcut does not fit. {problem}."
    added = "nothing is added" if shortcut == "none" else f"the shortcut has {side}"
    text = f"{came} becomes {made}. The branch has {branch}; {added} (multiply-adds of one image)."
    return text + remark(before, after, stride, shortcut)


def way_text(before: int, after: int, stride: int, shortcut: str) -> tuple[str, str]:
    """Say in two lines what a shortcut does."""
    if shortcut == "projection":
        return f"1×1 conv, stride {stride}", "BatchNorm"
    if shortcut == "identity":
        return "identity:", "x as it came"
    pixels = "every pixel" if stride == 1 else "every second pixel"
    if after < before:
        return pixels, f"of the first {after} channels"
    return pixels, f"and {after - before} channels of zeros"


def remark(before: int, after: int, stride: int, shortcut: str) -> str:
    """Say what is needless or lost in a block that fits."""
    if shortcut == "projection" and before == after and stride == 1:
        return " x fits as it is: the identity would do, without parameters."
    if shortcut == "slice and pad" and before > after:
        return f" The shortcut cuts {before - after} channels of x off."
    return ""


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0} | LINE, zorder=1)


def draw_shortcut(axes: Axes, color: str) -> None:
    """Draw the way around the branch, and the circle in which both meet."""
    axes.plot([0.2, 0.2, np.nan, 4.7, 6.6], [1.95, 0.6, np.nan, 0.6, 0.6], **LINE)
    arrow(axes, (0.2, 0.6), (2.2, 0.6))
    arrow(axes, (6.6, 0.6), (6.6, 1.74))
    axes.add_artist(FancyBboxPatch((2.2, 0.28), 2.5, 0.64, **BOX))
    axes.add_artist(Circle((6.6, 1.95), 0.2, facecolor="white", edgecolor=color, zorder=3))


def two_blocks() -> Figure:
    """Draw a plain block and below it a residual one: the same branch, and a way around it."""
    figure, axes = new_figure(8, 3.3)
    axes.set(xlim=(0, 10.2), ylim=(4.25, 0.1), aspect="equal")
    axes.axis("off")
    boxes = (1.1, 2.8, "3×3 conv\nBatchNorm"), (3.2, 4.0, "ReLU"), (4.4, 6.1, "3×3 conv\nBatchNorm"), (8.3, 9.1, "ReLU")
    ends = [0.3, *(place for box in boxes for place in box[:2]), 10.1]
    for y, top, name in ((0.9, 0.25, "plain block"), (3.7, 1.95, "residual block")):
        axes.text(0, top, name, weight="bold")
        axes.text(0, y, "x", va="center")
        for left, right in zip(ends[::2], ends[1::2], strict=True):
            arrow(axes, (left, y), (right, y))
        for left, right, text in boxes:
            axes.add_patch(FancyBboxPatch((left, y - 0.4), right - left, 0.8, **BOX))
            axes.text((left + right) / 2, y, text, ha="center", va="center", fontsize=9, zorder=4)
    axes.plot([0.7, 0.7, 7.0], [3.7, 2.3, 2.3], **LINE)
    arrow(axes, (7.0, 2.3), (7.0, 3.5))
    axes.add_artist(Circle((7.0, 3.7), 0.2, facecolor="white", edgecolor="black", zorder=3))
    axes.text(7.0, 3.7, "+", ha="center", va="center", zorder=4)
    words = (6.2, 0.75, "H(x)"), (6.2, 3.55, "F(x)"), (7.25, 3.55, "F(x) + x"), (3.1, 2.15, "shortcut: x as it is")
    for x, y, text in words:
        axes.text(x, y, text, fontsize=9)
    return figure


def block_explorer() -> Control:
    """Return controls for channels, stride and shortcut of a residual block: below the branch, above the shortcut."""
    _, axes = new_figure(9, 2.7)
    axes.set(xlim=(-0.1, 9.55), ylim=(2.8, 0.1), aspect="equal")
    axes.axis("off")
    for left, right in ((0, 1.4), (2.95, 4.05), (5.3, 6.4), (6.8, 7.85), (8.35, 9.5)):
        arrow(axes, (left, 1.95), (right, 1.95))
    axes.plot([6.4, 6.8], [1.95, 1.95], **LINE)  # seen where nothing is added
    boxes = (1.4, 2.95, "\nBatchNorm\nReLU"), (4.05, 5.3, "3×3 conv\nBatchNorm"), (7.85, 8.35, "ReLU")
    for left, right, text in boxes:
        axes.add_patch(FancyBboxPatch((left, 1.58), right - left, 0.74, **BOX))
        axes.text((left + right) / 2, 1.95, text, ha="center", va="center", fontsize=9, zorder=4)
    return Control(
        partial(draw_block, text_writer()),
        axes,
        before=choice("channels in", list(CHANNELS), 16),
        after=choice("channels out", list(CHANNELS), 32),
        stride=choice("stride", [1, 2], 1),
        shortcut=menu("shortcut", list(SHORTCUTS), "identity"),
    )
