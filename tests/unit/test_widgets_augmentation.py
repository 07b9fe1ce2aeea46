"""Chapter 09's gallery over the whole range of every control."""

import base64
import html
import io
import itertools
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import augmentation
from course_utils.widgets.data_augmentation import augmented, confusions, gallery_explorer, mosaic

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


def shown_text(explorer):
    return html.unescape(explorer.text.value)


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
        assert 0 <= changed.min() and changed.max() <= 1
        check_text(text, settings, kind)


def check_text(text, settings, kind):
    """Find every control's value in the text, and the classes that get confused."""
    word = {True: "half of them", False: "off"}
    assert f"shift = ± {settings['shift']} px, angle = ± {settings['angle']}°, scale = ± {settings['scale']} %" in text
    assert f"mirror = {word[settings['mirror']]}, upside down = {word[settings['upside_down']]}" in text
    assert f"cutout = {settings['cutout']} px" in text and f"redraw = {settings['redraw']}. " in text
    past = settings["angle"] > 45 or settings["upside_down"] or (settings["mirror"] and kind == "digits")
    assert ("Past the safe range" in text) == past and ("in the safe range." in text) == (not past)


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
    quick = np.asarray(Image.open(io.BytesIO(explorer.renderer.png())).convert("RGB")).astype(int)
    for artist in explorer.picture.moving:
        artist.set_animated(False)
    explorer.renderer.canvas.draw()
    full = np.asarray(explorer.renderer.canvas.buffer_rgba())[..., :3].astype(int)
    assert (np.abs(quick - full).max(axis=2) > 40).mean() < 0.0005


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
