"""Every control with example arguments, for the tests of what all controls share."""

import torch
from controls.batchnorm import axes_explorer, channel_explorer, gamma_beta_explorer
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


EXAMPLES = {
    "wave": wave_explorer,
    "channel": lambda: channel_explorer(gray_images(300)),
    "gamma_beta": gamma_beta_explorer,
    "axes": axes_explorer,
}
# (control, knob): what other knobs need first, where a knob has no effect at the beginning
NEEDS = {("channel", "shift"): {"mode": "eval"}}  # in train the batch's mean is subtracted
