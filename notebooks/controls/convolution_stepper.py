"""Chapter 04's first control: the kernel steps over the input, one window at a time, every product written out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from course_utils.controls import Control, add_boxes, choice, menu, slider, text_writer
from course_utils.plotting import COLORS, new_figure

# ------------------------------------------------------------------------------------------ what the controls share

OWN = "my own"


class PresetFields(widgets.HBox, widgets.ValueWidget):
    """A menu of named entries and the text fields that it fills; `value` is the tuple of the fields' texts."""

    def __init__(self, description: str, presets: Mapping[str, Sequence[str]], columns: int, width: str) -> None:
        self.description, self.presets, self.columns, self.filling = description, presets, columns, False
        self.menu = menu(description, [*presets, OWN], next(iter(presets)))
        self.menu.layout.width = "20em"
        texts, look = presets[self.menu.value], widgets.Layout(width=width, margin="1px")
        # continuous_update: half an entry, such as "-", is not meant yet
        self.fields = [widgets.Text(text, continuous_update=False, layout=look) for text in texts]
        grid = widgets.Layout(grid_template_columns=f"repeat({columns}, max-content)")
        super().__init__([self.menu, widgets.GridBox(self.fields, layout=grid)])
        self.layout.flex_flow, self.value = "row wrap", tuple(texts)
        self.observe(self.fill, names="value")
        self.menu.observe(self.choose, names="value")
        for k, field in enumerate(self.fields, start=1):
            field.tooltip = f"{description} {k}"
            field.observe(self.read, names="value")

    @property
    def summary(self) -> str:
        """The entry's name and its texts, a bar between rows: edge (−1 −1 −1 | −1 8 −1 | −1 −1 −1)."""
        rows = (self.value[k : k + self.columns] for k in range(0, len(self.value), self.columns))
        return f"{self.menu.value} ({minus(' | '.join(' '.join(' '.join(row).split()) for row in rows))})"

    def choose(self, change: dict) -> None:
        """Take over the entry chosen in the menu."""
        if change["new"] != OWN:
            self.value = tuple(self.presets[change["new"]])

    def read(self, change: dict) -> None:
        """Take over what was typed."""
        if not self.filling:
            self.value = tuple(field.value for field in self.fields)

    def fill(self, change: dict) -> None:
        """Show the value in the fields and its name in the menu."""
        self.filling = True  # else each field would be read while the others still hold the old texts
        for field, text in zip(self.fields, self.value, strict=True):
            field.value = text
        self.filling = False
        self.menu.value = next((name for name, texts in self.presets.items() if tuple(texts) == self.value), OWN)


def windows(units: int | Sequence[int], kernel_size: int, stride: int, padding: int, dilation: int = 1) -> np.ndarray:
    """Return which pixels each unit takes along one axis, (…, K), counted from 0; the padding lies outside."""
    return stride * np.array(units)[..., None] + dilation * np.arange(kernel_size) - padding


def listed(name: str, numbers: Sequence[int], most: int = 5) -> str:
    """Write rising numbers: "pixels 3–5, 9", at most `most` stretches and then the count."""
    breaks = [0, *(np.flatnonzero(np.diff(numbers) > 1) + 1), len(numbers)]
    parts = [numbers[a:b] for a, b in pairwise(breaks)]
    words = [f"{part[0]}–{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts]
    more = f" … ({len(numbers)} in all)" if len(words) > most else ""
    return f"{name}{'s' * (len(numbers) > 1)} {', '.join(words[:most])}{more}"


def number(value: float) -> str:
    """Write a number in few characters: 12, −0.33, 5.78."""
    return minus(f"{round(value, 6) + 0.0:{'.3g' if abs(value) >= 1 else '.2g'}}")


def minus(text: str) -> str:
    """Write the minus sign as it is printed."""
    return text.replace("-", "−")


# ------------------------------------------------------------------------------------------------------- the stepper

INPUT = torch.tensor(
    [[12, 3, 5, 1, 0, 2], [4, 6, 2, 8, 3, 1], [4, 7, 9, 0, 5, 6], [2, 1, 8, 3, 7, 4], [0, 5, 6, 2, 1, 9]],
    dtype=torch.float64,
)
PRESETS = {
    "worked example": ("0", "1", "0", "1", "0", "-1", "0", "-1", "0"),
    "edge": ("-1", "-1", "-1", "-1", "8", "-1", "-1", "-1", "-1"),
    "blur": ("1/9",) * 9,
    "sharpen": ("0", "-1", "0", "-1", "5", "-1", "0", "-1", "0"),
    "identity": ("0", "0", "0", "0", "1", "0", "0", "0", "0"),
    "shift down": ("0", "1", "0", "0", "0", "0", "0", "0", "0"),
}


def draw_stepper(write: Callable, axes: Axes, *, kernel: Sequence[str], position: int, **layer: int) -> str:
    """Draw window number `position` (from 1, row by row) of a kernel given as nine texts, and the output up to it."""
    weights, texts = parse_kernel(kernel), [minus(text.strip()) for text in kernel]
    output = F.conv2d(INPUT[None], weights.view(1, 1, 3, 3), **layer)[0]
    last, padding = min(position, output.numel()), layer["padding"]
    row, column = divmod(last - 1, output.shape[1])
    y, x = np.repeat(windows(row, 3, **layer), 3), np.tile(windows(column, 3, **layer), 3)
    draw_input(write, axes, padding)
    unused = draw_unused(axes, *(windows(range(size), 3, **layer) for size in output.shape), padding)
    add_boxes(axes, x, y, zorder=3, facecolor="#ffe0a8", edgecolor=COLORS[6], linewidth=1.5)
    short = [text if len(text) <= 4 else number(value) for text, value in zip(texts, weights.tolist(), strict=True)]
    write(axes, x + 0.62, y + 0.82, [f"×{text}" for text in short], size=0.3, width=0.7, color=COLORS[2])
    draw_output(write, axes, output, last)
    beyond = f"there are only {last} windows: this is the last, " if position > last else ""
    products = written_sum(F.pad(INPUT, [padding] * 4)[y + padding, x + padding], texts, weights)
    place = f"{beyond}row {row + 1}, column {column + 1} of the output"
    return f"{place}. {products}. {unused}"


def parse_kernel(texts: Sequence[str]) -> Tensor:
    """Return the nine weights, float64, that nine texts spell. Raises ValueError naming the unfit one."""
    values = []
    for k, text in enumerate(texts):
        numerator, slash, denominator = text.replace("−", "-").partition("/")
        try:
            values.append(float(numerator) / (float(denominator) if slash else 1))
        except (ValueError, ZeroDivisionError):
            values.append(float("nan"))
        if not abs(values[-1]) <= 9:  # true for nan as well
            got = f"holds {text[:20]!r}" if text.strip() else "is empty"
            where = f"row {k // 3 + 1}, column {k % 3 + 1} of the kernel"
            raise ValueError(f"{where} {got}: type a number from −9 to 9, such as 2, -0.5 or 1/9")
    return torch.tensor(values, dtype=torch.float64)


def draw_input(write: Callable, axes: Axes, padding: int) -> None:
    """Draw the input, and around it the border of zeros."""
    rows, columns = INPUT.shape
    y, x = np.mgrid[-padding : rows + padding, -padding : columns + padding].reshape(2, -1)
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    look = {"facecolor": np.where(inside, "white", "0.9"), "edgecolor": np.where(inside, "0.4", "0.6")}
    add_boxes(axes, x, y, **look)
    x, y = x + 0.5, y + 0.42
    write(axes, x[~inside], y[~inside], ["0"] * sum(~inside), size=0.4, color="0.45")
    write(axes, x[inside], y[inside], map(number, INPUT.flatten().tolist()), size=0.4)
    padded = f", padded to {rows + 2 * padding}×{columns + 2 * padding}" if padding else ""
    axes.text(-padding, -padding - 0.3, f"input {rows}×{columns}{padded}", fontsize=11)


def draw_unused(axes: Axes, rows: np.ndarray, columns: np.ndarray, padding: int) -> str:
    """Hatch the rows and columns of the padded input that are not among those taken; say which these are."""
    height, width = (size + 2 * padding for size in INPUT.shape)
    rows = np.setdiff1d(np.arange(height) - padding, rows)
    columns = np.setdiff1d(np.arange(width) - padding, columns)
    hatched = {"zorder": 2, "facecolor": "none", "edgecolor": "0.7", "hatch": "////", "linewidth": 0}
    add_boxes(axes, -padding, rows, width, 1, **hatched)
    add_boxes(axes, columns, -padding, 1, height, **hatched)
    texts = [listed(name, lines + padding + 1) for name, lines in (("row", rows), ("column", columns)) if len(lines)]
    if not texts:
        return "Every row and column of the padded input is used."
    return f"No weight ever meets {' and '.join(texts)} of the padded input (hatched)."


def draw_output(write: Callable, axes: Axes, output: Tensor, last: int) -> None:
    """Draw the output's cells (H, W) and the results so far; the last one is marked."""
    height, width = output.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    x, y = x + 14.2 - width / 2, y + 2.5 - height / 2
    add_boxes(axes, x, y, facecolor=["#dcebf8"] * last + ["white"] * (len(x) - last), edgecolor="0.4")
    add_boxes(axes, x[[last - 1]], y[[last - 1]], zorder=4, facecolor="none", edgecolor=COLORS[6], linewidth=2.5)
    axes.text(x[0], y[0] - 0.3, f"output {height}×{width}", fontsize=11)
    results = map(number, output.flatten()[:last].tolist())
    write(axes, x[:last] + 0.5, y[:last] + 0.5, results, size=0.38, width=0.9)


def written_sum(pixels: Tensor, texts: Sequence[str], weights: Tensor) -> str:
    """Write the nine products of pixel and weight, their values and their sum."""
    signed = [f"({text})" if text[0] == "−" else text for text in texts]
    factors = " + ".join(f"{number(pixel)}·{text}" for pixel, text in zip(pixels.tolist(), signed, strict=True))
    products = " + ".join(map(number, (pixels * weights).tolist())).replace("+ −", "− ")
    equals = "≈" if any(sign in factors for sign in "/.e") else "="  # fractions are shown rounded
    return f"{factors} {equals} {products} {equals} {number(pixels.dot(weights).item())}"


def stepper_explorer() -> Control:
    """Return a kernel to edit, its stride, padding and dilation, and the position of its window over a 5×6 input."""
    _, axes = new_figure(8, 4)
    axes.set(xlim=(-2.2, 18.4), ylim=(7.2, -3), aspect="equal")
    axes.axis("off")
    return Control(
        partial(draw_stepper, text_writer()),
        axes,
        kernel=PresetFields("kernel", PRESETS, columns=3, width="4em"),
        stride=choice("stride", [1, 2, 3], 1),
        padding=choice("padding", [0, 1, 2], 0),
        dilation=choice("dilation", [1, 2], 1),
        position=slider("position", 1, 1, 56, 1),
    )
