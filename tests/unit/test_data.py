"""Image data and its readers, statistics, splits, made-up rows and batches, each against a plain reference."""

import dataclasses
import math
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from course_utils import data as course_data
from course_utils.data import (
    ImageData,
    Statistics,
    channel_statistics,
    channels_last,
    load_images,
    make_loader,
    make_three_feature_rows,
    read_cifar10,
    read_idx,
    read_mnist,
    split,
    standardize,
)

ABC = ("a", "b", "c")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Keep the reader's own environment out of these tests, and every test off the network."""
    for name in ("COURSE_SEED", "COURSE_PROFILE", "COURSE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(course_data, "download", lambda name, folder: pytest.fail("asked for a download"))


def random_images(count, channels=1, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return ImageData(images, torch.randint(3, (count,), generator=generator), ABC, "random")


def numbered_images(count):
    """Return images of one pixel, image k having the value k: a batch shows which rows it holds."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return ImageData(images, torch.arange(count) % 3, ABC, "numbered")


# ------------------------------------------------------------------------------------------------------- ImageData


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (torch.zeros(2, 4, 4).byte(), torch.zeros(2).long(), ValueError, r"uint8 \(2, 4, 4\): images\[:, None\] adds"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2).long(), ValueError, r"expected uint8 images .* got torch.float32"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2), TypeError, r"int64 .*float32: use torch.as_tensor\(labels\)"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2).int(), TypeError, "int64 tensor .* of torch.int32"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2).long().numpy(), TypeError, "int64 tensor .* ndarray of int64"),
        (torch.zeros(2, 1, 4, 4).byte(), [0, 1], TypeError, "int64 tensor .* got list of numbers"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2, 1).long(), ValueError, r"got 2 rows, labels \(2, 1\)"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(3).long(), ValueError, r"got 2 rows, labels \(3,\)"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0, 3]), ValueError, "run from 0 to 3, expected 0 to 2"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([-1, 2]), ValueError, "run from -1 to 2, expected 0 to 2"),
        (torch.zeros(0, 1, 4, 4).byte(), torch.zeros(0).long(), ValueError, "one or more rows, got 0"),
    ],
)
def test_image_data_refuses_what_does_not_fit(images, labels, error, message):
    with pytest.raises(error, match=message):
        ImageData(images, labels, ABC, "test")


def test_image_data_shows_selects_and_stays_as_it_is():
    data = random_images(7, channels=3)
    assert len(data) == 7
    assert repr(data) == "random: 7 images of shape (3, 4, 4), 3 classes"
    rows = torch.tensor([5, 0])
    part = data.select(rows)
    assert torch.equal(part.images, data.images[rows]) and torch.equal(part.labels, data.labels[rows])
    assert (part.classes, part.source) == (ABC, "random")
    assert len(data.select(data.labels == 1)) == (data.labels == 1).sum()
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.images = part.images


# --------------------------------------------------------------------------------------------------------- readers


def idx_bytes(values):
    """Write a uint8 tensor as its format describes it."""
    return struct.pack(f">BBBB{values.dim()}I", 0, 0, 8, values.dim(), *values.shape) + bytes(values.flatten().tolist())


@pytest.mark.parametrize("shape", [(1,), (5,), (300,), (2, 3), (3, 28, 28), (2, 1, 3, 2), (0,), (0, 28, 28)])
def test_idx_files_come_back_as_written(shape, tmp_path):
    values = torch.randint(256, shape, dtype=torch.uint8)
    (tmp_path / "values").write_bytes(idx_bytes(values))
    read = read_idx(tmp_path / "values")
    assert read.dtype == "uint8" and read.shape == shape
    assert torch.equal(torch.from_numpy(read), values)


def write_mnist(folder, prefix, images, labels):
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


def write_cifar10(folder, per_file=2):
    """Write records with label k % 10, a red plane that counts up, a green one of 100 + k and a blue one of 200."""
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    (folder / "batches.meta.txt").write_text("\n".join(names.split()) + "\n\n", encoding="utf-8")
    files = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for number, name in enumerate(files):
        records = b""
        for k in range(number * per_file, (number + 1) * per_file):
            red = bytes(i % 256 for i in range(1024))
            records += bytes([k % 10]) + red + bytes([100 + k]) * 1024 + bytes([200]) * 1024
        (folder / name).write_bytes(records)
    return tuple(names.split())


@pytest.mark.parametrize(("part", "first", "count"), [("train", 0, 10), ("test", 10, 2)])
def test_cifar10_records_become_red_green_and_blue_planes(part, first, count, tmp_path):
    names = write_cifar10(tmp_path)
    images, labels, classes = read_cifar10(tmp_path, part)
    assert images.shape == (count, 3, 32, 32) and images.dtype == "uint8" and classes == names
    for image, label, k in zip(torch.from_numpy(images), labels, range(first, first + count), strict=True):
        assert label == k % 10
        assert torch.equal(image[0], (torch.arange(1024) % 256).byte().view(32, 32))
        assert (image[1] == 100 + k).all() and (image[2] == 200).all()


@pytest.mark.parametrize(("part", "prefix"), [("train", "train"), ("test", "t10k")])
def test_mnist_files_become_images_of_one_channel(part, prefix, tmp_path):
    images = torch.randint(256, (5, 28, 28), dtype=torch.uint8)
    labels = torch.tensor([0, 9, 3, 3, 1])
    write_mnist(tmp_path, prefix, images, labels)
    read_images, read_labels, classes = read_mnist(tmp_path, part)
    assert torch.equal(torch.from_numpy(read_images), images[:, None]) and read_labels.tolist() == labels.tolist()
    assert classes == tuple("0123456789")


# ------------------------------------------------------------------------------------------------------ load_images


@pytest.mark.parametrize(
    ("name", "part", "shape"),
    [
        ("mnist", "train", (2000, 1, 28, 28)),
        ("mnist", "test", (500, 1, 28, 28)),
        ("cifar10", "train", (1000, 3, 32, 32)),
        ("cifar10", "test", (300, 3, 32, 32)),
    ],
)
def test_the_tiny_profile_serves_the_stand_in_silently(name, part, shape, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROFILE", "tiny")
    data = load_images(name, part)
    assert data.source == f"{name}/{part} (stand-in)" and data.is_stand_in
    assert data.images.shape == shape
    assert len(data.classes) == 10 and set(data.labels.tolist()) == set(range(10))
    assert capsys.readouterr().out == ""


@pytest.fixture
def as_published(monkeypatch):
    """Take small files for the published ones."""
    monkeypatch.setattr(course_data, "altered_files", lambda name, folder: [])


def test_altered_files_are_named_where_they_serve(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROFILE", "auto")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(course_data, "download", lambda name, folder: None)
    write_mnist(tmp_path, "train", torch.zeros(4, 28, 28).byte(), torch.arange(4))
    write_mnist(tmp_path, "t10k", torch.zeros(2, 28, 28).byte(), torch.arange(2))
    test = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    monkeypatch.setattr(course_data, "altered_files", lambda name, folder: [test])
    assert load_images("mnist", "train").source == "mnist/train"
    assert capsys.readouterr().out == ""
    data = load_images("mnist", "test")
    assert data.source == "mnist/test (altered)" and not data.is_stand_in
    assert capsys.readouterr().out.startswith(f"Not as published: {test} ")


@pytest.mark.parametrize("profile", ["auto", "full"])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_real_data_is_read_from_course_data(name, profile, tmp_path, monkeypatch, capsys, as_published):
    monkeypatch.setenv("COURSE_PROFILE", profile)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(course_data, "download", lambda name, folder: None)  # everything is there
    write_mnist(tmp_path, "train", torch.zeros(4, 28, 28).byte(), torch.arange(4))
    write_cifar10(tmp_path)
    data = load_images(name, "train")
    assert data.source == f"{name}/train"
    assert len(data) == {"mnist": 4, "cifar10": 10}[name]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "count"), [("mnist", 2000), ("cifar10", 1000)])
def test_the_tiny_profile_leaves_real_data_alone(name, count, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "tiny")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    write_mnist(tmp_path, "train", torch.zeros(4, 28, 28).byte(), torch.arange(4))
    write_cifar10(tmp_path)
    assert len(load_images(name, "train")) == count


@pytest.mark.parametrize("profile", ["auto", "full"])
def test_what_is_missing_is_downloaded_and_then_read(profile, tmp_path, monkeypatch, capsys, as_published):
    monkeypatch.setenv("COURSE_PROFILE", profile)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    asked = []

    def download(name, folder):
        asked.append((name, folder))
        write_mnist(folder, "t10k", torch.zeros(3, 28, 28).byte(), torch.arange(3))

    monkeypatch.setattr(course_data, "download", download)
    data = load_images("mnist", "test")
    assert asked == [("mnist", tmp_path)]
    assert (data.source, len(data)) == ("mnist/test", 3)
    assert capsys.readouterr().out == ""


def test_the_data_folder_is_the_repository_s_unless_course_data_names_one(monkeypatch, tmp_path):
    assert course_data.data_folder() == course_data.REPOSITORY / "data"
    monkeypatch.setenv("COURSE_DATA", "")
    assert course_data.data_folder() == course_data.REPOSITORY / "data"
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert course_data.data_folder() == tmp_path
    monkeypatch.setenv("COURSE_DATA", "~/course")
    assert "~" not in str(course_data.data_folder())


@pytest.mark.parametrize("profile", ["auto", "tiny", "full"])
@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("fashion", "train", "unknown data set 'fashion': expected one of mnist, cifar10"),
        ("MNIST", "test", "unknown data set 'MNIST'"),
        ("mnist", "validation", "unknown split 'validation': expected one of train, test"),
        ("mnist", "", "unknown split ''"),
    ],
)
def test_unknown_names_are_refused(name, part, message, profile, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", profile)
    with pytest.raises(ValueError, match=message):
        load_images(name, part)


# ----------------------------------------------------------------------------------------------- statistics, splits


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_statistics_equal_those_of_the_pixels_in_float64(channels, seed):
    data = random_images(3 + 40 * seed, channels=channels, size=2 + seed, seed=seed)
    dark = ImageData(data.images // (1 + 50 * seed), data.labels, ABC, "darker")
    pixels = (dark.images.double() / 255).transpose(0, 1).flatten(1)  # (C, N·H·W)
    mean, std = channel_statistics(dark)
    assert mean.shape == std.shape == (channels,) and mean.dtype == std.dtype == torch.float32
    torch.testing.assert_close(mean, pixels.mean(dim=1).float(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(std, pixels.std(dim=1, correction=0).float(), rtol=1e-6, atol=1e-8)


def test_one_bright_pixel_in_a_million_is_not_lost():
    images = torch.full((1, 1, 1000, 1000), 254, dtype=torch.uint8)
    images[0, 0, 0, 0] = 255
    std = channel_statistics(ImageData(images, torch.tensor([0]), ABC, "")).std.item()
    assert std == pytest.approx(math.sqrt(1e-6 * (1 - 1e-6)) / 255, rel=1e-5)


def test_a_constant_channel_has_a_spread_of_zero():
    for value in range(256):
        data = ImageData(torch.full((3, 2, 2, 2), value, dtype=torch.uint8), torch.zeros(3).long(), ABC, "")
        mean, std = channel_statistics(data)
        assert std.tolist() == [0, 0]
        assert mean.tolist() == pytest.approx([value / 255] * 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_standardized_images_have_mean_zero_and_spread_one(channels):
    data = random_images(50, channels=channels)
    before = data.images.clone()
    statistics = channel_statistics(data)
    images = standardize(data.images, statistics)
    assert images.dtype == torch.float32 and images.shape == data.images.shape
    for channel in images.double().unbind(1):
        assert channel.mean().item() == pytest.approx(0, abs=1e-6)
        assert channel.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(data.images, before)
    other = random_images(2, channels=channels, seed=9).images
    mean, std = (value.double().view(1, -1, 1, 1) for value in statistics)
    expected = (other.double() / 255 - mean) / std
    torch.testing.assert_close(standardize(other, statistics).double(), expected, rtol=1e-5, atol=1e-6)


def test_standardizing_a_constant_channel_gives_no_nan():
    """All-black images, or a channel that is never used, must not turn the network's inputs into NaN."""
    data = ImageData(torch.full((3, 1, 2, 2), 7, dtype=torch.uint8), torch.zeros(3).long(), ABC, "constant")
    try:
        images = standardize(data.images, channel_statistics(data))
    except ValueError as error:
        assert "constant" in str(error)
    else:
        assert images.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_only_images_as_read_are_standardized(dtype):
    with pytest.raises(TypeError, match=r"expected uint8 images .* once, as read"):
        standardize(torch.zeros(1, 1, 2, 2, dtype=dtype), Statistics(torch.zeros(1), torch.ones(1)))


@given(count=st.integers(2, 255), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_split_is_disjoint_and_complete(count, fraction, seed):
    part_size = round(count * fraction)
    if not 0 < part_size < count:
        return
    data = numbered_images(count)
    state = torch.random.get_rng_state()
    rest, part = split(data, fraction, seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (len(rest), len(part)) == (count - part_size, part_size)
    numbers = [*rest.images.flatten().tolist(), *part.images.flatten().tolist()]
    assert sorted(numbers) == list(range(count))
    for side in (rest, part):
        assert torch.equal(side.labels, side.images.flatten().long() % 3)
        assert (side.classes, side.source) == (ABC, "numbered")


def test_a_split_follows_its_seed_and_mixes():
    data = numbered_images(200)
    parts = [split(data, 0.25, seed=seed)[1].images.flatten().tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    assert sorted(parts[0]) != list(range(50)) and sorted(parts[0]) != list(range(150, 200))
    assert split(data, 0.25)[1].images.flatten().tolist() == parts[0]


@pytest.mark.parametrize("fraction", [0, 0.0, 1, 1.0, -0.1, 1.5, 0.01, 0.99, math.nan, math.inf])
def test_a_split_with_an_empty_side_is_refused(fraction):
    with pytest.raises(ValueError, match="of 10 images leaves one side empty: choose one between 0 and 1"):
        split(numbered_images(10), fraction)


# ------------------------------------------------------------------------------------------------------------ rows


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_class_of_a_row_counts_the_whole_numbers_below_its_sum(seed):
    state = torch.random.get_rng_state()
    rows, labels = make_three_feature_rows(2000, seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert rows.shape == (2000, 3) and rows.dtype == torch.float32 and labels.dtype == torch.int64
    assert rows.min() >= 0 and rows.max() < 1
    for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
        if min(abs(sum(row) - 1), abs(sum(row) - 2)) > 1e-6:
            assert label == int(sum(row))
    shares = torch.bincount(labels) / 2000  # of the cube: 1/6, 4/6, 1/6
    torch.testing.assert_close(shares, torch.tensor([1, 4, 1]) / 6, atol=0.04, rtol=0)


def test_rows_follow_their_seed():
    first, again, other = (make_three_feature_rows(seed=seed) for seed in (0, 0, 1))
    assert len(first[0]) == len(first[1]) == 10_000
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


# --------------------------------------------------------------------------------------------------------- batches

BATCH_SIZES = (1, 2, 3, 4, 5, 7, 8, 10, 16, 31, 32, 64)


def expected_sizes(count, batch_size, shuffle):
    """Return the batch sizes as the docstring tells them: a last batch below half a batch joins the one before."""
    sizes = []
    while count > 0:
        sizes.append(min(batch_size, count))
        count -= batch_size
    if shuffle and len(sizes) > 1 and sizes[-1] < batch_size / 2:
        last = sizes.pop()
        sizes[-1] += last
    return sizes


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_every_row_comes_once_an_epoch(batch_size, shuffle):
    for count in range(1, 70):
        labels = torch.arange(count)
        loader = make_loader((labels[:, None] * 2.0, labels), batch_size, shuffle=shuffle)
        for _ in range(2):
            batches = list(loader)
            assert len(loader) == len(batches)
            assert [len(batch) for _, batch in batches] == expected_sizes(count, batch_size, shuffle)
            rows = torch.cat([batch for _, batch in batches])
            assert sorted(rows.tolist()) == list(range(count))
            assert torch.equal(torch.cat([inputs for inputs, _ in batches]), rows[:, None] * 2.0)
            if not shuffle:
                assert rows.tolist() == list(range(count))


def test_ten_thousand_images_by_64_end_without_a_small_batch():
    loader = make_loader((torch.zeros(10_000, 1), torch.zeros(10_000).long()), 64, shuffle=True)
    assert [len(labels) for _, labels in loader][-2:] == [64, 80]
    assert len(make_loader((torch.zeros(10_000, 1), torch.zeros(10_000).long()), 64)) == 157


@pytest.mark.parametrize(("count", "batch_size"), [(1, 1), (10, 3), (12, 3), (5, 8), (64, 16), (65, 16)])
def test_unshuffled_batches_equal_those_of_torch_s_data_loader(count, batch_size):
    inputs, labels = torch.randn(count, 2, 3), torch.randint(5, (count,))
    theirs = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size)
    ours = make_loader((inputs, labels), batch_size)
    assert len(ours) == len(theirs)
    for (x, y), (their_x, their_y) in zip(ours, theirs, strict=True):
        assert torch.equal(x, their_x) and torch.equal(y, their_y)


def orders(loader, epochs=2):
    return [torch.cat([labels for _, labels in loader]).tolist() for _ in range(epochs)]


def numbered_loader(**options):
    return make_loader((torch.zeros(100, 1), torch.arange(100)), 8, shuffle=True, **options)


def test_shuffling_differs_by_epoch_and_repeats_with_its_generator():
    first = orders(numbered_loader(generator=torch.Generator().manual_seed(5)))
    assert first[0] != first[1]
    assert first[0] != list(range(100))
    assert orders(numbered_loader(generator=torch.Generator().manual_seed(5))) == first
    assert orders(numbered_loader(generator=torch.Generator().manual_seed(6))) != first


def test_a_shared_generator_is_drawn_from_in_turn():
    generator = torch.Generator().manual_seed(5)
    assert orders(numbered_loader(generator=generator)) != orders(numbered_loader(generator=generator))


def test_without_a_generator_the_order_follows_torch_s_seed():
    by_seed = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        by_seed.append(orders(numbered_loader()))
    assert by_seed[0] == by_seed[1] != by_seed[2]


@pytest.mark.parametrize("options", [{}, {"generator": torch.Generator()}])
def test_batches_leave_torch_s_random_state_alone(options):
    state = torch.random.get_rng_state()
    orders(numbered_loader(**options))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_transform_gets_whole_batches_of_inputs(shuffle):
    seen = []

    def negate(inputs):
        seen.append(tuple(inputs.shape))
        return -inputs

    labels = torch.arange(10)
    for x, y in make_loader((labels[:, None].float(), labels), 4, shuffle=shuffle, transform=negate):
        assert torch.equal(x[:, 0], -y.float())
    assert seen == [(4, 1), (4, 1), (2, 1)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_transform_in_place_leaves_the_data_as_they_are(shuffle):
    labels = torch.arange(10)
    inputs = labels[:, None].float()
    loader = make_loader((inputs, labels), 4, shuffle=shuffle, transform=lambda batch: batch.mul_(2).add_(1))
    for _ in range(2):
        for x, y in loader:
            assert torch.equal(x[:, 0], y * 2.0 + 1)
    assert torch.equal(inputs[:, 0], labels.float())


@pytest.mark.parametrize("channels", [1, 3])
def test_images_become_floats_from_zero_to_one_or_standardized(channels):
    data = random_images(9, channels=channels)
    before = data.images.clone()
    inputs = torch.cat([x for x, _ in make_loader(data, 4)])
    assert inputs.dtype == torch.float32
    torch.testing.assert_close(inputs.double(), data.images.double() / 255, rtol=1e-6, atol=0)
    statistics = channel_statistics(data)
    inputs = torch.cat([x for x, _ in make_loader(data, 4, statistics=statistics)])
    assert torch.equal(inputs, standardize(data.images, statistics))
    assert torch.equal(torch.cat([y for _, y in make_loader(data, 4)]), data.labels)
    assert torch.equal(data.images, before)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_come_on_the_device_asked_for(shuffle):
    for x, y in make_loader(random_images(9), 4, shuffle=shuffle, device="meta"):
        assert (x.device.type, y.device.type) == ("meta", "meta")


X, Y = torch.zeros(6, 2), torch.zeros(6).long()


@pytest.mark.parametrize(
    ("data", "batch_size", "options", "error", "message"),
    [
        ((X, Y), 0, {}, ValueError, "whole number of at least 1 as batch_size, got 0"),
        ((X, Y), -1, {}, ValueError, "batch_size, got -1"),
        ((X, Y), 2.5, {}, ValueError, "batch_size, got 2.5"),
        ((X, Y), "64", {}, ValueError, "batch_size, got '64'"),
        ((X, Y), None, {}, ValueError, "batch_size, got None"),
        ((X[:0], Y[:0]), 2, {}, ValueError, "one or more rows, got 0 rows"),
        ((X, Y.float()), 2, {}, TypeError, r"int64 tensor .* torch.float32: use torch.as_tensor\(labels\).long\(\)"),
        ((X, Y[:5]), 2, {}, ValueError, r"got 6 rows, labels \(5,\)"),
        ((X, Y[:, None]), 2, {}, ValueError, r"got 6 rows, labels \(6, 1\)"),
        ((X, Y - 1), 2, {}, ValueError, "labels run from -1 to -1, expected 0 and up: count"),
        ((X, Y), 2, {"statistics": Statistics(X[0], X[0])}, TypeError, "and then no statistics, got tuple"),
        (X, 2, {}, TypeError, r"ImageData, or a pair of tensors \(inputs, labels\) and .*, got Tensor"),
        ((X, Y, Y), 2, {}, TypeError, "ImageData, or a pair of tensors"),
        ((X.numpy(), Y.numpy()), 2, {}, TypeError, "int64 tensor of labels, got ndarray of int64"),
    ],
)
def test_a_loader_refuses_what_does_not_fit(data, batch_size, options, error, message):
    for shuffle in (False, True):
        with pytest.raises(error, match=message):
            make_loader(data, batch_size, shuffle=shuffle, **options)


# -------------------------------------------------------------------------------------------- the order in memory

SHAPES = [(1, 5, 4), (3, 5, 4), (1, 28, 28), (3, 1, 1), (1, 1, 1), (2, 1, 7)]


def is_channels_last(images):
    """Say whether torch takes this batch for channels_last: then a convolution's output is so too."""
    width = images.shape[3]
    channels = torch.zeros(2, images.shape[1], 1, 1)
    return torch.nn.functional.conv2d(images, channels).stride()[1:] == (1, 2 * width, 2)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 5, 4), (1, 28, 28)])
def test_images_come_in_channels_last_with_the_values_that_they_had(shape, shuffle):
    plain = torch.randn(20, *shape)
    assert not is_channels_last(plain)
    for inputs in (plain, plain.to(memory_format=torch.channels_last)):
        for transform in (None, lambda x: x.flip(3), lambda x: x.contiguous()):
            loader = make_loader((inputs, torch.arange(20)), 8, shuffle=shuffle, transform=transform)
            for x, rows in loader:
                assert torch.equal(x, plain[rows] if transform is None else transform(plain[rows]))
                assert is_channels_last(x) and x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", SHAPES)
def test_channels_last_changes_no_value_and_no_data(shape):
    for dtype in (torch.uint8, torch.float32):
        images = (255 * torch.rand(6, *shape)).to(dtype)
        before = images.clone()
        for x in (images, images[2:5], images.transpose(2, 3), images.expand(6, *shape), images[:1]):
            ours = channels_last(x)
            assert torch.equal(ours, x) and ours.stride(1) == 1 and ours.dtype == dtype
        assert torch.equal(images, before)


def test_a_batch_of_one_channel_can_still_be_viewed_as_rows():
    x, _ = next(iter(make_loader(random_images(8, channels=1, size=6), 4)))
    assert torch.equal(x.view(len(x), -1), x.flatten(1)) and torch.equal(x.view(-1, 36), x.reshape(4, 36))


def test_rows_and_sequences_keep_their_order_in_memory():
    for shape in [(20, 3), (20,), (20, 4, 5), (20, 2, 3, 4, 5)]:
        inputs = torch.randn(shape)
        for x, rows in make_loader((inputs, torch.arange(20)), 8, shuffle=True):
            assert torch.equal(x, inputs[rows]) and x.is_contiguous()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("shape", [(5,), (1, 4, 4), (3, 4, 4)])
def test_a_model_that_works_in_place_leaves_the_data_as_they_are(shape, shuffle):
    inputs, labels = torch.rand(10, *shape), torch.arange(10)
    before = inputs.clone()
    for x, y in make_loader((inputs, labels), 4, shuffle=shuffle):
        x.zero_(), y.zero_()
    assert torch.equal(inputs, before) and torch.equal(labels, torch.arange(10))
