"""Batched augmentations against loops over images, torchvision's functionals, and its transforms a sample at a time.

Statistical tests draw from fixed seeds, and their limits are such that chance fails them once in about 10⁹ seeds.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from course_utils import augmentation
from course_utils.augmentation import (
    affine,
    random_affine,
    random_crop,
    random_cutout,
    random_flip,
    random_grayscale,
)

SHAPES = [(40, 1, 28, 28), (40, 3, 32, 32), (40, 3, 9, 14), (40, 2, 11, 6), (1, 3, 8, 8)]
FUNCTIONS = {
    "flip": lambda x, **kw: random_flip(x, 0.5, **kw),
    "upside down": lambda x, **kw: random_flip(x, 0.5, vertical=True, **kw),
    "crop": lambda x, **kw: random_crop(x, 2, **kw),
    "affine": lambda x, **kw: random_affine(x, degrees=40, shift=3, scale=0.3, **kw),
    "cutout": lambda x, **kw: random_cutout(x, 3, p=0.7, **kw),
    "grayscale": lambda x, **kw: random_grayscale(x, 0.5, **kw),
}
ON_BYTES = ("flip", "upside down", "crop", "cutout")
SURPRISE = 21  # −log of about 1e-9


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_images(shape, dtype=torch.float32):
    images = torch.rand(shape, generator=seeded(99), dtype=torch.float64)
    return (255 * images).to(dtype) if dtype == torch.uint8 else images.to(dtype)


def replay(count, draws, seed=0):
    """Return the numbers from 0 to 1 that a function drew: so many tensors, one number an image in each."""
    generator = seeded(seed)
    return [torch.rand(count, generator=generator).tolist() for _ in range(draws)]


def uneven(counts, expected):
    """Say whether counts leave what is expected by more than chance does (chi-square; Laurent & Massart 2000)."""
    counts, expected = (np.asarray(values, dtype=float) for values in (counts, expected))
    free = len(counts) - 1
    return ((counts - expected) ** 2 / expected).sum() > free + 2 * (free * SURPRISE) ** 0.5 + 2 * SURPRISE


def differ(ours, theirs):
    """Say whether two samples of categories 0 … K − 1, equally many, have other frequencies (chi-square)."""
    ours, theirs = torch.as_tensor(ours), torch.as_tensor(theirs)
    most = int(max(ours.max(), theirs.max())) + 1
    a, b = (np.bincount(values.numpy(), minlength=most) for values in (ours, theirs))
    seen = a + b > 0
    free = seen.sum() - 1
    return ((a - b)[seen] ** 2 / (a + b)[seen]).sum() > free + 2 * (free * SURPRISE) ** 0.5 + 2 * SURPRISE


def gap(sample, other):
    """Return the largest gap between two distributions, and how much chance allows (Kolmogorov, Smirnov)."""
    sample, other = np.sort(sample), np.sort(other)
    places = np.concatenate([sample, other])
    shares = [np.searchsorted(values, places, side="right") / len(values) for values in (sample, other)]
    allowed = (SURPRISE / 2) ** 0.5 * (1 / len(sample) + 1 / len(other)) ** 0.5
    return np.abs(shares[0] - shares[1]).max(), allowed


# --------------------------------------------------------------------------------- equal to a loop for the same draws


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_flip_equals_a_loop(shape, dtype, p):
    images = some_images(shape, dtype)
    (numbers,) = replay(len(images), 1)
    for vertical, flip in ((False, tv.horizontal_flip), (True, tv.vertical_flip)):
        loop = [flip(image) if number < p else image for image, number in zip(images, numbers, strict=True)]
        result = random_flip(images, p, vertical=vertical, generator=seeded())
        assert torch.equal(result, torch.stack(loop))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("padding", "fill"), [(0, 0.0), (1, 0.0), (4, 0.0), (5, 1.0)])
def test_crop_equals_a_loop_of_slices(shape, dtype, padding, fill):
    images, (height, width) = some_images(shape, dtype), shape[2:]
    loop = []
    for image, down, across in zip(images, *replay(len(images), 2), strict=True):
        top, left = math.floor(down * (2 * padding + 1)), math.floor(across * (2 * padding + 1))
        padded = tv.pad(image, [padding], fill=fill)
        loop.append(padded[:, top : top + height, left : left + width])
    assert torch.equal(random_crop(images, padding, fill=fill, generator=seeded()), torch.stack(loop))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "largest", [{"degrees": 180}, {"shift": 5.5}, {"scale": 0.6}, {"degrees": 30, "shift": 2, "scale": 0.2}, {}]
)
def test_affine_equals_torchvision_s(shape, largest):
    images = some_images(shape, torch.float64)
    degrees, shift, scale = (largest.get(name, 0) for name in ("degrees", "shift", "scale"))
    loop = []
    for image, *numbers in zip(images, *replay(len(images), 4), strict=True):
        turn, across, down, grow = (2 * number - 1 for number in numbers)
        loop.append(torchvision_affine(image, degrees * turn, shift * across, shift * down, 1 + scale * grow))
    result = random_affine(images, **largest, generator=seeded())
    torch.testing.assert_close(result, torch.stack(loop), rtol=0, atol=2e-4)


def torchvision_affine(image, degrees, right, down, scale):
    """Turn counterclockwise, where torchvision turns clockwise."""
    return tv.affine(
        image, angle=-degrees, translate=[right, down], scale=scale, shear=[0.0, 0.0],
        interpolation=v2.InterpolationMode.BILINEAR,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (1, 1)])
def test_quarter_turns_move_pixels(size):
    images = some_images((4, 3, *size))
    still, ones = torch.zeros(4), torch.ones(4)
    for k in range(-4, 5):
        turned = affine(images, torch.full((4,), 90.0 * k), still, still, ones)
        torch.testing.assert_close(turned, images.rot90(k, (2, 3)), rtol=0, atol=1e-4)


def test_whole_shifts_move_pixels_and_bring_zeros_in():
    images = some_images((5, 2, 6, 9))
    right, down = torch.tensor([0.0, 2, -3, 0, 4]), torch.tensor([0.0, 0, 0, -2, 1])
    moved = affine(images, torch.zeros(5), right, down, torch.ones(5))
    for k in range(5):
        expected = torch.zeros_like(images[k])
        for row in range(6):
            for column in range(9):
                source = (row - int(down[k]), column - int(right[k]))
                if 0 <= source[0] < 6 and 0 <= source[1] < 9:
                    expected[:, row, column] = images[k, :, source[0], source[1]]
        torch.testing.assert_close(moved[k], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    ("size", "p", "fill"), [(0, 1.0, 0.0), (1, 1.0, 1.0), (4, 0.5, 0.0), (5, 1.0, 0.0), (8, 0.9, 1)]
)
def test_cutout_equals_a_loop_of_erased_rectangles(shape, dtype, size, p, fill):
    images, (height, width) = some_images(shape, dtype), shape[2:]
    loop = []
    for image, number, down, across in zip(images, *replay(len(images), 3), strict=True):
        top, left = math.floor(down * height) - size // 2, math.floor(across * width) - size // 2
        bottom, right = min(top + size, height), min(left + size, width)
        top, left = max(top, 0), max(left, 0)
        value = torch.tensor(fill).to(dtype)
        erased = tv.erase(image, top, left, bottom - top, right - left, value)
        loop.append(erased if number < p else image)
    assert torch.equal(random_cutout(images, size, p=p, fill=fill, generator=seeded()), torch.stack(loop))


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_grayscale_equals_a_loop(p):
    images = some_images((30, 3, 7, 5))
    (numbers,) = replay(30, 1)
    loop = [
        tv.rgb_to_grayscale(image, num_output_channels=3) if number < p else image
        for image, number in zip(images, numbers, strict=True)
    ]
    result = random_grayscale(images, p, generator=seeded())
    torch.testing.assert_close(result, torch.stack(loop), rtol=0, atol=5e-4)  # torchvision rounds 0.299 to 0.2989
    gray = random_grayscale(images, 1.0)
    assert torch.equal(gray[:, 0], gray[:, 1]) and torch.equal(gray[:, 0], gray[:, 2])


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("padding", [0, 1, 4, 31])
def test_the_smallest_and_the_largest_draw_fit(monkeypatch, number, padding):
    """torch.rand gives at most 1 − 2⁻²⁴, and rounding must not carry that times 2P + 1 past the last window."""
    monkeypatch.setattr(augmentation, "draw", lambda images, generator: torch.full((len(images),), number))
    images = some_images((3, 1, 32, 33))
    padded = F.pad(images, (padding,) * 4)
    corner = padded[..., :32, :33] if number == 0 else padded[..., -32:, -33:]
    assert torch.equal(random_crop(images, padding), corner)
    holes = random_cutout(images, 1, fill=-1.0)
    assert (holes == -1).sum() == 3 and (holes[:, 0, -1, -1] == -1).all() == (number > 0)


# ---------------------------------------------------------------------- distributed like torchvision's, one by one


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_as_many_flips_as_torchvision(p):
    image = torch.tensor([[[1.0, 2.0]]])
    ours = random_flip(image.expand(4000, -1, -1, -1), p, generator=seeded())[:, 0, 0, 0].long() - 1
    torch.manual_seed(0)
    library = v2.RandomHorizontalFlip(p)
    theirs = torch.stack([library(image)[0, 0, 0] for _ in range(4000)]).long() - 1
    assert not differ(ours, theirs)
    assert not uneven(ours.bincount(minlength=2), [4000 * (1 - p), 4000 * p])


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_all_shifts_are_equally_likely_as_torchvision_s(padding):
    """The middle pixel of an image of numbers tells the shift."""
    count, side = 6000, 2 * padding + 1
    image = torch.arange(1.0, 64.0).view(1, 7, 9)
    ours = random_crop(image.expand(count, -1, -1, -1), padding, generator=seeded())[:, 0, 3, 4]
    library = v2.RandomCrop((7, 9), padding=padding)
    torch.manual_seed(0)
    theirs = torch.stack([library(image)[0, 3, 4] for _ in range(count)])
    places = []
    for middle in (ours.long() - 1, theirs.long() - 1):
        down, across = middle // 9 - 3 + padding, middle % 9 - 4 + padding
        assert min(down.min(), across.min()) >= 0 and max(down.max(), across.max()) < side
        places.append(down * side + across)
    assert not differ(*places)
    assert not uneven(places[0].bincount(minlength=side**2), [count / side**2] * side**2)


def blob(right, down):
    """Return a smooth spot on a black 41×41 image (1, 41, 41), so many pixels off the middle."""
    place = torch.arange(41.0) - 20
    return (-((place - right)[None, None, :] ** 2 + (place - down)[None, :, None] ** 2) / 8).exp()


def center_of_mass(images):
    """Return where the spots are: pixels to the right of the middle and below it, (B,) each."""
    place = torch.arange(41.0) - 20
    mass = images.sum(dim=(1, 2, 3))
    return (images.sum(dim=(1, 2)) @ place / mass).numpy(), (images.sum(dim=(1, 3)) @ place / mass).numpy()


@pytest.mark.parametrize("degrees", [10, 90, 180])
def test_angles_are_distributed_as_torchvision_s(degrees):
    spot, library = blob(10, 0), v2.RandomRotation(degrees, interpolation=v2.InterpolationMode.BILINEAR)
    ours = random_affine(spot.expand(4000, -1, -1, -1), degrees=degrees, generator=seeded())
    torch.manual_seed(0)
    theirs = torch.stack([library(spot) for _ in range(1500)])
    angles = []
    for turned in (ours, theirs):
        right, down = center_of_mass(turned)
        angles.append(np.degrees(np.arctan2(down, right)))
    largest, allowed = gap(*angles)
    assert largest < allowed and np.abs(angles[0]).max() < degrees + 0.5
    largest, allowed = gap(angles[0], np.linspace(-degrees, degrees, 100_001))
    assert largest < allowed


def test_scales_are_distributed_as_torchvision_s():
    spot = blob(8, 0)
    library = v2.RandomAffine(0, scale=(0.6, 1.4), interpolation=v2.InterpolationMode.BILINEAR)
    ours = random_affine(spot.expand(4000, -1, -1, -1), scale=0.4, generator=seeded())
    torch.manual_seed(0)
    theirs = torch.stack([library(spot) for _ in range(1500)])
    scales = [center_of_mass(images)[0] / 8 for images in (ours, theirs)]
    largest, allowed = gap(*scales)
    assert largest < allowed and scales[0].min() > 0.59 and scales[0].max() < 1.41
    largest, allowed = gap(scales[0], np.linspace(0.6, 1.4, 100_001))
    assert largest < allowed


def test_shifts_are_uniform_in_both_directions_and_independent():
    """torchvision rounds its shifts to whole pixels; these are not rounded."""
    moved = random_affine(blob(0, 0).expand(3000, -1, -1, -1), shift=6, generator=seeded())
    right, down = center_of_mass(moved)
    even = np.linspace(-6, 6, 100_001)
    for values in (right, down):
        largest, allowed = gap(values, even)
        assert largest < allowed and np.abs(values).max() < 6.05
    assert abs(np.corrcoef(right, down)[0, 1]) < 6.5 / 3000**0.5


def test_turn_shift_and_scale_are_independent():
    with_all = random_affine(blob(10, 0).expand(3000, -1, -1, -1), degrees=20, scale=0.2, generator=seeded())
    right, down = center_of_mass(with_all)
    angle, distance = np.arctan2(down, right), np.hypot(right, down)
    assert abs(np.corrcoef(angle, distance)[0, 1]) < 6.5 / 3000**0.5


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_holes_of_one_pixel_are_where_torchvision_s_are(p):
    """Larger squares differ on purpose: ours may reach over the edge, so that all pixels are hidden alike often."""
    image = torch.ones(1, 4, 5)
    library = v2.RandomErasing(p, scale=(1 / 20, 1 / 20), ratio=(1, 1))
    ours = random_cutout(image.expand(4000, -1, -1, -1), 1, p=p, generator=seeded())
    torch.manual_seed(0)
    theirs = torch.stack([library(image) for _ in range(4000)])
    places = [where(images.flatten(1)) for images in (ours, theirs)]
    assert not differ(*places)
    expected = [4000 * p / 20] * 20 + ([4000 * (1 - p)] if p < 1 else [])
    assert not uneven(places[0].bincount(minlength=len(expected)), expected)


def where(pixels):
    """Return which pixel (B, N) is 0, or N where none is."""
    hidden = pixels == 0
    assert hidden.sum(dim=1).max() == 1
    return torch.where(hidden.any(dim=1), hidden.int().argmax(dim=1), pixels.shape[1])


# ------------------------------------------------------------------------------------------------ what all promise


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_image_of_a_batch_has_its_own_draw(name):
    image = some_images((1, 3, 9, 11))
    distinct = {one.numpy().tobytes() for one in FUNCTIONS[name](image.expand(64, -1, -1, -1), generator=seeded())}
    least = {"flip": 2, "upside down": 2, "grayscale": 2, "crop": 15, "affine": 64, "cutout": 20}[name]
    assert len(distinct) >= least


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_generator_decides_and_the_global_state_is_left_alone(name):
    images, function = some_images((20, 3, 9, 11)), FUNCTIONS[name]
    state = torch.get_rng_state()
    first, again, other = (function(images, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    generator = seeded(1)
    assert torch.equal(function(images, generator=generator), first)
    assert not torch.equal(function(images, generator=generator), first)  # it moves on


@pytest.mark.parametrize("name", FUNCTIONS)
def test_without_a_generator_the_global_state_decides(name):
    images, function = some_images((20, 3, 9, 11)), FUNCTIONS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        first, second = function(images), function(images)
        torch.manual_seed(5)
        assert torch.equal(function(images), first) and not torch.equal(first, second)
    assert torch.equal(function(images, generator=seeded(5)), first)


FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in FUNCTIONS for dtype in (*FLOATS, *[torch.uint8] * (name in ON_BYTES))]
)
def test_shape_dtype_and_input_stay(name, dtype):
    for images in (some_images((7, 3, 9, 12), dtype), some_images((7, 3, 12, 9), dtype).transpose(2, 3)):
        copy = images.clone()
        result = FUNCTIONS[name](images, generator=seeded())
        assert result.shape == images.shape and result.dtype == dtype and result.device == images.device
        assert torch.equal(images, copy)
        result.zero_()
        assert torch.equal(images, copy), "the result is a view of the input"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_memory_format_changes_no_value(name):
    images = some_images((12, 3, 9, 11))
    contiguous = FUNCTIONS[name](images, generator=seeded())
    channels_last = FUNCTIONS[name](images.contiguous(memory_format=torch.channels_last), generator=seeded())
    torch.testing.assert_close(channels_last, contiguous)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_device_gets_the_same_draws(name):
    images = some_images((20, 3, 9, 11))
    there = FUNCTIONS[name](images.cuda(), generator=seeded())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), FUNCTIONS[name](images, generator=seeded()), rtol=1e-4, atol=1e-4)


def test_nothing_at_all_changes_nothing():
    images = some_images((9, 3, 8, 10))
    assert torch.equal(random_flip(images, 0), images)
    assert torch.equal(random_crop(images, 0), images)
    assert torch.equal(random_cutout(images, 0), images)
    assert torch.equal(random_cutout(images, 5, p=0), images)
    assert torch.equal(random_grayscale(images, 0), images)
    torch.testing.assert_close(random_affine(images), images, rtol=0, atol=1e-4)


# --------------------------------------------------------------------------------------------------------- refusals

IMAGES = torch.zeros(2, 3, 8, 10)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        (torch.zeros(3, 8, 8), ValueError, r"shape \(B, C, H, W\); add missing axes, images\[None\], got \(3, 8, 8\)"),
        (torch.zeros(8, 8), ValueError, r"shape \(B, C, H, W\).* got \(8, 8\)"),
        (torch.zeros(1, 2, 3, 8, 8), ValueError, r"shape \(B, C, H, W\).* got \(1, 2, 3, 8, 8\)"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(name, images, kind, message):
    with pytest.raises(kind, match=message):
        FUNCTIONS[name](images)


@pytest.mark.parametrize("p", [-0.1, math.nan, math.inf, -math.inf, 1.01, 5])
@pytest.mark.parametrize(
    "function", [random_flip, random_grayscale, lambda images, p: random_cutout(images, 2, p=p)], ids=["f", "g", "c"]
)
def test_a_probability_outside_0_to_1_is_refused(function, p):
    with pytest.raises(ValueError, match=r"expected a probability p from 0 to 1, got "):
        function(IMAGES, p)


@pytest.mark.parametrize("padding", [8, 9, -1, math.nan])
def test_a_padding_that_does_not_fit_is_refused(padding):
    with pytest.raises(ValueError, match=r"expected a padding from 0 to 7 pixels, got "):
        random_crop(IMAGES, padding)
    assert random_crop(IMAGES, 7).shape == IMAGES.shape


@pytest.mark.parametrize("size", [11, -1, math.nan])
def test_a_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=r"expected a size from 0 to 10 pixels, got "):
        random_cutout(IMAGES, size)
    assert random_cutout(IMAGES, 10).shape == IMAGES.shape


@pytest.mark.parametrize("change", [random_crop, random_cutout])
def test_a_fill_that_the_images_cannot_hold_is_refused(change):
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    for fill in (0.5, 256, -1):
        with pytest.raises(ValueError, match=rf"expected a whole number from 0 to 255 as fill, got {fill}"):
            change(images, 4, fill=fill)
    assert change(images, 4, fill=255).max() == 255
    for dtype in FLOATS:
        assert change(images.to(dtype), 4, fill=0.3).max() == torch.tensor(0.3, dtype=dtype)


@pytest.mark.parametrize("scale", [1, 1.5, -0.1, math.nan])
def test_a_scale_that_shrinks_to_nothing_is_refused(scale):
    with pytest.raises(ValueError, match=rf"expected a scale below 1 .* got {scale}"):
        random_affine(IMAGES, scale=scale)


def test_whole_numbers_are_refused_where_values_are_interpolated():
    with pytest.raises(TypeError, match=r"expected float images, .* got torch.uint8: use images / 255"):
        random_affine(IMAGES.to(torch.uint8))


@pytest.mark.parametrize("images", [IMAGES[:, :1], IMAGES.to(torch.uint8), torch.zeros(2, 4, 8, 8)])
def test_grayscale_takes_float_color_images_only(images):
    with pytest.raises(ValueError, match=r"expected float color images \(B, 3, H, W\), got torch"):
        random_grayscale(images)
