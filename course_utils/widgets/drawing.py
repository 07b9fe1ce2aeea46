"""Chapter 05's canvas: draw a digit, see the 28×28 pixels that the network gets, and read its answer."""

from collections.abc import Mapping
from pathlib import Path

import anywidget
import ipywidgets as widgets
import torch
import traitlets
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.plotting import COLORS, new_figure
from course_utils.widgets.canvas import Explorer, explore, menu, on_off, slider, toggle
from course_utils.widgets.lenet import logits_of

SIZE = 280  # pixels of the canvas, each way
EMPTY = bytes(SIZE * SIZE)


class DrawingPad(anywidget.AnyWidget):
    """A canvas of 280×280 pixels with a Clear button; `value` holds its gray values as bytes, row by row."""

    _esm = Path(__file__).with_name("drawing_pad.js")
    _css = """
        .drawing-pad { width: 284px; flex-shrink: 0; }
        .drawing-pad canvas { display: block; max-width: 100%; border: 2px solid gray; cursor: crosshair;
                              touch-action: none; user-select: none; -webkit-user-select: none; }
    """
    # the front end sends a memoryview; an echo of each drawing back to it would double the traffic
    value = traitlets.Bytes(EMPTY).tag(sync=True, echo_update=False, from_json=lambda value, pad: bytes(value))
    pen = traitlets.CInt(24, min=8, max=32).tag(sync=True)

    @traitlets.validate("value")
    def _check_size(self, proposal: dict) -> bytes:
        value = proposal["value"]
        if len(value) != SIZE * SIZE:
            raise ValueError(
                f"expected {SIZE}×{SIZE} = {SIZE * SIZE} bytes, one for each pixel of the canvas, got {len(value)}"
            )
        return value

    def clear(self) -> None:
        """Wipe the canvas."""
        self.value = EMPTY


def as_drawing(value: bytes) -> Tensor:
    """Return the value of a pad as a tensor, uint8 (280, 280), 255 where there is ink."""
    return torch.frombuffer(bytearray(value), dtype=torch.uint8).view(SIZE, SIZE)


def prepare_drawing(drawing: Tensor, *, crop: bool = True, box: int = 20, by_mass: bool = True) -> Tensor:
    """Return a drawing as MNIST would hold it: float (28, 28) in 0..1, for a drawing uint8 or float in 0..1, (H, W).

    Large values are ink. What is around the ink is cut off, its longer side becomes `box` pixels long, and it is put
    where its center of mass lies at index 14 (as near as the ink still fits), or without `by_mass` in the middle.
    Without `crop` the whole drawing becomes 28×28 and nothing else is done. Raises ValueError for an empty drawing.
    """
    ink = as_ink(drawing)
    if not 1 <= box <= 28:
        raise ValueError(f"expected a box of 1 to 28 pixels, got {box}")
    if not crop:
        return shrink(ink, 28, 28)
    rows, columns = (ink.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(size * box / max(ink.shape))) for size in ink.shape)
    small = shrink(ink, height, width)
    top = place(small.sum(dim=1), by_mass)
    left = place(small.sum(dim=0), by_mass)
    picture = torch.zeros(28, 28)
    picture[top : top + height, left : left + width] = small
    return picture


def as_ink(drawing: Tensor) -> Tensor:
    """Return the drawing as float (H, W) in 0..1; ValueError, in plain words, when it is empty or no drawing."""
    if drawing.dim() != 2:
        raise ValueError(f"expected a drawing of shape (H, W), got {tuple(drawing.shape)}")
    ink = drawing / 255 if drawing.dtype == torch.uint8 else drawing.float()
    if ink.numel() == 0 or not ink.any():
        raise ValueError("draw something first: the drawing has no ink (all its pixels are 0)")
    if not (ink.min() >= 0 and ink.max() <= 1):
        raise ValueError(
            f"expected uint8 or float pixels in 0..1, got {ink.min():g} to {ink.max():g}: divide by the largest value"
        )
    return ink


def shrink(ink: Tensor, height: int, width: int) -> Tensor:
    """Resize (H, W) so that each new pixel averages the area it covers."""
    return F.interpolate(ink[None, None], size=(height, width), mode="area")[0, 0]


def place(ink: Tensor, by_mass: bool) -> int:
    """Return where in 28 pixels a box starts, along one axis, for the ink (n,) in each of its rows or columns."""
    if not by_mass:
        return (28 - len(ink)) // 2
    center = float((ink * torch.arange(len(ink))).sum() / ink.sum())
    return min(max(round(14 - center), 0), 28 - len(ink))


class DrawingPicture:
    """The 28×28 pixels that the network gets, and a bar for the probability of each digit."""

    def __init__(self, models: Mapping[str, nn.Module], *, mean: float, std: float) -> None:
        self.models, self.mean, self.std = models, mean, std
        self.figure, (pixels, bars) = new_figure(5.6, 3.0, columns=2, width_ratios=(1, 1.2))
        self.pixels = pixels.imshow(torch.zeros(28, 28).numpy(), cmap="gray", vmin=0, vmax=1)
        pixels.set(title="what the network gets", xticks=[0, 14, 27], yticks=[0, 14, 27])
        self.bars = bars.bar(range(10), [0] * 10)
        bars.set(title="what it answers", xlabel="digit", ylabel="probability", xticks=range(10), ylim=(0, 1))
        self.moving = [self.pixels, *self.bars]

    def update(self, drawing: bytes, pen: float, crop: bool, box: bool, by_mass: bool, network: str) -> str:
        """Show what the network makes of the drawing (the bytes of a pad); name its first and second answer."""
        choices = (
            f"pen = {pen:g} px, crop = {on_off(crop)}, box of 20 = {on_off(box)}, center by mass = {on_off(by_mass)}"
        )
        choices += f", network = {network}" if len(self.models) > 1 else ""
        choices += "" if crop else " (box and center need the crop)"
        if drawing == EMPTY:
            self.show(torch.zeros(28, 28), torch.zeros(10))
            return f"draw something: the canvas is empty, so there is no answer yet. Settings: {choices}."
        image = prepare_drawing(as_drawing(drawing), crop=crop, box=20 if box else 28, by_mass=by_mass)
        logits = logits_of(self.models[network], (image[None, None] - self.mean) / self.std)  # (1, 10)
        probabilities = logits[0].softmax(dim=0)
        self.show(image, probabilities)
        (p1, p2), (first, second) = (top.tolist() for top in probabilities.topk(2))
        return f"The answer is {first} ({p1:.1%}), then {second} ({p2:.1%}). Settings: {choices}."

    def show(self, image: Tensor, probabilities: Tensor) -> None:
        """Put the image (28, 28) and the ten bars into the picture; the highest bar stands out."""
        self.pixels.set_data(image.numpy())
        for bar, probability in zip(self.bars, probabilities.tolist(), strict=True):
            bar.set_height(probability)
            bar.set_facecolor(COLORS[0] if probability == probabilities.max() else "0.7")


def draw_a_digit(models: Mapping[str, nn.Module], *, mean: float, std: float) -> Explorer:
    """Return a canvas beside the answer of a network, with each step of the preparation to be switched off.

    `models` are networks by name; they get (1, 1, 28, 28), standardized with `mean` and `std` (of pixels in 0..1), and
    return logits (1, 10). Raises ValueError when there is no network or its output has another shape.
    """
    check_models(models)
    pad, pen = DrawingPad(), slider("pen", 24, 8, 32, 1)
    widgets.link((pen, "value"), (pad, "pen"))
    explorer = explore(
        DrawingPicture(models, mean=mean, std=std),
        drawing=pad,
        pen=pen,
        crop=toggle("crop to the ink", True),
        box=toggle("box of 20", True),
        by_mass=toggle("center by mass", True),
        network=menu("network", list(models), next(iter(models))),
    )
    _, *others, network = explorer.controls.values()
    row = widgets.HBox([pad, explorer.image], layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
    # the text comes last: its length changes while a line is drawn, and nothing may move under the pen
    explorer.children = [*others, *([network] if len(models) > 1 else []), row, explorer.text]
    return explorer


def check_models(models: Mapping[str, nn.Module]) -> None:
    """Raise ValueError when there is no network, or one does not answer with ten logits."""
    if not models:
        raise ValueError('there is no network: expected at least one, for example {"LeNet-5": model}')
    for name, model in models.items():
        shape = tuple(logits_of(model, torch.zeros(1, 1, 28, 28)).shape)
        if shape != (1, 10):
            raise ValueError(f'expected ten logits, shape (1, 10), got {shape} from the network "{name}"')
