"""Many short texts drawn as one shape, for chapter 11's old controls."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath


class Labels(PathPatch):
    """Many short texts drawn as one shape: much faster than one Text each. Its axes must have equal aspects, y down."""

    def __init__(self, axes: Axes, color: str, zorder: float = 5) -> None:
        super().__init__(Path(np.empty((0, 2))), color=color, linewidth=0, zorder=zorder)
        self.glyphs = {}  # text -> its shape of height 1, centered on (0, 0)
        axes.add_patch(self)

    def write(self, x: np.ndarray, y: np.ndarray, texts: Iterable[str], size: float, width: float = np.inf) -> None:
        """Write texts centered on the places (x, y), `size` and at most `width` data units large."""
        glyphs = [self.glyph(text, size, width) for text in texts]
        if not glyphs:
            self.set_path(Path(np.empty((0, 2))))
            return
        moved = [glyph.vertices + place for glyph, place in zip(glyphs, np.column_stack([x, y]), strict=True)]
        self.set_path(Path(np.concatenate(moved), np.concatenate([glyph.codes for glyph in glyphs])))

    def glyph(self, text: str, size: float, width: float) -> Path:
        """Return the shape of one text, made once."""
        key = text, size, width
        if key not in self.glyphs:
            shape = TextPath((0, 0), text, size=size)
            left, _, right, _ = shape.get_extents().extents
            scale = min(1, width / max(right - left, 1e-9))
            center = ((left + right) / 2, 0.36 * size)  # half the height of a digit
            self.glyphs[key] = Path((shape.vertices - center) * (scale, -scale), shape.codes)
        return self.glyphs[key]
