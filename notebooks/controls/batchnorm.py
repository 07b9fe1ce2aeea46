"""Chapter 07's controls: a channel in train and eval, γ and β before a ReLU, and which numbers share a mean."""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle, StepPatch
from torch import Tensor

from course_utils.controls import Control, add_boxes, choice, menu, slider
from course_utils.plotting import COLORS, new_figure

# ------------------------------------------------------------------------------------------------------- one channel

DRAWS, LARGEST, EPS = 20, 256, 1e-5  # draws of companions, images in a batch, ε
EDGES = np.arange(-7.25, 7.3, 0.5)  # −1, 0 and 1 lie in the middle of a bar


def channel_of(images: Tensor) -> Tensor:
    """Return one channel (N,): a fixed random 5×5 convolution of images uint8 (N, 1, 28, 28), averaged over its map."""
    weight = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.conv2d(images.float() / 255, weight).mean(dim=(1, 2, 3)).double()


def drawn_batches(count: int, marked: int) -> Tensor:
    """Return image numbers (20, 256), one row a draw: the marked image, then its companions in random order."""
    others = torch.tensor([k for k in range(count) if k != marked])
    orders = [torch.randperm(count - 1, generator=torch.Generator().manual_seed(k)) for k in range(1, DRAWS + 1)]
    return torch.cat([torch.full((DRAWS, 1), marked), others[torch.stack(orders)[:, : LARGEST - 1]]], dim=1)


def normalized(channel: Tensor, batches: Tensor, mode: str, shift: float) -> Tensor:
    """Return batches (20, B) of a channel's values (N,), normalized by their own statistics or those of all images."""
    mean, var = channel.mean(), channel.var()
    x = channel[batches] + shift * var.sqrt()
    if mode == "eval":
        return (x - mean) / (var + EPS).sqrt()
    if x.shape[1] == 1:
        raise ValueError(
            "in training mode a batch of 1 has one value in this channel: its mean is the value itself, nothing is "
            "left to divide by, and nn.BatchNorm2d refuses it. Take 2 images or more, or eval"
        )
    return (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, keepdim=True, correction=0) + EPS).sqrt()


def draw_channel(
    channel: Tensor, batches: Tensor, axes: Axes, *, batch_size: int, mode: str, companions: int, shift: float
) -> str:
    """Draw the histogram of a batch's normalized values, one an image as in C5 and F6, and one image in 20 batches."""
    all_values = normalized(channel, batches[:, :batch_size], mode, shift)
    values, mark, marks = all_values[companions - 1], all_values[companions - 1, 0].item(), all_values[:, 0].numpy()
    axes.add_artist(steps(values.clamp(-7, 7), EDGES, batch_size, facecolor=COLORS[0], label="images of the batch"))
    axes.plot(marks, [0.8] * DRAWS, "|", color="0.3", markersize=14, label="marked image, all 20 draws")
    axes.plot(mark, 0.92, "v", color=COLORS[2], markersize=11, label="marked image, this draw")
    return (
        f"the batch has mean {values.mean():z.2f} and sd {values.std(correction=0):z.2f}. The marked image is at "
        f"{mark:z.2f}; over all draws between {marks.min():z.2f} and {marks.max():z.2f}. "
        f"{what_to_see(batch_size, mode, shift)}"
    )


def steps(values: np.ndarray, edges: np.ndarray, total: int, **style) -> StepPatch:
    """Return the histogram of values as shares of a total; much quicker than `stairs`, which measures its outline."""
    return StepPatch(np.histogram(values, edges)[0] / total, edges, **{"linewidth": 0} | style)


def what_to_see(batch_size: int, mode: str, shift: float) -> str:
    """Say what this mode shows."""
    moved = f": all values have moved by {shift:g}" if shift else ""
    if mode == "eval":
        return f"The running statistics are those of all images, without a shift{moved}. Companions change nothing."
    gone = " The shift is gone: the batch's own mean is subtracted." if shift else ""
    if batch_size == 2:
        return f"Of two images one is at −1 and the other at +1, whatever they show.{gone}"
    return f"Every batch comes to 0 ± 1, and the marked image moves with its companions.{gone}"


def channel_explorer(images: Tensor) -> Control:
    """Return controls for batch size, mode, companions and a shift of what enters BatchNorm, in its running sd.

    `images` are uint8 (N, 1, 28, 28), N ≥ 256. Raises ValueError for others.
    """
    if images.dtype != torch.uint8 or images.shape[1:] != (1, 28, 28) or len(images) < LARGEST:
        raise ValueError(
            f"expected at least {LARGEST} images of shape (N, 1, 28, 28) and dtype uint8, got {tuple(images.shape)} of "
            f"{str(images.dtype).removeprefix('torch.')}: pass for example digits.images[:512]"
        )
    channel = channel_of(images.cpu())
    marked = int(channel.argsort()[len(images) // 2])  # its companions lie on both sides of it
    figure, axes = new_figure(8, 3.2)
    axes.axvspan(-1, 1, color="0.93")
    axes.set(xlim=(-7.25, 7.25), ylim=(0, 1.05), xlabel="normalized value (gray: 0 ± 1)", ylabel="share of the images")
    return Control(
        partial(draw_channel, channel, drawn_batches(len(images), marked)),
        axes,
        legends=[(figure, {"loc": "outside upper center", "ncols": 3, "fontsize": 9})],
        batch_size=choice("batch size", [1, 2, 4, 8, 16, 32, 64, 128, 256], 8),
        mode=choice("mode", ["train", "eval"], "train"),
        companions=slider("companions", 1, 1, DRAWS, 1),
        shift=slider("input shift", 0, -3, 3, 0.5),
    )


# ----------------------------------------------------------------------------------------------------------- γ and β

NORMAL = torch.special.ndtri((torch.arange(1000) + 0.5) / 1000).numpy()  # quantiles: no noise, and exact shares
BARS = np.arange(-13, 13.1, 0.5)


def draw_gamma_beta(curve: Axes, shares: Axes, *, gamma: float, beta: float) -> str:
    """Draw y = γ·x + β and its ReLU; beside it the histogram of standard normal values x before and after."""
    x, y = np.linspace(-3, 3, 241), gamma * NORMAL + beta
    zero = y <= 0
    curve.plot(x, gamma * x + beta, "--", color="0.4", label="y = γx + β")
    curve.plot(x, np.maximum(gamma * x + beta, 0), color=COLORS[0], linewidth=2.5, label="ReLU(y)")
    shares.add_artist(steps(y[zero], BARS, 1000, facecolor="0.75", label="y, set to 0 by ReLU"))
    shares.add_artist(steps(y[~zero], BARS, 1000, facecolor=COLORS[0], label="y, passed by ReLU"))
    shares.add_artist(steps(NORMAL, BARS, 1000, fill=False, linewidth=1, label="x"))
    return (
        f"y has mean {y.mean():z.2f} and sd {y.std():z.2f}. ReLU sets {zero.mean():.1%} of the values to 0. "
        f"{relu_text(gamma, zero.mean())}"
    )


def relu_text(gamma: float, zeros: float) -> str:
    """Say what a share of zeros means for the network."""
    if gamma == 0:
        return "With γ = 0 all values are β: nothing of x is left."
    if zeros > 0.95:
        return "Nearly nothing passes: the channel is almost dead."
    if zeros < 0.05:
        return "Nearly all passes: ReLU does hardly anything, the channel is almost linear."
    return "γ and β decide where ReLU's corner cuts the values."


def gamma_beta_explorer() -> Control:
    """Return sliders for γ and β behind a normalized channel."""
    _, (curve, shares) = new_figure(8, 3.4, columns=2, width_ratios=(1, 1.6))
    for line in (curve.axhline, curve.axvline, shares.axvline):
        line(0, color="0.8", linewidth=0.8)
    curve.set(xlim=(-3, 3), ylim=(-4, 8), xlabel="normalized value x")
    shares.set(xlim=(-13, 13), ylim=(0, 0.5), xlabel="value", ylabel="share of the values")
    return Control(
        draw_gamma_beta,
        (curve, shares),
        legends=[(curve, {"loc": "upper left", "fontsize": 9}), (shares, {"loc": "upper right", "fontsize": 9})],
        gamma=slider("γ (scale)", 1, 0, 3, 0.25),
        beta=slider("β (shift)", 0, -3, 3, 0.25),
    )


# ----------------------------------------------------------------------------------------------------- shared means

B, C, H, W = 8, 16, 10, 10  # the chapter's example
SHADES, SHARED = ListedColormap(("0.9", "0.78", COLORS[0])), 2  # two grays in turn for the other means
PER_PLACE, PLACE = "LayerNorm, per position", (3, 4)  # the row and column that it looks at
OVER = {  # the axes of one mean and their sizes; {} stands for C/G
    "BatchNorm": f"B·H·W = {B}·{H}·{W}",
    "LayerNorm": f"C·H·W = {C}·{H}·{W}",
    PER_PLACE: "C",
    "InstanceNorm": f"H·W = {H}·{W}",
    "GroupNorm": f"C/G·H·W = {{}}·{H}·{W}",
}


def mean_keys(norm: str, groups: int) -> tuple[Tensor, Tensor]:
    """Return two tensors (B, C): maps with the same pair of numbers in them share one mean, or one at each place."""
    image, channel = torch.meshgrid(torch.arange(B), torch.arange(C), indexing="ij")
    if norm == "BatchNorm":
        return 0 * image, channel
    groups = {"LayerNorm": 1, PER_PLACE: 1, "InstanceNorm": C, "GroupNorm": groups}[norm]
    return image, channel // (C // groups)


def draw_axes(axes: Axes, *, norm: str, groups: int, image: int, channel: int) -> str:
    """Color what shares a mean with the map of one image and channel, whole maps or one place; count means."""
    row, column = mean_keys(norm, groups)
    shared = (row == row[image, channel]) & (column == column[image, channel])
    places = H * W if norm == PER_PLACE else 1  # means a map
    shades = torch.where(shared & (places == 1), SHARED, (row + column) % 2).numpy()
    axes.pcolormesh(shades, cmap=SHADES, vmin=0, vmax=2, edgecolors="white", linewidth=3)
    axes.add_artist(Rectangle((channel + 0.03, image + 0.03), 0.94, 0.94, fill=False, linewidth=2.5, zorder=4))
    lines = np.arange(1, 10) / 10  # between the H·W numbers of the framed map
    across, along = np.repeat(lines, 3), np.tile([0.05, 0.95, np.nan], len(lines))  # NaN: the pen is lifted
    x, y = np.concatenate([across, along]), np.concatenate([along, across])
    axes.plot(channel + x, image + y, color="white", linewidth=0.8)
    if norm == PER_PLACE:
        down, right = PLACE
        left = np.arange(C) + right / W
        add_boxes(axes, left, [image + down / H] * C, 1 / W, 1 / H, facecolor=COLORS[0], zorder=3)
    unused = "" if norm == "GroupNorm" else " No groups are used."
    means, numbers = len(row.unique()) * len(column.unique()) * places, int(shared.sum()) * H * W // places
    return (
        f"for x of shape ({B}, {C}, {H}, {W}) there are {means} means, each over "
        f"{OVER[norm].format(C // groups)} = {numbers:,} numbers. {company(norm, groups)}{unused}"
    )


def company(norm: str, groups: int) -> str:
    """Say whether the layer needs a batch, and which other layer it equals."""
    if norm == "BatchNorm":
        return "The blue maps reach over all images: each image depends on its companions."
    if norm == PER_PLACE:
        return "One place of one image, in all its channels: no companions are needed, and no neighbors."
    equal = {1: " With 1 group this is LayerNorm.", C: f" With {C} groups this is InstanceNorm."}
    relative = equal.get(groups, "") if norm == "GroupNorm" else ""
    return "The blue maps stay within one image: no companions are needed." + relative


def axes_explorer() -> Control:
    """Return controls for the layer, its groups, and the map, of image (row) and channel, whose mean is looked at."""
    _, axes = new_figure(8, 4.4)
    axes.set(xlim=(0, C), ylim=(B, 0), aspect="equal", ylabel="image")
    axes.set_xlabel(f"channel (each square is a map of H·W = {H}·{W} numbers, drawn in the framed one)")
    axes.set_xticks(np.arange(C) + 0.5, range(C))
    axes.set_yticks(np.arange(B) + 0.5, range(B))
    axes.set_title("Blue: shares one mean with the framed map, or with one place of it. Gray: other means")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return Control(
        draw_axes,
        axes,
        norm=menu("layer", list(OVER), "GroupNorm"),
        groups=choice("groups", [1, 2, 4, 8, 16], 4),
        image=slider("image", 2, 0, B - 1, 1),
        channel=slider("channel", 5, 0, C - 1, 1),
    )
