"""Chapter 11's controls over their ranges: gradients by depth, a block left out, the shapes of a block."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from control_examples import ERRORS, BlockPart, emptied, gradients, residual_net, some_digits
from controls.resnet import (
    DEPTHS,
    HIGH,
    LOW,
    PLACES,
    SHORTCUTS,
    SIDE,
    block_explorer,
    depth_explorer,
    draw_block,
    draw_depth,
    draw_drop,
    drop_explorer,
    logits_without,
    traced,
    two_blocks,
)
from course_utils.controls import text_writer
from course_utils.models import ResidualBlock
from course_utils.plotting import COLORS, new_figure

ONE, TWO, THREE = (list(np.ravel(new_figure(columns=columns)[1])) for columns in (1, 2, 3))


def tops_of(axes):
    """Return the upper end of each box in the axes' collections."""
    return [path.vertices[:4, 1].max() for one in axes.collections for path in one.get_paths()]


# ---------------------------------------------------------------------------------------------------- depth and skip


def norms_of(convolutions, skip, norm, init):
    """Return the gradient norms of the example, from the same random numbers each time."""
    torch.manual_seed(0)
    return np.array(gradients(convolutions=convolutions, skip=skip, norm=norm, init=init))


def drawn_depth(norms, *choices, errors=ERRORS):
    """Draw gradients and errors; return both axes and the text."""
    axes = [emptied(one) for one in TWO]
    values = dict(zip(("convolutions", "skip", "norm", "init"), choices, strict=True))
    return *axes, draw_depth(norms, errors, *axes, **values)


def test_depth_over_its_range():
    for depth, skip, norm, init in itertools.product(DEPTHS, (False, True), (False, True), ("he", "default")):
        left, right, text = drawn_depth(norms_of, depth, skip, norm, init)
        expected = norms_of(depth, skip, norm, init)
        assert len(expected) == (depth - 1) // 2
        np.testing.assert_allclose(tops_of(left), np.clip(expected, LOW, HIGH))
        middles = [path.vertices[:4, 0].mean() for path in left.collections[0].get_paths()]
        np.testing.assert_allclose(middles, 1 + np.arange(len(expected)))
        assert text.startswith(f"the gradient's norm is {expected[0]:.3g} in block 1 and {expected[-1]:.3g} in block ")
        trend = "within a factor of two" if skip else "growing toward the input" if norm else "shrinking toward"
        assert f"in block {len(expected)}: " in text and trend in text
        check_ring(right, text, depth, skip, norm and init == "he")


def check_ring(axes, text, depth, skip, trained_so):
    """The ring and the recorded error belong to BatchNorm and He, where a run was recorded."""
    places = [line.get_xydata().tolist() for line in axes.lines]
    name = "residual" if skip else "plain"
    if not trained_so:
        assert places == [] and "are those of networks with BatchNorm and He's" in text
    elif (depth, skip) in ERRORS:
        assert places == [[[depth, ERRORS[depth, skip]]]]
        assert f"error of this {name} network (ring): {ERRORS[depth, skip]:.1%}" in text
    else:
        assert places == [] and f"No training error was recorded for a {name} network" in text


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e9, math.nan, math.inf])
def test_gradients_beyond_the_axis_are_drawn_at_its_end_and_told(value):
    left, _, text = drawn_depth(lambda *_: np.full(4, value), 9, True, True, "he", errors={})
    assert set(tops_of(left)) == {LOW if math.isnan(value) else float(np.clip(value, LOW, HIGH))}
    assert f"{value:.3g} in block 1" in text
    assert ("not all are finite" in text) == (not math.isfinite(value))
    assert ("0: nothing arrives" in text) == (value == 0)


def test_the_recorded_errors_stand_at_their_depths():
    left, right = depth_explorer(gradients, ERRORS).axes
    for line, (skip, name) in zip(right.lines[:2], ((False, "plain"), (True, "residual")), strict=True):
        assert line.get_label() == name
        expected = [[depth, error] for (depth, its_skip), error in sorted(ERRORS.items()) if its_skip == skip]
        assert line.get_xydata().tolist() == expected
    assert left.get_yscale() == "log" and left.get_ylim() == (LOW, HIGH)


def test_gradients_are_computed_once_for_each_choice_from_the_same_random_numbers():
    calls = []

    def counted(**choices):
        calls.append(tuple(choices.values()))
        return gradients(**choices)

    state = torch.get_rng_state()
    control = depth_explorer(counted, ERRORS)
    for value in (True, False, True, False, True):
        control.knobs["skip"].value = value
    assert calls == [(45, False, True, "he"), (45, True, True, "he")]
    assert torch.get_rng_state().equal(state)
    assert f"is {norms_of(45, True, True, 'he')[0]:.3g} in block 1" in control.plain_text


def test_a_wrong_number_of_gradients_is_explained():
    text = depth_explorer(lambda **_: [1.0, 2.0], ERRORS).plain_text
    assert text.startswith("Not possible: expected 22 numbers from `gradients`") and text.endswith("got 2")


@pytest.mark.parametrize("error", [-0.1, 34.0, math.nan])
def test_errors_that_are_no_shares_are_refused(error):
    with pytest.raises(ValueError, match="training errors from 0 to 1"):
        depth_explorer(gradients, {(9, False): error})


# ------------------------------------------------------------------------------------------------------ drop a block


def by_hand(model, images, block):
    """Run the layers one by one in eval mode, but for one block, counted from 1."""
    model.eval()
    x, seen = images, 0
    with torch.no_grad():
        for layer in model:
            seen += isinstance(layer, BlockPart)
            x = x if isinstance(layer, BlockPart) and seen == block else layer(x)
    return x


@pytest.mark.parametrize("network", ["residual", "plain"])
def test_drop_over_its_range(network):
    images, labels = some_digits()
    model = residual_net(network == "residual").eval()
    logits_of = partial(logits_without, {network: model}, images)
    for block, image in itertools.product(("none", 1, 2, 4), (0, 7, 11)):
        shown, accuracy, bars = axes = [emptied(one) for one in THREE]
        text = draw_drop(logits_of, images, labels, *axes, network=network, block=block, image=image)
        before, after = by_hand(model, images, 0), by_hand(model, images, block)
        shares = [(logits.argmax(dim=1) == labels).float().mean().item() for logits in (before, after)]
        count = 1 if block == "none" else 2
        np.testing.assert_allclose(tops_of(accuracy), shares[:count], rtol=1e-4)
        ends = [path.vertices[:4, 1] for one in bars.collections for path in one.get_paths()]
        heights = [end[np.abs(end).argmax()] for end in ends]
        np.testing.assert_allclose(heights, torch.cat([before[image], after[image]])[: 10 * count], atol=1e-5)
        np.testing.assert_array_equal(shown.images[0].get_array(), images[image, 0].numpy())
        assert list(bars.lines[0].get_xdata()) == [labels[image]]
        answers = int(before[image].argmax()), int(after[image].argmax())
        head = f"the image is of class {labels[image]}, the answer"
        if block == "none":
            assert text == f"{head} is {answers[0]}; accuracy {shares[0]:.0%} of 12 images."
        else:
            stays = f"stays {answers[0]}" if answers[0] == answers[1] else f"changes from {answers[0]} to {answers[1]}"
            accuracies = f"accuracy {shares[0]:.0%} with the block, {shares[1]:.0%} without, of 12 images."
            assert text == f"{head} {stays}; {accuracies}"


def make_drop(*models):
    """Return the control over networks named 0, 1, …"""
    return drop_explorer({str(k): model for k, model in enumerate(models)}, *some_digits())


def test_a_block_that_changes_the_shape_cannot_be_left_out():
    control = make_drop(residual_net())
    control.knobs["block"].value = 3
    assert control.plain_text.startswith("Not possible: block 3 turns 4 maps of 7×7 into 6 maps of 4×4")
    control.knobs["block"].value = 4
    assert control.plain_text.startswith("network = 0, leave out block = 4, image = 0: the image is of class 0")


def test_networks_of_different_depth_are_shown():
    control = make_drop(residual_net(blocks=6), residual_net(blocks=4))
    assert control.knobs["block"].options == ("none", *range(1, 7))
    control.knobs["block"].value = 6
    assert "Not possible" not in control.plain_text
    control.knobs["network"].value = "1"
    assert "the 1 network has no block 6: choose 1 to 4" in control.plain_text


def test_networks_stay_as_they_were():
    model = residual_net()
    model.train()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    control = make_drop(model)
    for block in (1, 3, 4):
        control.knobs["block"].value = block
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_later_training_does_not_mix_old_and_new_answers():
    model = residual_net()
    control, expected = make_drop(model), make_drop(residual_net())
    with torch.no_grad():
        model[-1].weight.zero_()
    for one in (control, expected):
        one.knobs["block"].value = 1
    assert control.plain_text == expected.plain_text and control.image.value == expected.image.value


def test_a_block_that_writes_into_its_input_can_be_left_out():
    class InPlace(BlockPart):
        def forward(self, x):
            return super().forward(x.mul_(2))

    torch.manual_seed(0)
    model = nn.Sequential(InPlace(1, 1), nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten()).eval()
    images, _ = some_digits()
    expected = model[2](model[1](images))
    assert logits_without({"a": model}, images.clone(), "a", 1).equal(expected)


def test_a_network_that_has_diverged_is_explained():
    model = residual_net()
    nn.init.constant_(model[-1].bias, math.inf)
    with pytest.raises(ValueError, match="holds nan or inf: its training has diverged"):
        make_drop(model)


@pytest.mark.parametrize(
    ("model", "images", "labels", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(196, 10)), *some_digits(), 'the network "a" has no blocks'),
        (BlockPart(1, 1), *some_digits(), r'"a" has no blocks: .* got BlockPart'),
        (residual_net(), torch.zeros(3, 1, 14, 14, dtype=torch.uint8), torch.zeros(3), "got torch.uint8"),
        (residual_net(), torch.zeros(3, 14, 14), torch.zeros(3), r"\(N, 1, H, W\), got .* \(3, 14, 14\)"),
        (residual_net(), torch.zeros(3, 1, 14, 14), torch.zeros(2), "2 labels and 3 images"),
    ],
)
def test_what_cannot_be_shown_is_refused(model, images, labels, message):
    with pytest.raises(ValueError, match=message):
        drop_explorer({"a": model}, images, labels)


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


def drawn_block(before, after, stride, shortcut):
    """Draw a block; return its text, its words by name, and the names of those that are red."""
    (axes,), words, red = [emptied(one) for one in ONE], {}, set()

    def write(axes, x, y, texts, size, color):
        for place, text in zip(zip(x, y, strict=True), texts, strict=True):
            (name,) = (name for name, at in PLACES.items() if at == place)
            words[name] = text
            red.update({name} if color == COLORS[2] else ())

    text = draw_block(write, axes, before=before, after=after, stride=stride, shortcut=shortcut)
    assert bool(axes.lines) == bool(axes.patches) == (shortcut != "none")  # the way around is there, or is not
    return text, words, red


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_block_over_its_range(shortcut):
    for (before, after), stride in itertools.product(((4, 4), (4, 16), (16, 4), (64, 8)), (1, 2)):
        text, words, red = drawn_block(before, after, stride, shortcut)
        size = SIDE // stride
        came, made = f"(B, {before}, {SIDE}, {SIDE})", f"(B, {after}, {size}, {size})"
        fits = adds_up(before, after, stride, shortcut)
        end = made if fits else "?"
        assert [words[name] for name in ("x", "inside", "branch", "sum", "out")] == [came, made, made, end, end]
        assert words["first"] == f"3×3 conv, stride {stride}"
        assert ("entering" in words) == ("leaving" in words) == ("sign" in words) == (shortcut != "none")
        if shortcut != "none":
            leaves = came if shortcut == "identity" else made
            assert (words["entering"], words["leaving"], words["sign"]) == (came, leaves, "+" if fits else "≠")
        assert red == (set() if fits else {"branch", "leaving", "sign"})
        branch, side = (
            f"{count:,} parameters, {work:,} multiply-adds"
            for count, work in costs_by_hand(before, after, stride, shortcut)
        )
        assert words["costs"] == f"branch: {branch}"
        assert words.get("way costs") == (None if shortcut == "none" else f"shortcut: {side}")
        if not fits:
            assert text.startswith("the shortcut does not fit. add() in the model's forward cannot join")
            assert f"(1, {after}, {size}, {size}) and (1, {before}, {SIDE}, {SIDE})" in text and "\n" not in text
            continue
        assert text.startswith(f"{came} becomes {made}. The branch has {branch}; ")
        assert (f"the shortcut has {side}" in text) == (shortcut != "none")
        needless = shortcut == "projection" and before == after and stride == 1
        assert ("the identity would do" in text) == needless
        cut = shortcut == "slice and pad" and before > after
        assert (f"cuts {before - after} channels of x off" in text) == cut


@pytest.mark.parametrize(("before", "after", "stride"), [(4, 8, 2), (4, 8, 1), (8, 8, 2), (8, 4, 1), (4, 4, 1)])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_a_shortcut_computes_what_is_said_of_it(before, after, stride, shortcut):
    torch.manual_seed(0)
    block, x = ResidualBlock(before, after, stride).eval(), torch.randn(2, before, 6, 6)
    block.shortcut = SHORTCUTS[shortcut](before, after, stride).eval()
    if not adds_up(before, after, stride, shortcut):
        assert "cannot join" in traced(before, after, stride, shortcut)[1]
        return
    way = torch.zeros(2, after, 6 // stride, 6 // stride)
    if shortcut == "projection":
        way = block.shortcut[1](nn.functional.conv2d(x, block.shortcut[0].weight, stride=stride))
    elif shortcut != "none":
        for channel in range(min(before, after)):
            way[:, channel] = x[:, channel, ::stride, ::stride]
    branch = nn.Sequential(block.conv1, block.norm1, nn.ReLU(), block.conv2, block.norm2)
    torch.testing.assert_close(block(x), (branch(x) + way).relu())
    calls, problem = traced(before, after, stride, shortcut)
    counts = costs_by_hand(before, after, stride, shortcut)
    assert problem == "" and sum(call.parameters for call in calls) == counts[0][0] + counts[1][0]


def test_words_do_not_touch_each_other():
    axes, write = ONE[0], text_writer()
    for shortcut in list(SHORTCUTS)[1:]:
        _, words, _ = drawn_block(64, 64, 2, shortcut)
        frames = []
        for name, text in words.items():
            write(axes, *PLACES[name], [text], size=0.125)
            frames.append(axes.patches[-1].get_path().get_extents())
        for one, other in itertools.combinations(frames, 2):
            assert not one.overlaps(other)


def test_the_picture_shows_both_blocks_with_the_same_parts():
    axes = two_blocks().axes[0]
    words = [text.get_text() for text in axes.texts]
    for part, count in (("3×3 conv\nBatchNorm", 4), ("ReLU", 4), ("x", 2), ("H(x)", 1), ("F(x)", 1), ("+", 1)):
        assert words.count(part) == count
    frames = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(frames, 2))


# ------------------------------------------------------------------------------------------------------------- knobs


def test_the_knobs_reach_as_far_as_the_chapter_says():
    depth, block = depth_explorer(gradients, ERRORS).knobs, block_explorer().knobs
    assert depth["convolutions"].options == (9, 21, 33, 45) and depth["init"].value == "he"
    assert block["before"].options == block["after"].options == (4, 8, 16, 32, 64)
    assert block["stride"].options == (1, 2)
    assert block["shortcut"].options == ("none", "identity", "slice and pad", "projection")
