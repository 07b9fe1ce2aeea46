"""`explore`: sliders and menus around one picture, with a text beside it that names every value."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Protocol

import ipywidgets as widgets
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


class Picture(Protocol):
    """A drawing whose artists are made once: `update` moves them and returns the text that says what is to be seen."""

    figure: Figure
    moving: Sequence[Artist]  # what `update` changes; all else is drawn once and kept as a background

    def update(self, **values) -> str:
        """Move the artists for these values of the controls. Raises ValueError, in plain words, for unfit values."""


class Renderer:
    """Turn a picture into PNG bytes; what does not move is drawn once only."""

    def __init__(self, picture: Picture, dpi: int = 120) -> None:
        picture.figure.set_dpi(dpi)
        self.canvas, self.moving = FigureCanvasAgg(picture.figure), sorted(picture.moving, key=Artist.get_zorder)
        for artist in self.moving:
            artist.set_animated(True)  # matplotlib leaves such artists out of an ordinary draw
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(picture.figure.bbox)

    def png(self) -> bytes:
        """Return the picture as it is now."""
        self.canvas.restore_region(self.background)
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB").save(buffer, "png", compress_level=1)
        return buffer.getvalue()


class Explorer(widgets.VBox):
    """Controls, a text and a picture that follow each other. Made by `explore`."""

    def __init__(self, picture: Picture, controls: dict[str, widgets.Widget]) -> None:
        self.picture, self.controls, self.renderer = picture, controls, Renderer(picture)
        width = f"{picture.figure.get_figwidth():.1f}in"
        self.image = widgets.Image(format="png", layout=widgets.Layout(width=width, max_width="100%"))
        self.text = widgets.HTML()
        super().__init__([*controls.values(), self.text, self.image])
        for control in controls.values():
            control.observe(self.redraw, names="value")
        self.redraw()

    def values(self) -> dict:
        """Return each control's value by name."""
        return {name: control.value for name, control in self.controls.items()}

    def redraw(self, change: dict | None = None) -> None:
        """Draw the picture for the controls' values; a value that does not fit is explained in the text."""
        try:
            self.plain_text = self.picture.update(**self.values())
        except Exception as error:  # JupyterLab hides what a callback raises: a reader would see an old picture
            what = "Not possible" if isinstance(error, ValueError) else type(error).__name__
            self.plain_text = f"{what}: {error}"
            self.text.value = f"<p role='alert'><b>{what}:</b> {escape(str(error))}</p>"
            self.image.layout.visibility = "hidden"  # the old picture would belong to other values
            return
        self.text.value = f"<p>{escape(self.plain_text)}</p>"
        self.image.value = self.renderer.png()
        self.image.layout.visibility = "visible"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """Show the controls where a front end has them; elsewhere the still picture and its text."""
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        still = {"text/plain": self.plain_text}
        if self.image.value:
            still["image/png"] = base64.b64encode(self.image.value).decode()
        return {**data, **still}, metadata


def explore(picture: Picture, **controls: widgets.Widget) -> Explorer:
    """Return the picture with its controls: `update` is called with each control's value by the names given here."""
    return Explorer(picture, controls)


def slider(description: str, value: float, low: float, high: float, step: float) -> widgets.FloatSlider:
    """Return a slider that redraws while it is dragged."""
    decimals = len(f"{step:g}".partition(".")[2])
    return widgets.FloatSlider(
        value=value, min=low, max=high, step=step, description=description, readout_format=f".{decimals}f", **wide()
    )


def choice(description: str, options: list, value: object) -> widgets.SelectionSlider:
    """Return a slider over a few given values, which the arrow keys step through."""
    return widgets.SelectionSlider(options=options, value=value, description=description, **wide())


def menu(description: str, options: list, value: object) -> widgets.Dropdown:
    """Return a menu, for names that have no order."""
    return widgets.Dropdown(options=options, value=value, description=description, **wide())


def toggle(description: str, value: bool = False) -> widgets.Checkbox:
    """Return a box to tick, aligned with the other controls."""
    return widgets.Checkbox(value=value, description=description, indent=True, **wide())


def on_off(ticked: bool) -> str:
    """Write a ticked or empty box as a word."""
    return "on" if ticked else "off"


def wide() -> dict:
    """Return the look that all controls share: room for the name, and a track long enough to be dragged."""
    return {"style": {"description_width": "8em"}, "layout": widgets.Layout(width="34em", height="28px")}
