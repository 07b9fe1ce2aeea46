"""Receptive fields against values worked by hand, and against pixels that are poisoned one at a time."""

import random
import re

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from course_utils.tracing import ReceptiveField, conv_output_size, receptive_field, receptive_fields

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


class Forward(nn.Module):
    """A model whose forward is the function given to it; it may use the modules given with it."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def conv(kernel_size, **options):
    return nn.Conv2d(1, 1, kernel_size, **options)


def field_of(model, size=64, channels=1):
    device = next((parameter.device for parameter in model.parameters()), None)
    return receptive_field(model, torch.zeros(2, channels, size, size, device=device))


def seen_pixels(model, *image):
    """Return which pixels each unit sees, found by poison: (H, W, rows, columns), True where it sees.

    Each image of a batch has a single pixel that is not a number; whatever is computed from it is not a number either.
    Numbers of 64 bits keep torch from faster ways to convolve, which would spread the poison further.
    """
    pixels = image[0] * image[1]
    x = torch.zeros(pixels, 1, pixels, dtype=torch.float64)
    x[torch.arange(pixels), 0, torch.arange(pixels)] = torch.nan
    with torch.no_grad():
        y = model.double().eval()(x.view(pixels, 1, *image))
    model.float()
    y = y if y.dim() == 4 else y[:, :, None, None]
    return y.isnan().any(1).view(*image, *y.shape[2:])


def box(seen):
    """Return the smallest rectangle around the pixels that are seen, as slices."""
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in (rows, columns))


def assert_like_poison(model, *image, exact=True):
    """Compare every unit's field with what poison shows.

    A field that lies inside the image is exactly the rectangle around the pixels that the unit sees. Of one that is
    cut at the edge the unit may see less, since gaps of dilation or stride can lie there; `exact` says there are none.
    """
    field, seen = receptive_field(model, torch.zeros(1, 1, *image)), seen_pixels(model, *image)
    assert field.units == tuple(seen.shape[2:])
    inside = 0
    for row in range(field.units[0]):
        for column in range(field.units[1]):
            unit, pixels = (row, column), field.pixels((row, column), image)
            first = [o + u * s for o, u, s in zip(field.offset, unit, field.stride, strict=True)]
            whole = all(f >= 0 and f + r <= n for f, r, n in zip(first, field.size, image, strict=True))
            inside += whole
            support = seen[:, :, row, column]
            if whole or exact:
                assert box(support) == pixels, (unit, field)
            else:
                covered = torch.zeros_like(support)
                covered[pixels] = True
                assert not (support & ~covered).any(), (unit, field)
    return inside


# ------------------------------------------------------------------------------------------------ worked by hand


@pytest.mark.parametrize(
    ("layers", "size", "stride", "offset"),
    [
        ([conv(1)], 1, 1, 0),
        ([conv(3)], 3, 1, 0),
        ([conv(3), conv(3)], 5, 1, 0),
        ([conv(3), conv(3), conv(3)], 7, 1, 0),
        ([conv(3, stride=2), conv(3, stride=2)], 7, 4, 0),
        ([conv(3, padding=1), conv(3, padding=1)], 5, 1, -2),
        ([conv(3, stride=2, padding=1), conv(3, stride=2, padding=1)], 7, 4, -3),
        ([conv(3, dilation=2)], 5, 1, 0),
        ([conv(3, dilation=2), conv(3, dilation=4)], 13, 1, 0),
        ([conv(5, padding="same")], 5, 1, -2),
        ([conv(4, padding="same")], 4, 1, -1),
        ([conv(3, padding="same", dilation=3)], 7, 1, -3),
        ([conv(5, padding="valid")], 5, 1, 0),
        ([nn.MaxPool2d(2), nn.MaxPool2d(2)], 4, 4, 0),
        ([nn.MaxPool2d(3, stride=2, padding=1)], 3, 2, -1),
        ([nn.AvgPool2d(2), conv(3)], 6, 2, 0),
        ([nn.MaxPool2d(2, dilation=3, stride=1)], 4, 1, 0),
        ([nn.ReLU(inplace=True), conv(3), nn.BatchNorm2d(1), nn.Dropout()], 3, 1, 0),
        ([conv(3, padding=1, padding_mode="circular"), conv(3)], 5, 1, -1),
        ([nn.ZeroPad2d(2), conv(3)], 3, 1, -2),
        ([conv(2, stride=2), nn.ZeroPad2d(1), conv(3)], 6, 2, -2),
    ],
)
def test_stacks_worked_by_hand(layers, size, stride, offset):
    field = field_of(nn.Sequential(*layers))
    assert (field.size, field.stride, field.offset) == ((size,) * 2, (stride,) * 2, (offset,) * 2)


def digit_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(),
        nn.MaxPool2d(2),
    )  # fmt: skip


def test_the_digit_cnn_layer_by_layer():
    field = field_of(digit_cnn(), 28)
    assert [(name, after.size[0], after.stride[0], after.offset[0]) for name, after in field.layers] == [
        ("0", 5, 1, -2), ("2", 6, 2, -2), ("3", 14, 2, -6), ("5", 16, 4, -6),
    ]  # fmt: skip
    assert (field.size, field.stride, field.offset, field.units) == ((16, 16), (4, 4), (-6, -6), (7, 7))
    assert field.pixels((0, 0), (28, 28)) == (slice(0, 10), slice(0, 10))
    assert field.pixels((3, 6), (28, 28)) == (slice(6, 22), slice(18, 28))
    assert str(field) == repr(field)
    lines = str(field).splitlines()
    assert lines[0] == "0: 5×5 pixels, jump 1×1; the first unit begins at pixel -2 (in the padding)"
    assert lines[-1] == ("Each unit sees 16×16 pixels, jump 4×4; the first unit begins at pixel -6 (in the padding)")
    assert len(lines) == 5


def test_a_list_of_layers_without_a_model():
    layers = [{"kernel_size": 5, "padding": 2}, {"kernel_size": 2, "stride": 2}]
    assert receptive_fields(layers * 2) == [(5, 1, -2), (6, 2, -2), (14, 2, -6), (16, 4, -6)]
    assert receptive_fields([{"kernel_size": 4, "padding": "same", "dilation": 2}]) == [(7, 1, -3)]
    assert receptive_fields([]) == []


def test_axes_are_followed_each_for_itself():
    model = nn.Sequential(conv((3, 5), padding=(1, 0)), nn.MaxPool2d((2, 1)), conv((1, 2), dilation=(1, 3)))
    field = receptive_field(model, torch.zeros(1, 1, 10, 12))
    assert (field.size, field.stride, field.offset) == ((4, 8), (2, 1), (-1, 0))
    assert field.units == (5, 5)
    assert "begins at pixel -1, 0" in str(field)
    row = receptive_field(nn.Sequential(nn.Conv1d(1, 1, 3), nn.MaxPool1d(2)), torch.zeros(1, 1, 9))
    assert (row.size, row.stride, row.offset, row.units) == ((4,), (2,), (0,), (3,))
    assert row.pixels((2,), (9,)) == (slice(4, 8),)


def test_padding_that_differs_on_each_side():
    """F.pad counts from the last axis: left, right, top, bottom."""
    model = Forward(lambda self, x: self.conv(F.pad(x, (2, 0, 1, 2))), conv=conv(3))
    field = receptive_field(model, torch.zeros(1, 1, 9, 9))
    assert (field.size, field.offset) == ((3, 3), (-1, -2))
    assert [name for name, _ in field.layers] == ["conv"]
    pooled = Forward(lambda self, x: F.max_pool2d(self.conv(x), 2), conv=conv(1))
    assert [name for name, _ in receptive_field(pooled, torch.zeros(1, 1, 9, 9)).layers] == ["max_pool2d()"]
    assert_like_poison(model, 9, 9)
    only_columns = Forward(lambda self, x: self.conv(F.pad(x, (2, 1))), conv=conv(3))
    assert receptive_field(only_columns, torch.zeros(1, 1, 9, 9)).offset == (0, -2)
    assert_like_poison(only_columns, 9, 9)


def test_branches_cover_the_widest():
    def inception(self, x):
        return torch.cat([self.one(x), self.three(x), self.five(x), F.max_pool2d(x, 3, stride=1, padding=1)], 1)

    model = Forward(inception, one=conv(1), three=conv(3, padding=1), five=conv(5, padding=2))
    field = receptive_field(model, torch.zeros(1, 1, 9, 9))
    assert (field.size, field.stride, field.offset) == ((5, 5), (1, 1), (-2, -2))
    assert_like_poison(model, 9, 9)
    uneven = Forward(lambda self, x: self.left(x) + self.right(x), left=conv((1, 5), padding=(0, 2)), right=conv(1))
    assert receptive_field(uneven, torch.zeros(1, 1, 9, 9)).size == (1, 5)
    # neither branch holds the other: one looks three pixels to the left, the other two to the right
    apart = Forward(lambda self, x: self.k(F.pad(x, (3, 0))) + self.m(F.pad(x, (0, 3))), k=conv((1, 4)), m=conv((1, 4)))
    field = receptive_field(apart, torch.zeros(1, 1, 9, 9))
    assert (field.size, field.offset) == ((1, 7), (0, -3))
    assert_like_poison(apart, 9, 9)


def test_branches_that_widen_each_along_its_axis():
    """A row of units times a column of units: each unit sees its own row and its own column, wholly."""
    model = Forward(lambda self, x: self.row(x) * self.column(x), row=conv((1, 6)), column=conv((5, 1)))
    field = receptive_field(model, torch.zeros(1, 1, 5, 6))
    assert field.units == (5, 6) and field.pixels((2, 4), (5, 6)) == (slice(0, 5), slice(0, 6))
    assert_like_poison(model, 5, 6)


def test_branches_that_move_at_different_speeds_are_refused():
    model = Forward(lambda self, x: self.slow(x) + self.fast(x), slow=conv(4), fast=conv(1, stride=2))
    with pytest.raises(ValueError, match="branches that meet with different strides"):
        receptive_field(model, torch.zeros(1, 1, 6, 6))


def test_a_shortcut_adds_nothing_to_what_the_block_sees():
    block = Forward(lambda self, x: x + self.b(F.relu(self.a(x))), a=conv(3, padding=1), b=conv(3, padding=1))
    field = receptive_field(block, torch.zeros(1, 1, 11, 11))
    assert (field.size, field.offset) == ((5, 5), (-2, -2))
    assert_like_poison(block, 11, 11)
    down = Forward(
        lambda self, x: self.b(self.a(x)) + self.short(x),
        a=conv(3, stride=2, padding=1), b=conv(3, padding=1), short=conv(1, stride=2),
    )  # fmt: skip
    assert receptive_field(down, torch.zeros(1, 1, 11, 11)).size == (7, 7)
    assert_like_poison(down, 11, 11)


def test_a_factor_for_each_channel_lets_every_unit_see_everything():
    """A squeeze-and-excitation block: one number from the whole map is multiplied with each unit."""
    model = Forward(lambda self, x: self.a(x) * self.a(x).mean((2, 3), keepdim=True), a=conv(3, padding=1))
    field = receptive_field(model, torch.zeros(1, 1, 7, 7))
    for unit in ((0, 0), (3, 5), (6, 6)):
        assert field.pixels(unit, (7, 7)) == (slice(0, 7), slice(0, 7))
    assert_like_poison(model, 7, 7)


@pytest.mark.parametrize(
    "head",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveMaxPool2d(1),
        nn.Sequential(nn.Flatten(), nn.Linear(49, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(49, 3), nn.ReLU(), nn.Linear(3, 2)),
        Forward(lambda self, x: x.mean((2, 3))),
        Forward(lambda self, x: x.sum((2, 3), keepdim=True)),
        Forward(lambda self, x: x.amax(dim=(2, 3))),
        Forward(lambda self, x: x.flatten(2).max(-1).values),
        Forward(lambda self, x: x.flatten(1) @ torch.ones(49, 2, dtype=x.dtype)),
        conv(7),
    ],
)
def test_heads_that_see_everything(head):
    model = nn.Sequential(conv(3, padding=1), head)
    field = receptive_field(model, torch.zeros(1, 1, 7, 7))
    assert (field.size, field.offset, field.units) == ((9, 9), (-1, -1), (1, 1))
    assert field.pixels((0, 0), (7, 7)) == (slice(0, 7), slice(0, 7))
    assert seen_pixels(model, 7, 7).all()


def test_what_mixes_only_channels_changes_no_field():
    model = Forward(
        lambda self, x: self.a(x) * x.mean(1, keepdim=True) + x.max(1, keepdim=True).values, a=conv(3, padding=1)
    )
    field = receptive_field(model, torch.zeros(1, 1, 7, 7))
    assert (field.size, field.offset, field.units) == ((3, 3), (-1, -1), (7, 7))
    assert_like_poison(model, 7, 7)


@pytest.mark.parametrize(("size", "units"), [(8, 4), (8, 2), (6, 6), (9, 3)])
def test_adaptive_poolings_with_equal_windows(size, units):
    model = nn.AdaptiveAvgPool2d(units)
    field = receptive_field(model, torch.zeros(1, 1, size, size))
    assert field.size == field.stride == (size // units,) * 2
    assert_like_poison(model, size, size)


@pytest.mark.parametrize(
    ("name", "size", "stride"), [("vgg16", 212, 32), ("alexnet", 195, 32), ("vgg11", 150, 32), ("vgg19", 268, 32)]
)
def test_published_networks(name, size, stride):
    """The sizes of Araujo et al. 2019 (doi:10.23915/distill.00021) for the features before the dense layers."""
    with torch.device("meta"):
        features = getattr(torchvision.models, name)(weights=None).features
    field = field_of(features, 224, channels=3)
    assert (field.size, field.stride) == ((size, size), (stride, stride))


def test_resnet_50_sees_427_pixels_before_its_pooling():
    with torch.device("meta"):
        model = torchvision.models.resnet50(weights=None)
    field = field_of(nn.Sequential(*list(model.children())[:-2]), 224, channels=3)
    # The stem sees 7 + 2·2 pixels. Each 3×3 convolution adds twice the stride that it finds, and the first of a stage
    # still finds the stride of the stage before: 1 + 2, 1 + 3, 1 + 5 and 1 + 2 blocks.
    expected = 11 + 2 * (3 * 4) + 2 * (4 + 3 * 8) + 2 * (8 + 5 * 16) + 2 * (16 + 2 * 32)
    assert (field.size, field.stride) == ((expected, expected), (32, 32)) == ((427, 427), (32, 32))


# -------------------------------------------------------------------------------------------------------- poison


@pytest.mark.parametrize(
    "layers",
    [
        [conv(3), conv(3)],
        [conv(3, stride=2), conv(3, stride=2)],
        [conv(3, padding=1), nn.MaxPool2d(2), conv(3, padding=1)],
        [conv(5, padding=2), nn.AvgPool2d(2), conv(3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)],
    ],
)
def test_every_unit_at_the_edges_too(layers):
    assert_like_poison(nn.Sequential(*layers), 15, 11)


def test_dilation_leaves_gaps_inside_the_field():
    model = conv(3, dilation=2)
    seen = seen_pixels(model, 7, 7)[:, :, 1, 1]
    assert box(seen) == receptive_field(model, torch.zeros(1, 1, 7, 7)).pixels((1, 1), (7, 7))
    assert int(seen.sum()) == 9


def random_stack(rng, image):
    """Return up to four random layers that fit the image."""
    layers, size = [], image
    for _ in range(rng.randint(1, 4)):
        kernel, stride = tuple(rng.randint(1, 4) for _ in range(2)), tuple(rng.randint(1, 3) for _ in range(2))
        dilation, padding = rng.randint(1, 2), tuple(rng.randint(0, min(2, k - 1)) for k in kernel)
        kind = rng.choice(["conv", "conv", "max", "mean"])
        if kind != "conv":
            padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
        options = {"stride": stride, "padding": padding} | ({"dilation": dilation} if kind != "mean" else {})
        if kind != "conv":
            options["ceil_mode"] = rng.random() < 0.3
        try:
            size = conv_output_size(size, kernel, **options)
        except ValueError:
            continue
        layers.append({"conv": conv, "max": nn.MaxPool2d, "mean": nn.AvgPool2d}[kind](kernel, **options))
    return nn.Sequential(*layers)


def test_random_stacks():
    inside, longer = 0, 0
    for seed in range(80):
        stack = random_stack(random.Random(seed), (14, 12))
        inside += assert_like_poison(stack, 14, 12, exact=False) > 0
        longer += len(stack) > 1
    assert inside > 25 and longer > 40, "too few stacks that tell anything"


# -------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (nn.Upsample(scale_factor=2), "receptive_field cannot follow interpolate() from (6, 6) to (12, 12) units"),
        (
            nn.ConvTranspose2d(1, 1, 2, stride=2),
            "receptive_field cannot follow conv_transpose2d() from (6, 6) to (12, 12) units",
        ),
        (  # as many units as before, yet each sees its neighbors
            nn.ConvTranspose2d(1, 1, 3, padding=1),
            "receptive_field cannot follow conv_transpose2d() from (6, 6) to (6, 6) units",
        ),
        (
            Forward(lambda self, x: x[:, :, 1:]),
            "receptive_field cannot follow __getitem__() from (6, 6) to (5, 6) units",
        ),
        (
            Forward(lambda self, x: F.max_pool2d(x, (1, 2)).transpose_(2, 3)),
            "receptive_field cannot follow transpose_() from (6, 3) to (3, 6) units",
        ),
        (nn.PixelShuffle(1 + 1), "receptive_field cannot follow pixel_shuffle() from (6, 6) to (12, 12) units"),
        (nn.AdaptiveAvgPool2d(4), "receptive_field cannot follow an adaptive pooling from 6 to 4: its windows differ"),
        (
            Forward(lambda self, x: torch.zeros(1, 4, 6, 6)),
            "the model's output does not come from the input by layers that can be followed",
        ),
        (
            Forward(lambda self, x: (x, x)),
            "the model's output does not come from the input by layers that can be followed",
        ),
        (conv(7), "a kernel of 7 does not fit into 6 pixels"),
        (nn.Conv2d(3, 1, 3), "set in_channels=4"),
    ],
)
def test_what_cannot_be_followed_is_refused(model, text):
    channels = 1 if text.startswith("a kernel") or "transpose" in text else 4
    with pytest.raises(ValueError, match=re.escape(text)):
        receptive_field(model, torch.zeros(1, channels, 6, 6))


@pytest.mark.parametrize(
    ("model", "x", "error", "text"),
    [
        ("net", torch.zeros(1, 1, 6, 6), TypeError, "expected a model (nn.Module), got str"),
        (conv(3), [1, 2], TypeError, "expected a tensor as input, got list"),
        (conv(3), torch.zeros(0, 1, 6, 6), ValueError, "at least one sample, got shape (0, 1, 6, 6)"),
        (
            nn.Linear(3, 5),
            torch.zeros(2, 3),
            ValueError,
            "expected an input with pixels, (B, C, H, W) or (B, C, L), got shape (2, 3)",
        ),
    ],
)
def test_wrong_arguments_are_refused(model, x, error, text):
    with pytest.raises(error, match=re.escape(text)):
        receptive_field(model, x)


@pytest.mark.parametrize(
    ("unit", "image", "text"),
    [
        ((4, 0), (6, 6), "expected a unit from 0 to 3, got 4"),
        ((0, -1), (6, 6), "expected a unit from 0 to 3, got -1"),
        ((0,), (6, 6), "expected one number an axis as unit, 2 in all, got (0,)"),
        ((0, 0), (1, 6, 6), "expected one number an axis as image, 2 in all, got (1, 6, 6)"),
    ],
)
def test_units_that_do_not_exist_are_refused(unit, image, text):
    field = receptive_field(conv(3), torch.zeros(1, 1, 6, 6))
    assert field.pixels((3, 3), (6, 6)) == (slice(3, 6), slice(3, 6))
    with pytest.raises(ValueError, match=re.escape(text)):
        field.pixels(unit, image)


def test_a_field_wholly_in_the_padding_has_no_pixels():
    field = ReceptiveField((1, 1), (1, 1), (-2, -2), (10, 10))
    for unit in ((0, 0), (9, 9)):
        rows, columns = field.pixels(unit, (6, 6))
        assert torch.zeros(6, 6)[rows, columns].numel() == 0


def test_a_tensor_in_the_place_of_one_that_is_gone_is_not_taken_for_it():
    def forward(self, x):
        for _ in range(100):
            x.mul(2)
        return torch.zeros(1, 1, 6, 6)

    with pytest.raises(ValueError, match="does not come from the input"):
        receptive_field(Forward(forward), torch.zeros(1, 1, 6, 6))


def test_nothing_is_left_in_the_model():
    model = nn.Sequential(conv(3), nn.BatchNorm2d(1), nn.Dropout()).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    receptive_field(model, torch.ones(2, 1, 6, 6))
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
