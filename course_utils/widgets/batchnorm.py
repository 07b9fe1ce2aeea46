"""Chapter 07's controls: a channel in train and eval, γ and β before a ReLU, and which numbers share a mean."""

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle
from torch import Tensor

from course_utils.plotting import COLORS, new_figure
from course_utils.widgets.canvas import Explorer, choice, explore, menu, slider

# ------------------------------------------------------------------------------------------------------- one channel

DRAWS, LARGEST = 20, 256  # draws of companions, images in a batch
EPS = 1e-5
EDGES = np.arange(-7.25, 7.3, 0.5)  # −1, 0 and 1 lie in the middle of a bar


def channel_of(images: Tensor) -> Tensor:
    """Return one channel (N,): a fixed random 5×5 convolution of images uint8 (N, 1, 28, 28), averaged over its map."""
    weight = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.conv2d(images.float() / 255, weight).mean(dim=(1, 2, 3)).double()


def drawn_batches(count: int, marked: int) -> Tensor:
    """Return image numbers (20, 256), one row a draw: the marked image, then its companions in random order."""
    others = torch.tensor([k for k in range(count) if k != marked])
    orders = [torch.randperm(count - 1, generator=torch.Generator().manual_seed(k)) for k in range(1, DRAWS + 1)]
    companions = others[torch.stack(orders)[:, : LARGEST - 1]]
    return torch.cat([torch.full((DRAWS, 1), marked), companions], dim=1)


class ChannelPicture:
    """The histogram of a batch's normalized values in one channel, and one image among them in 20 batches.

    Each image has one value in the channel, as in C5 and F6: BatchNorm sees B numbers.
    """

    def __init__(self, images: Tensor) -> None:
        self.channel = channel_of(images)
        self.running_mean, self.running_var = self.channel.mean(), self.channel.var()
        marked = int(self.channel.argsort()[len(images) // 2])  # its companions lie on both sides of it
        self.batches = drawn_batches(len(images), marked)
        self.figure, axes = new_figure(8, 3.2)
        axes.axvspan(-1, 1, color="0.93")
        self.bars = axes.stairs(0 * EDGES[1:], EDGES, fill=True, color=COLORS[0], label="images of the batch")
        (self.draws,) = axes.plot([], [], "|", color="0.3", markersize=14, label="marked image, all 20 draws")
        (self.mark,) = axes.plot([], [], "v", color=COLORS[2], markersize=11, label="marked image, this draw")
        axes.set(
            xlim=(-7.25, 7.25), ylim=(0, 1.05), xlabel="normalized value (gray: 0 ± 1)", ylabel="share of the images"
        )
        self.figure.legend(loc="outside upper center", ncols=3, fontsize=9)
        self.moving = [self.bars, self.draws, self.mark]

    def update(self, batch_size: int, mode: str, companions: float, shift: float) -> str:
        """Normalize a batch by its own statistics (train) or by those of all images (eval)."""
        draw = int(companions) - 1
        batches = self.normalized(batch_size, mode, shift)
        values, marks = batches[draw], batches[:, 0].numpy()
        counts, _ = np.histogram(values.clamp(-7, 7), EDGES)
        self.bars.set_data(counts / batch_size)
        self.draws.set_data(marks, np.full(DRAWS, 0.8))
        self.mark.set_data(marks[draw : draw + 1], [0.92])
        return (
            f"batch size = {batch_size}, mode = {mode}, companions = draw {draw + 1}, input shift = {shift:g}: the "
            f"batch has mean {decimals(values.mean())} and sd {decimals(values.std(correction=0))}. The marked image "
            f"is at {decimals(marks[draw])}; over all draws between {decimals(marks.min())} and "
            f"{decimals(marks.max())}. {what_to_see(batch_size, mode, shift)}"
        )

    def normalized(self, batch_size: int, mode: str, shift: float) -> Tensor:
        """Return the batches of all draws (20, B), normalized; the marked image comes first in each."""
        x = self.channel[self.batches[:, :batch_size]] + shift * self.running_var.sqrt()
        if mode == "eval":
            return (x - self.running_mean) / (self.running_var + EPS).sqrt()
        if batch_size == 1:
            raise ValueError(
                "in training mode a batch of 1 has one value in this channel: its mean is the value itself, nothing is "
                "left to divide by, and nn.BatchNorm2d refuses it. Take 2 images or more, or eval"
            )
        return (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, keepdim=True, correction=0) + EPS).sqrt()


def decimals(value: float) -> str:
    """Write a number with two decimals, without a minus before 0.00."""
    return f"{round(float(value), 2) + 0.0:.2f}"


def what_to_see(batch_size: int, mode: str, shift: float) -> str:
    """Say what this mode shows."""
    if mode == "eval":
        moved = f": all values have moved by {shift:g}" if shift else ""
        return f"The running statistics are those of all images, without a shift{moved}. Companions change nothing."
    gone = " The shift is gone: the batch's own mean is subtracted." if shift else ""
    if batch_size == 2:
        return f"Of two images one is at −1 and the other at +1, whatever they show.{gone}"
    return f"Every batch comes to 0 ± 1, and the marked image moves with its companions.{gone}"


def channel_explorer(images: Tensor) -> Explorer:
    """Return controls for batch size, mode, companions and a shift of what enters BatchNorm, in its running sd.

    `images` are uint8 (N, 1, 28, 28), N ≥ 256. Raises ValueError for others.
    """
    if images.dtype != torch.uint8 or images.shape[1:] != (1, 28, 28) or len(images) < LARGEST:
        raise ValueError(
            f"expected at least {LARGEST} images of shape (N, 1, 28, 28) and dtype uint8, got {tuple(images.shape)} of "
            f"{str(images.dtype).removeprefix('torch.')}: pass for example digits.images[:512]"
        )
    return explore(
        ChannelPicture(images.cpu()),
        batch_size=choice("batch size", [1, 2, 4, 8, 16, 32, 64, 128, 256], 8),
        mode=choice("mode", ["train", "eval"], "train"),
        companions=slider("companions", 1, 1, DRAWS, 1),
        shift=slider("input shift", 0, -3, 3, 0.5),
    )


# ----------------------------------------------------------------------------------------------------------- γ and β


class GammaBetaPicture:
    """The line y = γ·x + β with its ReLU, and the histogram of standard normal values before and after it."""

    def __init__(self) -> None:
        # quantiles instead of draws: no noise, and the share of zeros is exact
        self.x = torch.special.ndtri((torch.arange(1000) + 0.5) / 1000).numpy()
        self.figure, (curve, shares) = new_figure(8, 3.4, columns=2, width_ratios=(1, 1.6))
        for line in (curve.axhline, curve.axvline, shares.axvline):
            line(0, color="0.8", linewidth=0.8)
        (self.line,) = curve.plot([], [], "--", color="0.4", label="y = γx + β")
        (self.relu,) = curve.plot([], [], color=COLORS[0], linewidth=2.5, label="ReLU(y)")
        curve.set(xlim=(-3, 3), ylim=(-4, 8), xlabel="normalized value x")
        curve.legend(loc="upper left", fontsize=9)
        self.edges = np.arange(-13, 13.1, 0.5)
        before, _ = np.histogram(self.x, self.edges)
        empty = np.zeros_like(before)
        self.zeros = shares.stairs(empty, self.edges, fill=True, color="0.75", label="y, set to 0 by ReLU")
        self.kept = shares.stairs(empty, self.edges, fill=True, color=COLORS[0], label="y, passed by ReLU")
        self.before = shares.stairs(before / 1000, self.edges, color="black", label="x")
        shares.set(xlim=(-13, 13), ylim=(0, 0.5), xlabel="value", ylabel="share of the values")
        shares.legend(loc="upper right", fontsize=9)
        self.moving = [self.line, self.relu, self.zeros, self.kept, self.before]

    def update(self, gamma: float, beta: float) -> str:
        """Scale and shift the values; count what ReLU sets to 0."""
        ends = np.array([-3, 3])
        self.line.set_data(ends, gamma * ends + beta)
        corners = np.linspace(-3, 3, 241)
        self.relu.set_data(corners, np.maximum(gamma * corners + beta, 0))
        y = gamma * self.x + beta
        zero = y <= 0
        for bars, chosen in ((self.zeros, zero), (self.kept, ~zero)):
            counts, _ = np.histogram(y[chosen], self.edges)
            bars.set_data(counts / len(y))
        return (
            f"γ = {gamma:g}, β = {beta:g}: y has mean {decimals(y.mean())} and sd {decimals(y.std())}. "
            f"ReLU sets {zero.mean():.1%} of the values to 0. {relu_text(gamma, zero.mean())}"
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


def gamma_beta_explorer() -> Explorer:
    """Return sliders for γ and β behind a normalized channel."""
    return explore(
        GammaBetaPicture(),
        gamma=slider("γ (scale)", 1, 0, 3, 0.25),
        beta=slider("β (shift)", 0, -3, 3, 0.25),
    )


# ----------------------------------------------------------------------------------------------------- shared means

B, C, H, W = 8, 16, 10, 10  # the chapter's example
NORMS = ("BatchNorm", "LayerNorm", "InstanceNorm", "GroupNorm")
SHADES, SHARED = ("0.9", "0.78", COLORS[0]), 2  # two grays in turn for the other means


def mean_keys(norm: str, groups: int) -> tuple[Tensor, Tensor]:
    """Return two tensors (B, C): maps with the same pair of numbers in them share one mean."""
    image, channel = torch.meshgrid(torch.arange(B), torch.arange(C), indexing="ij")
    if norm == "BatchNorm":
        return 0 * image, channel
    if norm == "LayerNorm":
        return image, 0 * channel
    if norm == "InstanceNorm":
        return image, channel
    return image, channel // (C // groups)


class AxesPicture:
    """All maps of a tensor (B, C, H, W), a row an image and a column a channel; those that share a mean are colored."""

    def __init__(self) -> None:
        self.figure, axes = new_figure(8, 4.4)
        self.maps = axes.pcolormesh(
            np.zeros((B, C)), cmap=ListedColormap(SHADES), vmin=0, vmax=2, edgecolors="white", linewidth=3
        )
        self.frame = axes.add_patch(Rectangle((0, 0), 0.94, 0.94, fill=False, color="black", linewidth=2.5, zorder=4))
        lines = np.arange(1, 10) / 10  # the H·W numbers of the framed map
        self.across = np.column_stack([lines, lines, 0 * lines + np.nan]).ravel()
        self.along = np.tile([0.05, 0.95, np.nan], len(lines))
        (self.numbers,) = axes.plot([], [], color="white", linewidth=0.8)
        axes.set(xlim=(0, C), ylim=(B, 0), aspect="equal", ylabel="image")
        axes.set_xlabel(f"channel (each square is a map of H·W = {H}·{W} numbers, drawn in the framed one)")
        axes.set_xticks(np.arange(C) + 0.5, range(C))
        axes.set_yticks(np.arange(B) + 0.5, range(B))
        axes.set_title("Blue: shares one mean with the framed map. Light and dark gray: other means")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        self.moving = [self.maps, self.numbers, self.frame]

    def update(self, norm: str, groups: int, image: float, channel: float) -> str:
        """Color the maps that share a mean with the map of one image and channel; count means and numbers."""
        image, channel = int(image), int(channel)
        row, column = mean_keys(norm, groups)
        shared = (row == row[image, channel]) & (column == column[image, channel])
        self.maps.set_array(torch.where(shared, SHARED, (row + column) % 2).numpy())
        self.frame.set_xy((channel + 0.03, image + 0.03))
        x, y = np.concatenate([self.across, self.along]), np.concatenate([self.along, self.across])
        self.numbers.set_data(channel + x, image + y)
        means = (int(row.max()) + 1) * (int(column.max()) + 1)
        count, over = int(shared.sum()) * H * W, axes_text(norm, groups)
        unused = "" if norm == "GroupNorm" else " (only GroupNorm uses it)"
        return (
            f"layer = {norm}, groups = {groups}{unused}, image = {image}, channel = {channel}: for x of shape "
            f"({B}, {C}, {H}, {W}) there {'is' if means == 1 else 'are'} {means} means, each over {over} = {count:,} "
            f"numbers. {company_text(norm, groups)}"
        )


def axes_text(norm: str, groups: int) -> str:
    """Write the axes of one mean and their sizes."""
    if norm == "BatchNorm":
        return f"B·H·W = {B}·{H}·{W}"
    if norm == "LayerNorm":
        return f"C·H·W = {C}·{H}·{W}"
    if norm == "InstanceNorm":
        return f"H·W = {H}·{W}"
    return f"C/G·H·W = {C // groups}·{H}·{W}"


def company_text(norm: str, groups: int) -> str:
    """Say whether the layer needs a batch, and which other layer it equals."""
    if norm == "BatchNorm":
        return "The blue maps reach over all images: each image depends on its companions."
    equal = {1: " With 1 group this is LayerNorm.", C: f" With {C} groups this is InstanceNorm."}
    return "The blue maps stay within one image: no companions are needed." + (
        equal.get(groups, "") if norm == "GroupNorm" else ""
    )


def axes_explorer() -> Explorer:
    """Return controls for the layer, its groups, and the map whose mean is looked at."""
    return explore(
        AxesPicture(),
        norm=menu("layer", list(NORMS), "GroupNorm"),
        groups=choice("groups", [1, 2, 4, 8, 16], 4),
        image=slider("image", 2, 0, B - 1, 1),
        channel=slider("channel", 5, 0, C - 1, 1),
    )
