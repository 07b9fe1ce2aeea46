"""The stand-in digits that ship: still what the script draws, in MNIST's format, with MNIST's statistics."""

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
RAW = Path("MNIST") / "raw"
COUNTS = {"train": 2000, "t10k": 500}


def load_script():
    """Import data/make_tiny.py, which lies outside the package."""
    spec = importlib.util.spec_from_file_location("make_tiny", DATA / "make_tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_tiny = load_script()


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
