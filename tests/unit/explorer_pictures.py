"""What the tests of all controls compare: the quick redraw of a picture with a drawing from scratch."""

import html
import io

import numpy as np
from PIL import Image


def redraw_difference(explorer, png=None):
    """Return the share of pixels in which a PNG (by default a new redraw) differs clearly from a full drawing."""
    png = explorer.renderer.png() if png is None else png
    quick = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    for artist in explorer.picture.moving:
        artist.set_animated(False)
    explorer.renderer.canvas.draw()
    full = np.asarray(explorer.renderer.canvas.buffer_rgba())[..., :3].astype(int)
    for artist in explorer.picture.moving:
        artist.set_animated(True)
    return (np.abs(quick - full).max(axis=2) > 40).mean()


def shown_text(explorer):
    """Return the text beside the picture as a reader sees it."""
    return html.unescape(explorer.text.value)
