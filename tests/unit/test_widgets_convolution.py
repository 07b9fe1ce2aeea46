"""Chapter 04's controls: their numbers against torch, their texts, and their pictures over the whole range."""

import html
import itertools
import random
import re
import statistics
import time
import warnings
from fractions import Fraction

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from explorer_pictures import redraw_difference
from matplotlib.path import Path
from torch import nn

from course_utils.plotting import new_figure
from course_utils.widgets.convolution_arithmetic import (
    STACKS,
    OutputSizePicture,
    ReceptiveFieldPicture,
    fields_of,
    output_size_explorer,
    parse_layers,
    pixels_that_reach,
    pooling_explorer,
    ranges,
    receptive_field_explorer,
    stepper_explorer,
)
from course_utils.widgets.convolution_stepper import (
    INPUT,
    OWN,
    PRESETS,
    Labels,
    PresetFields,
    StepperPicture,
    boxes,
    number,
    parse_kernel,
)
from course_utils.widgets.pooling import MAP, PoolingPicture, pool

DIGIT = torch.zeros(28, 28)
DIGIT[5:23, 12:16] = 0.8
WORKED = PRESETS["worked example"]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


EXPLORERS = {
    "stepper": stepper_explorer,
    "size": output_size_explorer,
    "field": lambda: receptive_field_explorer(DIGIT),
    "pooling": pooling_explorer,
}


@pytest.fixture(scope="module")
def stepper():
    return stepper_explorer()


@pytest.fixture(scope="module")
def field():
    return receptive_field_explorer(DIGIT)


# further values of each control, of which each changes text and picture when set one after the other
MOVES = {
    "stepper": [
        ("position", 3), ("kernel", PRESETS["blur"]), ("stride", 2), ("padding", 1), ("dilation", 2),
    ],
    "size": [("size", 30), ("kernel_size", 4), ("stride", 3), ("padding", 1), ("dilation", 2), ("ceil", True)],
    "field": [("layers", STACKS["LeNet-5"]), ("after", 2), ("row", 7), ("column", 9)],
    "pooling": [
        ("kind", "mean"), ("kernel_size", 3), ("padding", 1), ("count_padding", False), ("stride", 3), ("ceil", True),
        ("shift", 2), ("kind", "stochastic"), ("draw", 7), ("mode", "eval"),
    ],
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ the stepper


def reference(kernel, stride, padding, dilation):
    """Return the output by plain loops: torch's convolution does not turn the kernel around."""
    padded = np.pad(INPUT.numpy(), padding)
    weights = np.array([float(Fraction(text)) for text in kernel]).reshape(3, 3)
    reach = 2 * dilation + 1
    return [
        [
            (padded[i : i + reach : dilation, j : j + reach : dilation] * weights).sum()
            for j in range(0, padded.shape[1] - reach + 1, stride)
        ]
        for i in range(0, padded.shape[0] - reach + 1, stride)
    ]


def test_the_worked_sum_is_seen_at_the_start():
    text = stepper_explorer().plain_text
    assert text.startswith("kernel = worked example (0 1 0 | 1 0 −1 | 0 −1 0), stride = 1, padding = 0, dilation = 1, ")
    assert "12·0 + 3·1 + 5·0 + 4·1 + 6·0 + 2·(−1) + 4·0 + 7·(−1) + 9·0 = " in text
    assert " = 0 + 3 + 0 + 4 + 0 − 2 + 0 − 7 + 0 = −2." in text
    assert INPUT[:3, :3].tolist() == [[12, 3, 5], [4, 6, 2], [4, 7, 9]] and INPUT.shape == (5, 6)


@pytest.mark.parametrize("name", PRESETS)
def test_stepper_equals_torch_for_all_settings(name, monkeypatch):
    picture, kernel = StepperPicture(), PRESETS[name]
    shown = []
    monkeypatch.setattr(picture.sums, "write", lambda x, y, texts, **sizes: shown.append((list(x), list(y), [*texts])))
    for stride, padding, dilation in itertools.product((1, 2, 3), (0, 1, 2), (1, 2)):
        expected = np.array(reference(kernel, stride, padding, dilation))
        by_torch = F.conv2d(
            INPUT[None, None], parse_kernel(kernel)[None, None], stride=stride, padding=padding, dilation=dilation
        )
        np.testing.assert_allclose(by_torch[0, 0].numpy(), expected, atol=1e-12)
        for position in {1, 2, expected.size // 2, expected.size, 56} - {0}:
            values = {"stride": stride, "padding": padding, "dilation": dilation}
            text = picture.update(kernel=kernel, position=float(position), **values)
            last = min(position, expected.size)
            row, column = divmod(last - 1, expected.shape[1])
            assert text.startswith(f"kernel = {name} (")
            assert all(f"{key} = {value}" in text for key, value in values.items())
            assert f"position = {position}" in text and f"row {row + 1}, column {column + 1} of the output" in text
            assert (f"only {expected.size} windows" in text) == (position > expected.size)
            assert re.search(rf"[=≈] {re.escape(number(expected[row, column]))}\.", text)
            x, y, texts = shown[-1]
            assert texts == [number(value) for value in expected.flatten()[:last]]
            assert picture.sizes == expected.shape
            tapped = {(box[:, 1].min() + padding, box[:, 0].min() + padding) for box in vertices(picture.taps)}
            corners = itertools.product(range(3), range(3))
            assert tapped == {(row * stride + dilation * i, column * stride + dilation * j) for i, j in corners}
            marked = vertices(picture.current)[0].min(axis=0) + 0.5
            assert tuple(marked) == (x[-1], y[-1])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_hatched_rows_and_columns_have_no_gradient(stride, padding, dilation):
    picture = StepperPicture()
    text = picture.update(kernel=WORKED, stride=stride, padding=padding, dilation=dilation, position=1)
    padded = F.pad(INPUT, [padding] * 4).requires_grad_()
    ones = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    F.conv2d(padded[None, None], ones, stride=stride, dilation=dilation).sum().backward()
    rows = [k + 1 for k in range(len(padded)) if not padded.grad[k].any()]
    columns = [k + 1 for k in range(padded.shape[1]) if not padded.grad[:, k].any()]
    for name, unused in (("row", rows), ("column", columns)):
        found = re.search(rf"{name}s? (\d+(?:, \d+)*)[^.]*of the padded input \(hatched\)", text)
        assert (found[1] if found else "") == ", ".join(map(str, unused))
    assert len(vertices(picture.unused)) == len(rows) + len(columns)
    assert ("Every row and column" in text) == (not rows and not columns)


def vertices(collection):
    """Return the four corners of each box."""
    return [path.vertices[:4] for path in collection.get_paths()]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "row 2, column 3 of the kernel is empty"),
        ("   ", "row 2, column 3 of the kernel is empty"),
        ("abc", "row 2, column 3 of the kernel holds 'abc'"),
        ("1,5", "holds '1,5': type a number from −9 to 9, such as 2, -0.5 or 1/9"),
        ("inf", "holds 'inf'"), ("-inf", "holds '-inf'"), ("nan", "holds 'nan'"), ("1/0", "holds '1/0'"),
        ("1/", "holds '1/'"), ("1/2/3", "holds '1/2/3'"), ("9.5", "holds '9.5'"), ("-10", "holds '-10'"),
        ("1e999", "holds '1e999'"), ("1/nan", "holds '1/nan'"), ("<b>" * 50, f"holds {('<b>' * 50)[:20]!r}"),
    ],
)  # fmt: skip
def test_unfit_entries_are_named(stepper, typed, message):
    before = stepper.image.value
    stepper.controls["kernel"].fields[5].value = typed
    assert "role='alert'" in stepper.text.value and stepper.image.value == before
    assert message in html.unescape(stepper.text.value)
    assert "<b><b>" not in stepper.text.value
    stepper.controls["kernel"].fields[5].value = "-1"
    assert "role='alert'" not in stepper.text.value


def test_entries_may_be_fractions_and_use_the_printed_minus():
    kernel = parse_kernel(["1/9", "-1/2", "−3", " 2 ", "0.5", "+1", "9", "-9", "1e-3"])
    expected = [1 / 9, -0.5, -3, 2, 0.5, 1, 9, -9, 1e-3]
    torch.testing.assert_close(kernel, torch.tensor(expected, dtype=torch.float64).view(3, 3), rtol=0, atol=0)
    texts = ["1/9", "-1/2", "−3", " 2 ", "0.5", "+1", "9", "-9", "1e-3"]
    text = StepperPicture().update(kernel=texts, stride=1, padding=0, dilation=1, position=1)
    assert f"kernel = {OWN} (1/9 −1/2 −3 | 2 0.5 +1 | 9 −9 1e−3)" in text and "12·1/9 + 3·(−1/2) + 5·(−3) + 4·2" in text
    assert "≈" in text  # 12/9 is shown rounded


def test_numbers_are_short():
    shown = {
        -0.0: "0",
        -1e-17: "0",
        12: "12",
        -468: "−468",
        1 / 3: "0.33",
        -2 / 3: "−0.67",
        5.777: "5.78",
        -12.34: "−12.3",
    }
    assert {value: number(value) for value in shown} == shown


# ------------------------------------------------------------------------------------------- parts of several controls


def test_a_preset_fills_the_fields_at_once():
    editor = PresetFields("kernel", PRESETS, columns=3, width="4em")
    seen = []
    editor.observe(lambda change: seen.append(change["new"]), names="value")
    assert editor.value == WORKED and editor.menu.value == "worked example" and editor.description == "kernel"
    editor.menu.value = "blur"
    assert seen == [PRESETS["blur"]] and [field.value for field in editor.fields] == ["1/9"] * 9
    editor.fields[4].value = "1"
    assert editor.value == (*["1/9"] * 4, "1", *["1/9"] * 4) and editor.menu.value == OWN and len(seen) == 2
    editor.menu.value = "edge"
    editor.menu.value = OWN  # leaves the fields as they are
    assert editor.value == PRESETS["edge"] and len(seen) == 3
    editor.value = PRESETS["identity"]
    assert editor.menu.value == "identity" and editor.fields[4].value == "1" and len(seen) == 4
    for texts in zip("012345678", repeat_reversed(), strict=True):
        editor.fields[int(texts[0])].value = texts[1]
    assert editor.value == tuple(repeat_reversed())


def repeat_reversed():
    return [str(k) for k in range(8, -1, -1)]


def test_labels_stand_where_they_should():
    _, axes = new_figure(3, 3)
    axes.set(xlim=(0, 10), ylim=(10, 0))
    labels = Labels(axes, "black")
    labels.write([], [], [], size=1)
    assert len(labels.get_path().vertices) == 0
    labels.write([2, 7], [3, 8], ["8", "0.123456"], size=1, width=2)
    drawn = labels.get_path().vertices[labels.get_path().codes != Path.CLOSEPOLY]
    left, right = drawn[drawn[:, 0] < 4], drawn[drawn[:, 0] > 4]
    for part, place in ((left, (2, 3)), (right, (7, 8))):
        np.testing.assert_allclose((part.min(axis=0) + part.max(axis=0)) / 2, place, atol=0.1)
    assert np.ptp(right[:, 0]) == pytest.approx(2, abs=0.05) and 0.6 < np.ptp(left[:, 1]) < 0.9
    labels.write([5], [5], ["L"], size=1)
    drawn = labels.get_path().vertices[labels.get_path().codes != Path.CLOSEPOLY]
    assert drawn[drawn[:, 1] > 5, 0].max() > drawn[drawn[:, 1] < 5, 0].max()  # its foot is below, where y points down


def test_boxes_are_boxes():
    corners = boxes(np.array([1, 2]), 5, 2, np.array([3, 4]))
    assert corners.tolist() == [[[1, 5], [3, 5], [3, 8], [1, 8]], [[2, 5], [4, 5], [4, 9], [2, 9]]]


# ------------------------------------------------------------------------------------------------------ output size

RANGES = {
    "size": range(1, 65), "kernel_size": range(1, 12), "stride": range(1, 5), "padding": range(6),
    "dilation": range(1, 4), "ceil": (False, True),
}  # fmt: skip


def some_settings(ranges, many, seed=0):
    """Return random settings, and all extremes."""
    chooser = random.Random(seed)
    extremes = itertools.product(*(sorted({min(values), max(values)}) for values in ranges.values()))
    chosen = [[chooser.choice(list(values)) for values in ranges.values()] for _ in range(many)]
    return [dict(zip(ranges, values, strict=True)) for values in [*extremes, *chosen]]


def size_by_torch(size, kernel_size, stride, padding, dilation, ceil):
    """Return the output size of a real layer, or None where torch refuses; only poolings can round up."""
    line = torch.ones(1, 1, size)
    try:
        if ceil:
            return F.max_pool1d(line, kernel_size, stride, padding, dilation, ceil_mode=True).shape[-1]
        return F.conv1d(line, torch.ones(1, 1, kernel_size), None, stride, padding, dilation).shape[-1]
    except RuntimeError:
        return None


def test_output_size_over_its_range():
    picture = OutputSizePicture()
    for values in some_settings(RANGES, 300):
        expected = size_by_torch(**values)
        if expected is None:
            with pytest.raises(ValueError, match=r"pixels: use (a smaller kernel, or a padding of|at most half)"):
                picture.update(**{name: float(v) if name != "ceil" else v for name, v in values.items()})
            continue
        text = picture.update(**{name: float(v) if name != "ceil" else v for name, v in values.items()})
        shown = dict(
            re.findall(r"(\w+) = (\d+|on|off)[,:]", text.replace("input H", "size").replace("kernel K", "kernel_size"))
        )
        assert shown["size"] == str(values["size"]) and shown["kernel_size"] == str(values["kernel_size"])
        assert (shown["S"], shown["P"], shown["D"]) == tuple(str(values[n]) for n in ("stride", "padding", "dilation"))
        assert shown["ceil"] == ("on" if values["ceil"] else "off")
        assert f"= {expected}. " in text
        ((here,), (height,)) = picture.here.get_data()
        sizes = np.asarray(picture.sizes.get_ydata())
        assert (here, height) == (values["size"], expected) and sizes[here - 1] == expected
        assert 0 <= height <= picture.curve.get_ylim()[1]
        same = np.flatnonzero(sizes == expected) + 1
        assert (f"Inputs from {same[0]} to {same[-1]} pixels" in text) == (len(same) > 1)


def test_the_curve_has_gaps_where_nothing_fits():
    picture = OutputSizePicture()
    for values in some_settings(RANGES, 60, seed=1):
        if size_by_torch(**values) is None:
            continue
        picture.update(**values)
        expected = [size_by_torch(**{**values, "size": size}) for size in range(1, 65)]
        sizes = [None if np.isnan(size) else size for size in picture.sizes.get_ydata()]
        assert sizes == expected
    picture.update(size=20, kernel_size=9, stride=1, padding=0, dilation=1, ceil=False)
    assert np.isnan(picture.sizes.get_ydata()).tolist() == [True] * 8 + [False] * 56


def test_marked_pixels_have_no_gradient():
    picture = OutputSizePicture()
    for values in some_settings({**RANGES, "ceil": (False,)}, 150, seed=2):
        if size_by_torch(**values) is None:
            continue
        text = picture.update(**values)
        line = torch.ones(1, 1, values["size"], requires_grad=True)
        window = {name: values[name] for name in ("stride", "padding", "dilation")}
        F.conv1d(line, torch.ones(1, 1, values["kernel_size"]), **window).sum().backward()
        missed = (line.grad[0, 0] == 0).nonzero().flatten().tolist()
        unit = 1 / max(values["size"] + 2 * values["padding"], 12)
        lefts = sorted({round(box[:, 0].min() / unit) - values["padding"] for box in vertices(picture.taps)})
        starts = [k * values["stride"] - values["padding"] for k in range(size_by_torch(**values))]
        offsets = [values["dilation"] * k for k in range(values["kernel_size"])]
        assert lefts == sorted({start + k for start in starts[:4] + starts[-1:] for k in offsets})
        marked = np.asarray(picture.missed.get_xdata()) / unit - values["padding"] - 0.5
        assert marked.round().astype(int).tolist() == missed
        assert ("Every pixel is used" in text) == (not missed)
        if missed:
            assert f"No window reaches {ranges([k + 1 for k in missed])}" in text


def test_pixels_are_listed_in_stretches():
    assert ranges(np.array([28])) == "pixel 28" and ranges([1, 2, 3, 9]) == "pixels 1–3, 9"
    assert ranges(list(range(1, 20, 2))) == "pixels 1, 3, 5, 7, 9 … (10 in all)"


# -------------------------------------------------------------------------------------------------- receptive field


def poison(shape, layers, unit):
    """Return which pixels, set to NaN one at a time, make the unit NaN in a real network with random weights."""
    modules = []
    for layer, word in layers:
        if word.startswith("pool"):
            modules.append(nn.MaxPool2d(layer["kernel_size"], layer["stride"], layer["padding"], layer["dilation"]))
        else:
            modules.append(nn.Conv2d(1, 1, **layer))
    images = torch.zeros(shape[0] * shape[1], 1, *shape)
    images.view(len(images), -1).fill_diagonal_(torch.nan)
    with torch.no_grad():
        return nn.Sequential(*modules)(images)[:, 0, *unit].isnan().view(shape)


STACKS_TO_POISON = ["3", "3s2", "3d2", "pool2", "5p2", "3 3", "3 3 3", "3s2 3", "5p2 pool2 5p2 pool2", "3d2 3d2",
                    "3s2 3p1", "1s3 3", "pool3s2p1 3p2d2", "2p1 3s3p2", "pool2d2 3", "1p5"]  # fmt: skip


@pytest.mark.parametrize("text", STACKS_TO_POISON)
def test_counted_pixels_equal_poison(text):
    shape, picture = (13, 15), ReceptiveFieldPicture(torch.zeros(13, 15))
    layers = parse_layers(text)
    chooser = random.Random(text)
    for depth in range(1, len(layers) + 1):
        maps = torch.ones(1, 1, *shape)
        for layer in layers[:depth]:
            weights = torch.ones(1, 1, layer["kernel_size"], layer["kernel_size"])
            maps = F.conv2d(maps, weights, stride=layer["stride"], padding=layer["padding"], dilation=layer["dilation"])
        rows, columns = maps.shape[-2:]
        for row, column in [(1, 1), (rows, columns), (chooser.randint(1, rows), chooser.randint(1, columns))]:
            unit = row - 1, column - 1
            expected = poison(shape, list(zip(layers, text.split(), strict=True))[:depth], unit)
            assert pixels_that_reach(shape, layers[:depth], unit).equal(expected)
            shown = picture.update(layers=(text,), after=depth, row=float(row), column=float(column))
            assert f"Poison test: {int(expected.sum())} pixels" in shown
            assert (np.asarray(picture.tint.get_array())[..., 3] > 0).tolist() == expected.tolist()
            size, jump, start = fields_of(layers)[depth - 1]
            corner = np.array([start + k * jump for k in unit])
            begin, end = corner.clip(0, shape), (corner + size).clip(0, shape)
            inside = torch.zeros(shape, dtype=torch.bool)
            inside[begin[0] : end[0], begin[1] : end[1]] = True
            assert not (expected & ~inside).any()  # the formula is an upper bound, met without holes
            area = int(inside.sum())
            assert (", as the formula says" in shown) == (area == expected.sum())
            if area != expected.sum():
                assert f"; {area - int(expected.sum())} of the field do not: " in shown
            assert f"sees {size} × {size} pixels = {size * size}" in shown and f"jump {jump} " in shown
            assert ("clipped at the image's edge" in shown) == (tuple(end - begin) != (size, size))
            outer = vertices(picture.clipped)[0]
            np.testing.assert_array_equal([outer.min(axis=0)[::-1], outer.max(axis=0)[::-1]], [begin, end])
            dashed = vertices(picture.whole)[0]
            np.testing.assert_array_equal(dashed.min(axis=0)[::-1], corner)
            assert len(picture.whole.get_paths()) == depth


def test_fields_of_known_stacks():
    sizes = {
        text: fields_of(parse_layers(text))[-1][0] for text in ("3 3", "3 3 3", "3s2 3", "5p2 pool2 5p2 pool2", "3d2")
    }
    assert sizes == {"3 3": 5, "3 3 3": 7, "3s2 3": 7, "5p2 pool2 5p2 pool2": 16, "3d2": 5}
    start = receptive_field_explorer(DIGIT)
    assert "sees 16 × 16 pixels = 256; jump 4 " in start.plain_text and "256 pixels, each" in start.plain_text
    start.controls["row"].value = start.controls["column"].value = 1
    assert "clipped at the image's edge 10 × 10 = 100" in start.plain_text and "100 pixels, each" in start.plain_text
    start.controls["layers"].value = ("3d2",)
    assert "Poison test: 9 pixels" in start.plain_text and "leaves holes" in start.plain_text


def test_inner_boxes_lie_within_the_outer_ones():
    picture = ReceptiveFieldPicture(DIGIT)
    for (text,), after, row, column in itertools.product(STACKS.values(), range(1, 7), (1, 3, 28), (1, 4, 28)):
        picture.update(layers=(text,), after=after, row=row, column=column)
        clipped = [(box.min(axis=0), box.max(axis=0)) for box in vertices(picture.clipped)]
        assert len(clipped) == min(after, len(text.split()))
        for (low, high), (inner_low, inner_high) in itertools.pairwise(clipped):
            assert (low <= inner_low).all() and (inner_high <= high).all()


def test_receptive_field_over_its_range():
    picture = ReceptiveFieldPicture(DIGIT)
    for (name, layers), after, place in itertools.product(STACKS.items(), range(1, 7), (1, 2, 7, 28)):
        text = picture.update(layers=layers, after=after, row=float(place), column=float(29 - place))
        many = len(layers[0].split())
        assert text.startswith(f"layers = {name} ({layers[0]}), after layer = {after}")
        assert (f"(there are only {many})" in text) == (after > many)
        assert f"row = {place}, column = {29 - place}" in text
        assert len(picture.bars.get_paths()) == many


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "expected 1 to 6 layers, got 0: write one word a layer"),
        ("3 " * 7, "expected 1 to 6 layers, got 7"),
        ("3 x 3", "'x' is not a layer: write one word a layer: the kernel size, then s for stride"),
        ("3s", "'3s' is not a layer"), ("pool", "'pool' is not a layer"), ("-3", "'-3' is not a layer"),
        ("3s2s2", "'3s2s2' is not a layer"), ("3,3", "'3,3' is not a layer"), ("300", "'300' is not a layer"),
        ("0", "'0' has a number that is too large or too small: use 1 to 15"), ("3s0", "'3s0' has a number"),
        ("3d0", "'3d0' has a number"), ("16", "'16' has a number"), ("3p16", "'3p16' has a number"),
        ("pool2p2", "'pool2p2' pads by more than half of the window"),
        ("pool2 pool2 pool2 pool2 pool2", "layer 5, pool2: a kernel of 2 does not fit into 1 pixels"),
        ("15d3", "layer 1, 15d3: a kernel of 15, dilated to 43, does not fit into 28 pixels"),
        ("<i>" * 20, f"{('<i>' * 20)[:20]!r} is not a layer"),
    ],
)  # fmt: skip
def test_unfit_layers_are_named(field, typed, message):
    field.controls["layers"].fields[0].value = "3"
    before = field.image.value
    field.controls["layers"].fields[0].value = typed
    assert "role='alert'" in field.text.value and field.image.value == before
    assert f"Not possible: {message}" in field.plain_text


@pytest.mark.parametrize(
    "image", [torch.zeros(1, 28, 28), torch.zeros(28, 28, dtype=torch.uint8), torch.full((5, 5), 2.0), torch.zeros(9),
              torch.full((5, 5), torch.nan), torch.full((5, 5), -0.1)],
)  # fmt: skip
def test_only_gray_images_are_taken(image):
    with pytest.raises(ValueError, match=r"expected a float image \(H, W\) with values in 0..1, got \("):
        receptive_field_explorer(image)


def test_the_largest_stack_is_drawn_at_once():
    picture = ReceptiveFieldPicture(DIGIT)
    begin = time.process_time()
    text = picture.update(layers=("15p15 " * 6,), after=6, row=28.0, column=28.0)
    assert "sees 85 × 85 pixels" in text and time.process_time() - begin < 2


# ---------------------------------------------------------------------------------------------------------- pooling

POOLINGS = list(itertools.product((2, 3, 4), (1, 2, 3, 4), (0, 1), (False, True)))


def maps_of(seed, height=8, width=12):
    maps = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return maps * (maps > 0.4)


@pytest.mark.parametrize(("kernel_size", "stride", "padding", "ceil"), POOLINGS)
def test_poolings_equal_plain_loops(kernel_size, stride, padding, ceil):
    maps = maps_of(kernel_size)
    window = {"stride": stride, "padding": padding, "ceil_mode": ceil}
    largest = F.max_pool2d(maps, kernel_size, **window)
    torch.testing.assert_close(pool(maps, "max", kernel_size, **window), largest)
    for count in (True, False):
        means = F.avg_pool2d(maps, kernel_size, **window, count_include_pad=count)
        torch.testing.assert_close(pool(maps, "mean", kernel_size, **window, count_include_pad=count), means)
    drawn = pool(maps, "stochastic", kernel_size, **window, generator=torch.Generator().manual_seed(3))
    weighted = pool(maps, "stochastic", kernel_size, **window)
    assert drawn.shape == weighted.shape == largest.shape
    for i, j in np.ndindex(*largest.shape[2:]):
        top, left = i * stride - padding, j * stride - padding
        seen = maps[0, 0, max(top, 0) : top + kernel_size, max(left, 0) : left + kernel_size].flatten()
        assert drawn[0, 0, i, j] in seen and (drawn[0, 0, i, j] > 0 or seen.sum() == 0)
        expected = (seen * seen / seen.sum()).sum() if seen.sum() > 0 else 0.0
        assert weighted[0, 0, i, j].item() == pytest.approx(float(expected))


def test_draws_follow_their_probabilities():
    maps = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    generator = torch.Generator().manual_seed(0)
    draws = torch.cat([pool(maps, "stochastic", 2, stride=2, generator=generator).flatten() for _ in range(2000)])
    for value in (1, 2, 3, 4):
        assert (draws == value).float().mean().item() == pytest.approx(value / 10, abs=0.035)
    assert draws.mean().item() == pytest.approx(pool(maps, "stochastic", 2, stride=2).item(), abs=0.08)


def test_a_padding_beyond_half_of_the_window_is_refused():
    with pytest.raises(ValueError, match="padding = 2 is more than half of a window of 3 pixels: use at most 1"):
        PoolingPicture().update(
            kind="max", kernel_size=3, stride=1, padding=2, ceil=False, count_padding=True, shift=0, draw=1, mode="eval"
        )


def moved_output(output, before, shift, stride):
    """Return (cells, relative error) of the whole move that fits best, written out by loops."""
    best = None
    for cells in {shift // stride, -(-shift // stride)}:
        moved = np.zeros_like(before)
        moved[:, cells:] = before[:, : before.shape[1] - cells]
        error = np.sqrt(((output - moved) ** 2).sum() / (before**2).sum())
        best = min(best or (error, cells), (error, cells))
    return best[1], best[0]


SHIFTS = {"kind": ("max", "mean", "stochastic"), "kernel_size": (2, 3, 4), "stride": (1, 2, 3, 4), "padding": (0, 1),
          "ceil": (False, True), "count_padding": (True, False), "shift": range(5), "draw": range(1, 21),
          "mode": ("train", "eval")}  # fmt: skip


def test_pooling_over_its_range(monkeypatch):
    picture = PoolingPicture()
    shown = {}
    for panel, labels in enumerate(picture.numbers):
        monkeypatch.setattr(labels, "write", lambda x, y, texts, panel=panel, **sizes: shown.update({panel: [*texts]}))
    for values in some_settings(SHIFTS, 100):
        text = picture.update(**{**values, "draw": float(values["draw"])})
        for name, key in (("window K", "kernel_size"), ("stride S", "stride"), ("padding P", "padding")):
            assert f"{name} = {values[key]}, " in text
        for name in ("kind", "shift", "draw", "mode"):
            assert f"{name} = {values[name]}" in text
        for name, key in (("ceil", "ceil"), ("count padding", "count_padding")):
            assert f"{name} = {'on' if values[key] else 'off'}" in text
        assert "nan" not in text
        window = {"stride": values["stride"], "padding": values["padding"], "ceil_mode": values["ceil"]}
        outputs = []
        for shift in (values["shift"], 0):
            maps = torch.zeros_like(MAP)
            maps[:, shift:] = MAP[:, : 12 - shift]
            outputs.append(pooled_again(maps[None, None], values, window)[0, 0].numpy())
        for panel, output in enumerate(outputs, start=1):
            assert shown[panel] == [number(round(value, 1)) for value in output.flatten().tolist()]
        corners = [tuple((box.mean(axis=0) - values["kernel_size"] / 2).round(6)) for box in vertices(picture.windows)]
        rows, columns = (range(-values["padding"], 99, values["stride"])[:n] for n in outputs[0].shape)
        assert corners == [(column, row) for row in rows for column in columns]
        if values["shift"] == 0:
            assert "Without a shift both outputs are equal" in text
            continue
        cells, error = moved_output(*outputs, values["shift"], values["stride"])
        assert (", exactly." in text) == (error < 1e-9)
        assert error < 1e-9 or f"{error:.1%} off (norm)" in text
        assert f"by {cells} cell" in text
        assert ("not a multiple" in text) == (error > 1e-9 and values["shift"] % values["stride"] > 0)


def pooled_again(maps, values, window):
    if values["kind"] == "max":
        return F.max_pool2d(maps, values["kernel_size"], **window)
    if values["kind"] == "mean":
        return F.avg_pool2d(maps, values["kernel_size"], **window, count_include_pad=values["count_padding"])
    generator = torch.Generator().manual_seed(values["draw"]) if values["mode"] == "train" else None
    return pool(maps, "stochastic", values["kernel_size"], **window, generator=generator)


def test_the_lesson_of_the_shift():
    explorer = pooling_explorer()
    assert "kind = max, window K = 2, stride S = 2" in explorer.plain_text and "shift = 1" in explorer.plain_text
    assert "does not move the output by whole cells" in explorer.plain_text
    for kind, shift in itertools.product(("max", "mean"), (2, 4)):
        explorer.controls["kind"].value, explorer.controls["shift"].value = kind, shift
        cells = f"{shift // 2} cell{'s' * (shift > 2)}"
        assert f"moves the output by {cells}, exactly." in explorer.plain_text
    explorer.controls["kind"].value = "stochastic"
    pictures = set()
    for draw in (1, 2, 3, 1):
        explorer.controls["draw"].value = draw
        pictures.add(explorer.image.value)
    assert len(pictures) == 3
    explorer.controls["mode"].value = "eval"
    fixed = explorer.image.value
    explorer.controls["draw"].value = 9
    assert explorer.image.value == fixed and "exactly" in explorer.plain_text


def test_drawing_leaves_torch_s_random_numbers_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for make in EXPLORERS.values():
        make().redraw()
    assert torch.get_rng_state().equal(state)


# --------------------------------------------------------------------------------------------------- the four alike


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_moved_control_redraws_text_and_picture(name):
    explorer = EXPLORERS[name]()
    assert explorer.children == (*explorer.controls.values(), explorer.text, explorer.image)
    assert {control for control, _ in MOVES[name]} == set(explorer.controls)
    for control, value in MOVES[name]:
        text, picture = explorer.plain_text, explorer.image.value
        explorer.controls[control].value = value
        assert explorer.plain_text != text and explorer.image.value != picture, control
        assert html.unescape(explorer.text.value) == f"<p>{explorer.plain_text}</p>"
        assert explorer.controls[control].description


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_redraw_equals_a_full_draw_whatever_came_between(name):
    explorer = EXPLORERS[name]()
    explorer.picture.figure.set_layout_engine("none")  # else the full draw lays the figure out anew
    start, values = explorer.image.value, explorer.values()
    for control, value in MOVES[name]:
        explorer.controls[control].value = value
    assert redraw_difference(explorer, explorer.image.value) < 0.0005
    explorer.picture.update(**values)
    assert explorer.renderer.png() == start


@pytest.mark.parametrize("name", EXPLORERS)
def test_the_figure_is_small_and_quick(name):
    explorer = EXPLORERS[name]()
    assert explorer.picture.figure.get_figwidth() <= 8
    times = []
    for _ in range(5):
        begin = time.process_time()
        explorer.redraw()
        times.append(time.process_time() - begin)
    assert statistics.median(times) < 0.2  # about 20 ms on a free core: the bound only catches a picture gone wrong


@pytest.mark.parametrize("name", EXPLORERS)
def test_without_a_front_end_a_still_picture_and_its_text_are_shown(name):
    explorer = EXPLORERS[name]()
    assert isinstance(explorer, ipywidgets.VBox)
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == explorer.plain_text and len(data["image/png"]) > 1000
    assert "application/vnd.jupyter.widget-view+json" in data
