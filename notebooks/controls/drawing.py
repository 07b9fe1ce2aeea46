"""Chapter 05's canvas: draw a digit, see the 28×28 pixels that the network gets, and read its answer."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anywidget
import ipywidgets as widgets
import torch
import traitlets
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional as F

from controls.lenet import outputs_of
from course_utils.controls import Control, add_boxes, menu, slider, toggle
from course_utils.plotting import COLORS, new_figure

SIZE = 280  # pixels of the canvas, each way
EMPTY = bytes(SIZE * SIZE)


class DrawingPad(anywidget.AnyWidget):
    """A canvas of 280×280 pixels with a Clear button; `value` holds its gray values as bytes, row by row."""

    _esm = Path(__file__).with_name("drawing.js")
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
            raise ValueError(f"expected a byte for each of {SIZE}×{SIZE} = {SIZE * SIZE} pixels, got {len(value)}")
        return value

    def clear(self) -> None:
        """Wipe the canvas."""
        self.value = EMPTY


def prepare_drawing(drawing: Tensor, *, crop: bool = True, box: int = 20, by_mass: bool = True) -> Tensor:
    """Return a drawing as MNIST would hold it: float (28, 28) in 0..1, for a drawing uint8 or float in 0..1, (H, W).

    Large values are ink. What is around the ink is cut off, its longer side becomes `box` pixels long, and it is put
    where its center of mass lies at index 14 (as near as the ink still fits), or without `by_mass` in the middle.
    Without `crop` the whole drawing becomes 28×28 and nothing else is done. Raises ValueError for an empty drawing.
    """
    ink = drawing / 255 if drawing.dtype == torch.uint8 else drawing.float()
    if ink.dim() != 2:
        raise ValueError(f"expected a drawing of shape (H, W), got {tuple(ink.shape)}")
    if not 1 <= box <= 28:
        raise ValueError(f"expected a box of 1 to 28 pixels, got {box}")
    if not ink.any():
        raise ValueError("draw something first: the drawing has no ink (all its pixels are 0)")
    if not (ink.min() >= 0 and ink.max() <= 1):
        raise ValueError(
            f"expected uint8 or float pixels in 0..1, got {ink.min():g} to {ink.max():g}: divide by the largest value"
        )
    if not crop:
        return F.interpolate(ink[None, None], size=(28, 28), mode="area")[0, 0]
    rows, columns = (ink.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(side * box / max(ink.shape))) for side in ink.shape)
    small = F.interpolate(ink[None, None], size=(height, width), mode="area")[0, 0]  # each new pixel averages its area
    top, left = (28 - height) // 2, (28 - width) // 2
    if by_mass:
        top, left = place(small.sum(dim=1)), place(small.sum(dim=0))
    return F.pad(small, (left, 28 - width - left, top, 28 - height - top))


def place(ink: Tensor) -> int:
    """Return where in 28 pixels a box starts, along one axis, for the ink (n,) in each of its rows or columns."""
    center = float((ink * torch.arange(len(ink))).sum() / ink.sum())
    return min(max(round(14 - center), 0), 28 - len(ink))


def draw_answer(
    models: Mapping, mean: float, std: float, pixels: Axes, bars: Axes,
    *, drawing: bytes, pen: int, crop: bool, box: bool, by_mass: bool, network: str
) -> str:  # fmt: skip
    """Draw what the network gets of a drawing (the bytes of a pad), and a bar for the probability of each digit."""
    unused = "" if crop else " (Box and center need the crop.)"
    if drawing == EMPTY:
        return f"draw something: the canvas is empty, so there is no answer yet.{unused}"
    canvas = torch.frombuffer(bytearray(drawing), dtype=torch.uint8).view(SIZE, SIZE)
    image = prepare_drawing(canvas, crop=crop, box=20 if box else 28, by_mass=by_mass)
    logits = outputs_of(models[network], (image[None, None] - mean) / std)[""]  # (1, 10)
    shares = logits[0].softmax(dim=0)
    (p1, p2), (first, second) = (top.tolist() for top in shares.topk(2))
    pixels.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
    colors = [COLORS[0] if digit == first else "0.7" for digit in range(10)]
    add_boxes(bars, [digit - 0.4 for digit in range(10)], 0, 0.8, shares.numpy(), facecolor=colors)
    return f"the answer is {first} ({p1:.1%}), then {second} ({p2:.1%}).{unused}"


def draw_a_digit(models: Mapping[str, nn.Module], *, mean: float, std: float) -> Control:
    """Return a canvas beside the answer of a network, with each step of the preparation to be switched off.

    `models` are networks by name; they get (1, 1, 28, 28), standardized with `mean` and `std` (of pixels in 0..1), and
    return logits (1, 10). Raises ValueError when there is no network or its output has another shape.
    """
    if not models:
        raise ValueError('there is no network: expected at least one, for example {"LeNet-5": model}')
    for name, model in models.items():
        shape = tuple(outputs_of(model, torch.zeros(1, 1, 28, 28))[""].shape)
        if shape != (1, 10):
            raise ValueError(f'expected ten logits, shape (1, 10), got {shape} from the network "{name}"')
    _, (pixels, bars) = new_figure(5.6, 3.0, columns=2, width_ratios=(1, 1.2))
    pixels.imshow(torch.zeros(28, 28).numpy(), cmap="gray", vmin=0, vmax=1)
    pixels.set(title="what the network gets", xticks=[0, 14, 27], yticks=[0, 14, 27])
    bars.set(title="what it answers", xlabel="digit", ylabel="probability", xlim=(-0.89, 9.89), ylim=(0, 1))
    bars.set_xticks(range(10))
    names = list(models)
    knobs = {
        "pen": slider("pen (px)", 24, 8, 32, 1),
        "crop": toggle("crop to the ink", True),
        "box": toggle("box of 20", True),
        "by_mass": toggle("center by mass", True),
    }
    if len(names) > 1:
        knobs["network"] = menu("network", names, names[0])
    pad = DrawingPad()
    widgets.link((knobs["pen"], "value"), (pad, "pen"))
    control = Control(partial(draw_answer, models, mean, std, network=names[0]), (pixels, bars), drawing=pad, **knobs)
    row = widgets.HBox([pad, control.image], layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
    # the text comes last: its length changes while a line is drawn, and nothing may move under the pen
    control.children = [*knobs.values(), row, control.text]
    return control
