"""`Control`: sliders and menus around a plain drawing function, with a text that names every value."""

import base64
import functools
import io
import threading
from collections.abc import Callable, Iterable, Sequence
from html import escape

import ipywidgets as widgets
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from PIL import Image

from course_utils.plotting import COLORS


class Control(widgets.VBox):
    """Knobs, a text and a picture that follow each other.

    `axes` (one Axes, or a list of them) hold the fixed parts: frames, labels, whatever is always there. They are drawn
    once. `draw(*axes, **values)` adds what the knobs change, with plain Matplotlib, and returns what is to be seen, as
    a sentence; it raises ValueError, in plain words, for values that do not fit. What it added is gone before the next
    drawing. A fixed part that the function changes (a title, an axis with other ticks), or that must lie above what it
    draws, gets `set_animated(True)`. `legends` are made once, from the labels of the first drawing: pairs of an Axes or
    a Figure and the arguments of its `legend`.
    """

    def __init__(self, draw: Callable, axes: Axes | Iterable[Axes], /, *, legends: Sequence = (), **knobs) -> None:
        self.draw, self.axes, self.knobs = draw, [axes] if isinstance(axes, Axes) else list(axes), knobs
        for one in self.axes:
            one.autoscale_view()
            one.set_autoscale_on(False)  # a drawing must not move the frame
        self.fixed = set(self.artists())
        if legends:
            self.draw(*self.axes, **self.values())
            self.fixed |= {place.legend(**style) for place, style in legends}
            self.wipe()
        self.one_at_a_time = threading.RLock()  # messages of one control may reach the kernel in two threads
        figure = self.axes[0].figure
        figure.set_dpi(120)
        self.canvas = FigureCanvasAgg(figure)
        self.canvas.draw()  # also lays the figure out
        self.background = self.canvas.copy_from_bbox(figure.bbox)
        width = f"{figure.get_figwidth():.1f}in"
        self.image = widgets.Image(format="png", layout=widgets.Layout(width=width, max_width="100%"))
        self.text = widgets.HTML()
        super().__init__([*knobs.values(), self.text, self.image])
        for knob in knobs.values():
            knob.observe(self.redraw, names="value")
        self.redraw()

    def artists(self) -> list[Artist]:
        """Return all that is in the axes, in the order in which it was added."""
        return [artist for one in self.axes for artist in one.get_children()]

    def wipe(self) -> None:
        """Remove what the drawing function has added."""
        for one in self.axes:
            for artist in set(one.get_children()) - self.fixed:
                artist.remove()
            one.containers.clear()  # `bar` and `errorbar` list their parts there too

    def values(self) -> dict:
        """Return each knob's value by name."""
        return {name: knob.value for name, knob in self.knobs.items()}

    def settings(self) -> str:
        """Name every knob and its value as a reader sees them: γ (scale) = 1.25, mode = train."""
        named = [knob for knob in self.knobs.values() if hasattr(knob, "description")]
        return ", ".join(f"{knob.description} = {readout(knob)}" for knob in named)

    def redraw(self, change: dict | None = None) -> None:
        """Draw for the knobs' values; a value that does not fit is explained in the text."""
        with self.one_at_a_time:
            self.wipe()
            try:
                self.plain_text = f"{self.settings()}: {self.draw(*self.axes, **self.values())}"
                self.image.value = self.png()
            except Exception as error:  # JupyterLab hides what a callback raises: a reader would see an old picture
                what = "Not possible" if isinstance(error, ValueError) else type(error).__name__
                self.plain_text = f"{what}: {error}"
                self.text.value = f"<p role='alert'><b>{what}:</b> {escape(str(error))}</p>"
                self.image.layout.visibility = "hidden"  # the old picture would belong to other values
            else:
                self.text.value = f"<p>{escape(self.plain_text)}</p>"
                self.image.layout.visibility = "visible"

    def png(self) -> bytes:
        """Return the picture as it is now: the background, and on it what the drawing function has added."""
        self.canvas.restore_region(self.background)
        moving = [artist for artist in self.artists() if artist.get_animated() or artist not in self.fixed]
        for artist in sorted(moving, key=Artist.get_zorder):
            artist.draw(self.canvas.get_renderer())
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB").save(buffer, "png", compress_level=1)
        return buffer.getvalue()

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """Show the control where a front end has widgets; elsewhere the still picture and its text."""
        still = {"text/plain": self.plain_text}
        if self.image.value:
            still["image/png"] = base64.b64encode(self.image.value).decode()
        return super()._repr_mimebundle_(**kwargs) | still


# ------------------------------------------------------------------------------------------------------------- knobs


def slider(description: str, value: float, low: float, high: float, step: float) -> widgets.Widget:
    """Return a slider that redraws while it is dragged; with whole steps its values are ints."""
    track = {"value": value, "min": low, "max": high, "step": step, "description": description, **wide()}
    if isinstance(step, int):
        return widgets.IntSlider(**track)
    decimals = len(f"{step:g}".partition(".")[2])
    return widgets.FloatSlider(readout_format=f".{decimals}f", **track)


def choice(description: str, options: list, value: object) -> widgets.SelectionSlider:
    """Return a slider over a few given values, which the arrow keys step through."""
    return widgets.SelectionSlider(options=options, value=value, description=description, **wide())


def menu(description: str, options: list, value: object) -> widgets.Dropdown:
    """Return a menu, for names that have no order."""
    return widgets.Dropdown(options=options, value=value, description=description, **wide())


def toggle(description: str, value: bool = False) -> widgets.Checkbox:
    """Return a box to tick, aligned with the other knobs."""
    return widgets.Checkbox(value=value, description=description, indent=True, **wide())


def wide() -> dict:
    """Return the look that all knobs share: room for the name, and a track long enough to be dragged."""
    return {"style": {"description_width": "8em"}, "layout": widgets.Layout(width="34em", height="28px")}


def readout(knob: widgets.Widget) -> str:
    """Return a knob's value as the knob shows it: its own summary, a label, on or off, a number with its decimals."""
    if hasattr(knob, "summary"):
        return knob.summary
    if hasattr(knob, "options"):
        option = knob.options[knob.index]  # `label` is empty until a slider has been moved
        return str(option[0] if isinstance(option, tuple) else option)
    if isinstance(knob.value, bool):
        return "on" if knob.value else "off"
    return f"{knob.value:{knob.readout_format}}".replace("-", "−")


# ------------------------------------------------------------------------------------------------------------- parts


def add_boxes(axes: Axes, x: Sequence, y: Sequence, width: Sequence = 1, height: Sequence = 1, **style) -> None:
    """Draw boxes that begin at (x, y), or bars, as one collection: much faster than one Rectangle each."""
    x, y, width, height = np.broadcast_arrays(x, y, width, height)
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], dtype=float)  # (4, 2, N)
    axes.add_collection(PolyCollection(np.moveaxis(corners, -1, 0), **style), autolim=False)


def set_up_logits(axes: Axes, logits: np.ndarray, **labels) -> None:
    """Frame `draw_logits` by all logits (N, classes) that may be shown, with room for what a change adds."""
    low, high, room, classes = logits.min(), logits.max(), 0.25 * np.ptp(logits), logits.shape[1]
    axes.axhline(0, color="black", linewidth=0.8, zorder=0.5)  # below the bars
    axes.set(xlim=(-0.89, classes - 0.11), ylim=(min(low, 0) - room, max(high, 0) + room))
    axes.set(**{"xlabel": "class", "xticks": range(classes)} | labels)


def draw_logits(axes: Axes, before: np.ndarray, after: np.ndarray | None) -> None:
    """Draw a bar for each class from logits (classes,), and beside it in orange the logits after a change."""
    classes = np.arange(len(before))
    add_boxes(axes, classes - 0.4, 0, 0.4, before, facecolor=COLORS[0])
    if after is not None:
        add_boxes(axes, classes, 0, 0.4, after, facecolor=COLORS[1])


def text_writer() -> Callable[..., None]:
    """Return a function that writes many short texts as one shape: much faster than one Text each.

    It keeps the shapes it has made: make one for each control. Its axes must have equal aspects, y down.
    """

    @functools.cache
    def shape(text: str, size: float, width: float) -> Path:
        path = TextPath((0, 0), text, size=size)
        left, _, right, _ = path.get_extents().extents
        scale = min(1, width / max(right - left, 1e-9))
        center = ((left + right) / 2, 0.36 * size)  # half the height of a digit
        return Path((path.vertices - center) * (scale, -scale), path.codes)

    def write(axes: Axes, x, y, texts: Iterable[str], size: float, width=np.inf, color="black", zorder=5) -> None:
        """Write texts centered on the places (x, y), `size` and at most `width` data units large."""
        shapes, places = [shape(text, size, width) for text in texts], np.column_stack(np.broadcast_arrays(x, y))
        moved = [Path(one.vertices + place, one.codes) for one, place in zip(shapes, places, strict=True)]
        patch = PathPatch(Path.make_compound_path(*moved), color=color, linewidth=0, zorder=zorder)
        axes.add_artist(patch)  # add_patch would measure every curve

    return write
