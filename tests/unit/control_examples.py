"""Every control with example arguments, for the tests of what all controls share."""

import itertools
import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from controls.batchnorm import axes_explorer, channel_explorer, gamma_beta_explorer
from controls.convolution_arithmetic import output_size_explorer, pooling_explorer, receptive_field_explorer
from controls.convolution_stepper import stepper_explorer
from controls.data_augmentation import border_explorer, gallery_explorer
from controls.drawing import draw_a_digit
from controls.first_network import backward_explorer, descent_explorer, neuron_explorer, shore_explorer
from controls.lenet import activation_explorer
from controls.mnist_dnn import softmax_explorer, valley_explorer
from controls.resnet import block_explorer, depth_explorer, drop_explorer
from controls.start_here import wave_explorer


def gray_images(count):
    """Return uint8 images (count, 1, 28, 28) whose brightness differs from one to the other, as that of digits does."""
    generator = torch.Generator().manual_seed(1)
    brightness = torch.rand(count, 1, 1, 1, generator=generator)
    return (255 * brightness * torch.rand(count, 1, 28, 28, generator=generator)).to(torch.uint8)


def emptied(axes):
    """Return the axes without what was drawn in them: quicker than a new figure."""
    for artist in [*axes.lines, *axes.patches, *axes.collections, *axes.images, *axes.texts]:
        artist.remove()
    return axes


def two_nets():
    """Return two networks with all that can go wrong: an in-place layer, dropout, and batch normalization."""
    nets = {}
    for seed, name in enumerate(("before training", "after training")):
        torch.manual_seed(seed)
        nets[name] = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(4),
            nn.Conv2d(6, 3, 7), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(3, 10),
        )  # fmt: skip
    return nets


def some_lake():
    """Return points (400, 2) of chapter 01's map, and 1 for each in the lake."""
    points = 2 * torch.rand(400, 2, generator=torch.Generator().manual_seed(1)) - 1
    return points, (points.norm(dim=1) < 0.8).long()


def lake_photos():
    """Return chapter 01's network for the lake by training step: before, and with more certain answers."""
    photos = {}
    for seed, step in enumerate((0, 1000)):
        torch.manual_seed(seed)
        photos[step] = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
        photos[step][0].weight.data *= 1 + step / 200
    return photos


def trainings():
    """Return losses and accuracies as chapter 01 measures them: falling, flat, diverging, not a number."""
    pairs = list(itertools.product((0.001, 0.1, 1.0), (1, 64, 1024)))
    losses = {pair: [2.0 / (1 + k * step) for step in range(200)] for k, pair in enumerate(pairs)}
    losses[1.0, 1] = [1.0, 1e30, math.inf] + [math.nan] * 197
    losses[1.0, 1024] = [5.0 + step for step in range(200)]
    losses[0.001, 1] = [1.0]  # one step only
    return losses, {pair: 0.1 * k for k, pair in enumerate(pairs)}


def some_photos(count):
    """Return uint8 images (count, 3, 12, 16) whose colors differ in mean and spread."""
    noise = torch.rand(count, 3, 12, 16, generator=torch.Generator().manual_seed(1)) - 0.5
    center, spread = torch.tensor([0.4, 0.5, 0.65]).view(3, 1, 1), torch.tensor([0.7, 0.3, 0.5]).view(3, 1, 1)
    return (255 * (center + spread * noise)).to(torch.uint8)


def gradients(*, convolutions, skip, norm, init):
    """Return gradient norms as chapter 11 measures them: growing, shrinking, even."""
    steps = np.arange((convolutions - 1) // 2)
    first = 0.01 if init == "he" else 0.1
    if skip:
        return list(first * (50 + 10 * torch.rand(len(steps)).numpy()))
    return list(first * (1.3 if norm else 0.1) ** steps[::-1])


ERRORS = {(9, False): 0.15, (21, False): 0.34, (45, False): 0.7, (9, True): 0.094, (45, True): 0.057}


class BlockPart(nn.Module):
    """A block as chapter 11's: its sum goes through a ReLU; without `skip`, there is no sum."""

    def __init__(self, before, after, stride=1, skip=True):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after))
        self.skip = skip and before == after

    def forward(self, x):
        out = self.branch(x)
        return (out + x if self.skip else out).relu()


def residual_net(skip=True, blocks=4):
    """Return a network whose block 3 changes the shape."""
    torch.manual_seed(0)
    parts = [BlockPart(4 if k < 3 else 6, 4 if k < 2 else 6, 2 if k == 2 else 1, skip) for k in range(blocks)]
    stem = [nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))


def some_digits(count=12):
    """Return float images (count, 1, 14, 14) and labels (count,)."""
    return torch.randn(count, 1, 14, 14, generator=torch.Generator().manual_seed(1)), torch.arange(count) % 10


SEVEN = Image.new("L", (280, 280))  # drawn on chapter 05's canvas, white on black
ImageDraw.Draw(SEVEN).line([(60, 50), (200, 60), (120, 240)], fill=255, width=24)
SCALE = {"mean": 0.13, "std": 0.3}

EXAMPLES = {
    "wave": wave_explorer,
    "neuron": lambda: neuron_explorer(*some_lake()),
    "backward": backward_explorer,
    "shore": lambda: shore_explorer(lake_photos(), *some_lake()),
    "descent": lambda: descent_explorer(*trainings(), 0.6),
    "softmax": softmax_explorer,
    "valley": valley_explorer,
    "stepper": stepper_explorer,
    "sizes": output_size_explorer,
    "field": lambda: receptive_field_explorer(gray_images(1)[0, 0] / 255),
    "pooling": pooling_explorer,
    "activations": lambda: activation_explorer(two_nets(), gray_images(12), torch.arange(12) % 10, layer="3", **SCALE),
    "drawing": lambda: draw_a_digit(two_nets(), **SCALE),
    "channel": lambda: channel_explorer(gray_images(300)),
    "gamma_beta": gamma_beta_explorer,
    "axes": axes_explorer,
    "gallery of digits": lambda: gallery_explorer(gray_images(20), torch.arange(20) % 10),
    "gallery of photos": lambda: gallery_explorer(some_photos(16), torch.arange(16) % 10),
    "border of digits": lambda: border_explorer(gray_images(4)),
    "border of photos": lambda: border_explorer(some_photos(4)),
    "depth": lambda: depth_explorer(gradients, ERRORS),
    "drop": lambda: drop_explorer({"residual": residual_net(), "plain": residual_net(skip=False)}, *some_digits()),
    "block": block_explorer,
}
# (control, knob): what other knobs need first, where a knob has no effect at the beginning
NEEDS = {
    ("valley", "momentum"): {"optimizer": "momentum"},  # SGD has none
    ("field", "after"): {"after": 3},  # it begins at the last layer of its stack
    ("pooling", "ceil_mode"): {"kernel_size": 3, "padding": 1},
    ("pooling", "count_pad"): {"kind": "mean", "kernel_size": 3, "padding": 1},
    **{("pooling", knob): {"kind": "stochastic"} for knob in ("draw", "mode")},
    ("channel", "shift"): {"mode": "eval"},  # in train the batch's mean is subtracted
    **{("drawing", knob): {"drawing": SEVEN.tobytes()} for knob in ("crop", "box", "by_mass", "network")},
}
UNSEEN = [("drawing", "pen")]  # only what is drawn next shows it
