"""Chapter 05's controls: the activation browser and the canvas, over the whole range of every control."""

import base64
import io
import itertools
import math
import warnings

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import traitlets
from explorer_pictures import redraw_difference, shown_text
from PIL import Image, ImageDraw
from torch import nn

from course_utils.widgets.drawing import (
    EMPTY,
    SIZE,
    DrawingPad,
    DrawingPicture,
    as_drawing,
    draw_a_digit,
    prepare_drawing,
)
from course_utils.widgets.lenet import activation_explorer, enlarged, logits_and_maps, logits_of, named_layers, tile

MEAN, STD = 0.13, 0.3
STEPS = ("crop", "box", "by_mass")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


def small_net(seed=0):
    """Return a network with all that can go wrong: an in-place layer, dropout, and batch normalization."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(4),
        nn.Conv2d(6, 3, 7), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(3, 10),
    )  # fmt: skip


class Reusing(nn.Module):
    """A network with a pooling layer that is called twice, one that returns a pair, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 5), nn.Conv2d(4, 2, 5)
        self.pool, self.flat, self.output = nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 10)
        self.pairs, self.never = nn.GRU(32, 32, batch_first=True), nn.Linear(3, 3)

    def forward(self, images):
        x = self.pool(self.conv2(self.pool(self.conv1(images).relu())))
        return self.output(self.pairs(self.flat(x))[0])


def some_digits(count=12):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return images, torch.arange(count) % 10


def make_browser(models=None, count=12):
    models = models or {"before training": small_net(0), "after training": small_net(1)}
    return activation_explorer(models, *some_digits(count), mean=MEAN, std=STD)


def make_canvas(**models):
    return draw_a_digit(models or {"first": drawn_net(0), "second": drawn_net(1)}, mean=MEAN, std=STD)


def drawn_net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))


def sketch(lines, width=24):
    """Return white lines on a black canvas, uint8 (280, 280)."""
    image = Image.new("L", (SIZE, SIZE))
    for points in lines:
        ImageDraw.Draw(image).line(points, fill=255, width=width)
    return torch.from_numpy(np.array(image))


SEVEN = sketch([[(60, 50), (200, 60), (120, 240)]])
CORNER = sketch([[(10, 10), (60, 12), (30, 80)]], width=10)
DRAWINGS = {"seven": SEVEN, "corner": CORNER, "dot": sketch([[(200, 200), (212, 200)]], width=12)}


def as_bytes(drawing):
    return drawing.numpy().tobytes()


def hooks_of(model):
    return [dict(module._forward_hooks) or dict(module._forward_pre_hooks) for module in model.modules()]


def modes_of(model):
    return [module.training for module in model.modules()]


# --------------------------------------------------------------------------------------------- layers and their maps


def by_hand(model, images, layer, remove):
    """Run a Sequential layer by layer in eval mode; return logits and the layer's output, with one map set to 0."""
    model.eval()
    x, kept = images, None
    with torch.no_grad():
        for k, module in enumerate(model):
            x = module(x)
            if str(k) == layer:
                kept = x.clone()
                if remove is not None:
                    x[:, remove] = 0
    return x, kept


def test_layers_are_found_by_name_with_their_shapes():
    layers = named_layers(small_net(), torch.zeros(1, 1, 28, 28))
    shapes = [(6, 28, 28), (6, 28, 28), (6, 28, 28), (6, 7, 7), (3, 1, 1), (3, 1, 1), (3, 1, 1), (10,)]
    assert layers == dict(zip("01234568", shapes, strict=True))


def test_other_layers_are_not_offered():
    assert list(named_layers(Reusing(), torch.zeros(1, 1, 28, 28))) == ["conv1", "conv2", "output"]


@pytest.mark.parametrize("layer", "01234568")
def test_maps_and_logits_equal_a_plain_loop_over_the_layers(layer):
    model, images = small_net(), torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    for remove in (None, 0, 1, 2):
        logits, maps = logits_and_maps(model, images, layer, remove=remove)
        expected, kept = by_hand(small_net(), images, layer, remove)
        torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(maps, kept)


def test_nothing_is_left_behind():
    model = small_net()
    model.train()
    model[1].eval()  # frozen: a plain train() afterwards would wake it
    state, modes = {name: value.clone() for name, value in model.state_dict().items()}, modes_of(model)
    explorer = make_browser({"one": model})
    explorer.controls["remove"].value = 2
    make_canvas(one=nn.Sequential(model)).controls["drawing"].value = as_bytes(SEVEN)
    assert modes_of(model) == modes and not any(hooks_of(model))
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled() and all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "run", [lambda m, x: logits_of(m, x), named_layers, lambda m, x: logits_and_maps(m, x, "0", remove=1)]
)
def test_nothing_is_left_behind_after_an_error(run):
    model = small_net()
    with pytest.raises(RuntimeError):
        run(model, torch.zeros(1, 1, 40, 40))
    assert modes_of(model) == [True] * 10 and not any(hooks_of(model)) and torch.is_grad_enabled()


def test_a_diverged_network_is_named():
    model = drawn_net(0)
    with torch.no_grad():
        model[2].weight.fill_(math.nan)
    with pytest.raises(ValueError, match="nan or inf: its training has diverged"):
        logits_of(model, torch.zeros(1, 1, 28, 28))


# ------------------------------------------------------------------------------------------------ activation browser


@pytest.mark.parametrize("network", ["before training", "after training"])
def test_browser_over_its_range(network):
    explorer = make_browser()
    picture, model = explorer.picture, explorer.picture.models[network]
    for (layer, shape), digit in itertools.product(picture.layers.items(), (0, 5, 11)):
        for remove in ("none", *range(shape[0])):
            text = picture.update(digit=digit, layer=layer, network=network, remove=remove)
            removed = None if remove == "none" else remove
            before, maps = by_hand(model, picture.inputs[digit : digit + 1], layer, None)
            after, _ = by_hand(model, picture.inputs[digit : digit + 1], layer, removed)
            assert text.startswith(f"digit = {digit} (a {digit % 10}), layer = {layer} ({shape[0]} ")
            largest = maps.abs().max() if removed is None else maps[0, removed].abs().max()
            assert f"network = {network}, removed map = {remove} (" in text and f"{largest:.3g}): the answer" in text
            check_change(text, before[0], after[0], removed)
            np.testing.assert_array_equal(picture.digit.get_array(), picture.images[digit, 0].numpy())
            heights = torch.tensor([[bar.get_height() for bar in bars] for bars in (picture.kept, picture.without)])
            torch.testing.assert_close(heights, torch.cat([before, after]))
            assert picture.frame.get_visible() == (removed is not None) == picture.without[0].get_visible()
            check_mosaic(picture, maps[0].reshape(shape[0], *(shape[1:] or (1, 1))), removed)


def check_change(text, before, after, removed):
    """Compare the text with logits (10,) before and after."""
    first, second = int(before.argmax()), int(after.argmax())
    verb = "is" if removed is None else "stays" if first == second else "changes from"
    assert f"the answer {verb} {first} (logit {before.max():.2f}, {before.softmax(0)[first]:.1%}" in text
    assert (f"to {second} (logit {after.max():.2f}, {after.softmax(0)[second]:.1%}" in text) == (first != second)


def check_mosaic(picture, maps, removed):
    """Find each map in the mosaic, divided by the largest value of all, and the frame around the removed one."""
    mosaic = np.ma.filled(picture.mosaic.get_array(), np.nan)
    expected = enlarged((maps / maps.abs().max()).numpy())
    corners = tile(expected)[1]
    left, right, bottom, top = picture.mosaic.get_extent()
    scale = right / mosaic.shape[1]
    assert left == top == 0 and right <= 1.25 + 1e-9 and bottom <= 1 + 1e-9
    assert bottom / mosaic.shape[0] == pytest.approx(scale)  # pixels are square
    for k, (row, column) in enumerate(corners):
        shown = mosaic[row : row + expected.shape[1], column : column + expected.shape[2]]
        np.testing.assert_allclose(shown, 0 if k == removed else expected[k], atol=1e-6)
    assert np.isfinite(mosaic).sum() == expected.size
    if removed is not None:
        assert picture.frame.get_x() == pytest.approx(corners[removed][1] * scale)
        assert picture.frame.get_y() == pytest.approx(corners[removed][0] * scale)
        assert picture.frame.get_width() == pytest.approx(expected.shape[2] * scale)
        assert picture.frame.get_height() == pytest.approx(expected.shape[1] * scale)


@pytest.mark.parametrize("shape", [(1, 1, 1), (10, 1, 1), (120, 1, 1), (6, 28, 28), (16, 5, 5), (7, 3, 9), (84, 40, 2)])
def test_tiles_do_not_touch(shape):
    maps = np.random.default_rng(0).random(shape, dtype=np.float32)
    mosaic, corners = tile(maps)
    count, height, width = shape
    assert len(set(corners)) == count and corners == sorted(corners)
    assert np.isfinite(mosaic).sum() == maps.size
    for k, (row, column) in enumerate(corners):
        np.testing.assert_array_equal(mosaic[row : row + height, column : column + width], maps[k])
        assert np.isnan(mosaic[row + height : row + height + 2, column : column + width]).all()
        assert np.isnan(mosaic[row : row + height, column + width : column + width + 2]).all()


def test_the_color_scale_is_shared_and_centered_on_zero():
    explorer = make_browser()
    assert explorer.picture.mosaic.get_clim() == (-1, 1)
    colors = explorer.picture.mosaic.cmap
    gray = np.array(colors(0.5)[:3])
    assert np.ptp(gray) < 0.02 and gray.mean() > 0.9
    assert colors(1.0)[0] > colors(1.0)[2] and colors(0.0)[2] > colors(0.0)[0]  # red above 0, blue below


def test_a_layer_of_zeros_is_shown():
    model = small_net()
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    explorer = make_browser({"one": model})
    assert "(largest |value| of all maps: 0)" in shown_text(explorer)
    assert np.nanmax(np.abs(np.ma.filled(explorer.picture.mosaic.get_array(), np.nan))) == 0


def test_the_logits_of_all_digits_and_networks_fit_into_the_axes():
    picture = make_browser().picture
    low, high = picture.kept[0].axes.get_ylim()
    for model in picture.models.values():
        logits = logits_of(model, picture.inputs)
        assert low < logits.min() and logits.max() < high


def test_another_layer_offers_its_own_maps():
    explorer = make_browser()
    layer, remove = explorer.controls["layer"], explorer.controls["remove"]
    assert remove.options == ("none", *range(6)) and remove.value == "none" and remove.index == 0
    texts = []
    explorer.text.observe(lambda change: texts.append(change["new"]), names="value")
    remove.value = 5
    layer.value = "4"  # three maps: map 5 does not exist there
    assert remove.options == ("none", 0, 1, 2) and remove.value == "none"
    layer.value = "8"
    assert remove.options == ("none", *range(10)) and "10 numbers" in shown_text(explorer)
    assert len(texts) >= 3 and not any("alert" in text for text in texts)
    assert [label for label, _ in layer.options][:2] == ["0 (Conv2d)", "1 (BatchNorm2d)"]


def test_a_map_that_does_not_exist_is_explained():
    with pytest.raises(ValueError, match="map 3 does not exist: 4 has 3, choose 0 to 2"):
        make_browser().picture.update(digit=0, layer="4", network="after training", remove=3)


def test_the_networks_get_standardized_digits():
    images, _ = some_digits()
    torch.testing.assert_close(make_browser().picture.inputs, (images / 255 - MEAN) / STD)


def test_the_first_hundred_digits_are_used():
    assert make_browser(count=103).controls["digit"].options == tuple(range(100))
    assert make_browser(count=3).controls["digit"].options == (0, 1, 2)


IMAGES, LABELS = some_digits(3)


@pytest.mark.parametrize(
    ("models", "images", "labels", "message"),
    [
        ({}, IMAGES, LABELS, "no network"),
        ({"a": small_net()}, IMAGES.float(), LABELS, r"expected uint8 images .* got torch.float32"),
        ({"a": small_net()}, IMAGES[:, 0], LABELS, r"got torch.uint8 \(3, 28, 28\)"),
        ({"a": small_net()}, IMAGES.expand(3, 3, 28, 28), LABELS, r"got torch.uint8 \(3, 3, 28, 28\)"),
        ({"a": small_net()}, IMAGES[:0], LABELS[:0], r"got torch.uint8 \(0, 1, 28, 28\)"),
        ({"a": small_net()}, IMAGES, LABELS[:2], "got 2 labels and 3 images"),
        ({"a": small_net(), "b": Reusing()}, IMAGES, LABELS, '"a" and "b" have different layers'),
        ({"a": nn.Flatten()}, IMAGES, LABELS, '"a" has no layer to show'),
    ],
)
def test_what_cannot_be_browsed_is_refused(models, images, labels, message):
    with pytest.raises(ValueError, match=message):
        activation_explorer(models, images, labels, mean=MEAN, std=STD)


# --------------------------------------------------------------------------------------------------------------- pad


def test_a_pad_holds_bytes_and_is_cleared():
    pad = DrawingPad()
    assert pad.value == EMPTY == bytes(280 * 280) and pad.pen == 24
    pad.value = as_bytes(SEVEN)
    assert torch.equal(as_drawing(pad.value), SEVEN)
    pad.clear()
    assert pad.value == EMPTY


@pytest.mark.parametrize("size", [0, 784, 280 * 280 - 1, 280 * 280 + 1])
def test_a_drawing_of_another_size_is_refused(size):
    pad = DrawingPad()
    with pytest.raises(ValueError, match=rf"280×280 = 78400 bytes, .* got {size}$"):
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


# ------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawing_over_its_range(name):
    models = {"first": drawn_net(0), "second": drawn_net(1)}
    picture, drawing = DrawingPicture(models, mean=MEAN, std=STD), DRAWINGS[name]
    for *steps, network, pen in itertools.product(*[(True, False)] * 3, models, (8.0, 32.0)):
        crop, box, by_mass = steps
        text = picture.update(as_bytes(drawing), pen=pen, crop=crop, box=box, by_mass=by_mass, network=network)
        expected = prepare_drawing(drawing, crop=crop, box=20 if box else 28, by_mass=by_mass)
        np.testing.assert_array_equal(np.asarray(picture.pixels.get_array()), expected.numpy())
        linear = models[network][2]
        logits = ((expected.flatten() - MEAN) / STD) @ linear.weight.detach().T + linear.bias.detach()
        share = logits.softmax(0)
        torch.testing.assert_close(torch.tensor([bar.get_height() for bar in picture.bars]), share)
        first, second = share.argsort(descending=True)[:2].tolist()
        assert text.startswith(f"The answer is {first} ({share[first]:.1%}), then {second} ({share[second]:.1%}).")
        check_settings(text, pen, crop, box, by_mass, network)
        colors = [bar.get_facecolor() for bar in picture.bars]
        assert colors.count(colors[first]) == 1 and len(set(colors)) == 2


def check_settings(text, pen, crop, box, by_mass, network):
    """Find every control's value in the text."""
    word = {True: "on", False: "off"}
    assert f"pen = {pen:g} px, crop = {word[crop]}, box of 20 = {word[box]}, center by mass = {word[by_mass]}" in text
    assert f"network = {network}" in text and ("need the crop" in text) == (not crop)


def test_an_empty_canvas_gets_no_answer():
    explorer = make_canvas()
    pad, picture = explorer.controls["drawing"], explorer.picture
    for crop, box, by_mass in itertools.product((True, False), repeat=3):
        pad.value = as_bytes(SEVEN)
        for name, value in zip(STEPS, (crop, box, by_mass), strict=True):
            explorer.controls[name].value = value
        assert "answer is" in shown_text(explorer)
        pad.clear()
        assert shown_text(explorer).startswith("<p>draw something: ") and "answer is" not in shown_text(explorer)
        check_settings(shown_text(explorer), 24, crop, box, by_mass, "first")
        assert [bar.get_height() for bar in picture.bars] == [0] * 10
        assert np.asarray(picture.pixels.get_array()).max() == 0


def test_pen_and_pad_follow_each_other():
    explorer = make_canvas()
    pen, pad = explorer.controls["pen"], explorer.controls["drawing"]
    assert (pen.min, pen.max, pen.value) == (8, 32, 24)
    for width in range(8, 33):
        pen.value = width
        assert pad.pen == width and isinstance(pad.pen, int) and f"pen = {width} px" in shown_text(explorer)
    pad.pen = 10
    assert pen.value == 10


def test_canvas_and_picture_stand_side_by_side_and_the_text_below():
    """The text's length changes while a line is drawn: above the canvas it would move it."""
    for count in (1, 2):
        explorer = make_canvas(**{f"net {k}": drawn_net(k) for k in range(count)})
        *controls, row, text = explorer.children
        assert row.children == (explorer.controls["drawing"], explorer.image) and text is explorer.text
        names = [name for name, control in explorer.controls.items() if control in controls]
        assert names == ["pen", *STEPS, *(["network"] if count == 2 else [])]
        assert ("network = " in shown_text(explorer)) == (count == 2)


def test_a_network_that_diverges_later_is_explained():
    model = drawn_net(0)
    explorer = make_canvas(only=model)
    with torch.no_grad():
        model[2].weight.fill_(math.inf)
    explorer.controls["drawing"].value = as_bytes(SEVEN)
    assert "role='alert'" in explorer.text.value and "diverged" in explorer.text.value


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
        draw_a_digit(models, mean=MEAN, std=STD)


# --------------------------------------------------------------------------------------- what both have in common

SETTINGS = {
    "browser": [
        {"digit": 3, "layer": "0", "network": "after training", "remove": "none"},
        {"digit": 3, "layer": "0", "network": "after training", "remove": 4},
        {"digit": 3, "layer": "8", "network": "before training", "remove": 4},
    ],
    "canvas": [
        {"drawing": EMPTY, "pen": 24, "crop": True, "box": True, "by_mass": True, "network": "first"},
        {"drawing": as_bytes(SEVEN), "pen": 24, "crop": True, "box": True, "by_mass": True, "network": "first"},
        {"drawing": as_bytes(CORNER), "pen": 24, "crop": False, "box": True, "by_mass": True, "network": "second"},
    ],
}
MAKERS = {"browser": make_browser, "canvas": make_canvas}


@pytest.mark.parametrize("name", MAKERS)
def test_equal_values_give_equal_pictures_whatever_came_between(name):
    explorer, first = MAKERS[name](), {}
    for k in (0, 1, 2, 1, 0):
        explorer.picture.update(**SETTINGS[name][k])
        picture = explorer.renderer.png()
        assert first.setdefault(k, picture) == picture
    assert len(set(first.values())) == 3


@pytest.mark.parametrize("name", MAKERS)
def test_a_redraw_equals_a_full_draw(name):
    explorer = MAKERS[name]()
    explorer.picture.figure.set_layout_engine("none")
    for values in SETTINGS[name]:
        explorer.picture.update(**values)
        assert redraw_difference(explorer) < 0.005  # spines and the zero line lie below or above


@pytest.mark.parametrize("name", MAKERS)
def test_a_moved_control_redraws_text_and_picture(name):
    explorer = MAKERS[name]()
    if name == "canvas":
        explorer.controls["drawing"].value = as_bytes(CORNER)
    for control in explorer.controls.values():
        text, picture = explorer.text.value, explorer.image.value
        if isinstance(control, ipywidgets.Dropdown | ipywidgets.SelectionSlider):
            control.index = (control.index + 3) % len(control.options)  # the next layer only rescales
        elif isinstance(control, ipywidgets.Checkbox):
            control.value = not control.value
        elif isinstance(control, DrawingPad):
            control.value = as_bytes(SEVEN)
        else:
            control.value = control.max
        assert explorer.text.value != text and "alert" not in explorer.text.value
        crop_is_off = name == "canvas" and not explorer.controls["crop"].value
        unseen = getattr(control, "description", "") in (
            "pen",
            *(("box of 20", "center by mass") if crop_is_off else ()),
        )
        assert (explorer.image.value == picture) == unseen
        assert explorer.picture.update(**explorer.values()) in shown_text(explorer)


@pytest.mark.parametrize("name", MAKERS)
def test_without_a_front_end_a_still_picture_and_its_text_are_shown(name):
    explorer = MAKERS[name]()
    data, _ = explorer._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"], validate=True))).format == "PNG"
    assert data["text/plain"] in shown_text(explorer) and "VBox(" not in data["text/plain"]
