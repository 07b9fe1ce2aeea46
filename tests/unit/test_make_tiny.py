"""The stand-ins that ship: still what the script draws, digits in MNIST's format, pictures in CIFAR-10's."""

import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
RAW = Path("MNIST") / "raw"
COUNTS = {"train": 2000, "t10k": 500}


def load_script():
    """Import data/make_tiny.py, which lies outside the package and imports from its own folder."""
    sys.path.insert(0, str(DATA))
    spec = importlib.util.spec_from_file_location("make_tiny", DATA / "make_tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(DATA))
    return module


make_tiny = load_script()
photo, parts = sys.modules["tiny_pictures.photo"], sys.modules["tiny_pictures.parts"]
CENTERS = photo.CENTERS  # of a picture's points, 0 to 1


def read_idx(path):
    """Read an IDX file with code of its own, so that a mistake in the writer cannot hide: a uint8 array."""
    content = path.read_bytes()
    zeros, kind, axes = struct.unpack(">HBB", content[:4])
    assert (zeros, kind) == (0, 8), f"{path.name}: not an IDX file of unsigned bytes"
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    return np.frombuffer(content[4 + 4 * axes :], dtype=np.uint8).reshape(shape)


def read_split(folder, split):
    """Return images uint8 (N, 28, 28) and labels uint8 (N,) of "train" or "t10k"."""
    return read_idx(folder / RAW / f"{split}-images-idx3-ubyte"), read_idx(folder / RAW / f"{split}-labels-idx1-ubyte")


@pytest.fixture(scope="module")
def shipped():
    return {split: read_split(DATA / "tiny", split) for split in COUNTS}


@pytest.fixture(scope="module")
def images(shipped):
    """All shipped images, uint8 (2500, 28, 28)."""
    return np.concatenate([shipped[split][0] for split in COUNTS])


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny.make_digits(folder)
    return folder


def test_the_script_writes_these_files_and_no_others(redrawn):
    names = {path.relative_to(redrawn).as_posix() for path in redrawn.rglob("*") if path.is_file()}
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    assert names == {f"MNIST/raw/{split}-{kind}" for split in COUNTS for kind in kinds}


@pytest.mark.parametrize("split", COUNTS)
def test_redrawing_gives_what_ships(shipped, redrawn, split):
    images, labels = shipped[split]
    new_images, new_labels = read_split(redrawn, split)
    np.testing.assert_array_equal(new_labels, labels)
    # the same bytes are expected; another math library may round a pixel the other way now and then, and no more
    difference = np.abs(new_images.astype(int) - images.astype(int))
    assert difference.max() <= 2
    assert (difference > 0).mean() <= 0.001


@pytest.mark.parametrize("split", COUNTS)
def test_headers_are_those_of_mnist(split):
    count = COUNTS[split]
    image_file = (DATA / "tiny" / RAW / f"{split}-images-idx3-ubyte").read_bytes()
    label_file = (DATA / "tiny" / RAW / f"{split}-labels-idx1-ubyte").read_bytes()
    assert struct.unpack(">4I", image_file[:16]) == (2051, count, 28, 28)
    assert struct.unpack(">2I", label_file[:8]) == (2049, count)
    assert (len(image_file), len(label_file)) == (16 + count * 28 * 28, 8 + count)


@pytest.mark.parametrize("split", COUNTS)
def test_classes_are_balanced_and_shuffled(shipped, split):
    _, labels = shipped[split]
    np.testing.assert_array_equal(np.bincount(labels), [COUNTS[split] // 10] * 10)
    assert all(np.unique(part).size == 10 for part in np.array_split(labels, 5))


def test_a_seed_fixes_the_digits():
    images, labels = make_tiny.draw_digits(23, seed=5)
    again, labels_again = make_tiny.draw_digits(23, seed=5)
    assert (images.dtype, images.shape, labels.dtype, labels.shape) == (np.uint8, (23, 28, 28), np.uint8, (23,))
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    other, _ = make_tiny.draw_digits(23, seed=6)
    assert (images != other).any(axis=(1, 2)).all()


def test_ink_is_as_much_as_in_mnist(images):
    """MNIST's training images have mean 0.1307 and standard deviation 0.3081."""
    ink = images / 255
    assert ink.mean() == pytest.approx(0.1307, abs=0.01)
    assert ink.std() == pytest.approx(0.3081, abs=0.015)
    assert (images.min(axis=(1, 2)) == 0).all()
    assert (images.max(axis=(1, 2)) >= 200).all()


def test_the_longer_side_of_the_ink_is_20_pixels(images):
    inked = images > 0
    sizes = []
    for used in (inked.any(axis=2), inked.any(axis=1)):  # rows, then columns: (N, 28) each
        first, behind_last = used.argmax(axis=1), 28 - used[:, ::-1].argmax(axis=1)
        sizes.append(behind_last - first)
    assert (np.maximum(*sizes) == 20).mean() > 0.99


def test_digits_are_centered_by_mass_at_index_14(images):
    ink = images / images.sum(axis=(1, 2), keepdims=True)
    axis = np.arange(28) - 14
    offsets = np.stack([ink.sum(axis=2) @ axis, ink.sum(axis=1) @ axis])  # (2, N): down and right
    assert (np.abs(offsets) <= 0.52).mean() >= 0.99  # half a pixel and the rounding of gray levels
    assert np.abs(offsets).max() <= 1.5
    assert np.abs(offsets.mean(axis=1)).max() <= 0.1


def test_no_digit_comes_twice(images):
    """Holds within each split and between the two: a test digit was never trained on."""
    assert len({image.tobytes() for image in images}) == sum(COUNTS.values())


# ------------------------------------------------------------------------------------------------------------ pictures

CIFAR = DATA / "tiny" / "cifar-10-batches-bin"
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PICTURE_COUNTS = {**{f"data_batch_{number}.bin": 200 for number in range(1, 6)}, "test_batch.bin": 300}


def read_pictures(name):
    """Read a batch file with code of its own: pictures uint8 (N, 3, 32, 32) and labels uint8 (N,)."""
    records = np.frombuffer((CIFAR / name).read_bytes(), dtype=np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


@pytest.fixture(scope="module")
def pictures():
    """All shipped pictures with their labels, "train" (1000) and "test" (300)."""
    parts = {name: read_pictures(name) for name in PICTURE_COUNTS}
    train = [parts[name] for name in PICTURE_COUNTS if name != "test_batch.bin"]
    return {
        "train": tuple(np.concatenate(arrays) for arrays in zip(*train, strict=True)),
        "test": parts["test_batch.bin"],
    }


def test_batch_files_are_cifars():
    assert {path.name for path in CIFAR.iterdir()} == {*PICTURE_COUNTS, "batches.meta.txt"}
    assert (CIFAR / "batches.meta.txt").read_bytes().decode().split() == NAMES
    for name, count in PICTURE_COUNTS.items():
        assert (CIFAR / name).stat().st_size == count * 3073


@pytest.mark.parametrize("split", ["train", "test"])
def test_redrawing_pictures_gives_what_ships(pictures, split):
    """Redraws one picture in 25; each has its own source of chance."""
    shipped, labels = pictures[split]
    seed = {"train": make_tiny.PICTURE_TRAIN_SEED, "test": make_tiny.PICTURE_TEST_SEED}[split]
    np.testing.assert_array_equal(photo.choose_labels(len(labels), seed), labels)
    rows = np.arange(0, len(labels), 25)
    redrawn = np.stack([photo.draw_picture(labels[row], seed, row) for row in rows])
    difference = np.abs(redrawn.astype(int) - shipped[rows].astype(int))
    assert (difference > 2).mean() <= 0.001  # another math library may put a point at an edge on its other side
    assert (difference > 0).mean() <= 0.01


def test_the_script_writes_pictures_as_records(tmp_path, monkeypatch):
    drawn = {}

    def draw_pictures(count, seed):
        images = (np.arange(count * 3072) % 251).astype(np.uint8).reshape(count, 3, 32, 32)
        drawn[count] = images, (np.arange(count) // 90 % 10).astype(np.uint8)
        return drawn[count]

    monkeypatch.setattr(make_tiny, "draw_pictures", draw_pictures)
    make_tiny.make_pictures(tmp_path)
    folder = tmp_path / "cifar-10-batches-bin"
    assert {path.name for path in folder.iterdir()} == {path.name for path in CIFAR.iterdir()}
    assert (folder / "batches.meta.txt").read_bytes() == (CIFAR / "batches.meta.txt").read_bytes()
    train = b"".join((folder / f"data_batch_{number}.bin").read_bytes() for number in range(1, 6))
    for count, content in [(1000, train), (300, (folder / "test_batch.bin").read_bytes())]:
        images, labels = drawn[count]
        assert content == b"".join(
            bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
        )


@pytest.mark.parametrize("split", ["train", "test"])
def test_picture_classes_are_balanced_and_shuffled(pictures, split):
    _, labels = pictures[split]
    np.testing.assert_array_equal(np.bincount(labels), [len(labels) // 10] * 10)
    assert all(np.unique(part).size == 10 for part in np.array_split(labels, 5))


@pytest.mark.parametrize("name", NAMES)
def test_a_number_fixes_a_picture(name):
    label = NAMES.index(name)
    picture = photo.draw_picture(label, 5, 7)
    assert (picture.dtype, picture.shape) == (np.uint8, (3, 32, 32))
    np.testing.assert_array_equal(picture, photo.draw_picture(label, 5, 7))
    for other in (photo.draw_picture(label, 5, 8), photo.draw_picture(label, 6, 7)):
        assert (picture != other).mean() > 0.5


def test_pictures_are_as_bright_and_varied_as_photos(pictures):
    """CIFAR-10's training images have means 0.491, 0.482, 0.447 and standard deviations 0.247, 0.243, 0.262."""
    images = pictures["train"][0] / 255
    np.testing.assert_allclose(images.mean(axis=(0, 2, 3)), [0.491, 0.482, 0.447], atol=0.06)
    np.testing.assert_allclose(images.std(axis=(0, 2, 3)), [0.247, 0.243, 0.262], atol=0.06)
    assert (images.std(axis=(2, 3)).max(axis=1) > 0.02).all()  # none is blank


def test_color_alone_does_not_tell_the_class(pictures):
    """The nearest of the classes' mean colors is right for few pictures; a guess is for 10 %."""
    (images, labels), (test_images, test_labels) = pictures["train"], pictures["test"]
    colors, test_colors = images.mean(axis=(2, 3)), test_images.mean(axis=(2, 3))
    means = np.stack([colors[labels == label].mean(axis=0) for label in range(10)])  # (10, 3)
    distances = ((test_colors[:, None] - means) ** 2).sum(axis=-1)  # (300, 10)
    assert (distances.argmin(axis=1) == test_labels).mean() <= 0.35


def test_no_picture_comes_twice(pictures):
    """Holds within each split and between the two: a test picture was never trained on."""
    images = np.concatenate([pictures[split][0] for split in pictures])
    assert len({image.tobytes() for image in images}) == 1300


@pytest.mark.parametrize("name", ["automobile", "horse"])
def test_as_many_look_left_as_right(name, monkeypatch):
    """Puts a black bar at the left in the object's place: half of the photos have it at the right."""
    bar = np.zeros((96, 96, 1), dtype=bool)
    bar[:, :24] = True
    monkeypatch.setattr(photo, "render", lambda *arguments: (np.zeros((96, 96, 3)), bar))
    pictures = np.stack([photo.draw_picture(NAMES.index(name), 9, number) for number in range(60)])
    left, right = pictures[..., :8].mean(axis=(1, 2, 3)), pictures[..., 24:].mean(axis=(1, 2, 3))
    assert (np.abs(left - right) > 30).mean() > 0.9  # the bar shows, though something may stand before it
    assert 20 <= (left < right).sum() <= 40


# ---- the camera, against what a ball and a panel look like


def test_a_ball_is_round_and_faces_the_viewer_in_its_middle():
    (ball,) = parts.ball("coat", (0.5, 0.5, 0.0), 0.25)
    depth, normal = photo.look_at_bone(ball, CENTERS, CENTERS[:, None])
    distance = np.hypot(CENTERS - 0.5, CENTERS[:, None] - 0.5)
    np.testing.assert_array_equal(np.isfinite(depth), distance < 0.25)
    seen = distance < 0.25
    np.testing.assert_allclose(depth[seen], np.sqrt(0.25**2 - distance[seen] ** 2))
    np.testing.assert_allclose((normal[:, seen] ** 2).sum(axis=0), 1)
    assert normal[2, seen].max() > 0.99


def test_a_panel_covers_its_area_and_slopes():
    (panel,) = parts.panel("coat", (0.1, 0.2, 0.0), (0.9, 0.2, 0.8), (0.9, 0.7, 0.8), (0.1, 0.7, 0.0))
    depth, normal = photo.look_at_panel(panel, CENTERS, CENTERS[:, None])
    seen = np.isfinite(depth)
    assert seen.mean() == pytest.approx(0.8 * 0.5, abs=0.02)
    np.testing.assert_allclose(depth[seen], np.broadcast_to(CENTERS - 0.1, depth.shape)[seen])
    np.testing.assert_allclose(normal[:, 0, 0], [-np.sqrt(0.5), 0, np.sqrt(0.5)], atol=1e-12)


def test_the_nearer_part_hides_the_other_in_any_order():
    near, far = parts.ball("near", (0.5, 0.5, 0.3), 0.2), parts.ball("far", (0.5, 0.5, 0.0), 0.3)
    palette = {"near": [np.array([1, 0, 0])] * 2, "far": [np.array([0, 0, 1])] * 2}
    for order in (near + far, far + near):
        colors, there = photo.render(order, palette, np.zeros((96, 96)), np.array([0, 0, 1.0]))
        assert colors[48, 48, 0] > 0.9 and colors[48, 48, 2] == 0
        assert colors[48, 22, 2] > 0.4 and colors[48, 22, 0] == 0
        assert there.mean() == pytest.approx(np.pi * 0.3**2, abs=0.01)
