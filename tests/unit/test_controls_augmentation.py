"""Chapter 09's controls: the gallery's changes, and a crop's border, over the range of every knob."""

import itertools
import math
import re

import numpy as np
import pytest
import torch

from control_examples import emptied
from controls.data_augmentation import (
    BORDERS,
    GUESSES,
    NONE,
    ORDERS,
    PLACES,
    SAFE,
    UNSAFE,
    augmented,
    border_explorer,
    draw_border,
    draw_gallery,
    gallery_explorer,
    mosaic,
    plot_lookup,
    unsafe,
    verdict,
)
from course_utils import augmentation
from course_utils.plotting import new_figure

KINDS = ("digits", "photos")
ONE, (LEFT, RIGHT) = new_figure()[1], new_figure(columns=2)[1]

# ----------------------------------------------------------------------------------------------------------- gallery

GENERATOR = torch.Generator().manual_seed(1)
DIGITS = torch.randint(1, 256, (20, 1, 28, 28), generator=GENERATOR, dtype=torch.uint8)
PHOTOS = torch.randint(1, 256, (16, 3, 32, 32), generator=GENERATOR, dtype=torch.uint8)
LABELS = torch.arange(20) % 10
STILL = {"shift": 0, "angle": 0, "scale": 0, "mirror": False, "upside_down": False, "cutout": 0, "redraw": 1}


def shown(images, guess=SAFE, **changes):
    """Draw the gallery; return its picture and its text."""
    axes = emptied(ONE)
    text = draw_gallery(images[:16].float() / 255, axes, guess=guess, **STILL | changes)
    return np.asarray(axes.images[0].get_array()), text


def tile_of(array, k, size):
    """Cut image k out of a mosaic by hand."""
    top, left = k // 4 * (size + 2), k % 4 * (size + 2)
    return array[top : top + size, left : left + size]


@pytest.mark.parametrize(("images", "size"), [(DIGITS, 28), (PHOTOS, 32)], ids=KINDS)
def test_the_gallery_over_its_range(images, size):
    """No number outside the colors, and a verdict of what is judged."""
    ends = ((0, 6), (0, 45, 180), (0, 40), (False, True), (False, True), (0, 16), (1, 50))
    for values in itertools.product(*ends):
        changes = dict(zip(STILL, values, strict=True))
        picture, text = shown(images, **changes)
        assert picture.shape[:2] == (4 * size + 6, 4 * size + 6) and np.isfinite(picture).all()
        assert picture.min() >= 0 and picture.max() <= 1
        past = changes["angle"] > 45 or changes["upside_down"] or (changes["mirror"] and images is DIGITS)
        assert (". No: " in text) == past and ("in the safe range (" in text) == (not past)


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        ((False, 45, False, False), []),
        ((False, 46, False, False), ["6 and 9"]),
        ((False, 0, True, False), ["mirrored 5 looks like a 3 or a 2"]),
        ((False, 0, False, True), ["5 and 2"]),
        ((False, 0, True, True), ["mirrored 5", "5 and 2", "a 9 of a 6"]),
        ((False, 180, True, True), ["mirrored 5", "5 and 2", "6 and 9", "a 9 of a 6"]),
        ((True, 45, True, False), []),
        ((True, 46, False, False), ["keep their names"]),
        ((True, 0, False, True), ["keep their names"]),
        ((True, 180, True, True), ["keep their names"]),
    ],
)
def test_what_speaks_against_a_change_is_named(settings, texts):
    color, angle, mirror, upside_down = settings
    found = unsafe(color, angle=angle, mirror=mirror, upside_down=upside_down)
    assert len(found) == len(texts) and all(any(text in one for one in found) for text in texts)


def test_the_gallery_judges_only_after_a_guess():
    for reasons, right in (([], SAFE), (["6 and 9"], UNSAFE)):
        for guess in GUESSES:
            text = verdict(guess, reasons)
            assert ("6 and 9" in text or "safe range" in text) == (guess != NONE)
            assert text.startswith("Would you" if guess == NONE else "Yes: " if guess == right else "No: ")
            shown(DIGITS, guess)
            assert bool(ONE.patches) == (guess != NONE)  # the frame


def test_every_other_knob_takes_the_guess_back():
    control = gallery_explorer(DIGITS, LABELS)
    guess = control.knobs["guess"]
    for name, value in (STILL | {"shift": 3, "mirror": True, "upside_down": True, "redraw": 2, "cutout": 4}).items():
        guess.value = UNSAFE
        assert "No: " in control.plain_text or "Yes: " in control.plain_text
        if control.knobs[name].value != value:
            control.knobs[name].value = value
            assert guess.value == NONE and "Would you train with these?" in control.plain_text


@pytest.mark.parametrize(("images", "size"), [(DIGITS, 28), (PHOTOS, 32)], ids=KINDS)
def test_the_mosaic_holds_each_image_in_its_place(images, size):
    pixels = images[:16].float() / 255
    array = mosaic(pixels)
    for k in range(16):
        expected = pixels[k, 0] if size == 28 else pixels[k].permute(1, 2, 0)
        np.testing.assert_array_equal(tile_of(array, k, size), expected.numpy())
    gaps = np.ones(array.shape[:2], dtype=bool)
    for row, column in itertools.product(range(4), repeat=2):
        gaps[row * (size + 2) :, column * (size + 2) :][:size, :size] = False
    assert (array[gaps] == 1).all() and gaps.sum() == (4 * size + 6) ** 2 - 16 * size**2
    np.testing.assert_allclose(shown(images)[0], array, atol=1e-4)  # without changes they stay as they are


def test_images_that_are_not_square():
    tall = torch.rand(16, 1, 5, 3)
    array = mosaic(tall)
    assert array.shape == (4 * 7 - 2, 4 * 5 - 2)
    np.testing.assert_array_equal(array[7:12, 10:13], tall[6, 0].numpy())


def test_rounding_does_not_leave_the_range_of_colors():
    """Interpolated white may come out as 1.0000001, and matplotlib complains of colors above 1."""
    array = mosaic(torch.tensor([1 + 1e-6, -1e-6]).expand(16, 3, 4, 2))
    assert array.max() == 1 and array.min() == 0


def test_the_gallery_shows_the_course_s_own_functions():
    picture, _ = shown(DIGITS, shift=4, angle=30, scale=20, mirror=True, upside_down=True, cutout=8, redraw=7)
    pixels, generator = DIGITS[:16].float() / 255, torch.Generator().manual_seed(7)
    expected = augmentation.random_affine(pixels, shift=4, degrees=30, scale=0.2, generator=generator)
    expected = augmentation.random_flip(expected, 0.5, generator=generator)
    expected = augmentation.random_flip(expected, 0.5, vertical=True, generator=generator)
    expected = augmentation.random_cutout(expected, 8, fill=0.5, generator=generator)
    for k in range(16):
        np.testing.assert_allclose(tile_of(picture, k, 28), expected[k, 0].clamp(0, 1).numpy(), atol=1e-6)


def test_each_image_has_draws_of_its_own_that_others_knobs_leave_alone():
    pixels = DIGITS[:1].float().expand(16, -1, -1, -1) / 255

    def changed(**changes):
        return augmented(pixels, **STILL | {"redraw": 3} | changes)

    flipped = (changed(mirror=True) - pixels.flip(3)).abs().flatten(1).amax(dim=1) < 1e-3
    assert 0 < flipped.sum() < 16
    alone = changed(shift=1)
    both = torch.where(flipped.view(-1, 1, 1, 1), alone.flip(3), alone)
    torch.testing.assert_close(changed(shift=1, mirror=True), both)
    assert len({image.numpy().tobytes() for image in alone}) == 16
    hole = changed(cutout=9) != changed()
    assert torch.equal(hole, changed(cutout=9, mirror=True) != changed(mirror=True))
    assert len({one.numpy().tobytes() for one in hole}) > 8
    assert not torch.equal(alone, changed(shift=1, redraw=4))


def test_the_cutout_is_seen_on_a_black_background():
    changed = augmented(torch.zeros(16, 1, 28, 28), **STILL | {"cutout": 6})
    assert (changed.flatten(1).amax(dim=1) == 0.5).all()


def test_the_labels_stand_beside_the_unchanged_images():
    images = DIGITS.clone()
    before, after = gallery_explorer(images, LABELS).axes[0].figure.axes
    assert [text.get_text() for text in before.texts] == [str(k % 10) for k in range(16)]
    assert [text.get_position() for text in before.texts][:5] == [(1, 1), (31, 1), (61, 1), (91, 1), (1, 31)]
    np.testing.assert_array_equal(np.asarray(before.images[0].get_array()), mosaic(DIGITS[:16].float() / 255))
    assert not after.texts and torch.equal(images, DIGITS)


def test_a_square_larger_than_the_image_is_explained():
    control = gallery_explorer(DIGITS[..., :9, :7], LABELS)
    control.knobs["cutout"].value = 16
    assert control.plain_text == "Not possible: expected a size from 0 to 9 pixels, got 16"
    control.knobs["cutout"].value = 9
    assert "Not possible" not in control.plain_text


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (DIGITS[:15], LABELS[:15], r"N of at least 16, got torch.uint8 \(15, 1, 28, 28\)"),
        (DIGITS[:, 0], LABELS, r"got torch.uint8 \(20, 28, 28\)"),
        (DIGITS.expand(-1, 2, -1, -1), LABELS, r"got torch.uint8 \(20, 2, 28, 28\)"),
        (DIGITS / 255, LABELS, r"expected uint8 images .* got torch.float32"),
        (DIGITS, LABELS[:16], "got 16 labels and 20 images"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        gallery_explorer(images, labels)


# -------------------------------------------------------------------------------------------------- a crop's border

NEAR = {"rtol": 0, "atol": 1e-5}
BAR_EDGES = np.arange(-9.125, 9.2, 0.25)  # 0 lies in the middle of a bar


def made_digits():
    """Return bright blots on black, as digits are."""
    images = torch.zeros(5, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 6:22, 9:19] = torch.randint(0, 256, (5, 1, 16, 10), generator=GENERATOR, dtype=torch.uint8)
    return images


def made_photos():
    """Return images whose channels differ in mean and spread, not square."""
    noise = torch.rand(4, 3, 12, 9, generator=GENERATOR) - 0.5
    center, spread = (torch.tensor(values).view(3, 1, 1) for values in ([0.4, 0.5, 0.65], [0.7, 0.3, 0.5]))
    return (255 * (center + spread * noise)).clamp(1, 255).to(torch.uint8)


SHOWN = {"digits": made_digits(), "photos": made_photos()}
SETTINGS = list(itertools.product(range(9), BORDERS, ORDERS))


def by_hand(images, padding, border, order):
    """Return the cropped values (4, C, H, W) and which of them are border, pixel by pixel in float64."""
    pixels = images[:4].numpy() / 255
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    values, outside = np.empty_like(pixels), np.zeros(pixels.shape, dtype=bool)
    height, width = pixels.shape[2:]
    for k, c, row, column in np.ndindex(pixels.shape):
        y, x = (
            place + math.floor(share * (2 * padding + 1)) - padding
            for place, share in zip((row, column), PLACES[k], strict=True)
        )
        inside = 0 <= y < height and 0 <= x < width
        outside[k, c, row, column] = not inside
        if inside or border == "reflect":
            y, x = (abs(place) for place in (y, x))
            y, x = height - 1 - abs(height - 1 - y), width - 1 - abs(width - 1 - x)
            values[k, c, row, column] = (pixels[k, c, y, x] - mean[c]) / std[c]
        elif border == "mean" or order == "standardize, then crop":
            values[k, c, row, column] = 0
        else:
            values[k, c, row, column] = -mean[c] / std[c]
    return values, outside


def drawn(images, padding, border, order, edges=BAR_EDGES):
    """Draw the border; return the picture, the heights of all bars and of the images' own, and the text."""
    left, right = emptied(LEFT), emptied(RIGHT)
    pixels = images[:4].float() / 255
    text = draw_border(pixels, edges, left, right, padding=padding, border=border, order=order)
    every, own = right.patches
    assert (every.get_label(), own.get_label()) == ("from the border", "the images' own")
    return np.asarray(left.images[0].get_array()), every.get_data().values, own.get_data().values, text


def two_by_two(pixels):
    """Lay four images (4, C, H, W) out by hand, with two white pixels between them."""
    _, channels, height, width = pixels.shape
    picture = np.ones((2 * height + 2, 2 * width + 2, channels))
    for k, image in enumerate(pixels):
        top, left = k // 2 * (height + 2), k % 2 * (width + 2)
        picture[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return picture.squeeze(-1) if channels == 1 else picture


@pytest.mark.parametrize("kind", KINDS)
def test_the_border_equals_a_loop_over_pixels(kind):
    images = SHOWN[kind]
    mean, std = (f(images[:4].numpy() / 255, axis=(0, 2, 3)) for f in (np.mean, np.std))
    for padding, border, order in SETTINGS:
        values, outside = by_hand(images, padding, border, order)
        picture, every, own, text = drawn(images, padding, border, order)
        pixels = (values * std[:, None, None] + mean[:, None, None]).clip(0, 1)
        np.testing.assert_allclose(picture, two_by_two(pixels), **NEAR)
        for heights, part in ((every, values), (own, values[~outside])):
            assert heights.sum() == pytest.approx(part.size / values.size)  # no value lies beside the bars
            exact = np.histogram(part, BAR_EDGES)[0] / values.size
            # rounding may move a value that lies on an edge
            on_edge = (np.abs(part.ravel()[:, None] - BAR_EDGES) < 1e-4).any(axis=1).mean()
            assert np.abs(heights - exact).sum() <= 2 * on_edge + 1e-9
        assert (every >= own).all()
        assert text.startswith(f"{outside.mean():.1%} of the pixels come in at the border. ")
        for image in outside if padding else ():  # each image has a border of its own
            assert image.any() and not image.all()
        assert (len({image.tobytes() for image in outside}) > 2) == (padding > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_all_bars_stand_within_the_frame_of_the_control(kind):
    _, right = border_explorer(SHOWN[kind]).axes
    (low, high), (bottom, top) = right.get_xlim(), right.get_ylim()
    edges = np.arange(low, high + 0.1, 0.25)
    assert (edges / 0.25 % 1 == 0.5).all()  # 0 lies in the middle of a bar
    heights = []
    for setting in SETTINGS:
        heights.append(drawn(SHOWN[kind], *setting, edges)[1])
        assert heights[-1].sum() == pytest.approx(1) and heights[-1][0] == heights[-1][-1] == 0
    assert bottom == 0 and np.max(heights) == pytest.approx(top / 1.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_spike_stands_where_the_text_says(kind):
    for padding, border, order in SETTINGS:
        _, every, own, text = drawn(SHOWN[kind], padding, border, order)
        values, outside = by_hand(SHOWN[kind], padding, border, order)
        if padding == 0 or border == "reflect":
            assert "spike stands" not in text and ("no new spike" in text) == (padding > 0)
            assert ("there is no border" in text) == (padding == 0)
            continue
        places = [values[:, c][outside[:, c]] for c in range(values.shape[1])]
        assert all(np.ptp(place) < 1e-9 for place in places)
        expected = sorted({round(place[0] + 0.0, 2) for place in places})
        where = re.search(r"The spike stands at ([−\d., ]+)[ :]", text)[1]
        assert sorted({float(number) for number in where.replace("−", "-").split(", ")}) == expected
        centers = (BAR_EDGES[:-1] + BAR_EDGES[1:]) / 2
        assert all(np.abs(expected - center).min() <= 0.126 for center in centers[every - own > 1e-12])
        assert (every - own).sum() == pytest.approx(outside.mean())
        gray = border == "mean" or order == "standardize, then crop"
        assert ("a gray frame" in text) == gray == (expected == [0])
        assert ("in the mean color" in text) == (gray and kind == "photos")
        assert ("(red, green, blue)" in text) == (not gray and kind == "photos")
        assert ("a black frame" in text) == (not gray and kind == "photos")
        assert ("joins the background, and no frame" in text) == (not gray and kind == "digits")


def test_the_texts_name_the_reason():
    reasons = {
        ("zeros", ORDERS[0]): "0 before standardizing is black",
        ("zeros", ORDERS[1]): "0 after standardizing is the mean",
        ("mean", ORDERS[0]): "standardizing makes 0 of the mean",
        ("mean", ORDERS[1]): "the mean of standardized values is 0",
        ("reflect", ORDERS[0]): "the same in both orders",
        ("reflect", ORDERS[1]): "the same in both orders",
    }
    for (border, order), reason in reasons.items():
        assert reason in drawn(SHOWN["photos"], 3, border, order)[-1]


def test_only_a_black_edge_hides_a_black_border():
    images = made_digits()
    images[:, :, 0], images[:, :, -1] = 9, 9  # two sides of four: the median is above 0
    images[:, :, 1:-1, 0] = 9
    assert "a black frame" in border_explorer(images).plain_text
    tall = made_digits()
    tall[:, :, :, 9:19] = 255  # a stroke from edge to edge leaves most of the edge black
    assert "joins the background" in border_explorer(tall).plain_text


def test_what_should_look_the_same_does():
    for kind, different in (("digits", 3), ("photos", 4)):  # a digit's mirrored edge is as black as 0
        control = border_explorer(SHOWN[kind])

        def picture(*setting, control=control):
            for name, value in zip(("padding", "border", "order"), setting, strict=True):
                control.knobs[name].value = value
            return control.image.value

        still = {picture(0, border, order) for border in BORDERS for order in ORDERS}
        mirrored = {picture(5, "reflect", order) for order in ORDERS}
        gray = {picture(5, border, ORDERS[1]) for border in ("zeros", "mean")} | {picture(5, "mean", ORDERS[0])}
        black = {picture(5, "zeros", ORDERS[0])}
        assert [len(one) for one in (still, mirrored, gray, black)] == [1, 1, 1, 1]
        assert len(still | mirrored | gray | black) == different


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (DIGITS[:3], r"N of at least 4, got torch.uint8 \(3, 1, 28, 28\)"),
        (DIGITS[:, 0], r"got torch.uint8 \(20, 28, 28\)"),
        (DIGITS.expand(-1, 2, -1, -1), r"got torch.uint8 \(20, 2, 28, 28\)"),
        (DIGITS / 255, r"expected uint8 images .* got torch.float32"),
        (DIGITS * 0 + 7, "a channel of the first four images is constant"),
        (PHOTOS * torch.tensor([1, 0, 1], dtype=torch.uint8).view(3, 1, 1), "a channel .* is constant"),
    ],
)
def test_images_without_a_border_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        border_explorer(images)


def test_the_smallest_images_have_a_border():
    for setting in SETTINGS:
        assert "border" in drawn(DIGITS[:4, :, :9, :9], *setting)[-1]
    with pytest.raises(RuntimeError, match="less than the corresponding input dimension"):  # torch says it
        border_explorer(DIGITS[..., :8])


# ------------------------------------------------------------------------------------------------------------- knobs


def test_the_knobs_reach_as_far_as_the_chapter_says():
    gallery, border = gallery_explorer(DIGITS, LABELS).knobs, border_explorer(DIGITS).knobs
    reach = {name: (knob.min, knob.max) for name, knob in gallery.items() if hasattr(knob, "min")}
    assert list(gallery) == [*STILL, "guess"]
    assert reach == {"shift": (0, 6), "angle": (0, 180), "scale": (0, 40), "cutout": (0, 16), "redraw": (1, 50)}
    assert list(border) == ["padding", "border", "order"]
    assert (border["padding"].min, border["padding"].max) == (0, 8)
    assert (border["border"].options, border["order"].options) == (BORDERS, ORDERS)


# -------------------------------------------------------------------------------------- where the new pixels look


@pytest.mark.parametrize("size", [(28, 28), (6, 9)])
def test_the_lookup_shows_the_new_picture_and_where_it_looks(size):
    image = torch.rand(1, *size)
    left, right = plot_lookup(image, torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])).axes
    old, new = (axes.images[0].get_array() for axes in (left, right))
    np.testing.assert_array_equal(old, image[0].numpy())
    if size[1] % 2 == 0:  # half a width to the right: whole pixels
        expected = np.zeros(size)
        expected[:, size[1] // 2 :] = image[0, :, : size[1] // 2]
        np.testing.assert_allclose(new, expected, atol=1e-4)
    here, there = (axes.collections[0].get_offsets() for axes in (right, left))
    np.testing.assert_allclose(there, here - [1, 0], atol=1e-6)
    assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
