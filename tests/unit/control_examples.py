"""Every control with example arguments, for the tests of what all controls share."""

import itertools
import math

import torch
from PIL import Image, ImageDraw
from torch import nn

from controls.batchnorm import axes_explorer, channel_explorer, gamma_beta_explorer
from controls.convolution_arithmetic import output_size_explorer, pooling_explorer, receptive_field_explorer
from controls.convolution_stepper import stepper_explorer
from controls.drawing import draw_a_digit
from controls.first_network import descent_explorer, neuron_explorer
from controls.lenet import activation_explorer
from controls.mnist_dnn import valley_explorer
from controls.start_here import wave_explorer
from course_utils.data import make_three_feature_rows


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


def trainings():
    """Return losses and accuracies as chapter 01 measures them: falling, flat, diverging, not a number."""
    pairs = list(itertools.product((0.001, 0.1, 1.0), (1, 64, 1024)))
    losses = {pair: [2.0 / (1 + k * step) for step in range(200)] for k, pair in enumerate(pairs)}
    losses[1.0, 1] = [1.0, 1e30, math.inf] + [math.nan] * 197
    losses[1.0, 1024] = [5.0 + step for step in range(200)]
    losses[0.001, 1] = [1.0]  # one step only
    return losses, {pair: 0.1 * k for k, pair in enumerate(pairs)}


SEVEN = Image.new("L", (280, 280))  # drawn on chapter 05's canvas, white on black
ImageDraw.Draw(SEVEN).line([(60, 50), (200, 60), (120, 240)], fill=255, width=24)
SCALE = {"mean": 0.13, "std": 0.3}

EXAMPLES = {
    "wave": wave_explorer,
    "neuron": lambda: neuron_explorer(*make_three_feature_rows(1000, seed=1)),
    "descent": lambda: descent_explorer(*trainings(), 0.6),
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
