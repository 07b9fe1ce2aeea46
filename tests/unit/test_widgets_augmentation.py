"""Chapter 09's gallery and border over the whole range of every control."""

import base64
import io
import itertools
import math
import re
import statistics
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from explorer_pictures import redraw_difference, shown_text
from PIL import Image

from course_utils import augmentation
from course_utils.widgets.data_augmentation import (
    BORDERS,
    DRAWS,
    ORDERS,
    augmented,
    border_explorer,
    confusions,
    gallery_explorer,
    mosaic,
)

# ----------------------------------------------------------------------------------------------------------- gallery

GENERATOR = torch.Generator().manual_seed(1)
DIGITS = torch.randint(1, 256, (20, 1, 28, 28), generator=GENERATOR, dtype=torch.uint8)
PHOTOS = torch.randint(1, 256, (16, 3, 32, 32), generator=GENERATOR, dtype=torch.uint8)
LABELS = torch.arange(20) % 10
STILL = {"shift": 0, "angle": 0, "scale": 0, "mirror": False, "upside_down": False, "cutout": 0, "redraw": 1}
RANGES = {
    "shift": (0, 3, 6),
    "angle": (0, 45, 180),
    "scale": (0, 40),
    "mirror": (False, True),
    "upside_down": (False, True),
    "cutout": (0, 16),
    "redraw": (1, 50),
}
KINDS = ("digits", "photos")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


@pytest.fixture(scope="module")
def galleries():
    return {"digits": gallery_explorer(DIGITS, LABELS), "photos": gallery_explorer(PHOTOS, LABELS[:16])}


def shown(picture):
    return np.asarray(picture.shown[1].get_array())


def tile_of(array, k, size):
    """Cut image k out of a mosaic by hand."""
    top, left = k // 4 * (size + 2), k % 4 * (size + 2)
    return array[top : top + size, left : left + size]


@pytest.mark.parametrize("kind", KINDS)
def test_over_the_whole_range(galleries, kind):
    picture = galleries[kind].picture
    size = 28 if kind == "digits" else 32
    for values in itertools.product(*RANGES.values()):
        settings = dict(zip(RANGES, values, strict=True))
        text = picture.update(**settings)
        changed = shown(picture)
        assert changed.shape[:2] == (4 * size + 6, 4 * size + 6) and np.isfinite(changed).all()
        assert changed.min() >= 0 and changed.max() <= 1
        check_text(text, settings, kind)


def check_text(text, settings, kind):
    """Find every control's value in the text, and the classes that get confused."""
    word = {True: "half of them", False: "off"}
    assert f"shift = ± {settings['shift']} px, angle = ± {settings['angle']}°, scale = ± {settings['scale']} %" in text
    assert f"mirror = {word[settings['mirror']]}, upside down = {word[settings['upside_down']]}" in text
    assert f"cutout = {settings['cutout']} px" in text and f"redraw = {settings['redraw']}. " in text
    past = settings["angle"] > 45 or settings["upside_down"] or (settings["mirror"] and kind == "digits")
    assert ("Past the safe range" in text) == past and ("in the safe range (" in text) == (not past)


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
        ((True, 46, False, False), ["stand on their heads"]),
        ((True, 0, False, True), ["stand on their heads"]),
        ((True, 180, True, True), ["stand on their heads"]),
    ],
)
def test_past_the_safe_range_the_confused_classes_are_named(settings, texts):
    found = confusions(*settings)
    assert len(found) == len(texts)
    for text in texts:
        assert any(text in one for one in found)


@pytest.mark.parametrize("kind", KINDS)
def test_without_changes_the_images_stay_as_they_are(galleries, kind):
    picture = galleries[kind].picture
    picture.update(**STILL)
    np.testing.assert_allclose(shown(picture), np.asarray(picture.shown[0].get_array()), atol=1e-4)


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


def test_rounding_does_not_leave_the_range_of_colors():
    """Interpolated white may come out as 1.0000001, and matplotlib complains of colors above 1."""
    array = mosaic(torch.tensor([1 + 1e-6, -1e-6]).expand(16, 3, 4, 2))
    assert array.max() == 1 and array.min() == 0


def test_images_that_are_not_square():
    tall = torch.rand(16, 1, 5, 3)
    array = mosaic(tall)
    assert array.shape == (4 * 7 - 2, 4 * 5 - 2)
    np.testing.assert_array_equal(array[7:12, 10:13], tall[6, 0].numpy())


def test_the_gallery_shows_the_course_s_own_functions(galleries):
    picture = galleries["digits"].picture
    picture.update(shift=4, angle=30, scale=20, mirror=True, upside_down=True, cutout=8, redraw=7)
    generator = torch.Generator().manual_seed(7)
    expected = augmentation.random_affine(
        DIGITS[:16].float() / 255, shift=4, degrees=30, scale=0.2, generator=generator
    )
    expected = augmentation.random_flip(expected, 0.5, generator=generator)
    expected = augmentation.random_flip(expected, 0.5, vertical=True, generator=generator)
    expected = augmentation.random_cutout(expected, 8, fill=0.5, generator=generator)
    for k in range(16):
        np.testing.assert_allclose(tile_of(shown(picture), k, 28), expected[k, 0].clamp(0, 1).numpy(), atol=1e-6)


def test_each_image_has_draws_of_its_own_that_others_controls_leave_alone():
    pixels = DIGITS[:1].float().expand(16, -1, -1, -1) / 255
    still = {"affine": {}, "mirror": False, "upside_down": False, "cutout": 0, "seed": 3}
    mirrored = augmented(pixels, **still | {"mirror": True})
    flipped = (mirrored - pixels.flip(3)).abs().flatten(1).amax(dim=1) < 1e-3
    assert 0 < flipped.sum() < 16
    with_more = augmented(pixels, **still | {"mirror": True, "affine": {"shift": 1.0}})
    alone = augmented(pixels, **still | {"affine": {"shift": 1.0}})
    torch.testing.assert_close(with_more, torch.where(flipped.view(-1, 1, 1, 1), alone.flip(3), alone))
    assert len({image.numpy().tobytes() for image in alone}) == 16
    hole = augmented(pixels, **still | {"cutout": 9}) != augmented(pixels, **still)
    both = augmented(pixels, **still | {"cutout": 9, "mirror": True}) != augmented(pixels, **still | {"mirror": True})
    assert torch.equal(hole, both) and len({one.numpy().tobytes() for one in hole}) > 8
    assert not torch.equal(alone, augmented(pixels, **still | {"affine": {"shift": 1.0}, "seed": 4}))


def test_the_cutout_is_seen_on_a_black_background():
    black = torch.zeros(16, 1, 28, 28)
    changed = augmented(black, affine={}, mirror=False, upside_down=False, cutout=6, seed=1)
    assert (changed.flatten(1).amax(dim=1) == 0.5).all()


def test_drawing_leaves_torch_s_random_state_and_the_images_alone(galleries):
    state, images = torch.get_rng_state(), DIGITS.clone()
    for value in (1, 9):
        galleries["digits"].picture.update(**STILL | {"redraw": value, "cutout": 16, "mirror": True})
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(DIGITS, images)


def test_the_labels_stand_beside_the_unchanged_images(galleries):
    before, after = galleries["digits"].picture.figure.axes
    assert [text.get_text() for text in before.texts] == [str(k % 10) for k in range(16)]
    assert [text.get_position() for text in before.texts][:5] == [(1, 1), (31, 1), (61, 1), (91, 1), (1, 31)]
    assert not after.texts


@pytest.mark.parametrize("kind", KINDS)
def test_a_moved_control_redraws_text_and_picture(galleries, kind):
    explorer = galleries[kind]
    assert explorer.children == (*explorer.controls.values(), explorer.text, explorer.image)
    assert list(explorer.controls) == list(RANGES)
    for name, control in explorer.controls.items():
        text, picture = explorer.text.value, explorer.image.value
        if name in ("mirror", "upside_down"):
            control.value = not control.value
        else:
            assert (control.min, control.max) == {
                "shift": (0, 6), "angle": (0, 180), "scale": (0, 40), "cutout": (0, 16), "redraw": (1, 50)
            }[name]  # fmt: skip
            control.value = control.max
        assert explorer.text.value != text and explorer.image.value != picture
        assert "alert" not in explorer.text.value
        assert explorer.picture.update(**explorer.values()) in shown_text(explorer)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_values_give_equal_pictures_whatever_came_between(galleries, kind):
    explorer, first = galleries[kind], {}
    settings = [STILL, STILL | {"redraw": 9, "shift": 6}, STILL | {"redraw": 9, "shift": 6, "upside_down": True}]
    for k in (0, 1, 2, 1, 0):
        explorer.picture.update(**settings[k])
        picture = explorer.renderer.png()
        assert first.setdefault(k, picture) == picture
    assert len(set(first.values())) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_redraw_equals_a_full_draw(kind):
    explorer = gallery_explorer(*{"digits": (DIGITS, LABELS), "photos": (PHOTOS, LABELS[:16])}[kind])
    explorer.picture.figure.set_layout_engine("none")
    explorer.picture.update(**STILL | {"redraw": 4, "angle": 90})
    assert redraw_difference(explorer) < 0.0005


def test_a_square_larger_than_the_image_is_explained():
    explorer = gallery_explorer(DIGITS[..., :9, :7], LABELS)
    explorer.controls["cutout"].value = 16
    assert "role='alert'" in explorer.text.value
    assert "expected a size from 0 to 9 whole pixels, got 16" in shown_text(explorer)
    explorer.controls["cutout"].value = 9
    assert "alert" not in explorer.text.value


def test_without_a_front_end_a_still_picture_and_its_text_are_shown(galleries):
    data, _ = galleries["digits"]._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"], validate=True))).format == "PNG"
    assert data["text/plain"] in shown_text(galleries["digits"]) and "VBox(" not in data["text/plain"]


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


@pytest.fixture(scope="module")
def borders():
    return {kind: border_explorer(images) for kind, images in SHOWN.items()}


def by_hand(images, padding, border, order):
    """Return the cropped values (4, C, H, W) and which of them are border, pixel by pixel in float64."""
    pixels = images[:4].numpy() / 255
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    values, outside = np.empty_like(pixels), np.zeros(pixels.shape, dtype=bool)
    height, width = pixels.shape[2:]
    for k, c, row, column in np.ndindex(pixels.shape):
        y, x = (
            place + math.floor(draw * (2 * padding + 1)) - padding
            for place, draw in zip((row, column), DRAWS[k], strict=True)
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


def heights(bars):
    return bars.get_data().values


@pytest.mark.parametrize("kind", KINDS)
def test_the_border_equals_a_loop_over_pixels(borders, kind):
    picture, images = borders[kind].picture, SHOWN[kind]
    mean, std = (f(images[:4].numpy() / 255, axis=(0, 2, 3)) for f in (np.mean, np.std))
    for padding, border, order in SETTINGS:
        text = picture.update(padding=float(padding), border=border, order=order)
        values, outside = by_hand(images, padding, border, order)
        np.testing.assert_allclose(picture.cropped(padding, border, order).numpy(), values, **NEAR)
        pixels = (values * std[:, None, None] + mean[:, None, None]).clip(0, 1)
        np.testing.assert_allclose(np.asarray(picture.shown.get_array()), two_by_two(pixels), **NEAR)
        for bars, part in ((picture.all, values), (picture.own, values[~outside])):
            edges = bars.get_data().edges
            assert heights(bars).sum() == pytest.approx(part.size / values.size)  # no value lies beside the bars
            exact = np.histogram(part, edges)[0] / values.size
            # rounding may move a value that lies on an edge
            on_edge = (np.abs(part.ravel()[:, None] - edges) < 1e-4).any(axis=1).mean() if part.size else 0
            assert np.abs(heights(bars) - exact).sum() <= 2 * on_edge + 1e-9
        assert (heights(picture.all) >= heights(picture.own)).all()
        assert heights(picture.all).max() < picture.figure.axes[1].get_ylim()[1]
        assert f"padding = {padding} px, border = {border}, order = {order}: {outside.mean():.1%} of the" in text


def two_by_two(pixels):
    """Lay four images (4, C, H, W) out by hand, with two white pixels between them."""
    _, channels, height, width = pixels.shape
    picture = np.ones((2 * height + 2, 2 * width + 2, channels))
    for k, image in enumerate(pixels):
        top, left = k // 2 * (height + 2), k % 2 * (width + 2)
        picture[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return picture.squeeze(-1) if channels == 1 else picture


@pytest.mark.parametrize("kind", KINDS)
def test_the_spike_stands_where_the_text_says(borders, kind):
    picture = borders[kind].picture
    for padding, border, order in SETTINGS:
        text = picture.update(padding=float(padding), border=border, order=order)
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
        spike = heights(picture.all) - heights(picture.own)
        centers = (picture.edges[:-1] + picture.edges[1:]) / 2
        assert all(np.abs(expected - center).min() <= 0.126 for center in centers[spike > 1e-12])
        assert spike.sum() == pytest.approx(outside.mean())
        gray = border == "mean" or order == "standardize, then crop"
        assert ("a gray frame" in text) == gray == (expected == [0])
        assert ("in the mean color" in text) == (gray and kind == "photos")
        assert ("(red, green, blue)" in text) == (not gray and kind == "photos")
        assert ("a black frame" in text) == (not gray and kind == "photos")
        assert ("joins the background, and no frame" in text) == (not gray and kind == "digits")


def test_the_texts_name_the_reason(borders):
    picture = borders["photos"].picture
    reasons = {
        ("zeros", ORDERS[0]): "0 before standardizing is black",
        ("zeros", ORDERS[1]): "0 after standardizing is the mean",
        ("mean", ORDERS[0]): "standardizing makes 0 of the mean",
        ("mean", ORDERS[1]): "the mean of standardized values is 0",
        ("reflect", ORDERS[0]): "the same in both orders",
        ("reflect", ORDERS[1]): "the same in both orders",
    }
    for (border, order), reason in reasons.items():
        assert reason in picture.update(padding=3.0, border=border, order=order)


def test_only_a_black_edge_hides_a_black_border():
    images = made_digits()
    images[:, :, 0], images[:, :, -1] = 9, 9  # two sides of four: the median is above 0
    images[:, :, 1:-1, 0] = 9
    assert "a black frame" in border_explorer(images).plain_text
    tall = made_digits()
    tall[:, :, :, 9:19] = 255  # a stroke from edge to edge leaves most of the edge black
    assert "joins the background" in border_explorer(tall).plain_text


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_a_border_of_its_own_at_any_padding(borders, kind):
    for padding in range(1, 9):
        outside = borders[kind].picture.outside(padding)
        assert outside.flatten(1).any(dim=1).all() and not outside.flatten(1).all(dim=1).any()
        assert len({image.numpy().tobytes() for image in outside}) > 2
    assert not borders[kind].picture.outside(0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_each_control_of_the_border_redraws_text_and_picture(kind):
    explorer = border_explorer(SHOWN[kind])
    assert explorer.children == (*explorer.controls.values(), explorer.text, explorer.image)
    assert list(explorer.controls) == ["padding", "border", "order"]
    assert (explorer.controls["padding"].min, explorer.controls["padding"].max) == (0, 8)
    for name, value in [("order", ORDERS[1]), ("padding", 8), ("padding", 0), ("padding", 1), ("order", ORDERS[0]),
                        ("border", "mean"), ("border", "reflect")]:  # fmt: skip
        text, picture = explorer.text.value, explorer.image.value
        explorer.controls[name].value = value
        assert explorer.text.value != text
        assert explorer.image.value != picture
        assert "alert" not in explorer.text.value
        assert explorer.picture.update(**explorer.values()) in shown_text(explorer)


def test_what_should_look_the_same_does(borders):
    def picture(kind, *setting):
        explorer = borders[kind]
        explorer.picture.update(**dict(zip(("padding", "border", "order"), setting, strict=True)))
        return explorer.renderer.png()

    for kind, different in (("digits", 3), ("photos", 4)):  # a digit's mirrored edge is as black as 0
        still = {picture(kind, 0, border, order) for border in BORDERS for order in ORDERS}
        mirrored = {picture(kind, 5, "reflect", order) for order in ORDERS}
        gray = {picture(kind, 5, border, ORDERS[1]) for border in ("zeros", "mean")} | {
            picture(kind, 5, "mean", ORDERS[0])
        }
        black = {picture(kind, 5, "zeros", ORDERS[0])}
        assert [len(one) for one in (still, mirrored, gray, black)] == [1, 1, 1, 1]
        assert len(still | mirrored | gray | black) == different


@pytest.mark.parametrize("kind", KINDS)
def test_a_redraw_of_the_border_equals_a_full_draw(kind):
    explorer = border_explorer(SHOWN[kind])
    explorer.picture.figure.set_layout_engine("none")
    explorer.picture.update(padding=7.0, border="zeros", order=ORDERS[1])
    assert redraw_difference(explorer) < 0.0005


def test_the_border_is_drawn_quickly_and_leaves_images_and_random_state_alone():
    images, state, times = DIGITS.clone(), torch.get_rng_state(), []
    explorer = border_explorer(images)
    for k in range(24):
        begin = time.process_time()
        explorer.controls["padding"].value = 1 + k % 8
        times.append(time.process_time() - begin)
    assert statistics.median(times) < 0.2  # about 20 ms on a free core: the bound only catches a picture gone wrong
    assert torch.equal(images, DIGITS) and torch.equal(torch.get_rng_state(), state)


def test_the_border_without_a_front_end(borders):
    data, _ = borders["digits"]._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"], validate=True))).format == "PNG"
    assert data["text/plain"] in shown_text(borders["digits"]) and "VBox(" not in data["text/plain"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (DIGITS[:3], r"N of at least 4, got torch.uint8 \(3, 1, 28, 28\)"),
        (DIGITS[:, 0], r"got torch.uint8 \(20, 28, 28\)"),
        (DIGITS.expand(-1, 2, -1, -1), r"got torch.uint8 \(20, 2, 28, 28\)"),
        (DIGITS / 255, r"expected uint8 images .* got torch.float32"),
        (DIGITS[..., :8], "more than 8 pixels .* got 28×8"),
        (DIGITS[..., :8, :], "more than 8 pixels .* got 8×28"),
        (DIGITS * 0 + 7, "a channel of the first four images is constant"),
        (PHOTOS * torch.tensor([1, 0, 1], dtype=torch.uint8).view(3, 1, 1), "a channel .* is constant"),
    ],
)
def test_images_without_a_border_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        border_explorer(images)


def test_the_smallest_images_have_a_border():
    explorer = border_explorer(DIGITS[:4, :, :9, :9])
    for padding, border, order in SETTINGS:
        explorer.controls["padding"].value, explorer.controls["border"].value = padding, border
        explorer.controls["order"].value = order
        assert "alert" not in explorer.text.value
