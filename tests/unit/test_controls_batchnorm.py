"""Chapter 07's controls: a channel in train and eval, γ and β, and the axes, over the range of every control."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from control_examples import emptied, gray_images
from controls.batchnorm import (
    BARS,
    EDGES,
    NORMAL,
    PER_PLACE,
    SHARED,
    axes_explorer,
    channel_explorer,
    channel_of,
    draw_axes,
    draw_channel,
    draw_gamma_beta,
    drawn_batches,
    gamma_beta_explorer,
    mean_keys,
    steps,
)
from course_utils.plotting import new_figure

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def named(axes, label):
    """Return what stands in the axes under this label."""
    (artist,) = (artist for artist in axes.get_children() if artist.get_label() == label)
    return artist


# ------------------------------------------------------------------------------------------------------- one channel

CHANNEL = channel_of(gray_images(300))
MARKED = int(CHANNEL.argsort()[150])
BATCHES = drawn_batches(300, MARKED)
ONE, (LEFT, RIGHT) = new_figure()[1], new_figure(columns=2)[1]


def shown(batch_size, mode, companions=1, shift=0.0, channel=CHANNEL):
    """Draw the channel; return the text, the heights of the bars, all 20 marks and the mark of this draw."""
    axes = emptied(ONE)
    values = {"batch_size": batch_size, "mode": mode, "companions": companions, "shift": shift}
    text = draw_channel(channel, BATCHES, axes, **values)
    bars = named(axes, "images of the batch").get_data().values
    marks, mark = (named(axes, f"marked image, {of}").get_xdata() for of in ("all 20 draws", "this draw"))
    return text, bars, np.array(marks), float(mark[0])


def test_the_channel_is_the_mean_of_a_convolution_of_pixels_from_0_to_1():
    images = gray_images(2)
    weight = torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    for image, value in zip(images, channel_of(images), strict=True):
        windows = (image / 255).unfold(1, 5, 1).unfold(2, 5, 1)  # (1, 24, 24, 5, 5)
        assert value == pytest.approx((windows * weight).sum().item() / 24**2, rel=1e-4)


def test_the_marked_image_is_in_each_draw_and_no_image_twice():
    assert BATCHES.shape == (20, 256) and (BATCHES[:, 0] == MARKED).all()
    assert all(len(set(row)) == 256 and min(row) >= 0 and max(row) < 300 for row in BATCHES.tolist())
    assert len({tuple(row) for row in BATCHES[:, 1:3].tolist()}) == 20
    assert sorted(drawn_batches(256, 255)[0].tolist()) == list(range(256))  # no fewer would do


def by_torch(mode, values):
    """Normalize values (B,) by torch's own layer, whose running statistics are those of all images."""
    layer = nn.BatchNorm1d(1, affine=False).double().train(mode == "train")
    layer.running_mean.fill_(CHANNEL.mean())
    layer.running_var.fill_(CHANNEL.var())
    return layer(values[:, None])[:, 0]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_channel_equals_torch_s_layer_over_its_range(mode):
    for size, draw, shift in itertools.product(SIZES[mode == "train" :], (1, 8, 20), (-3.0, 0.0, 1.5)):
        text, bars, marks, mark = shown(size, mode, draw, shift)
        expected = by_torch(mode, CHANNEL[BATCHES[draw - 1, :size]] + shift * CHANNEL.std())
        assert mark == marks[draw - 1] == pytest.approx(expected[0].item(), abs=1e-4)
        counts, _ = np.histogram(expected.numpy(), EDGES)
        np.testing.assert_allclose(bars, counts / size, atol=1.01 / size)
        assert bars.sum() == pytest.approx(1)
        numbers = re.search(r"has mean (-?[\d.]+) and sd ([\d.]+)\. .* is at (-?[\d.]+);", text).groups()
        right = expected.mean().item(), expected.std(correction=0).item(), expected[0].item()
        assert tuple(map(float, numbers)) == pytest.approx(right, abs=0.006)
        assert "nan" not in text and "-0.00" not in text


def test_in_train_the_mark_jumps_most_at_two_and_the_shift_is_gone():
    spread = {}
    for size in SIZES[1:]:
        _, _, marks, _ = shown(size, "train")
        spread[size] = marks.std()
        text, _, shifted, _ = shown(size, "train", shift=3.0)
        np.testing.assert_allclose(shifted, marks, atol=1e-9)
        assert "The shift is gone" in text and "batch has mean 0.00" in text
        assert f"between {marks.min():.2f} and {marks.max():.2f}" in text
        if size == 2:
            assert set(marks.round(1)) == {-1, 1} and "one is at −1" in text
    assert max(spread, key=spread.get) == 2 and spread[2] > 5 * spread[128]


def test_in_eval_the_mark_stands_still_and_the_shift_shows():
    *_, still = shown(2, "eval")
    for size, draw, shift in itertools.product((1, 2, 256), (1, 20), (-3.0, 0.0, 2.5)):
        text, _, marks, _ = shown(size, "eval", draw, shift)
        np.testing.assert_allclose(marks, still + shift, atol=1e-3)
        assert "Companions change nothing" in text and ("have moved by" in text) == (shift != 0)


def test_one_image_in_train_is_refused_as_torch_refuses_it():
    with pytest.raises(ValueError, match=r"a batch of 1 has one value.*Take 2 images or more, or eval"):
        shown(1, "train")
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(1)(torch.randn(1, 1, 1, 1))


def test_empty_images_are_no_trouble():
    for size, mode in itertools.product((2, 256), ("train", "eval")):
        assert "nan" not in shown(size, mode, shift=1.0, channel=torch.zeros(300).double())[0]


def test_values_far_out_are_counted_too():
    channel = torch.zeros(300).double()
    channel[MARKED] = 1  # 16 standard deviations away
    _, bars, _, _ = shown(256, "train", channel=channel)
    assert bars[-1] == pytest.approx(1 / 256)


def test_the_marked_image_has_companions_on_both_sides():
    images = gray_images(300)
    control = channel_explorer(images)
    control.knobs["mode"].value = "eval"
    channel = channel_of(images)
    middle = (channel.median() - channel.mean()) / channel.std()
    assert float(re.search(r"is at (-?[\d.]+);", control.plain_text)[1]) == pytest.approx(middle.item(), abs=0.03)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (gray_images(255), r"got \(255, 1, 28, 28\) of uint8"),
        (gray_images(300) / 255, "of float32"),
        (gray_images(300)[:, 0], r"got \(300, 28, 28\)"),
        (torch.zeros(300, 3, 32, 32, dtype=torch.uint8), r"got \(300, 3, 32, 32\)"),
    ],
)
def test_other_images_are_refused(images, got):
    with pytest.raises(ValueError, match=f"at least 256 images.*{got}"):
        channel_explorer(images)


# ----------------------------------------------------------------------------------------------------------- γ and β

GAMMAS, BETAS = np.arange(0, 3.01, 0.25).tolist(), np.arange(-3, 3.01, 0.25).tolist()


def below(z):
    """Return the share of standard normal values below z."""
    return (1 + math.erf(z / math.sqrt(2))) / 2


def test_gamma_and_beta_over_their_range():
    for gamma, beta in itertools.product(GAMMAS, BETAS):
        curve, shares = emptied(LEFT), emptied(RIGHT)
        text = draw_gamma_beta(curve, shares, gamma=gamma, beta=beta)
        zeros, kept = (named(shares, f"y, {what}").get_data().values for what in ("set to 0 by ReLU", "passed by ReLU"))
        assert zeros.sum() + kept.sum() == pytest.approx(1)
        assert not kept[BARS[1:] <= 0].any() and not zeros[BARS[:-1] > 0].any()
        expected = below(-beta / gamma) if gamma else float(beta <= 0)
        assert zeros.sum() == pytest.approx(expected, abs=0.001)
        assert text.startswith(f"y has mean {beta:.2f} and sd ")
        assert f"ReLU sets {zeros.sum():.1%} of the values to 0" in text
        assert float(re.search(r"sd ([\d.]+)\.", text)[1]) == pytest.approx(gamma, abs=0.011)
        x, y = named(curve, "y = γx + β").get_data()
        np.testing.assert_allclose(y, gamma * x + beta)
        np.testing.assert_allclose(named(curve, "ReLU(y)").get_ydata(), np.maximum(y, 0))


def test_before_is_standard_normal():
    shares, edges, _ = steps(NORMAL, BARS, 1000).get_data()
    assert shares.sum() == pytest.approx(1)
    for share, left, right in zip(shares, edges[:-1], edges[1:], strict=True):
        assert share == pytest.approx(below(right) - below(left), abs=0.0011)
    draw_gamma_beta(emptied(LEFT), emptied(RIGHT), gamma=2, beta=1)
    np.testing.assert_array_equal(named(RIGHT, "x").get_data().values, shares)


@pytest.mark.parametrize(
    ("gamma", "beta", "words"),
    [
        (1, 0, "corner cuts"),
        (0, 2, "nothing of x is left"),
        (1, -3, "almost dead"),
        (1, 3, "almost linear"),
        (3, 3, "corner cuts"),
    ],
)
def test_the_share_of_zeros_is_explained(gamma, beta, words):
    assert words in draw_gamma_beta(LEFT, RIGHT, gamma=gamma, beta=beta)


# -------------------------------------------------------------------------------------------------------------- axes

X = torch.randn(8, 16, 10, 10, generator=torch.Generator().manual_seed(0))
CHOICES = [("BatchNorm", 4), ("LayerNorm", 4), ("InstanceNorm", 1), *(("GroupNorm", g) for g in (1, 2, 4, 8, 16))]


def depends(norm, groups, image, channel):
    """Find by gradients which maps the output of one map depends on, with torch's own layers."""
    layers = {
        "BatchNorm": nn.BatchNorm2d(16),
        "LayerNorm": nn.LayerNorm([16, 10, 10]),
        "InstanceNorm": nn.InstanceNorm2d(16),
        "GroupNorm": nn.GroupNorm(groups, 16),
    }
    x = X.clone().requires_grad_()
    layers[norm](x)[image, channel, 3, 4].backward()
    return (x.grad != 0).any(dim=3).any(dim=2)


def drawn_axes(norm, groups, image=0, channel=0):
    """Draw the maps; return the axes and the text."""
    axes = emptied(ONE)
    return axes, draw_axes(axes, norm=norm, groups=groups, image=image, channel=channel)


@pytest.mark.parametrize(("norm", "groups"), CHOICES)
def test_colored_maps_are_those_that_torch_s_layer_averages(norm, groups):
    for image, channel in ((0, 0), (7, 15), (3, 6)):
        axes, text = drawn_axes(norm, groups, image, channel)
        shared = depends(norm, groups, image, channel)
        assert torch.equal(torch.from_numpy(np.asarray(axes.collections[0].get_array()) == SHARED), shared)
        assert f"= {100 * int(shared.sum()):,} numbers" in text
        assert ("No groups are used" in text) == (norm != "GroupNorm")
        for left, top in (axes.patches[0].get_xy(), np.nanmin(axes.lines[0].get_xydata(), axis=0)):
            assert (math.floor(left), math.floor(top)) == (channel, image)


@pytest.mark.parametrize(("norm", "groups"), CHOICES)
def test_all_means_together_cover_all_numbers(norm, groups):
    row, column = mean_keys(norm, groups)
    pairs = set(zip(row.flatten().tolist(), column.flatten().tolist(), strict=True))
    text = drawn_axes(norm, groups)[1]
    found = re.search(r"are (\d+) means.* over [BCHWG/·]+ = ([\d·]+) = ([\d,]+) numbers", text)
    means, numbers = int(found[1]), int(found[3].replace(",", ""))
    assert means == len(pairs) and means * numbers == X.numel()
    assert math.prod(map(int, found[2].split("·"))) == numbers


def test_per_position_one_place_of_one_image_is_colored_in_all_channels():
    x = X.permute(0, 2, 3, 1).clone().requires_grad_()  # channels last
    torch.nn.LayerNorm(16)(x)[5, 3, 4, 7].backward()
    rows = {tuple(place) for place in (x.grad != 0).nonzero()[:, :3].tolist()}
    assert rows == {(5, 3, 4)} and int((x.grad != 0).sum()) == 16
    axes, text = drawn_axes(PER_PLACE, 4, image=5, channel=7)
    maps, boxes = axes.collections
    assert not (np.asarray(maps.get_array()) == SHARED).any()
    corners = np.array([path.vertices[0] for path in boxes.get_paths()])
    np.testing.assert_allclose(corners, [(channel + 0.4, 5.3) for channel in range(16)])
    assert "there are 800 means, each over C = 16 numbers" in text and "No groups are used" in text


def test_the_relatives_are_named():
    assert "depends on its companions" in drawn_axes("BatchNorm", 1)[1]
    for groups, words in ((1, "this is LayerNorm"), (16, "this is InstanceNorm"), (4, "no companions are needed.")):
        assert words in drawn_axes("GroupNorm", groups)[1]
    assert "this is" not in drawn_axes("InstanceNorm", 1)[1]


# ------------------------------------------------------------------------------------------------------------- knobs


def test_the_knobs_reach_as_far_as_the_chapter_says():
    channel, curve, axes = (
        control.knobs for control in (channel_explorer(gray_images(256)), gamma_beta_explorer(), axes_explorer())
    )
    assert channel["batch_size"].options == SIZES and channel["mode"].options == ("train", "eval")
    assert (channel["companions"].min, channel["companions"].max) == (1, 20)
    assert (channel["shift"].min, channel["shift"].max) == (-3, 3)
    assert [(curve[name].min, curve[name].max) for name in ("gamma", "beta")] == [(0, 3), (-3, 3)]
    assert (axes["image"].max, axes["channel"].max) == (7, 15)
    assert axes["groups"].options == (1, 2, 4, 8, 16)
    assert axes["norm"].options == ("BatchNorm", "LayerNorm", PER_PLACE, "InstanceNorm", "GroupNorm")
