"""Chapter 05's canvas: the pad, how a drawing is prepared, and the network's answer."""

import itertools
import math

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image, ImageDraw
from torch import nn

from control_examples import SCALE, emptied
from control_examples import SEVEN as DRAWN
from controls.drawing import EMPTY, SIZE, DrawingPad, draw_a_digit, draw_answer, prepare_drawing
from course_utils.plotting import COLORS, new_figure
from exercises.lenet import PREPARE

STEPS = ("crop", "box", "by_mass")


def drawn_net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))


def make_canvas(**models):
    return draw_a_digit(models or {"first": drawn_net(0), "second": drawn_net(1)}, **SCALE)


def sketch(lines, width=24):
    """Return white lines on a black canvas, uint8 (280, 280)."""
    image = Image.new("L", (SIZE, SIZE))
    for points in lines:
        ImageDraw.Draw(image).line(points, fill=255, width=width)
    return torch.from_numpy(np.array(image))


SEVEN = torch.from_numpy(np.array(DRAWN))
CORNER = sketch([[(10, 10), (60, 12), (30, 80)]], width=10)
DRAWINGS = {"seven": SEVEN, "corner": CORNER, "dot": sketch([[(200, 200), (212, 200)]], width=12)}


def as_bytes(drawing):
    return drawing.numpy().tobytes()


# --------------------------------------------------------------------------------------------------------------- pad


def test_a_pad_holds_bytes_and_is_cleared():
    pad = DrawingPad()
    assert pad.value == EMPTY == bytes(280 * 280) and pad.pen == 24
    pad.value = as_bytes(SEVEN)
    assert pad.value == as_bytes(SEVEN)
    pad.clear()
    assert pad.value == EMPTY


@pytest.mark.parametrize("size", [0, 784, 280 * 280 - 1, 280 * 280 + 1])
def test_a_drawing_of_another_size_is_refused(size):
    pad = DrawingPad()
    with pytest.raises(ValueError, match=rf"a byte for each of 280×280 = 78400 pixels, got {size}$"):
        pad.value = bytes(size)
    assert pad.value == EMPTY


def test_what_the_front_end_sends_is_taken():
    pad = DrawingPad()
    pad.set_state({"value": memoryview(as_bytes(SEVEN)), "pen": 9})
    assert pad.value == as_bytes(SEVEN) and pad.pen == 9


@pytest.mark.parametrize("pen", [7, 33])
def test_a_pen_out_of_range_is_refused(pen):
    with pytest.raises(traitlets.TraitError, match="pen"):
        DrawingPad(pen=pen)


def test_the_pad_needs_no_network_and_has_accessible_names():
    script = str(DrawingPad()._esm)
    assert "http" not in script and "import " not in script and "export default" in script
    assert script.count("aria-label") == 2
    assert "touch-action: none" in str(DrawingPad()._css)


# ----------------------------------------------------------------------------------------------------- preparing


def center_of_mass(picture):
    """Return (row, column) by a plain sum over pixels."""
    total = sum(float(v) for v in picture.flatten())
    pixels = list(itertools.product(range(28), repeat=2))
    return tuple(sum(p[axis] * float(picture[p]) for p in pixels) / total for axis in (0, 1))


def ink_box(picture):
    rows, columns = np.nonzero(picture.numpy())
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def blobs(height, width, seed):
    """Return blocks of 10×10 equal pixels, (10·height, 10·width), whose ink touches all four edges."""
    small = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) + 0.01
    return small, small.repeat_interleave(10, dim=0).repeat_interleave(10, dim=1)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("by_mass", [True, False])
@pytest.mark.parametrize(("height", "width"), [(20, 9), (7, 20), (20, 20), (1, 20)])
def test_the_ink_is_averaged_over_areas_and_put_in_place(seed, by_mass, height, width):
    small, ink = blobs(height, width, seed)
    drawing = torch.zeros(280, 280)
    top, left = ((seed * 7919) % (281 - 10 * height), (seed * 104729) % (281 - 10 * width))
    drawing[top : top + 10 * height, left : left + 10 * width] = ink / 1.01
    picture = prepare_drawing(drawing, by_mass=by_mass)
    assert picture.shape == (28, 28) and picture.dtype == torch.float32
    first_row, end_row, first_column, end_column = ink_box(picture)
    assert (end_row - first_row, end_column - first_column) == (height, width)
    torch.testing.assert_close(picture[first_row:end_row, first_column:end_column], small / 1.01)
    if by_mass:
        assert max(abs(index - 14) for index in center_of_mass(picture)) <= 0.5 + 1e-4
    else:
        assert (first_row, first_column) == ((28 - height) // 2, (28 - width) // 2)


def test_digits_drawn_anywhere_at_any_size_come_back():
    """Size and place on the canvas do not matter, but for rounding: one pixel for some digits."""
    generator, differences = torch.Generator().manual_seed(0), []
    for _ in range(60):
        points = (20 + 240 * torch.rand(4, 2, generator=generator)).tolist()
        digit = prepare_drawing(sketch([[tuple(point) for point in points]], width=26))
        first_row, end_row, first_column, end_column = ink_box(digit)
        ink = digit[first_row:end_row, first_column:end_column]
        times = 4 + 9 * float(torch.rand(1, generator=generator))
        size = [round(times * n) for n in ink.shape]
        top, left = (int(torch.randint(0, 281 - n, (1,), generator=generator)) for n in size)
        drawing = torch.zeros(280, 280)
        drawing[top : top + size[0], left : left + size[1]] = nn.functional.interpolate(ink[None, None], size=size)[0]
        differences.append((prepare_drawing(drawing) - digit).abs().mean())
    assert torch.stack(differences).mean() < 0.03


def test_without_crop_the_whole_canvas_is_averaged():
    drawing = torch.rand(280, 280, generator=torch.Generator().manual_seed(0))
    expected = drawing.view(28, 10, 28, 10).mean(dim=(1, 3))
    for others in ({}, {"box": 28}, {"by_mass": False}):
        torch.testing.assert_close(prepare_drawing(drawing, crop=False, **others), expected)


def test_a_box_of_28_fills_the_picture():
    for by_mass in (True, False):
        assert ink_box(prepare_drawing(CORNER, box=28, by_mass=by_mass))[:2] == (0, 28)


def test_ink_far_from_its_center_of_mass_is_kept():
    """A heavy end would pull the light one out of the picture."""
    drawing = sketch([[(20, 200), (240, 200)]], width=2)
    drawing[150:250, 20:60] = 255
    picture = prepare_drawing(drawing)
    _, _, left, right = ink_box(picture)
    assert right - left == 20 and right == 28
    assert center_of_mass(picture)[1] < 13.5  # as near to 14 as the ink allows


def test_uint8_and_float_are_the_same_drawing_and_stay_as_they_are():
    drawing, copy = SEVEN / 255, SEVEN.clone()
    torch.testing.assert_close(prepare_drawing(SEVEN), prepare_drawing(drawing))
    assert torch.equal(SEVEN, copy) and torch.equal(drawing, copy / 255)


@pytest.mark.parametrize("size", [(280, 280), (28, 28), (100, 37), (1, 1)])
def test_one_pixel_or_one_line_is_no_problem(size):
    for rows, columns in ((0, 0), (size[0] - 1, slice(None)), (slice(None), size[1] - 1), (slice(None), slice(None))):
        drawing = torch.zeros(size, dtype=torch.uint8)
        drawing[rows, columns] = 1  # the faintest ink
        for crop, box, by_mass in itertools.product((True, False), (20, 28, 1), (True, False)):
            picture = prepare_drawing(drawing, crop=crop, box=box, by_mass=by_mass)
            assert picture.shape == (28, 28) and picture.isfinite().all() and 0 < picture.max() <= 1


@pytest.mark.parametrize(
    ("drawing", "options", "message"),
    [
        (torch.zeros(280, 280), {}, "draw something first"),
        (torch.zeros(280, 280, dtype=torch.uint8), {"crop": False}, "draw something first"),
        (torch.zeros(0, 5), {}, "draw something first"),
        (torch.ones(1, 28, 28), {}, r"shape \(H, W\), got \(1, 28, 28\)"),
        (torch.full((9, 9), 255.0), {}, "in 0..1, got 255 to 255"),
        (torch.eye(9) - 0.5, {}, "in 0..1, got -0.5 to 0.5"),
        (torch.full((9, 9), math.nan), {}, "in 0..1, got nan to nan"),
        (SEVEN, {"box": 0}, "box of 1 to 28 pixels, got 0"),
        (SEVEN, {"box": 29}, "box of 1 to 28 pixels, got 29"),
    ],
)
def test_what_is_no_drawing_is_refused(drawing, options, message):
    with pytest.raises(ValueError, match=message):
        prepare_drawing(drawing, **options)


@pytest.mark.parametrize("name", DRAWINGS)
def test_it_equals_what_the_reader_writes(name):
    """Readers write the default way as an exercise: its right answer and the control must not drift apart."""
    names = {"torch": torch, "F": nn.functional}
    exec(PREPARE, names)
    drawing = DRAWINGS[name] / 255
    torch.testing.assert_close(names["prepare"](drawing), prepare_drawing(drawing))


# -------------------------------------------------------------------------------------------------------- the answer

MODELS = {"first": drawn_net(0), "second": drawn_net(1)}
PIXELS, BARS = new_figure(columns=2)[1]


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("network", MODELS)
def test_the_answer_over_the_range_of_all_knobs(name, network):
    drawing, linear = DRAWINGS[name], MODELS[network][2]
    for crop, box, by_mass in itertools.product((True, False), repeat=3):
        pixels, bars = emptied(PIXELS), emptied(BARS)
        knobs = {"crop": crop, "box": box, "by_mass": by_mass, "network": network}
        text = draw_answer(MODELS, *SCALE.values(), pixels, bars, drawing=as_bytes(drawing), pen=24, **knobs)
        expected = prepare_drawing(drawing, crop=crop, box=20 if box else 28, by_mass=by_mass)
        np.testing.assert_array_equal(pixels.images[0].get_array(), expected.numpy())
        inputs = (expected.flatten() - SCALE["mean"]) / SCALE["std"]
        share = (inputs @ linear.weight.detach().T + linear.bias.detach()).softmax(0)
        corners = np.array([path.vertices[:4] for path in bars.collections[0].get_paths()])  # (10, 4, 2)
        np.testing.assert_allclose(corners[:, :, 1].max(axis=1), share, rtol=1e-5)
        np.testing.assert_allclose(corners[:, :, 0].mean(axis=1), range(10), atol=1e-9)
        first, second = share.argsort(descending=True)[:2].tolist()
        assert text.startswith(f"the answer is {first} ({share[first]:.1%}), then {second} ({share[second]:.1%}).")
        assert ("need the crop" in text) == (not crop)
        colors = bars.collections[0].get_facecolor().tolist()
        assert colors.count(colors[first]) == 1 and colors.count(colors[second]) == 9
        assert colors[first][:3] == pytest.approx([int(COLORS[0][k : k + 2], 16) / 255 for k in (1, 3, 5)])


def test_an_empty_canvas_gets_no_answer():
    control = make_canvas()
    pad = control.knobs["drawing"]
    for values in itertools.product((True, False), repeat=3):
        pad.value = as_bytes(SEVEN)
        for name, value in zip(STEPS, values, strict=True):
            control.knobs[name].value = value
        assert ": the answer is" in control.plain_text
        pad.clear()
        assert ": draw something: " in control.plain_text and "answer is" not in control.plain_text
        settings = zip(("crop to the ink", "box of 20", "center by mass"), values, strict=True)
        assert all(f"{what} = {'on' if value else 'off'}" in control.plain_text for what, value in settings)
        pixels, bars = control.axes
        assert not bars.collections and np.asarray(pixels.images[-1].get_array()).max() == 0


def test_what_is_drawn_is_named_and_shown():
    control = make_canvas()
    text, picture = control.plain_text, control.image.value
    control.knobs["drawing"].value = as_bytes(SEVEN)
    assert control.plain_text != text and control.image.value != picture and control.text.value.startswith("<p>pen")
    control.knobs["drawing"].value = EMPTY
    assert (control.plain_text, control.image.value) == (text, picture)


def test_pen_and_pad_follow_each_other():
    control = make_canvas()
    pen, pad = control.knobs["pen"], control.knobs["drawing"]
    assert (pen.min, pen.max, pen.value) == (8, 32, 24)
    for width in range(8, 33):
        pen.value = width
        assert pad.pen == width and control.plain_text.startswith(f"pen (px) = {width}, ")
    pad.pen = 10
    assert pen.value == 10


def test_canvas_and_picture_stand_side_by_side_and_the_text_below():
    """The text's length changes while a line is drawn: above the canvas it would move it."""
    for count in (1, 2):
        control = make_canvas(**{f"net {k}": drawn_net(k) for k in range(count)})
        *knobs, row, text = control.children
        assert row.children == (control.knobs["drawing"], control.image) and text is control.text
        names = [name for name, knob in control.knobs.items() if knob in knobs]
        assert names == ["pen", *STEPS, *(["network"] if count == 2 else [])]
        assert ("network = " in control.plain_text) == (count == 2)
        control.knobs["drawing"].value = as_bytes(SEVEN)
        assert ": the answer is" in control.plain_text


def test_nothing_is_left_behind():
    model = drawn_net(0)
    make_canvas(only=model).knobs["drawing"].value = as_bytes(SEVEN)
    assert all(module.training for module in model.modules()) and torch.is_grad_enabled()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_network_that_diverges_later_is_explained():
    model = drawn_net(0)
    control = make_canvas(only=model)
    with torch.no_grad():
        model[2].weight.fill_(math.inf)
    control.knobs["drawing"].value = as_bytes(SEVEN)
    assert "role='alert'" in control.text.value and "diverged" in control.text.value


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "no network"),
        ({"good": drawn_net(0), "bad": nn.Flatten()}, r'got \(1, 784\) from the network "bad"'),
        ({"all": nn.Sequential(nn.Flatten(0), nn.Linear(784, 10))}, r"\(1, 10\), got \(10,\)"),
    ],
)
def test_networks_that_do_not_answer_with_ten_logits_are_refused(models, message):
    with pytest.raises(ValueError, match=message):
        draw_a_digit(models, **SCALE)
