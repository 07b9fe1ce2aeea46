"""Chapter 11's controls over their ranges: gradients by depth, a block left out, the shapes of a block."""

import base64
import io
import itertools
import math
import re
import warnings

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.transforms import Bbox
from PIL import Image
from torch import nn

from course_utils.tracing import count_parameters
from course_utils.widgets.resnet import (
    DEPTHS,
    HIGH,
    LOW,
    PLACES,
    SHORTCUTS,
    SIDE,
    Block,
    BlockPicture,
    DepthPicture,
    block_explorer,
    depth_explorer,
    drop_explorer,
    without_block,
)
from explorer_pictures import redraw_difference, shown_text


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


class Gradients:
    """Gradient norms as chapter 11 measures them: growing, shrinking, even; it counts its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, *, convolutions, skip, norm, init):
        self.calls.append((convolutions, skip, norm, init))
        steps = np.arange((convolutions - 1) // 2)
        first = 0.01 if init == "he" else 0.1
        if skip:
            return list(first * (50 + 10 * torch.rand(len(steps)).numpy()))
        return list(first * (1.3 if norm else 0.1) ** steps[::-1])


ERRORS = {(9, False): 0.15, (21, False): 0.34, (45, False): 0.7, (9, True): 0.094, (45, True): 0.057}


class Part(nn.Module):
    """A block as the chapter's: its sum goes through a ReLU; without `skip`, there is no sum."""

    def __init__(self, before, after, stride=1, skip=True):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after))
        self.stride, self.skip = stride, skip and before == after

    def forward(self, x):
        out = self.branch(x)
        return (out + x if self.skip else out).relu()


def small_net(skip=True, seed=0, blocks=4):
    """Return a network whose block 3 changes the shape."""
    torch.manual_seed(seed)
    parts = [Part(4 if k < 3 else 6, 4 if k < 2 else 6, 2 if k == 2 else 1, skip) for k in range(blocks)]
    stem = [nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))


def some_images(count=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 14, 14, generator=generator), torch.arange(count) % 10


def make_depth():
    return depth_explorer(Gradients(), ERRORS)


def make_drop(models=None):
    return drop_explorer(models or {"residual": small_net(True), "plain": small_net(False)}, *some_images())


MAKERS = {"depth": make_depth, "drop": make_drop, "block": block_explorer}


# ---------------------------------------------------------------------------------------------------- depth and skip


def test_depth_over_its_range():
    gradients = Gradients()
    picture = DepthPicture(gradients, ERRORS)
    for choices in itertools.product(DEPTHS, (False, True), (False, True), ("he", "default")):
        values = dict(zip(("convolutions", "skip", "norm", "init"), choices, strict=True))
        text = picture.update(**values)
        torch.manual_seed(0)
        expected = Gradients()(**values)
        depth, skip, norm, init = choices
        assert len(expected) == (depth - 1) // 2
        shown = [bar.get_y() + bar.get_height() for bar in picture.bars if bar.get_visible()]
        np.testing.assert_allclose(shown, np.clip(expected, LOW, HIGH))
        assert [bar.get_visible() for bar in picture.bars] == [k < len(expected) for k in range(22)]
        word = {True: "on", False: "off"}
        assert text.startswith(
            f"convolutions = {depth}, shortcut = {word[skip]}, BatchNorm = {word[norm]}, initial values = {init}: "
        )
        assert f"{expected[0]:.3g} in block 1 and {expected[-1]:.3g} in block {len(expected)}" in text
        trend = "within a factor of two" if skip else "growing toward the input" if norm else "shrinking toward"
        assert trend in text
        check_mark(picture, text, depth, skip, norm and init == "he")
    assert len(gradients.calls) == len(set(gradients.calls)) == 32


def check_mark(picture, text, depth, skip, trained_so):
    """The ring and the recorded error belong to BatchNorm and He, where a run was recorded."""
    place = [float(np.asarray(values).item()) if len(values) else None for values in picture.mark.get_data()]
    name = "residual" if skip else "plain"
    if not trained_so:
        assert place == [None, None] and "are those of networks with BatchNorm and He's" in text
    elif (depth, skip) in ERRORS:
        assert place == [depth, ERRORS[depth, skip]]
        assert f"error of this {name} network (ring): {ERRORS[depth, skip]:.1%}" in text
    else:
        assert place == [None, None] and f"No training error was recorded for a {name} network" in text


def test_gradients_are_computed_once_for_each_choice():
    gradients = Gradients()
    explorer = depth_explorer(gradients, ERRORS)
    for value in (True, False, True, False):
        explorer.controls["skip"].value = value
    assert sorted(gradients.calls) == [(45, False, True, "he"), (45, True, True, "he")]


def test_the_notebooks_random_numbers_stay_what_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    explorer = make_depth()
    explorer.controls["skip"].value = True
    heights = [bar.get_height() for bar in explorer.picture.bars]
    block_explorer().controls["stride"].value = 1
    assert torch.equal(torch.rand(3), expected)
    other = make_depth()
    other.controls["skip"].value = True
    assert [bar.get_height() for bar in other.picture.bars] == heights


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e9, math.nan, math.inf])
def test_gradients_beyond_the_axis_are_drawn_at_its_end_and_told(value):
    explorer = depth_explorer(lambda convolutions, **_: [value] * ((convolutions - 1) // 2), {})
    tops = {bar.get_y() + bar.get_height() for bar in explorer.picture.bars}
    assert tops == {LOW if math.isnan(value) else float(np.clip(value, LOW, HIGH))}
    assert f"{value:.3g} in block 1" in shown_text(explorer)
    assert ("not all are finite" in shown_text(explorer)) == (not math.isfinite(value))
    assert ("0: nothing arrives" in shown_text(explorer)) == (value == 0)
    assert "role='alert'" not in explorer.text.value


def test_a_wrong_number_of_gradients_is_explained():
    explorer = depth_explorer(lambda **_: [1.0, 2.0], ERRORS)
    assert "role='alert'" in explorer.text.value
    assert "expected 22 numbers from `gradients`" in shown_text(explorer) and "got 2" in shown_text(explorer)


@pytest.mark.parametrize("error", [-0.1, 34.0, math.nan])
def test_errors_that_are_no_shares_are_refused(error):
    with pytest.raises(ValueError, match="training errors from 0 to 1"):
        depth_explorer(Gradients(), {(9, False): error})


# ------------------------------------------------------------------------------------------------------ drop a block


def by_hand(model, images, block):
    """Run the layers one by one in eval mode, but for one block, counted from 1."""
    model.eval()
    x, seen = images, 0
    with torch.no_grad():
        for layer in model:
            seen += isinstance(layer, Part)
            x = x if isinstance(layer, Part) and seen == block else layer(x)
    return x


@pytest.mark.parametrize("network", ["residual", "plain"])
def test_drop_over_its_range(network):
    explorer = make_drop()
    picture, (images, labels) = explorer.picture, some_images()
    for block, image in itertools.product(("none", 1, 2, 4), (0, 7, 11)):
        text = picture.update(network=network, block=block, image=image)
        model = small_net(network == "residual")
        before, after = by_hand(model, images, 0), by_hand(model, images, block)
        shares = [(logits.argmax(dim=1) == labels).float().mean().item() for logits in (before, after)]
        for bars, heights in ((picture.shares, shares), (picture.kept, before[image]), (picture.without, after[image])):
            np.testing.assert_allclose([bar.get_height() for bar in bars], heights, rtol=1e-4, atol=1e-5)
        shown = [bar.get_visible() for bar in (*picture.shares, *picture.kept, *picture.without)]
        assert shown == [True, block != "none"] + [True] * 10 + [block != "none"] * 10
        np.testing.assert_array_equal(picture.image.get_array(), images[image, 0].numpy())
        assert list(picture.label.get_xdata()) == [labels[image]]
        head = f"network = {network}, image = {image} (class {labels[image]}), block left out = {block}: accuracy "
        answers = int(before[image].argmax()), int(after[image].argmax())
        if block == "none":
            assert text == f"{head}{shares[0]:.0%} of 12 images; the answer is {answers[0]}."
        else:
            stays = f"stays {answers[0]}" if answers[0] == answers[1] else f"changes from {answers[0]} to {answers[1]}"
            ends = f"{shares[0]:.0%} with it, {shares[1]:.0%} without, of 12 images; the answer {stays}."
            assert text == head + ends


def test_a_block_that_changes_the_shape_cannot_be_left_out():
    explorer = make_drop()
    explorer.controls["block"].value = 3
    assert "role='alert'" in explorer.text.value and explorer.image.layout.visibility == "hidden"
    assert "block 3 turns 4 maps of 7×7 into 6 maps of 4×4" in shown_text(explorer)
    explorer.controls["block"].value = 4
    assert "role='alert'" not in explorer.text.value and explorer.image.layout.visibility == "visible"


def test_networks_of_different_depth_are_shown():
    explorer = make_drop({"deep": small_net(blocks=6), "shallow": small_net(blocks=4)})
    assert explorer.controls["block"].options == ("none", *range(1, 7))
    explorer.controls["block"].value = 6
    assert "alert" not in explorer.text.value
    explorer.controls["network"].value = "shallow"
    assert "the shallow network has no block 6: choose 1 to 4" in shown_text(explorer)


def test_networks_stay_as_they_were():
    model = small_net()
    model.train()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    explorer = make_drop({"one": model})
    for block in (1, 3, 4):
        explorer.controls["block"].value = block
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules()) and torch.is_grad_enabled()
    assert len(without_block(model, 1)) == len(model) - 1


def test_later_training_does_not_mix_old_and_new_answers():
    model = small_net()
    explorer = make_drop({"one": model})
    with torch.no_grad():
        model[-1].weight.zero_()
    text = explorer.picture.update(network="one", block=1, image=3)
    assert text == make_drop({"one": small_net()}).picture.update(network="one", block=1, image=3)


@pytest.mark.parametrize(
    ("models", "images", "labels", "message"),
    [
        ({}, *some_images(), "there is no network"),
        ({"a": nn.Sequential(nn.Flatten(), nn.Linear(196, 10))}, *some_images(), 'the network "a" has no blocks'),
        ({"a": Part(1, 1)}, *some_images(), r'"a" has no blocks: .* got Part'),
        ({"a": small_net()}, torch.zeros(3, 1, 14, 14, dtype=torch.uint8), torch.zeros(3), "got torch.uint8"),
        ({"a": small_net()}, torch.zeros(3, 14, 14), torch.zeros(3), r"\(N, 1, H, W\), got .* \(3, 14, 14\)"),
        ({"a": small_net()}, torch.zeros(0, 1, 14, 14), torch.zeros(0), "expected float images"),
        ({"a": small_net()}, torch.zeros(3, 1, 14, 14), torch.zeros(2), "2 labels and 3 images"),
    ],
)
def test_what_cannot_be_shown_is_refused(models, images, labels, message):
    with pytest.raises(ValueError, match=message):
        drop_explorer(models, images, labels)


# ------------------------------------------------------------------------------------------------- shapes of a block


def adds_up(before, after, stride, shortcut):
    """Say whether branch and shortcut have one shape."""
    return shortcut != "identity" or (before == after and stride == 1)


def costs_by_hand(before, after, stride, shortcut):
    """Return parameters and multiply-adds of branch and shortcut, by the formulas."""
    pixels = (SIDE // stride) ** 2
    weights = 9 * before * after + 9 * after * after
    if shortcut != "projection":
        return (weights + 4 * after, weights * pixels), (0, 0)
    return (weights + 4 * after, weights * pixels), (before * after + 2 * after, before * after * pixels)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_block_over_its_range(shortcut):
    picture = BlockPicture()
    for (before, after), stride in itertools.product(((4, 4), (4, 16), (16, 4), (64, 8)), (1, 2)):
        text = picture.update(before, after, stride, shortcut)
        size = SIDE // stride
        came, made = f"(B, {before}, {SIDE}, {SIDE})", f"(B, {after}, {size}, {size})"
        fits = adds_up(before, after, stride, shortcut)
        end = made if fits else "?"
        words = picture.words
        assert [words[name] for name in ("x", "inside", "branch", "sum", "out")] == [came, made, made, end, end]
        assert {artist.get_visible() for artist in picture.aside} == {shortcut != "none"}
        assert ("entering" in words) == ("leaving" in words) == ("sign" in words) == (shortcut != "none")
        if shortcut != "none":
            leaves = came if shortcut == "identity" else made
            assert (words["entering"], words["leaving"], words["sign"]) == (came, leaves, "+" if fits else "≠")
        settings = f"channels in = {before}, channels out = {after}, stride = {stride}, shortcut = {shortcut}: "
        assert text.startswith(settings)
        branch, side = (
            f"{count:,} parameters, {work:,} multiply-adds"
            for count, work in costs_by_hand(before, after, stride, shortcut)
        )
        assert words["costs"] == f"branch: {branch}"
        assert words.get("way costs") == (None if shortcut == "none" else f"shortcut: {side}")
        if not fits:
            assert "the shortcut does not fit. add() in the model's forward cannot join" in text
            assert f"(1, {after}, {size}, {size}) and (1, {before}, {SIDE}, {SIDE})" in text and "\n" not in text
            continue
        assert f"{came} becomes {made}. The branch has {branch}; " in text
        assert (f"the shortcut has {side}" in text) == (shortcut != "none")
        needless = shortcut == "projection" and before == after and stride == 1
        assert ("the identity would do" in text) == needless
        cut = shortcut == "slice and pad" and before > after
        assert (f"cuts {before - after} channels of x off" in text) == cut


@pytest.mark.parametrize(("before", "after", "stride"), [(4, 8, 2), (4, 8, 1), (8, 8, 2), (8, 4, 1), (4, 4, 1)])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_the_block_that_is_traced_computes_what_is_said(before, after, stride, shortcut):
    torch.manual_seed(0)
    block, x = Block(before, after, stride, shortcut).eval(), torch.randn(2, before, 6, 6)
    if not adds_up(before, after, stride, shortcut):
        with pytest.raises(RuntimeError):
            block(x)
        return
    way = torch.zeros(2, after, 6 // stride, 6 // stride)
    if shortcut == "projection":
        way = block.shortcut(x)
    elif shortcut != "none":
        for channel in range(min(before, after)):
            way[:, channel] = x[:, channel, ::stride, ::stride]
    torch.testing.assert_close(block(x), (block.branch(x) + way).relu())
    counts = costs_by_hand(before, after, stride, shortcut)
    assert count_parameters(block) == counts[0][0] + counts[1][0]


def test_words_do_not_touch_each_other():
    picture = BlockPicture()
    for shortcut in SHORTCUTS[1:]:
        picture.update(64, 64, 2, shortcut)
        frames = []
        for name, text in picture.words.items():
            shape = picture.black.glyph(text, 0.125, np.inf)
            frames.append(Bbox(shape.get_extents().get_points() + PLACES[name]))
        for one, other in itertools.combinations(frames, 2):
            assert not one.overlaps(other)


# --------------------------------------------------------------------------------------------- what all have in common

SETTINGS = {
    "depth": [
        {"convolutions": 45, "skip": False, "norm": True, "init": "he"},
        {"convolutions": 9, "skip": False, "norm": False, "init": "default"},
        {"convolutions": 21, "skip": True, "norm": True, "init": "he"},
    ],
    "drop": [
        {"network": "residual", "block": "none", "image": 0},
        {"network": "residual", "block": 1, "image": 0},
        {"network": "plain", "block": 4, "image": 5},
    ],
    "block": [
        {"before": 16, "after": 32, "stride": 2, "shortcut": "identity"},
        {"before": 64, "after": 64, "stride": 1, "shortcut": "projection"},
        {"before": 4, "after": 8, "stride": 1, "shortcut": "none"},
    ],
}


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
        assert redraw_difference(explorer) < 0.005  # spines lie below or above


@pytest.mark.parametrize("name", MAKERS)
def test_a_moved_control_redraws_text_and_picture(name):
    explorer = MAKERS[name]()
    for control in explorer.controls.values():
        text, picture = explorer.text.value, explorer.image.value
        if isinstance(control, ipywidgets.Checkbox):
            control.value = not control.value
        else:
            control.index = (control.index + 1) % len(control.options)
        assert control.description
        assert explorer.text.value != text and "alert" not in explorer.text.value
        assert explorer.image.value != picture
        assert explorer.picture.update(**explorer.values()) in shown_text(explorer)


@pytest.mark.parametrize("name", MAKERS)
def test_without_a_front_end_a_still_picture_and_its_text_are_shown(name):
    explorer = MAKERS[name]()
    data, _ = explorer._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"], validate=True))).format == "PNG"
    assert data["text/plain"] in shown_text(explorer)
    assert re.match(r"[a-z ]+ = ", data["text/plain"])
