"""Chapter 04's controls: their numbers and pictures over the range of every control, against torch and plain loops."""

import html
import itertools
import random
import re
import time
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from control_examples import emptied
from controls.convolution_arithmetic import (
    MAP,
    STACKS,
    draw_pooling,
    draw_receptive_field,
    draw_sizes,
    parse_layer,
    pool,
    pooling_explorer,
    receptive_field_explorer,
)
from controls.convolution_pictures import draw_block, draw_links, plot_by_size
from controls.convolution_stepper import (
    INPUT,
    OWN,
    PRESETS,
    PresetFields,
    draw_stepper,
    listed,
    number,
    parse_kernel,
    stepper_explorer,
)
from course_utils.plotting import new_figure
from course_utils.tracing import receptive_field

ONE, (LEFT, RIGHT), THREE = new_figure()[1], new_figure(columns=2)[1], new_figure(columns=3)[1]
WORKED = PRESETS["worked example"]
DIGIT = torch.zeros(28, 28)
DIGIT[5:23, 12:16] = 0.8


@pytest.fixture
def writing():
    """Return a function to draw with in place of a text writer, and the list of what it is given to write."""
    written = []
    return lambda axes, x, y, texts, **look: written.append((axes, x, y, [*texts])), written


def corners(collection):
    """Return left, top, right, bottom of each box in a collection, (N, 4)."""
    points = np.array([path.vertices[:4] for path in collection.get_paths()]).reshape(-1, 4, 2)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def some_settings(ranges, many, seed=0):
    """Return all extremes, and random settings."""
    chooser = random.Random(seed)
    extremes = itertools.product(*(sorted({min(values), max(values)}) for values in ranges.values()))
    chosen = [[chooser.choice(list(values)) for values in ranges.values()] for _ in range(many)]
    return [dict(zip(ranges, values, strict=True)) for values in [*extremes, *chosen]]


# ------------------------------------------------------------------------------------------- a knob of several fields


def test_an_entry_of_the_menu_fills_the_fields_at_once():
    knob, seen = PresetFields("kernel", PRESETS, columns=3, width="4em"), []
    knob.observe(lambda change: seen.append(change["new"]), names="value")
    assert knob.value == WORKED == tuple(field.value for field in knob.fields) and knob.menu.value == "worked example"
    knob.menu.value = "blur"
    assert seen == [PRESETS["blur"]] and [field.value for field in knob.fields] == ["1/9"] * 9
    knob.fields[4].value = "1"
    assert knob.value == (*["1/9"] * 4, "1", *["1/9"] * 4) and knob.menu.value == OWN and len(seen) == 2
    knob.menu.value = "edge"
    knob.menu.value = OWN  # leaves the fields as they are
    assert knob.value == PRESETS["edge"] and len(seen) == 3
    knob.value = PRESETS["identity"]
    assert knob.menu.value == "identity" and knob.fields[4].value == "1" and len(seen) == 4
    typed = tuple(map(str, range(8, -1, -1)))
    for field, text in zip(knob.fields, typed, strict=True):
        field.value = text
    assert knob.value == typed


def test_the_entry_is_named_with_its_texts():
    kernel, layers = PresetFields("kernel", PRESETS, 3, "4em"), PresetFields("layers", STACKS, 1, "20em")
    assert kernel.summary == "worked example (0 1 0 | 1 0 −1 | 0 −1 0)"
    kernel.fields[0].value = " -1/2 "
    assert kernel.summary == "my own (−1/2 1 0 | 1 0 −1 | 0 −1 0)"
    assert layers.summary == "two conv., two poolings (5p2 pool2 5p2 pool2)"
    layers.fields[0].value = "3   3d2 "
    assert layers.summary == "my own (3 3d2)"


def test_numbers_are_short():
    shown = {-0.0: "0", -1e-17: "0", 12: "12", -468: "−468", 1 / 3: "0.33", -2 / 3: "−0.67", 5.777: "5.78"}
    assert {value: number(value) for value in shown} == shown and number(-12.34) == "−12.3"


def test_pixels_are_listed_in_stretches():
    assert listed("pixel", np.array([28])) == "pixel 28" and listed("row", [1, 2, 3, 9]) == "rows 1–3, 9"
    assert listed("pixel", list(range(1, 20, 2))) == "pixels 1, 3, 5, 7, 9 … (10 in all)"


# ------------------------------------------------------------------------------------------------------- the stepper


def reference(kernel, stride, padding, dilation):
    """Return the output by plain loops: torch's convolution does not turn the kernel around."""
    padded, reach = np.pad(INPUT.numpy(), padding), 2 * dilation + 1
    weights = np.array([float(Fraction(text)) for text in kernel]).reshape(3, 3)
    return np.array(
        [
            [
                (padded[i : i + reach : dilation, j : j + reach : dilation] * weights).sum()
                for j in range(0, padded.shape[1] - reach + 1, stride)
            ]
            for i in range(0, padded.shape[0] - reach + 1, stride)
        ]
    )


def test_the_worked_sum_is_seen_at_the_start():
    text = stepper_explorer().plain_text
    assert text.startswith("kernel = worked example (0 1 0 | 1 0 −1 | 0 −1 0), stride = 1, padding = 0, dilation = 1, ")
    assert "12·0 + 3·1 + 5·0 + 4·1 + 6·0 + 2·(−1) + 4·0 + 7·(−1) + 9·0 = " in text
    assert " = 0 + 3 + 0 + 4 + 0 − 2 + 0 − 7 + 0 = −2." in text
    assert INPUT[:3, :3].tolist() == [[12, 3, 5], [4, 6, 2], [4, 7, 9]] and INPUT.shape == (5, 6)


@pytest.mark.parametrize("name", PRESETS)
def test_the_stepper_equals_plain_loops_for_all_settings(name, writing):
    write, written = writing
    for stride, padding, dilation in itertools.product((1, 2, 3), (0, 1, 2), (1, 2)):
        expected = reference(PRESETS[name], stride, padding, dilation)
        for position in {1, 2, expected.size // 2, expected.size, 56} - {0}:
            axes, layer = emptied(ONE), {"stride": stride, "padding": padding, "dilation": dilation}
            text = draw_stepper(write, axes, kernel=PRESETS[name], position=position, **layer)
            last = min(position, expected.size)
            row, column = divmod(last - 1, expected.shape[1])
            assert f"row {row + 1}, column {column + 1} of the output. " in text
            assert text.startswith(f"there are only {expected.size} windows: this is the last, row") == (
                position > last
            )
            assert re.search(rf"[=≈] {re.escape(number(expected[row, column]))}\.", text)
            _, x, y, texts = written[-1]
            assert texts == [number(value) for value in expected.flatten()[:last]]
            cells, _, _, taps, output, mark = map(corners, axes.collections)
            assert (len(cells), len(output)) == ((5 + 2 * padding) * (6 + 2 * padding), expected.size)
            offsets = itertools.product(range(3), range(3))
            starts = row * stride - padding, column * stride - padding
            assert {(top, left) for left, top, _, _ in taps} == {
                (starts[0] + dilation * i, starts[1] + dilation * j) for i, j in offsets
            }
            np.testing.assert_allclose(mark, [(x[-1] - 0.5, y[-1] - 0.5, x[-1] + 0.5, y[-1] + 0.5)])
            titles = [title.get_text() for title in axes.texts]
            padded = f", padded to {5 + 2 * padding}×{6 + 2 * padding}" if padding else ""
            assert titles == [f"input 5×6{padded}", "output {}×{}".format(*expected.shape)]


def test_the_numbers_of_the_input_and_the_weights_stand_in_their_pixels(writing):
    write, written = writing
    draw_stepper(write, emptied(ONE), kernel=WORKED, position=2, stride=1, padding=1, dilation=1)
    (_, x, y, zeros), (_, columns, rows, numbers), (_, right, below, weights), _ = written
    assert set(zeros) == {"0"} and len(zeros) == 7 * 8 - 5 * 6
    assert not ((x > 0) & (x < 6) & (y > 0) & (y < 5)).any()
    found = {(int(row), int(column)): text for row, column, text in zip(rows, columns, numbers, strict=True)}
    assert found == {(i, j): f"{INPUT[i, j]:.0f}" for i in range(5) for j in range(6)}
    assert weights == ["×0", "×1", "×0", "×1", "×0", "×−1", "×0", "×−1", "×0"]
    assert list(np.floor(right)) == [0, 1, 2] * 3 and list(np.floor(below)) == [-1] * 3 + [0] * 3 + [1] * 3


@pytest.mark.parametrize(("stride", "padding", "dilation"), list(itertools.product((1, 2, 3), (0, 1, 2), (1, 2))))
def test_hatched_rows_and_columns_have_no_gradient(stride, padding, dilation, writing):
    axes, layer = emptied(ONE), {"stride": stride, "dilation": dilation}
    text = draw_stepper(writing[0], axes, kernel=WORKED, position=1, padding=padding, **layer)
    padded = F.pad(INPUT, [padding] * 4).requires_grad_()
    F.conv2d(padded[None], torch.ones(1, 1, 3, 3, dtype=torch.float64), **layer).sum().backward()
    rows, columns = ([k for k, line in enumerate(lines) if not line.any()] for lines in (padded.grad, padded.grad.T))
    hatched = [corners(axes.collections[k])[:, axis] + padding for k, axis in ((1, 1), (2, 0))]
    assert [list(lines) for lines in hatched] == [rows, columns]
    for name, unused in (("row", rows), ("column", columns)):
        found = re.search(rf"meets.*({name}s? [\d–, ]*\d) .*of the padded input \(hatched\)", text)
        assert (found[1] if found else "") == (listed(name, np.array(unused) + 1) if unused else "")
    assert ("Every row and column" in text) == (not rows and not columns)


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
def test_unfit_entries_are_named(typed, message):
    control = stepper_explorer()
    field = control.knobs["kernel"].fields[5]
    field.value = typed
    assert "role='alert'" in control.text.value and message in html.unescape(control.text.value)
    assert "<b><b>" not in control.text.value
    field.value = "-1"
    assert "role='alert'" not in control.text.value


def test_entries_may_be_fractions_and_use_the_printed_minus(writing):
    texts = ["1/9", "-1/2", "−3", " 2 ", "0.5", "+1", "9", "-9", "1e-3"]
    expected = torch.tensor([1 / 9, -0.5, -3, 2, 0.5, 1, 9, -9, 1e-3], dtype=torch.float64)
    torch.testing.assert_close(parse_kernel(texts), expected, rtol=0, atol=0)
    text = draw_stepper(writing[0], emptied(ONE), kernel=texts, position=1, stride=1, padding=0, dilation=1)
    assert "12·1/9 + 3·(−1/2) + 5·(−3) + 4·2" in text and "≈" in text  # 12/9 is shown rounded


# ------------------------------------------------------------------------------------------------------- output size

RANGES = {
    "size": range(1, 65), "kernel_size": range(1, 12), "stride": range(1, 5), "padding": range(6),
    "dilation": range(1, 4), "ceil_mode": (False, True),
}  # fmt: skip


def size_by_torch(size, kernel_size, stride, padding, dilation, ceil_mode):
    """Return the output size of a real layer, or None where torch refuses; only poolings can round up."""
    line = torch.ones(1, 1, size)
    try:
        if ceil_mode:
            return F.max_pool1d(line, kernel_size, stride, padding, dilation, ceil_mode=True).shape[-1]
        return F.conv1d(line, torch.ones(1, 1, kernel_size), None, stride, padding, dilation).shape[-1]
    except RuntimeError:
        return None


def test_output_sizes_over_their_range():
    for values in some_settings(RANGES, 200):
        row, curve, expected = emptied(LEFT), emptied(RIGHT), size_by_torch(**values)
        if expected is None:
            with pytest.raises(ValueError, match=r"pixels: use (a smaller kernel, or a padding of|at most half)"):
                draw_sizes(row, curve, **values)
            continue
        text = draw_sizes(row, curve, **values)
        assert text.startswith("output size ") and f"= {expected}. " in text
        line, mark = curve.lines
        assert (*mark.get_xdata(), *mark.get_ydata()) == (values["size"], expected)
        sizes = line.get_ydata()
        assert len(sizes) == 64 and sizes[values["size"] - 1] == expected
        assert 0 <= np.nanmax(sizes) <= curve.get_ylim()[1]
        same = np.flatnonzero(sizes == expected) + 1
        assert (f"Inputs from {same[0]} to {same[-1]} pixels" in text) == (len(same) > 1)


def test_the_curve_has_gaps_where_nothing_fits():
    values = {"size": 20, "kernel_size": 9, "stride": 1, "padding": 0, "dilation": 1, "ceil_mode": False}
    for setting in [values, *some_settings(RANGES, 30, seed=1)]:
        if size_by_torch(**setting) is None:
            continue
        curve = emptied(RIGHT)
        draw_sizes(emptied(LEFT), curve, **setting)
        expected = [size_by_torch(**setting | {"size": size}) for size in range(1, 65)]
        assert [None if np.isnan(size) else size for size in curve.lines[0].get_ydata()] == expected


def test_pixels_marked_as_unused_have_no_gradient():
    for values in some_settings(RANGES | {"ceil_mode": (False,)}, 100, seed=2):
        count = size_by_torch(**values)
        if count is None:
            continue
        row, padding = emptied(LEFT), values["padding"]
        text = draw_sizes(row, emptied(RIGHT), **values)
        line = torch.ones(1, 1, values["size"], requires_grad=True)
        window = {name: values[name] for name in ("stride", "padding", "dilation")}
        F.conv1d(line, torch.ones(1, 1, values["kernel_size"]), **window).sum().backward()
        missed = (line.grad[0, 0] == 0).nonzero().flatten().numpy()
        unit = 1 / max(values["size"] + 2 * padding, 12)
        pixels, spans, boxes = map(corners, row.collections)
        assert len(pixels) == values["size"] + 2 * padding
        starts = [k * values["stride"] - padding for k in range(count)]
        starts = starts[:4] + starts[-1:]
        offsets = [values["dilation"] * k for k in range(values["kernel_size"])]
        lefts = np.round(boxes[:, 0] / unit).astype(int) - padding
        assert lefts.tolist() == [start + k for start in starts for k in offsets]
        ends = [[start + padding, start + padding + offsets[-1] + 1] for start in starts]
        np.testing.assert_allclose(spans[:, [0, 2]] / unit, ends)
        marked = row.lines[0].get_xdata() / unit - padding - 0.5
        assert marked.round().astype(int).tolist() == missed.tolist()
        assert (f"No window reaches {listed('pixel', missed + 1)}." if len(missed) else "Every pixel is used.") in text


# --------------------------------------------------------------------------------------------------- receptive field


def network_of(words):
    """Return the real layers that the words say."""
    layers = []
    for word in words:
        layer = parse_layer(word)
        layers.append(nn.MaxPool2d(**layer) if word.startswith("pool") else nn.Conv2d(1, 1, **layer))
    return nn.Sequential(*layers)


STACKS_TO_POISON = ["3", "3s2", "3d2", "pool2", "5p2", "3 3", "3 3 3", "3s2 3", "5p2 pool2 5p2 pool2", "3d2 3d2",
                    "3s2 3p1", "1s3 3", "pool3s2p1 3p2d2", "2p1 3s3p2", "pool2d2 3", "1p5"]  # fmt: skip


@pytest.mark.parametrize("text", STACKS_TO_POISON)
def test_counted_pixels_equal_poison(text, writing):
    shape, words, chooser = (13, 15), text.split(), random.Random(text)
    images = torch.zeros(shape[0] * shape[1], 1, *shape)
    images.view(len(images), -1).fill_diagonal_(torch.nan)  # one pixel of each image is poisoned
    for depth in range(1, len(words) + 1):
        network = network_of(words[:depth])
        with torch.no_grad():
            poisoned = network(images)[:, 0].isnan()
        field, (rows, columns) = receptive_field(network, images[:1]), poisoned.shape[1:]
        for row, column in [(1, 1), (rows, columns), (chooser.randint(1, rows), chooser.randint(1, columns))]:
            expected = poisoned[:, row - 1, column - 1].view(shape)
            axes, chart, place = emptied(LEFT), emptied(RIGHT), {"row": row, "column": column}
            found = draw_receptive_field(writing[0], shape, axes, chart, layers=(text,), after=depth, **place)
            assert (np.asarray(axes.images[0].get_array())[..., 3] > 0).tolist() == expected.tolist()
            assert f"Poison test: {int(expected.sum())} pixels" in found
            (size, _), (jump, _) = field.size, field.stride
            assert f"sees {size} × {size} pixels = {size * size}" in found and f"jump {jump} " in found
            part = field.pixels((row - 1, column - 1), shape)
            inside = torch.zeros(shape, dtype=torch.bool)
            inside[part] = True
            assert not (expected & ~inside).any()  # the formula is an upper bound, met without holes
            area = int(inside.sum())
            assert (", as the formula says" in found) == (area == expected.sum())
            if area != expected.sum():
                assert f"; {area - int(expected.sum())} of the field do not: " in found
            assert ("clipped at the image's edge" in found) == (area != size * size)
            whole, cut = map(corners, axes.collections)
            assert len(whole) == len(cut) == depth
            start = [field.offset[k] + place * jump for k, place in enumerate((row - 1, column - 1))]
            np.testing.assert_array_equal(whole[0], [start[1], start[0], start[1] + size, start[0] + size])
            if area:  # one that lies in the padding has none
                np.testing.assert_array_equal(cut[0], [part[1].start, part[0].start, part[1].stop, part[0].stop])


def test_the_field_of_the_chapter_s_first_stack():
    control = receptive_field_explorer(DIGIT)
    assert "sees 16 × 16 pixels = 256; jump 4 " in control.plain_text and "256 pixels, each" in control.plain_text
    control.knobs["row"].value = control.knobs["column"].value = 1
    assert (
        "clipped at the image's edge 10 × 10 = 100" in control.plain_text and "100 pixels, each" in control.plain_text
    )
    control.knobs["layers"].value = ("3d2",)
    assert ": layer 1 is the last; " in control.plain_text
    assert "Poison test: 9 pixels" in control.plain_text and "leaves holes" in control.plain_text


def test_receptive_fields_over_their_range(writing):
    write, written = writing
    shape = 28, 28
    for (text,), after, (row, column) in itertools.product(
        STACKS.values(), range(1, 7), ((1, 28), (2, 27), (7, 22), (28, 1))
    ):
        axes, chart, words = emptied(LEFT), emptied(RIGHT), text.split()
        place = {"row": row, "column": column}
        found = draw_receptive_field(write, shape, axes, chart, layers=(text,), after=after, **place)
        assert found.startswith(f"layer {len(words)} is the last; ") == (after > len(words))
        with torch.no_grad():
            sizes = network_of(words[:after])(torch.zeros(1, 1, *shape)).shape[-2:]
        assert (f"this map ends at {sizes[0]}, {sizes[1]}; " in found) == (row > sizes[0] or column > sizes[1])
        cut = corners(axes.collections[1])
        assert len(cut) == min(after, len(words))
        for outer, inner in itertools.pairwise(cut):
            assert (outer[:2] <= inner[:2]).all() and (inner[2:] <= outer[2:]).all()
        fields = [receptive_field(network_of(words[:k]), torch.zeros(1, 1, *shape)) for k in range(1, len(words) + 1)]
        (_, _, _, names), (_, _, _, numbers) = written[-2:]
        assert names == [f"{k}: {word}" for k, word in enumerate(words, start=1)]
        assert numbers == [f"{field.size[0]} px, jump {field.stride[0]}" for field in fields]
        widths = corners(chart.collections[0])[:, 2]
        np.testing.assert_allclose(widths, [3 * field.size[0] / fields[-1].size[0] for field in fields])
        shown = chart.collections[0].get_facecolor()[:, 3] == 1  # the others are pale
        assert shown.tolist() == [k < after for k in range(len(words))]


def test_the_boxes_are_those_of_the_units_in_the_middle(writing):
    axes = emptied(LEFT)
    place = {"after": 3, "row": 9, "column": 5}
    draw_receptive_field(writing[0], (28, 28), axes, emptied(RIGHT), layers=("3 3d2 5",), **place)
    whole = corners(axes.collections[0])
    np.testing.assert_array_equal((whole[:, :2] + whole[:, 2:]) / 2, [(4 + 5.5, 8 + 5.5)] * 3)  # fields of 11, 7, 3
    np.testing.assert_array_equal(whole[:, 2] - whole[:, 0], [11, 7, 3])


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
def test_unfit_layers_are_named(typed, message):
    control = receptive_field_explorer(DIGIT)
    control.knobs["layers"].fields[0].value = typed
    assert "role='alert'" in control.text.value and f"Not possible: {message}" in control.plain_text


@pytest.mark.parametrize(
    "image", [torch.zeros(1, 28, 28), torch.zeros(28, 28, dtype=torch.uint8), torch.full((5, 5), 2.0), torch.zeros(9),
              torch.full((5, 5), torch.nan), torch.full((5, 5), -0.1)],
)  # fmt: skip
def test_only_gray_images_are_taken(image):
    with pytest.raises(ValueError, match=r"expected a float image \(H, W\) with values in 0..1, got \("):
        receptive_field_explorer(image)


def test_the_largest_stack_is_drawn_at_once(writing):
    begin, unit = time.process_time(), {"after": 6, "row": 28, "column": 28}
    text = draw_receptive_field(writing[0], (28, 28), emptied(LEFT), emptied(RIGHT), layers=("15p15 " * 6,), **unit)
    assert "sees 85 × 85 pixels" in text and time.process_time() - begin < 2


# ----------------------------------------------------------------------------------------------------------- pooling

POOLINGS = list(itertools.product((2, 3, 4), (1, 2, 3, 4), (0, 1), (False, True)))


@pytest.mark.parametrize(("kernel_size", "stride", "padding", "ceil_mode"), POOLINGS)
def test_poolings_equal_torch_and_plain_loops(kernel_size, stride, padding, ceil_mode):
    maps = torch.rand(8, 12, generator=torch.Generator().manual_seed(kernel_size), dtype=torch.float64)
    maps *= maps > 0.4
    window = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    largest = nn.MaxPool2d(**window)(maps[None])[0]
    torch.testing.assert_close(pool(maps, "max", **window), largest)
    for count in (True, False):
        means = nn.AvgPool2d(**window, count_include_pad=count)(maps[None])[0]
        torch.testing.assert_close(pool(maps, "mean", **window, count_pad=count), means)
    drawn, weighted = pool(maps, "stochastic", **window, seed=3), pool(maps, "stochastic", **window)
    assert drawn.shape == weighted.shape == largest.shape
    for i, j in np.ndindex(*largest.shape):
        top, left = i * stride - padding, j * stride - padding
        seen = maps[max(top, 0) : top + kernel_size, max(left, 0) : left + kernel_size].flatten()
        assert drawn[i, j] in seen and (drawn[i, j] > 0 or seen.sum() == 0)
        expected = (seen * seen / seen.sum()).sum().item() if seen.sum() > 0 else 0.0
        assert weighted[i, j].item() == pytest.approx(expected)


def test_draws_follow_their_probabilities():
    maps, window = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), {"kernel_size": 2, "stride": 2, "padding": 0}
    draws = torch.cat([pool(maps, "stochastic", **window, seed=seed).flatten() for seed in range(2000)])
    for value in (1, 2, 3, 4):
        assert (draws == value).float().mean().item() == pytest.approx(value / 10, abs=0.035)
    assert draws.mean().item() == pytest.approx(pool(maps, "stochastic", **window).item(), abs=0.08)


def moved_output(output, before, shift, stride):
    """Return (cells, relative error) of the whole move that fits best, written out by loops."""
    best = None
    for cells in {shift // stride, -(-shift // stride)}:
        moved = np.zeros_like(before)
        moved[:, cells:] = before[:, : before.shape[1] - cells]
        error = np.sqrt(((output - moved) ** 2).sum() / (before**2).sum())
        best = min(best or (error, cells), (error, cells))
    return best[1], best[0]


SHIFTS = {
    "kind": ("max", "mean", "stochastic"), "kernel_size": (2, 3, 4), "stride": (1, 2, 3, 4), "padding": (0, 1),
    "ceil_mode": (False, True), "count_pad": (True, False), "shift": range(5), "draw": range(1, 21),
    "mode": ("train", "eval"),
}  # fmt: skip


def test_pooling_over_its_range(writing):
    write, written = writing
    for values in some_settings(SHIFTS, 60):
        for axes in THREE:
            emptied(axes)
        text = draw_pooling(write, *THREE, **values)
        shift, stride = values["shift"], values["stride"]
        window = {name: values[name] for name in ("kernel_size", "stride", "padding", "ceil_mode")}
        shifted = torch.zeros_like(MAP)
        shifted[:, shift:] = MAP[:, : 12 - shift]
        options = {"count_pad": values["count_pad"], "seed": values["draw"] if values["mode"] == "train" else None}
        outputs = [pool(maps, values["kind"], **window, **options) for maps in (shifted, MAP)]
        for (axes, _, _, texts), panel, maps in zip(written[-3:], THREE, [shifted, *outputs], strict=True):
            assert axes is panel and texts == [number(round(value, 1)) for value in maps.flatten().tolist()]
        boxes = corners(THREE[0].collections[1])
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2 - values["kernel_size"] / 2
        rows, columns = (range(-values["padding"], 99, stride)[:n] for n in outputs[0].shape)
        assert [tuple(place) for place in middles.round(6)] == [(column, row) for row in rows for column in columns]
        assert "nan" not in text
        if shift == 0:
            assert "Without a shift both outputs are equal" in text
            continue
        cells, error = moved_output(*(output.numpy() for output in outputs), shift, stride)
        assert (", exactly." in text) == (error < 1e-9) and f"by {cells} cell" in text
        assert error < 1e-9 or f"{error:.1%} off (norm)" in text
        assert ("not a multiple" in text) == (error > 1e-9 and shift % stride > 0)


def test_the_lesson_of_the_shift():
    control = pooling_explorer()
    knobs = control.knobs
    assert "kind = max, window K = 2, stride S = 2" in control.plain_text and "shift = 1" in control.plain_text
    assert "does not move the output by whole cells" in control.plain_text
    for kind, shift in itertools.product(("max", "mean"), (2, 4)):
        knobs["kind"].value, knobs["shift"].value = kind, shift
        assert f"moves the output by {shift // 2} cell{'s' * (shift > 2)}, exactly." in control.plain_text
    knobs["kind"].value = "stochastic"
    pictures = set()
    for draw in (1, 2, 3, 1):
        knobs["draw"].value = draw
        pictures.add(control.image.value)
    assert len(pictures) == 3
    knobs["mode"].value = "eval"
    fixed = control.image.value
    knobs["draw"].value = 9
    assert (
        control.image.value == fixed and "exactly" in control.plain_text and "draw are not used" in control.plain_text
    )


# ------------------------------------------------------------------------------------------------- pictures, no knobs


def test_links_are_drawn_once_each_and_equal_numbers_in_equal_colors():
    links = torch.tensor([[1, 2, 0], [0, 1, 2]])
    (axes,) = draw_links({"two outputs": links}).axes
    *lines, inputs, outputs = axes.lines
    ends = [(line.get_xdata()[0], line.get_xdata()[1] - 0.5) for line in lines]
    assert ends == [(0, 0), (1, 0), (1, 1), (2, 1)]
    colors = [line.get_color() for line in lines]
    assert colors[0] == colors[2] != colors[1] == colors[3]
    assert (len(inputs.get_xdata()), len(outputs.get_xdata()), axes.get_title()) == (3, 2, "two outputs")
    with pytest.raises(ValueError, match=r"expected links \(outputs, inputs\), got \[\(3,\)\]"):
        draw_links({"flat": torch.arange(3)})


def test_runs_are_drawn_over_their_parameters():
    (axes,) = plot_by_size({"a": {10: [0.5, 0.7], 1000: [0.9]}, "b": {100: [1.0]}}, ylabel="accuracy", title="t").axes
    assert axes.get_xscale() == "log"
    assert [[*map(list, line.get_data())] for line in axes.lines] == [[[10, 1000], [0.6, 0.9]], [[100], [1.0]]]
    dots = [[tuple(dot) for dot in group.get_offsets()] for group in axes.collections]
    assert dots == [[(10, 0.5), (10, 0.7)], [(1000, 0.9)], [(100, 1.0)]]


def test_the_block_has_a_window_and_a_kernel_for_each_channel_and_one_sum():
    (axes,) = draw_block().axes
    faces = [collection.get_facecolor() for collection in axes.collections]
    full = [int((face[:, :3] < 1).any(axis=1).sum()) for face in faces]
    assert full == [9, 9, 1] * 3 + [9, 1] and [len(face) for face in faces] == [25, 9, 1] * 3 + [9, 9]
