"""Chapter 05's activation browser: maps, logits and mosaic against a plain loop over the layers."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from control_examples import EXAMPLES, SCALE, emptied, gray_images, two_nets
from controls.lenet import (
    SHADES,
    activation_explorer,
    draw_activations,
    enlarged,
    layers_of,
    logits_without,
    maps_of,
    network_diagram,
    outputs_of,
    tile,
)
from course_utils.plotting import new_figure

IMAGES, LABELS = gray_images(12), torch.arange(12) % 10
NETS = two_nets()
BLANK = torch.zeros(1, 1, 28, 28)


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


def small_net():
    """Return a new network in training mode."""
    return two_nets()["before training"]


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
    shapes = [(6, 28, 28), (6, 28, 28), (6, 28, 28), (6, 7, 7), (3, 1, 1), (3, 1, 1), (3, 1, 1), (10,)]
    assert layers_of(small_net(), BLANK) == dict(zip("01234568", shapes, strict=True))


def test_other_layers_are_not_offered():
    assert list(layers_of(Reusing(), BLANK)) == ["conv1", "conv2", "output"]


@pytest.mark.parametrize("layer", "01234568")
def test_maps_and_logits_equal_a_plain_loop_over_the_layers(layer):
    model, images = small_net(), torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    outputs, (logits, maps) = outputs_of(model, images, layer), by_hand(small_net(), images, layer, None)
    torch.testing.assert_close(outputs[layer], maps)
    torch.testing.assert_close(outputs[""], logits)
    for remove in (0, 1, 2):
        expected, _ = by_hand(small_net(), images, layer, remove)
        torch.testing.assert_close(logits_without(model, images, layer, remove), expected)


def test_a_layer_that_hands_its_input_on_leaves_the_digit_as_it_was():
    digit = torch.ones(1, 1, 28, 28)
    logits_without(nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(784, 10)), digit, "0", 0)
    assert digit.min() == 1


def test_nothing_is_left_behind():
    model = small_net()
    model[1].eval()  # frozen: a plain train() afterwards would wake it
    state, modes = {name: value.clone() for name, value in model.state_dict().items()}, modes_of(model)
    activation_explorer({"one": model}, IMAGES, LABELS, **SCALE).knobs["remove"].value = 2
    assert modes_of(model) == modes and not any(hooks_of(model))
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled() and all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("run", [outputs_of, layers_of, lambda model, images: logits_without(model, images, "0", 1)])
def test_nothing_is_left_behind_after_an_error(run):
    model = small_net()
    with pytest.raises(ValueError, match='linear "8" expects 3'):
        run(model, torch.zeros(1, 1, 40, 40))
    assert modes_of(model) == [True] * 10 and not any(hooks_of(model)) and torch.is_grad_enabled()


def test_a_diverged_network_is_named():
    model = small_net()
    nn.init.constant_(model[8].bias, math.nan)
    with pytest.raises(ValueError, match="nan or inf: its training has diverged"):
        outputs_of(model, BLANK)


# ------------------------------------------------------------------------------------------------------- the drawing

AXES = new_figure(columns=3)[1]
INPUTS = (IMAGES / 255 - SCALE["mean"]) / SCALE["std"]
DIGITS = list(zip(IMAGES, LABELS.tolist(), INPUTS, strict=True))


def heights_of(bars):
    """Return the signed heights of a collection of bars that stand on 0."""
    ends = np.array([path.vertices[:4, 1] for path in bars.get_paths()])
    return ends.max(axis=1) + ends.min(axis=1)


@pytest.mark.parametrize("network", NETS)
def test_browser_over_its_range(network):
    model = NETS[network]
    for (layer, shape), digit in itertools.product(layers_of(model, BLANK).items(), (0, 5, 11)):
        for remove in ("none", *range(shape[0])):
            left, middle, right = map(emptied, AXES)
            text = draw_activations(
                NETS, DIGITS, left, middle, right, digit=digit, layer=layer, network=network, remove=remove
            )
            removed = None if remove == "none" else remove
            before, maps = by_hand(model, INPUTS[digit : digit + 1], layer, None)
            after, _ = by_hand(model, INPUTS[digit : digit + 1], layer, removed)
            size = f"{shape[0]} maps of {shape[1]}×{shape[2]}" if len(shape) == 3 else f"{shape[0]} numbers"
            largest = maps.abs().max() if removed is None else maps[0, removed].abs().max()
            where = "in all of them" if removed is None else "in the removed one"
            assert text.startswith(f"the digit's label is {digit % 10}. The layer has {size} (largest |value| {where}")
            assert f" {where}: {largest:.3g}). The answer" in text
            check_change(text, before[0], after[0], removed)
            np.testing.assert_array_equal(left.images[0].get_array(), IMAGES[digit, 0].numpy())
            bars = [heights_of(one) for one in right.collections]
            np.testing.assert_allclose(bars, torch.cat([before, after])[: len(bars)], rtol=1e-4, atol=1e-5)
            assert len(bars) == 1 + (removed is not None)
            check_mosaic(middle, maps[0].reshape(shape[0], *(shape[1:] or (1, 1))), removed)


def check_change(text, before, after, removed):
    """Compare the text with logits (10,) before and after."""
    first, second = int(before.argmax()), int(after.argmax())
    verb = "is" if removed is None else "stays" if first == second else "changes from"
    assert f"The answer {verb} {first} (logit {before.max():.2f}, {before.softmax(0)[first]:.1%}" in text
    assert (f"to {second} (logit {after.max():.2f}, {after.softmax(0)[second]:.1%}" in text) == (first != second)
    kept = f"without the map logit {after.max():.2f}, {after.softmax(0)[second]:.1%}"
    assert (kept in text) == (removed is not None and first == second)


def check_mosaic(axes, maps, removed):
    """Find each map in the mosaic, divided by the largest value of all, and the frame around the removed one."""
    (image,), frames = axes.images, axes.patches
    mosaic = np.ma.filled(image.get_array(), np.nan)
    expected = enlarged((maps / maps.abs().max()).numpy())
    corners = tile(expected)[1]
    left, right, bottom, top = image.get_extent()
    scale = right / mosaic.shape[1]
    assert left == top == 0 and right <= 1.25 + 1e-9 and bottom <= 1 + 1e-9
    assert bottom / mosaic.shape[0] == pytest.approx(scale)  # pixels are square
    for k, (row, column) in enumerate(corners):
        shown = mosaic[row : row + expected.shape[1], column : column + expected.shape[2]]
        np.testing.assert_allclose(shown, 0 if k == removed else expected[k], atol=1e-6)
    assert np.isfinite(mosaic).sum() == expected.size
    assert len(frames) == (removed is not None)
    for frame in frames:
        row, column = corners[removed]
        place = column * scale, row * scale, expected.shape[2] * scale, expected.shape[1] * scale
        assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == pytest.approx(place)


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
    gray = np.array(SHADES(0.5)[:3])
    assert np.ptp(gray) < 0.02 and gray.mean() > 0.9
    assert SHADES(1.0)[0] > SHADES(1.0)[2] and SHADES(0.0)[2] > SHADES(0.0)[0]  # red above 0, blue below
    control = EXAMPLES["activations"]()
    (image,) = control.axes[1].images
    assert image.get_clim() == (-1, 1)
    scale = control.axes[0].figure.axes[3]
    assert scale.get_ylim() == (-1, 1) and [text.get_text() for text in scale.get_yticklabels()] == ["−max", "0", "max"]


def test_a_layer_of_zeros_is_shown():
    model = small_net()
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    control = activation_explorer({"one": model}, IMAGES, LABELS, **SCALE)
    assert "(largest |value| in all of them: 0)" in control.plain_text
    assert np.nanmax(np.abs(np.ma.filled(control.axes[1].images[0].get_array(), np.nan))) == 0


def test_the_logits_of_all_digits_and_networks_fit_into_the_axes():
    low, high = EXAMPLES["activations"]().axes[2].get_ylim()
    for model in NETS.values():
        logits, _ = by_hand(model, INPUTS, "0", None)
        assert low < logits.min() and logits.max() < high


# ------------------------------------------------------------------------------------------------------- the control


def test_another_layer_offers_its_own_maps():
    control = activation_explorer(NETS, IMAGES, LABELS, **SCALE)
    layer, remove = control.knobs["layer"], control.knobs["remove"]
    assert remove.options == ("none", *range(6)) and remove.value == "none" and remove.index == 0
    texts = []
    control.text.observe(lambda change: texts.append(change["new"]), names="value")
    remove.value = 5
    layer.value = "4"  # three maps: map 5 does not exist there
    assert remove.options == ("none", 0, 1, 2) and remove.value == "none"
    layer.value = "8"
    assert remove.options == ("none", *range(10)) and "10 numbers" in control.plain_text
    assert len(texts) >= 3 and not any("alert" in text for text in texts)
    assert [label for label, _ in layer.options][:2] == ["0 (Conv2d)", "1 (BatchNorm2d)"]


def test_the_networks_get_standardized_digits():
    _, digits = EXAMPLES["activations"]().draw.args
    torch.testing.assert_close(torch.stack([x for _, _, x in digits]), INPUTS)


def test_the_first_hundred_digits_are_used():
    for count in (103, 3):
        control = activation_explorer(NETS, gray_images(count), torch.arange(count), **SCALE)
        assert control.knobs["digit"].options == tuple(range(min(count, 100)))


@pytest.mark.parametrize(
    ("models", "images", "labels", "message"),
    [
        ({}, IMAGES, LABELS, "no network"),
        ({"a": small_net()}, IMAGES.float(), LABELS, r"expected uint8 images .* got torch.float32"),
        ({"a": small_net()}, IMAGES[:, 0], LABELS, r"got torch.uint8 \(12, 28, 28\)"),
        ({"a": small_net()}, IMAGES.expand(12, 3, 28, 28), LABELS, r"got torch.uint8 \(12, 3, 28, 28\)"),
        ({"a": small_net()}, IMAGES[:0], LABELS[:0], r"got torch.uint8 \(0, 1, 28, 28\)"),
        ({"a": small_net()}, IMAGES, LABELS[:2], "got 2 labels and 12 images"),
        ({"a": small_net(), "b": Reusing()}, IMAGES, LABELS, '"a" and "b" have different layers'),
        ({"a": nn.Flatten()}, IMAGES, LABELS, '"a" has no layer to show'),
    ],
)
def test_what_cannot_be_browsed_is_refused(models, images, labels, message):
    with pytest.raises(ValueError, match=message):
        activation_explorer(models, images, labels, **SCALE)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="there is no layer 'S2': choose from 0, 1, 2, 3, 4, 5, 6, 8"):
        activation_explorer(NETS, IMAGES, LABELS, layer="S2", **SCALE)


# ------------------------------------------------------------------------------------------------ a network to scale


@pytest.mark.parametrize("shape", [(1, 28, 28), (6, 28, 28), (16, 5, 5), (120, 1, 1), (84,), (10,), (3, 2, 2)])
def test_each_number_has_its_own_square(shape):
    corners, side = maps_of(shape)
    squares = {(x + dx, y + dy) for x, y in corners.tolist() for dx in range(side) for dy in range(side)}
    assert len(squares) == math.prod(shape) and min(min(square) for square in squares) == 0


def test_a_diagram_frames_windows_inside_their_maps():
    layers = {"input": (1, 12, 12), "conv": (4, 8, 8), "pool": (4, 4, 4), "all": (6, 1, 1), "out": (3,)}
    figure = network_diagram(layers, {"conv": 5, "pool": 2, "all": 4}, title="a network")
    (axes,) = figure.axes
    boxes = [np.array([path.vertices[:4] for path in drawn.get_paths()]) for drawn in axes.collections]
    assert [len(drawn) for drawn in boxes] == [1, 4, 4, 6, 3]
    frames = [patch.get_extents().transformed(axes.transData.inverted()).get_points() for patch in axes.patches]
    for (low, high), layer in zip(frames, [0, 1, 1, 2, 2, 3], strict=True):
        last = boxes[layer][-1]
        assert (low >= last.min(axis=0) - 1e-6).all() and (high <= last.max(axis=0) + 1e-6).all()
    assert [np.ptp(frame[:, 0]) for frame in frames] == pytest.approx([5, 1, 2, 1, 4, 1])
    assert [text.get_text().split("\n")[0] for text in axes.texts] == list(layers)
    assert axes.texts[1].get_text().endswith("4 × 8 × 8\n= 256")
