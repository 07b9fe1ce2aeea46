"""Chapter 07's controls: a channel in train and eval, γ and β, and the axes, over the range of every control."""

import html
import itertools
import math
import re
import statistics
import time
import warnings

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from explorer_pictures import redraw_difference
from torch import nn

from course_utils.widgets.batchnorm import (
    EDGES,
    SHARED,
    AxesPicture,
    ChannelPicture,
    GammaBetaPicture,
    axes_explorer,
    channel_explorer,
    channel_of,
    drawn_batches,
    gamma_beta_explorer,
    mean_keys,
)


def some_images(count=300):
    """Return images whose brightness differs from one to the other, as that of digits does."""
    generator = torch.Generator().manual_seed(1)
    brightness = torch.rand(count, 1, 1, 1, generator=generator)
    return (255 * brightness * torch.rand(count, 1, 28, 28, generator=generator)).to(torch.uint8)


EXPLORERS = {
    "channel": lambda: channel_explorer(some_images()),
    "gamma_beta": gamma_beta_explorer,
    "axes": axes_explorer,
}
MOVES = {
    # in train again at the end, where the draws differ
    "channel": [("companions", 7), ("mode", "eval"), ("shift", -1.5), ("mode", "train"), ("batch_size", 16)],
    "gamma_beta": [("gamma", 2), ("beta", -1)],
    "axes": [("groups", 8), ("image", 7), ("channel", 15), ("norm", "BatchNorm")],
}
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


@pytest.fixture(scope="module")
def channel():
    return ChannelPicture(some_images())


def shown_mark(picture):
    return float(picture.mark.get_xdata()[0])


# ------------------------------------------------------------------------------------------------------- one channel


def test_the_channel_is_the_mean_of_a_convolution_of_pixels_from_0_to_1():
    images = some_images(2)
    weight = torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    for image, value in zip(images, channel_of(images), strict=True):
        windows = (image / 255).unfold(1, 5, 1).unfold(2, 5, 1)  # (1, 24, 24, 5, 5)
        assert value == pytest.approx((windows * weight).sum().item() / 24**2, rel=1e-4)


def test_the_marked_image_is_in_each_draw_and_no_image_twice():
    batches = drawn_batches(300, 17)
    assert batches.shape == (20, 256) and (batches[:, 0] == 17).all()
    assert all(len(set(row)) == 256 and min(row) >= 0 and max(row) < 300 for row in batches.tolist())
    assert len({tuple(row) for row in batches[:, 1:3].tolist()}) == 20
    assert sorted(drawn_batches(256, 255)[0].tolist()) == list(range(256))  # no fewer would do


def by_torch(picture, mode, values):
    """Normalize values (B,) by torch's own layer, whose running statistics are those of all images."""
    layer = nn.BatchNorm1d(1, affine=False).double().train(mode == "train")
    layer.running_mean.fill_(picture.channel.mean())
    layer.running_var.fill_(picture.channel.var())
    return layer(values[:, None])[:, 0]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_channel_equals_torch_s_layer_over_its_range(channel, mode):
    for size, draw, shift in itertools.product(SIZES[mode == "train" :], (1, 8, 20), (-3.0, 0.0, 1.5)):
        text = channel.update(batch_size=size, mode=mode, companions=float(draw), shift=shift)
        values = channel.channel[channel.batches[draw - 1, :size]] + shift * channel.channel.std()
        expected = by_torch(channel, mode, values)
        assert shown_mark(channel) == pytest.approx(expected[0].item(), abs=1e-4)
        assert channel.draws.get_xdata()[draw - 1] == shown_mark(channel)
        counts, _ = np.histogram(expected.numpy(), EDGES)
        np.testing.assert_allclose(channel.bars.get_data().values, counts / size, atol=1.01 / size)
        assert channel.bars.get_data().values.sum() == pytest.approx(1)
        mean, sd, mark = map(
            float, re.search(r"has mean (-?[\d.]+) and sd ([\d.]+)\. .* is at (-?[\d.]+);", text).groups()
        )
        assert mean == pytest.approx(expected.mean().item(), abs=0.006)
        assert sd == pytest.approx(expected.std(correction=0).item(), abs=0.006)
        assert mark == pytest.approx(expected[0].item(), abs=0.006)
        for part in (f"batch size = {size},", f"mode = {mode},", f"draw {draw},", f"input shift = {shift:g}:"):
            assert part in text
        assert "nan" not in text and "-0.00" not in text


def test_in_train_the_mark_jumps_most_at_two_and_the_shift_is_gone(channel):
    spread = {}
    for size in SIZES[1:]:
        channel.update(batch_size=size, mode="train", companions=1.0, shift=0.0)
        marks = np.array(channel.draws.get_xdata())
        spread[size] = marks.std()
        text = channel.update(batch_size=size, mode="train", companions=1.0, shift=3.0)
        np.testing.assert_allclose(channel.draws.get_xdata(), marks, atol=1e-9)
        assert "The shift is gone" in text and "batch has mean 0.00" in text
        assert f"between {marks.min():.2f} and {marks.max():.2f}" in text
        if size == 2:
            assert set(marks.round(1)) == {-1, 1} and "one is at −1" in text
    assert max(spread, key=spread.get) == 2 and spread[2] > 5 * spread[128]


def test_in_eval_the_mark_stands_still_and_the_shift_shows(channel):
    channel.update(batch_size=2, mode="eval", companions=1.0, shift=0.0)
    still = shown_mark(channel)
    for size, draw, shift in itertools.product((1, 2, 256), (1, 20), (-3.0, 0.0, 2.5)):
        text = channel.update(batch_size=size, mode="eval", companions=float(draw), shift=shift)
        np.testing.assert_allclose(channel.draws.get_xdata(), still + shift, atol=1e-3)
        assert "Companions change nothing" in text and ("have moved by" in text) == (shift != 0)


def test_one_image_in_train_is_refused_as_torch_refuses_it(channel):
    with pytest.raises(ValueError, match=r"a batch of 1 has one value.*Take 2 images or more, or eval"):
        channel.update(batch_size=1, mode="train", companions=1.0, shift=0.0)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(1)(torch.randn(1, 1, 1, 1))
    explorer = EXPLORERS["channel"]()
    explorer.controls["batch_size"].value = 1
    assert "role='alert'" in explorer.text.value
    explorer.controls["mode"].value = "eval"
    assert "role='alert'" not in explorer.text.value


def test_empty_images_are_no_trouble():
    picture = ChannelPicture(torch.zeros(256, 1, 28, 28, dtype=torch.uint8))
    for size, mode in itertools.product((2, 256), ("train", "eval")):
        assert "nan" not in picture.update(batch_size=size, mode=mode, companions=1.0, shift=1.0)


def test_values_far_out_are_counted_too():
    images = torch.zeros(256, 1, 28, 28, dtype=torch.uint8)
    images[0] = 255  # 16 standard deviations away
    picture = ChannelPicture(images)
    picture.update(batch_size=256, mode="train", companions=1.0, shift=0.0)
    assert picture.bars.get_data().values[-1] == pytest.approx(1 / 256)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (some_images(255), r"got \(255, 1, 28, 28\) of uint8"),
        (some_images() / 255, "of float32"),
        (some_images()[:, 0], r"got \(300, 28, 28\)"),
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
    picture = GammaBetaPicture()
    for gamma, beta in itertools.product(GAMMAS, BETAS):
        text = picture.update(gamma=gamma, beta=beta)
        zeros, kept = (bars.get_data().values for bars in (picture.zeros, picture.kept))
        assert zeros.sum() + kept.sum() == pytest.approx(1)
        assert not kept[picture.edges[1:] <= 0].any() and not zeros[picture.edges[:-1] > 0].any()
        expected = below(-beta / gamma) if gamma else float(beta <= 0)
        assert zeros.sum() == pytest.approx(expected, abs=0.001)
        assert text.startswith(f"γ = {gamma:g}, β = {beta:g}: y has mean {beta:.2f} and sd ")
        assert f"ReLU sets {zeros.sum():.1%} of the values to 0" in text
        assert float(re.search(r"sd ([\d.]+)\.", text)[1]) == pytest.approx(gamma, abs=0.011)
        x, y = picture.line.get_data()
        np.testing.assert_allclose(y, gamma * x + beta)
        x, y = picture.relu.get_data()
        np.testing.assert_allclose(y, np.maximum(gamma * x + beta, 0))


def test_before_is_standard_normal():
    picture = GammaBetaPicture()
    shares, edges, _ = picture.before.get_data()
    assert shares.sum() == pytest.approx(1)
    for share, left, right in zip(shares, edges[:-1], edges[1:], strict=True):
        assert share == pytest.approx(below(right) - below(left), abs=0.0011)


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
    assert words in GammaBetaPicture().update(gamma=gamma, beta=beta)


# -------------------------------------------------------------------------------------------------------------- axes

X = torch.randn(8, 16, 10, 10, generator=torch.Generator().manual_seed(0))


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


def blue_maps(picture):
    return torch.from_numpy(np.asarray(picture.maps.get_array()) == SHARED)


CHOICES = [("BatchNorm", 4), ("LayerNorm", 4), ("InstanceNorm", 1), *(("GroupNorm", g) for g in (1, 2, 4, 8, 16))]


@pytest.mark.parametrize(("norm", "groups"), CHOICES)
def test_colored_maps_are_those_that_torch_s_layer_averages(norm, groups):
    picture = AxesPicture()
    for image, channel in ((0, 0), (7, 15), (3, 6)):
        text = picture.update(norm=norm, groups=groups, image=float(image), channel=float(channel))
        shared = depends(norm, groups, image, channel)
        assert torch.equal(blue_maps(picture), shared)
        assert f"= {100 * int(shared.sum()):,} numbers" in text
        assert f"image = {image}, channel = {channel}" in text
        assert ("only GroupNorm uses it" in text) == (norm != "GroupNorm")
        for left, top in (picture.frame.get_xy(), np.nanmin(picture.numbers.get_xydata(), axis=0)):
            assert (math.floor(left), math.floor(top)) == (channel, image)


@pytest.mark.parametrize(("norm", "groups"), CHOICES)
def test_all_means_together_cover_all_numbers(norm, groups):
    row, column = mean_keys(norm, groups)
    pairs = set(zip(row.flatten().tolist(), column.flatten().tolist(), strict=True))
    text = AxesPicture().update(norm=norm, groups=groups, image=1.0, channel=1.0)
    means, numbers = (
        int(n.replace(",", "")) for n in re.search(r"are (\d+) means.* = ([\d,]+) numbers", text).groups()
    )
    assert means == len(pairs) and means * numbers == X.numel()
    factors = re.search(r"over [BCHWG/·]+ = ([\d·]+) =", text)[1].split("·")
    assert math.prod(map(int, factors)) == numbers


def test_the_relatives_are_named():
    picture = AxesPicture()
    assert "depends on its companions" in picture.update(norm="BatchNorm", groups=1, image=0, channel=0)
    for groups, words in ((1, "this is LayerNorm"), (16, "this is InstanceNorm"), (4, "no companions are needed.")):
        assert words in picture.update(norm="GroupNorm", groups=groups, image=0, channel=0)
    assert "this is" not in picture.update(norm="InstanceNorm", groups=1, image=0, channel=0)


# --------------------------------------------------------------------------------------------------- the three alike


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_moved_control_redraws_text_and_picture(name):
    explorer = EXPLORERS[name]()
    assert isinstance(explorer, ipywidgets.VBox)
    assert explorer.children == (*explorer.controls.values(), explorer.text, explorer.image)
    assert {control for control, _ in MOVES[name]} == set(explorer.controls)
    for control, value in MOVES[name]:
        text, picture = explorer.plain_text, explorer.image.value
        explorer.controls[control].value = value
        assert explorer.plain_text != text and explorer.image.value != picture, control
        assert html.unescape(explorer.text.value) == f"<p>{explorer.plain_text}</p>"
        assert explorer.controls[control].description


def test_the_controls_reach_as_far_as_the_chapter_says():
    channel, curve, axes = (make().controls for make in EXPLORERS.values())
    assert channel["batch_size"].options == SIZES and channel["mode"].options == ("train", "eval")
    assert (channel["companions"].min, channel["companions"].max) == (1, 20)
    assert (channel["shift"].min, channel["shift"].max) == (-3, 3)
    assert [(curve[name].min, curve[name].max) for name in ("gamma", "beta")] == [(0, 3), (-3, 3)]
    assert (axes["image"].max, axes["channel"].max) == (7, 15)
    assert axes["groups"].options == (1, 2, 4, 8, 16)
    assert axes["norm"].options == ("BatchNorm", "LayerNorm", "InstanceNorm", "GroupNorm")


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_redraw_equals_a_full_draw_whatever_came_between(name):
    explorer = EXPLORERS[name]()
    explorer.picture.figure.set_layout_engine("none")  # else the full draw lays the figure out anew
    start, values = explorer.image.value, explorer.values()
    for control, value in MOVES[name]:
        explorer.controls[control].value = value
    assert redraw_difference(explorer, explorer.image.value) < 0.0005  # spines lie below the moving artists
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


def test_drawing_leaves_torch_s_random_numbers_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for make in EXPLORERS.values():
        make().redraw()
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("name", EXPLORERS)
def test_without_a_front_end_a_still_picture_and_its_text_are_shown(name):
    explorer = EXPLORERS[name]()
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == explorer.plain_text and len(data["image/png"]) > 1000
    assert "application/vnd.jupyter.widget-view+json" in data
