"""Chapter 04's first control: the kernel steps over the input, one window at a time, every product written out."""

from collections.abc import Iterable, Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from torch import Tensor

from course_utils.plotting import COLORS, new_figure
from course_utils.tracing import conv_output_size, size_formula
from course_utils.widgets.canvas import Explorer, choice, explore, menu, slider

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
OWN = "my own"

# -------------------------------------------------------------------------------------- parts that controls share


class PresetFields(widgets.HBox, widgets.ValueWidget):
    """A menu of named entries and the text fields that it fills; `value` is the tuple of the fields' texts."""

    def __init__(self, description: str, presets: Mapping[str, Sequence[str]], columns: int, width: str) -> None:
        self.description, self.presets, self.filling = description, presets, False
        self.menu = menu(description, [*presets, OWN], next(iter(presets)))
        self.menu.layout.width = "20em"
        self.fields = [
            widgets.Text(
                value=text,
                continuous_update=False,  # half an entry, such as "-", is not meant yet
                tooltip=f"{description} {k}",
                layout=widgets.Layout(width=width, margin="1px"),
            )
            for k, text in enumerate(presets[self.menu.value], start=1)
        ]
        rows = [widgets.HBox(self.fields[k : k + columns]) for k in range(0, len(self.fields), columns)]
        super().__init__([self.menu, widgets.VBox(rows)], layout=widgets.Layout(flex_flow="row wrap"))
        self.value = tuple(presets[self.menu.value])
        self.observe(self.fill, names="value")
        self.menu.observe(self.choose, names="value")
        for field in self.fields:
            field.observe(self.read, names="value")

    def choose(self, change: dict) -> None:
        """Take over the preset chosen in the menu."""
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
        self.menu.value = preset_name(self.value, self.presets)


def preset_name(texts: Sequence[str], presets: Mapping[str, Sequence[str]]) -> str:
    """Return the name of the preset that consists of these texts."""
    return next((name for name, preset in presets.items() if tuple(preset) == tuple(texts)), OWN)


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


def boxes(x: np.ndarray, y: np.ndarray, width: np.ndarray = 1, height: np.ndarray = 1) -> np.ndarray:
    """Return the corners (N, 4, 2) of boxes whose upper left corners are given."""
    x, y, width, height = np.broadcast_arrays(x, y, width, height)
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return np.moveaxis(np.array(corners, dtype=float), -1, 0)  # (4, 2, N) -> (N, 4, 2)


def add_boxes(axes: Axes, zorder: float = 2, **style) -> PolyCollection:
    """Add a collection of boxes, none as yet."""
    return axes.add_collection(PolyCollection([], zorder=zorder, **style), autolim=False)


def number(value: float) -> str:
    """Write a number in few characters: 12, −0.33, 5.78."""
    return minus(f"{round(value, 6) + 0.0:{'.3g' if abs(value) >= 1 else '.2g'}}")


def minus(text: str) -> str:
    """Write the minus sign as it is printed."""
    return text.replace("-", "−")


# ------------------------------------------------------------------------------------------------------ the stepper


class StepperPicture:
    """The padded input with the taps of one window, and the output filled up to that window."""

    def __init__(self) -> None:
        self.figure, axes = new_figure(8, 4)
        axes.set(xlim=(-2.2, 18.4), ylim=(7.2, -3), aspect="equal")
        axes.axis("off")
        rows, columns = INPUT.shape
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        axes.add_collection(PolyCollection(boxes(x, y), facecolor="white", edgecolor="0.4", zorder=1))
        self.pixels = Labels(axes, "black")  # never changes, but is drawn above the marks
        self.pixels.write(x + 0.5, y + 0.42, map(number, INPUT.flatten().tolist()), size=0.4)
        self.titles = [axes.text(0, 0, "", fontsize=11, zorder=5) for _ in range(2)]
        self.border = add_boxes(axes, facecolor="0.9", edgecolor="0.6")
        self.unused = add_boxes(axes, facecolor="none", edgecolor="0.7", hatch="////", linewidth=0)
        self.taps = add_boxes(axes, zorder=3, facecolor="#ffe0a8", edgecolor=COLORS[6], linewidth=1.5)
        self.output = add_boxes(axes, edgecolor="0.4")
        self.current = add_boxes(axes, zorder=4, facecolor="none", edgecolor=COLORS[6], linewidth=2.5)
        self.zeros, self.weights = Labels(axes, "0.45"), Labels(axes, COLORS[2])
        self.sums = Labels(axes, "black")
        self.moving = [self.border, self.unused, self.taps, self.output, self.current]
        self.moving += [self.pixels, self.zeros, self.weights, self.sums, *self.titles]

    def update(self, kernel: Sequence[str], stride: int, padding: int, dilation: int, position: float) -> str:
        """Draw window number `position` (from 1, row by row) of a kernel given as nine texts; write its sum out."""
        weights = parse_kernel(kernel)
        layer = {"stride": stride, "padding": padding, "dilation": dilation}
        self.sizes = conv_output_size(tuple(INPUT.shape), 3, **layer)
        results = F.conv2d(INPUT[None, None], weights[None, None], **layer).flatten().tolist()
        last = min(int(position), len(results))
        row, column = divmod(last - 1, self.sizes[1])
        taps = [(row * stride + dilation * i, column * stride + dilation * j) for i in range(3) for j in range(3)]
        self.draw_input(padding, taps, kernel, weights)
        unused = self.draw_unused(**layer)
        self.draw_output(results[:last])
        pixels = [F.pad(INPUT, [padding] * 4)[tap].item() for tap in taps]
        beyond = f", but there are only {len(results)} windows: this is the last" if position > len(results) else ""
        return (
            f"kernel = {preset_name(kernel, PRESETS)} ({kernel_text(kernel)}), stride = {stride}, padding = {padding}, "
            f"dilation = {dilation}, position = {int(position)}{beyond}: row {row + 1}, column {column + 1} of the "
            f"output. {written_sum(pixels, kernel, weights, results[last - 1])}. Output size, rows and columns: "
            f"{size_formula(tuple(INPUT.shape), 3, **layer)}. {unused}"
        )

    def draw_input(self, padding: int, taps: list[tuple], kernel: Sequence[str], weights: Tensor) -> None:
        """Draw the border of zeros and the nine tapped cells with their weights."""
        rows, columns = INPUT.shape
        y, x = np.mgrid[-padding : rows + padding, -padding : columns + padding].reshape(2, -1)
        outside = (x < 0) | (x >= columns) | (y < 0) | (y >= rows)
        self.border.set_verts(boxes(x[outside], y[outside]))
        self.zeros.write(x[outside] + 0.5, y[outside] + 0.42, ["0"] * outside.sum(), size=0.4)
        padded = f", padded to {rows + 2 * padding}×{columns + 2 * padding}" if padding else ""
        self.titles[0].set(text=f"input {rows}×{columns}{padded}", position=(-padding, -padding - 0.3))
        y, x = np.array(taps).T - padding
        self.taps.set_verts(boxes(x, y))
        typed = [minus(text.strip()) for text in kernel]
        short = [t if len(t) <= 4 else number(w) for t, w in zip(typed, weights.flatten().tolist(), strict=True)]
        self.weights.write(x + 0.62, y + 0.82, [f"×{text}" for text in short], size=0.3, width=0.7)

    def draw_unused(self, stride: int, padding: int, dilation: int) -> str:
        """Hatch the rows and columns of the padded input that no weight of any window meets; say which these are."""
        whole, unused = [size + 2 * padding for size in INPUT.shape], []
        for size, steps in zip(whole, self.sizes, strict=True):
            used = {step * stride + dilation * k for step in range(steps) for k in range(3)}
            unused.append(np.array([k for k in range(size) if k not in used]))
        rows, columns = unused
        strips = boxes(-padding, rows - padding, whole[1], 1), boxes(columns - padding, -padding, 1, whole[0])
        self.unused.set_verts(np.concatenate(strips))
        texts = [
            f"{name}{'s' * (len(lines) > 1)} {', '.join(str(k + 1) for k in lines)}"
            for name, lines in (("row", rows), ("column", columns))
            if len(lines)
        ]
        if not texts:
            return "Every row and column of the padded input is used."
        return f"No weight ever meets {' and '.join(texts)} of the padded input (hatched)."

    def draw_output(self, results: list[float]) -> None:
        """Draw the output's cells and the results so far; the last one is marked."""
        y, x = np.mgrid[: self.sizes[0], : self.sizes[1]].reshape(2, -1)
        x, y = x + 14.2 - self.sizes[1] / 2, y + 2.5 - self.sizes[0] / 2
        self.output.set_verts(boxes(x, y))
        self.output.set_facecolor(["#dcebf8"] * len(results) + ["white"] * (len(x) - len(results)))
        self.current.set_verts(boxes(x, y)[len(results) - 1 : len(results)])
        self.titles[1].set(text="output {}×{}".format(*self.sizes), position=(x[0], y[0] - 0.3))
        x, y = x[: len(results)] + 0.5, y[: len(results)] + 0.5
        self.sums.write(x, y, map(number, results), size=0.38, width=0.9)


def parse_kernel(texts: Sequence[str]) -> Tensor:
    """Return the 3×3 kernel, float64, that nine texts spell row by row. Raises ValueError naming the unfit one."""
    values = []
    for k, text in enumerate(texts):
        numerator, slash, denominator = text.replace("−", "-").partition("/")
        try:
            value = float(numerator) / (float(denominator) if slash else 1)
        except (ValueError, ZeroDivisionError):
            value = float("nan")
        if not abs(value) <= 9:  # true for nan as well
            got = f"holds {text[:20]!r}" if text.strip() else "is empty"
            raise ValueError(
                f"row {k // 3 + 1}, column {k % 3 + 1} of the kernel {got}: "
                "type a number from −9 to 9, such as 2, -0.5 or 1/9"
            )
        values.append(value)
    return torch.tensor(values, dtype=torch.float64).view(3, 3)


def kernel_text(texts: Sequence[str]) -> str:
    """Write the kernel in one line, rows separated by bars."""
    return " | ".join(minus(" ".join(text.strip() for text in texts[k : k + 3])) for k in (0, 3, 6))


def written_sum(pixels: list[float], kernel: Sequence[str], weights: Tensor, result: float) -> str:
    """Write the nine products of pixel and weight, their values and their sum."""
    signed = [f"({minus(text.strip())})" if minus(text.strip())[0] == "−" else text.strip() for text in kernel]
    factors = " + ".join(f"{number(pixel)}·{text}" for pixel, text in zip(pixels, signed, strict=True))
    products = [number(p * w) for p, w in zip(pixels, weights.flatten().tolist(), strict=True)]
    values = " + ".join(products).replace("+ −", "− ")
    equals = "≈" if any(sign in factors for sign in "/.e") else "="  # fractions are shown rounded
    return f"{factors} {equals} {values} {equals} {number(result)}"


def stepper_explorer() -> Explorer:
    """Return a kernel to edit, its stride, padding and dilation, and the position of its window over a 5×6 input."""
    return explore(
        StepperPicture(),
        kernel=PresetFields("kernel", PRESETS, columns=3, width="4em"),
        stride=choice("stride", [1, 2, 3], 1),
        padding=choice("padding", [0, 1, 2], 0),
        dilation=choice("dilation", [1, 2], 1),
        position=slider("position", 1, 1, 56, 1),
    )
