"""Chapter 11's controls: gradients by depth, a block left out of a network, the shapes and costs of a block."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.text import Annotation
from matplotlib.ticker import PercentFormatter
from torch import Tensor, nn

from course_utils.models import PadShortcut, projection
from course_utils.plotting import COLORS, LINES, class_style, new_figure
from course_utils.tracing import Call, trace_shapes
from course_utils.widgets.canvas import Explorer, choice, explore, menu, on_off, toggle
from course_utils.widgets.convolution_stepper import Labels
from course_utils.widgets.lenet import logits_of

# ---------------------------------------------------------------------------------------------------- depth and skip

DEPTHS = (9, 21, 33, 45)
LOW, HIGH = 1e-21, 1e3  # the ends of the axis of gradient norms
NAMES = {False: "plain", True: "residual"}


def block_count(convolutions: int) -> int:
    """Return how many blocks of two convolutions follow the first convolution."""
    return (convolutions - 1) // 2


class DepthPicture:
    """The norm of the gradient in each block before the first step; beside it recorded training errors by depth."""

    def __init__(self, gradients: Callable[..., Sequence[float]], errors: Mapping[tuple[int, bool], float]) -> None:
        self.gradients, self.errors = gradients, errors
        self.known: dict[tuple, np.ndarray] = {}
        self.figure, (norms, recorded) = new_figure(8.6, 3.2, columns=2, width_ratios=(1.6, 1))
        count = block_count(DEPTHS[-1])
        self.bars = norms.bar(range(1, count + 1), LOW, width=0.8, bottom=LOW)
        norms.set(xlim=(0.3, count + 0.7), ylim=(LOW, HIGH), yscale="log", xlabel="block, from the input on")
        norms.set(ylabel="norm of the gradient", title="gradients before the first step")
        norms.set_xticks([1, *range(5, count + 1, 5)])
        norms.set_yticks([10.0**k for k in range(-21, 4, 3)])
        norms.axhline(1, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        self.draw_errors(recorded)
        self.moving = [*self.bars, self.mark]

    def draw_errors(self, axes: Axes) -> None:
        """Draw the recorded errors of plain and residual networks, and a ring for the chosen one."""
        for skip, name in NAMES.items():
            depths = sorted(depth for depth, its_skip in self.errors if its_skip == skip)
            values = [self.errors[depth, skip] for depth in depths]
            axes.plot(depths, values, linestyle=LINES[skip], label=name, **class_style(int(skip)))
        (self.mark,) = axes.plot(
            [], [], marker="o", markersize=14, markerfacecolor="none", markeredgecolor="black", linestyle=""
        )
        axes.set(
            xlim=(5, 49), xticks=DEPTHS, ylim=(-0.06, 1.06), xlabel="convolutions", title="training error (recorded)"
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="upper left")

    def update(self, convolutions: int, skip: bool, norm: bool, init: str) -> str:
        """Show the gradients of a network; say how far its first and last block differ, and what its error was."""
        values = self.norms_of(convolutions, skip, norm, init)
        for k, bar in enumerate(self.bars):
            bar.set_visible(k < len(values))
            bar.set_facecolor(class_style(int(skip))["color"])
            if k < len(values):
                bar.set_height(float(np.clip(np.nan_to_num(values[k]), LOW, HIGH)) - LOW)
        error = self.errors.get((convolutions, skip))
        shown = error is not None and norm and init == "he"
        self.mark.set_data(*([convolutions], [error]) if shown else ([], []))
        return (
            f"convolutions = {convolutions}, shortcut = {on_off(skip)}, BatchNorm = {on_off(norm)}, "
            f"initial values = {init}: {gradient_text(values)}. {error_text(error, NAMES[skip], norm and init == 'he')}"
        )

    def norms_of(self, convolutions: int, skip: bool, norm: bool, init: str) -> np.ndarray:
        """Return the gradient norms (blocks,), computed once; each time from the same random numbers."""
        key = convolutions, skip, norm, init
        if key not in self.known:
            with torch.random.fork_rng(devices=[]):  # the notebook's own random numbers stay what they would be
                torch.manual_seed(0)
                found = self.gradients(convolutions=convolutions, skip=skip, norm=norm, init=init)
            values, count = np.asarray(found, dtype=float), block_count(convolutions)
            if values.shape != (count,):
                raise ValueError(
                    f"expected {count} numbers from `gradients`, one for each block of {convolutions} convolutions, "
                    f"got {values.size}"
                )
            self.known[key] = values
        return self.known[key]


def gradient_text(values: np.ndarray) -> str:
    """Compare the gradients of the first and the last block in words."""
    first, last = values[0], values[-1]
    text = f"the gradient's norm is {first:.3g} in block 1 and {last:.3g} in block {len(values)}"
    if not np.isfinite(values).all():
        return text + ", and not all are finite"
    low, high = sorted((first, last))
    if low == 0:
        return f"{text} (0: nothing arrives, or too little for float32)"
    where = "the same at both ends, within a factor of two"
    if high >= 2 * low:
        ratio = f"{high / low:,.0f}" if high / low < 1e5 else f"{high / low:.0e}"
        where = f"{'growing' if first > last else 'shrinking'} toward the input by a factor of {ratio}"
    return f"{text}: {where}"


def error_text(error: float | None, name: str, trained_so: bool) -> str:
    """Say what training error was recorded, and with which choices."""
    if not trained_so:
        return "The recorded errors, on the right, are those of networks with BatchNorm and He's initial values."
    if error is None:
        return f"No training error was recorded for a {name} network of this depth."
    return f"Recorded training error of this {name} network (ring): {error:.1%}."


def depth_explorer(gradients: Callable[..., Sequence[float]], errors: Mapping[tuple[int, bool], float]) -> Explorer:
    """Return controls for depth, shortcut, BatchNorm and initial values over the gradient norms of the blocks.

    `gradients(convolutions=…, skip=…, norm=…, init="he" or "default")` builds a network and returns the norm for each
    of its (convolutions − 1) / 2 blocks; it is called once for each choice. `errors` holds recorded training errors in
    0..1 by (convolutions, skip). Raises ValueError for errors outside 0..1.
    """
    wrong = {key: error for key, error in errors.items() if not 0 <= error <= 1}
    if wrong:
        raise ValueError(f"expected training errors from 0 to 1 by (convolutions, skip), got {wrong}")
    return explore(
        DepthPicture(gradients, errors),
        convolutions=choice("convolutions", list(DEPTHS), DEPTHS[-1]),
        skip=toggle("shortcut"),
        norm=toggle("BatchNorm", True),
        init=menu("initial values", [("He", "he"), ("PyTorch's default", "default")], "he"),
    )


# ------------------------------------------------------------------------------------------------------ drop a block


def block_places(model: nn.Sequential) -> list[int]:
    """Return where in a network its blocks stand: the layers that have a `branch`."""
    return [k for k, layer in enumerate(model) if hasattr(layer, "branch")]


def block_shapes(model: nn.Sequential, image: Tensor) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the shapes, without batch axis, before and after each block for an image (1, C, H, W); in eval mode."""
    shapes, x = [tuple(image.shape[1:])], image
    with torch.no_grad():
        for layer in model:
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
    return [(shapes[k], shapes[k + 1]) for k in block_places(model)]


def without_block(model: nn.Sequential, block: int) -> nn.Sequential:
    """Return a network of the same layers, not copies, but for one block, counted from 1: what came passes by."""
    place = block_places(model)[block - 1]
    return nn.Sequential(*(layer for k, layer in enumerate(model) if k != place))


class DropPicture:
    """An image, the accuracy over all images and the image's logits: by the whole network and without one block."""

    def __init__(self, models: Mapping[str, nn.Sequential], images: Tensor, labels: Tensor) -> None:
        # copies: whatever happens to the networks later, "whole" and "without" belong together
        self.models = {name: copy.deepcopy(model).cpu().eval() for name, model in models.items()}
        self.images, self.labels = images, labels
        self.shapes = {name: block_shapes(model, images[:1]) for name, model in self.models.items()}
        self.known = {(name, None): logits_of(model, images) for name, model in self.models.items()}
        self.figure, (image, accuracy, logits) = new_figure(9, 3, columns=3, width_ratios=(0.9, 0.9, 2))
        image.axis("off")
        image.set_title("the image")
        self.image = image.imshow(
            np.zeros(images.shape[2:]), cmap="gray", vmin=float(images.min()), vmax=float(images.max())
        )
        self.shares = accuracy.bar([0, 1], [0, 0], width=0.7, color=COLORS[:2])
        accuracy.set(ylim=(0, 1), title=f"accuracy, {len(images)} images")
        accuracy.set_xticks([0, 1], ["whole", "without"])
        accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        self.draw_logits(logits, torch.cat(list(self.known.values())))
        self.moving = [self.image, *self.shares, *self.kept, *self.without, self.label]

    def draw_logits(self, axes: Axes, logits: Tensor) -> None:
        """Make two bars a class on one scale for all images and networks, with room for what a block changes."""
        classes, low, high = np.arange(logits.shape[1]), float(logits.min()), float(logits.max())
        room = 0.25 * (high - low)
        self.kept = axes.bar(classes - 0.2, 0, width=0.4, color=COLORS[0])
        self.without = axes.bar(classes + 0.2, 0, width=0.4, color=COLORS[1])
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(ylim=(min(low, 0) - room, max(high, 0) + room), xlabel="class (▲: the right one)", xticks=classes)
        axes.set_title("the image's logits (orange: without the block)")
        (self.label,) = axes.plot([0], [0.03], marker="^", color="black", transform=axes.get_xaxis_transform())

    def update(self, network: str, block: int | str, image: int) -> str:
        """Leave a block out ("none", or counted from 1); say what becomes of the accuracy and of one image's answer."""
        block = None if block == "none" else block
        before, after = self.logits_without(network, None), self.logits_without(network, block)
        shares = [(logits.argmax(dim=1) == self.labels).float().mean().item() for logits in (before, after)]
        self.image.set_data(self.images[image, 0].numpy())
        self.label.set_xdata([int(self.labels[image])])
        self.show_bars(shares, before[image].tolist(), after[image].tolist(), block is not None)
        answers = [int(logits[image].argmax()) for logits in (before, after)]
        head = f"network = {network}, image = {image} (class {int(self.labels[image])}), block left out = "
        if block is None:
            return f"{head}none: accuracy {shares[0]:.0%} of {len(self.images)} images; the answer is {answers[0]}."
        change = f"stays {answers[0]}" if answers[0] == answers[1] else f"changes from {answers[0]} to {answers[1]}"
        return (
            f"{head}{block}: accuracy {shares[0]:.0%} with it, {shares[1]:.0%} without, of {len(self.images)} images; "
            f"the answer {change}."
        )

    def logits_without(self, network: str, block: int | None) -> Tensor:
        """Return the logits (N, classes) without a block, counted from 1 (None: with all of them), computed once."""
        if (network, block) not in self.known:
            self.check_block(network, block)
            self.known[network, block] = logits_of(without_block(self.models[network], block), self.images)
        return self.known[network, block]

    def check_block(self, network: str, block: int) -> None:
        """Raise ValueError for a block that the network has not, or that nothing can stand in for."""
        shapes = self.shapes[network]
        if not 1 <= block <= len(shapes):
            raise ValueError(f"the {network} network has no block {block}: choose 1 to {len(shapes)}")
        before, after = shapes[block - 1]
        if before != after:
            raise ValueError(
                f"block {block} turns {shape_name(before)} into {shape_name(after)}: x cannot pass by it unchanged, "
                "the next block expects the new shape. Choose another block"
            )

    def show_bars(self, shares: Sequence[float], kept: Sequence[float], without: Sequence[float], two: bool) -> None:
        """Set the heights of all bars; with no block left out, those of "without" are hidden."""
        for bars, heights, visible in (
            (self.shares, shares, (True, two)),
            (self.kept, kept, [True] * len(kept)),
            (self.without, without, [two] * len(without)),
        ):
            for bar, height, shown in zip(bars, heights, visible, strict=True):
                bar.set_height(height)
                bar.set_visible(shown)


def shape_name(shape: tuple[int, ...]) -> str:
    """Write the size of maps as people do: 16 maps of 4×4."""
    return f"{shape[0]} maps of {'×'.join(map(str, shape[1:]))}"


def drop_explorer(models: Mapping[str, nn.Sequential], images: Tensor, labels: Tensor) -> Explorer:
    """Return controls over networks, their blocks and images.

    `models` are nn.Sequentials by name whose blocks have an attribute `branch` and that return logits (N, classes) for
    `images`, float (N, 1, H, W); `labels` is int64 (N,). The networks are copied: later training changes nothing here.
    Raises ValueError where these do not fit together.
    """
    check_networks(models)
    if images.dim() != 4 or images.shape[1] != 1 or not images.is_floating_point() or len(images) == 0:
        raise ValueError(f"expected float images of shape (N, 1, H, W), got {images.dtype} {tuple(images.shape)}")
    if len(labels) != len(images):
        raise ValueError(f"expected one label an image, got {len(labels)} labels and {len(images)} images")
    most = max(len(block_places(model)) for model in models.values())
    return explore(
        DropPicture(models, images.cpu(), labels.cpu()),
        network=menu("network", list(models), next(iter(models))),
        block=choice("leave out block", ["none", *range(1, most + 1)], "none"),
        image=choice("image", list(range(len(images))), 0),
    )


def check_networks(models: Mapping[str, nn.Sequential]) -> None:
    """Raise ValueError unless there is a network, and each is a nn.Sequential with blocks."""
    if not models:
        raise ValueError('there is no network: expected at least one, for example {"residual": model}')
    for name, model in models.items():
        if not isinstance(model, nn.Sequential) or not block_places(model):
            raise ValueError(
                f'the network "{name}" has no blocks: expected a nn.Sequential with modules that have a `branch`, got '
                f"{type(model).__name__}"
            )


# ------------------------------------------------------------------------------------------------- shapes of a block

SIDE = 32  # height and width of the maps that come in
CHANNELS = (4, 8, 16, 32, 64)
SHORTCUTS = ("none", "identity", "slice and pad", "projection")


class Block(nn.Module):
    """Two 3 × 3 convolutions with BatchNorm, and one of the SHORTCUTS around them."""

    def __init__(self, before: int, after: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.shortcut = {
            "none": nn.Identity,
            "identity": nn.Identity,
            "slice and pad": lambda: PadShortcut(before, after, stride),  # where there are too many channels, it cuts
            "projection": lambda: projection(before, after, stride),
        }[shortcut]()
        self.add = shortcut != "none"

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)  # (B, after, H/stride, W/stride)
        return (out + self.shortcut(x) if self.add else out).relu()


def trace_block(before: int, after: int, stride: int, shortcut: str) -> tuple[tuple[Call, ...], str]:
    """Return the calls in a block for one image (1, before, 32, 32), and why its sum fails ("" where it does not)."""
    with torch.random.fork_rng(devices=[]):  # making layers draws random numbers: the notebook's own stay as they are
        block = Block(before, after, stride, shortcut)
    x = torch.zeros(1, before, SIDE, SIDE)
    try:
        return trace_shapes(block, x).calls, ""
    except ValueError as error:
        block.add = False  # what the branch makes can be shown all the same
        return trace_shapes(block, x).calls, str(error).splitlines()[0]


@dataclass(frozen=True)
class Way:
    """One of the two ways through a block: the shape (C, H, W) it ends with and what it costs."""

    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int  # of one image

    def __str__(self) -> str:
        return f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds"


def way(calls: Sequence[Call], name: str, before: int) -> Way:
    """Sum up the calls of the branch or the shortcut; without any, x passes as it came."""
    own = [call for call in calls if call.layer.split(".")[0] == name]
    shape = own[-1].outputs[0][1:] if own else (before, SIDE, SIDE)
    return Way(shape, sum(call.parameters for call in own), sum(call.multiply_adds for call in own))


PLACES = {  # of the words that change: (x, y), y down
    "x": (0.8, 1.8), "inside": (3.5, 1.8), "branch": (5.85, 1.8), "sum": (7.3, 1.8), "out": (8.9, 1.8),
    "first": (2.18, 1.72), "costs": (3.5, 2.6), "sign": (6.6, 1.95),
    "entering": (1.2, 0.45), "leaving": (5.6, 0.45), "way": (3.45, 0.48), "way, second line": (3.45, 0.72),
    "way costs": (3.45, 1.12),
}  # fmt: skip


class BlockPicture:
    """A block as boxes and arrows: above, the shortcut; below, the branch; on each arrow the shape of what passes."""

    def __init__(self) -> None:
        self.figure, axes = new_figure(9, 2.7)
        axes.set(xlim=(-0.1, 9.55), ylim=(2.8, 0.1), aspect="equal")
        axes.axis("off")
        for left, right in ((0, 1.4), (2.95, 4.05), (5.3, 6.4), (6.8, 7.85), (8.35, 9.5)):
            arrow(axes, (left, 1.95), (right, 1.95))
        axes.plot([6.4, 6.8], [1.95, 1.95], color="black", linewidth=1.2, zorder=1)  # seen where nothing is added
        for left, right, text in (
            (1.4, 2.95, "\nBatchNorm\nReLU"), (4.05, 5.3, "3×3 conv\nBatchNorm"), (7.85, 8.35, "ReLU"),
        ):  # fmt: skip
            axes.add_patch(FancyBboxPatch((left, 1.58), right - left, 0.74, **BOX))
            axes.text((left + right) / 2, 1.95, text, ha="center", va="center", fontsize=9, zorder=4)
        rise, across = (axes.plot(*line, color="black", linewidth=1.2, zorder=1)[0] for line in SHORTCUT_LINES)
        arrows = arrow(axes, (0.2, 0.6), (2.2, 0.6)), arrow(axes, (6.6, 0.6), (6.6, 1.74))
        frame = axes.add_patch(FancyBboxPatch((2.2, 0.28), 2.5, 0.64, **BOX))
        self.circle = axes.add_patch(Circle((6.6, 1.95), 0.2, facecolor="white", edgecolor="black", zorder=3))
        self.aside = [rise, across, *arrows, frame, self.circle]  # there is none of it without a shortcut
        self.black, self.red = Labels(axes, "black"), Labels(axes, COLORS[2])
        self.moving = [*self.aside, self.black, self.red]

    def update(self, before: int, after: int, stride: int, shortcut: str) -> str:
        """Write the shapes and costs of a block; name the mismatch where branch and shortcut cannot be added."""
        calls, problem = trace_block(before, after, stride, shortcut)
        branch, side = way(calls, "branch", before), way(calls, "shortcut", before)
        came, made = batch_shape((before, SIDE, SIDE)), batch_shape(branch.shape)
        end = "?" if problem else made
        self.words = {"x": came, "inside": made, "branch": made, "sum": end, "out": end, "costs": f"branch: {branch}"}
        self.words["first"] = f"3×3 conv, stride {stride}"
        if shortcut != "none":
            lines = zip(("way", "way, second line"), way_text(before, after, stride, shortcut), strict=True)
            self.words |= {"entering": came, "leaving": batch_shape(side.shape), **dict(lines)}
            self.words |= {"way costs": f"shortcut: {side}", "sign": "≠" if problem else "+"}
        self.draw({"branch", "leaving", "sign"} if problem else set(), shortcut != "none")
        settings = f"channels in = {before}, channels out = {after}, stride = {stride}, shortcut = {shortcut}: "
        if problem:
            return f"{settings}the shortcut does not fit. {problem}."
        added = f"the shortcut has {side}" if shortcut != "none" else "nothing is added"
        return (
            f"{settings}{came} becomes {made}. The branch has {branch}; {added} (multiply-adds of one image)."
            f"{remark(before, after, stride, shortcut)}"
        )

    def draw(self, misfits: set[str], has_shortcut: bool) -> None:
        """Write all words, those that do not fit in red; hide the way around where there is none."""
        for labels, names in ((self.black, self.words.keys() - misfits), (self.red, misfits)):
            names = sorted(names)
            x, y = np.array([PLACES[name] for name in names]).reshape(-1, 2).T
            labels.write(x, y, [self.words[name] for name in names], size=0.125)
        self.circle.set_edgecolor(COLORS[2] if misfits else "black")
        for artist in self.aside:
            artist.set_visible(has_shortcut)


BOX = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": "0.93", "edgecolor": "black", "zorder": 3}
SHORTCUT_LINES = (([0.2, 0.2], [1.95, 0.6]), ([4.7, 6.6], [0.6, 0.6]))


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> Annotation:
    """Draw an arrow and return it."""
    style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    return axes.annotate("", end, start, arrowprops=style, zorder=1)


def batch_shape(shape: tuple[int, ...]) -> str:
    """Write the shape of a batch of any size: (B, 16, 32, 32)."""
    return f"(B, {', '.join(map(str, shape))})"


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


def block_explorer() -> Explorer:
    """Return controls for channels, stride and shortcut of a residual block."""
    return explore(
        BlockPicture(),
        before=choice("channels in", list(CHANNELS), 16),
        after=choice("channels out", list(CHANNELS), 32),
        stride=choice("stride", [1, 2], 1),
        shortcut=menu("shortcut", list(SHORTCUTS), "identity"),
    )
