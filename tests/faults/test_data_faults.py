"""Damaged, missing and unreachable data: each message names the file and says what to do."""

import gzip
import struct

import pytest

from course_utils import data as course_data
from course_utils.data import load_images, read_cifar10, read_idx
from course_utils.download import PUBLISHED, DownloadError

IDX = struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 3, 4) + bytes(range(24))
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Let every download fail, and look for data in an empty folder."""
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(course_data, "download", failing(DownloadError("no mirror answered")))


def failing(error):
    def download(name, folder):
        raise error

    return download


# ------------------------------------------------------------------------------------------------------- IDX files


def test_an_idx_file_cut_anywhere_is_named(tmp_path):
    path = tmp_path / "images-idx3-ubyte"
    for length in range(len(IDX)):
        path.write_bytes(IDX[:length])
        with pytest.raises(ValueError, match=r"delete it and load again") as error:
            read_idx(path)
        assert str(path) in str(error.value)
    path.write_bytes(IDX)
    assert read_idx(path).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no whole IDX file of bytes"),
        (IDX + b"\0", r"no whole IDX file of bytes \(41 bytes, the header says \[2, 3, 4\]\)"),
        (IDX * 2, "80 bytes"),
        (b"\1" + IDX[1:], "is no whole IDX file of bytes"),
        (b"\0\1" + IDX[2:], "is no whole IDX file of bytes"),
        (b"\0\0\x0d" + IDX[3:], "is no whole IDX file of bytes"),
        (b"\0\0\x08\xff" + IDX[4:], "the header says"),
        (gzip.compress(IDX, mtime=0), "is no whole IDX file of bytes"),
        (b"<!doctype html><title>404</title>", "is no whole IDX file of bytes"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 4), "the header says"),
        (struct.pack(">BBBB2I", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1) + b"\1", "the header says"),
    ],
    ids=[
        "empty",
        "one byte more",
        "twice",
        "first byte",
        "second byte",
        "floats",
        "255 axes",
        "packed",
        "page",
        "2^64",
        "2^64 - 2^33",
    ],
)
def test_a_file_that_is_no_idx_file_of_bytes_is_named(content, message, tmp_path):
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_a_missing_idx_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere-idx3-ubyte"):
        read_idx(tmp_path / "nowhere-idx3-ubyte")


# -------------------------------------------------------------------------------------------------------- CIFAR-10


def cifar_folder(tmp_path, files, classes=NAMES):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(classes), encoding="utf-8")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("length", [0, 1, 3072, 3074, 2 * 3073 - 1])
@pytest.mark.parametrize(("part", "name"), [("train", "data_batch_2.bin"), ("test", "test_batch.bin")])
def test_a_cut_cifar_file_is_named(part, name, length, tmp_path):
    folder = cifar_folder(tmp_path, {"data_batch_1.bin": bytes(3073), name: bytes(length)})
    with pytest.raises(ValueError, match="no multiple of 3073: delete it and load again") as error:
        read_cifar10(tmp_path, part)
    assert str(folder / name) in str(error.value)


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_cifar_files_are_named(part, tmp_path):
    cifar_folder(tmp_path, {})
    with pytest.raises(FileNotFoundError, match={"train": "data_batch_1.bin", "test": "test_batch.bin"}[part]):
        read_cifar10(tmp_path, part)


def test_a_label_beyond_the_class_names_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(course_data, "download", lambda name, folder: None)
    cifar_folder(tmp_path, {"test_batch.bin": b"\x0a" + bytes(3072)})
    with pytest.raises(ValueError, match=r"cifar10/test .* is damaged \(labels run from 10 to 10, expected 0 to 9"):
        load_images("cifar10", "test")


# ----------------------------------------------------------------------------------------------------- load_images


@pytest.mark.parametrize(
    ("name", "count", "file"),
    [("mnist", 500, "MNIST/raw/train-images-idx3-ubyte"), ("cifar10", 300, "cifar-10-batches-bin/data_batch_1.bin")],
)
def test_without_network_the_stand_in_serves_and_one_line_says_so(name, count, file, tmp_path, capsys):
    data = load_images(name, "test")
    assert data.source == f"{name}/test (stand-in)"
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"Stand-in data: {count} drawn images serve as {name}/test")
    assert f"{tmp_path / 'data' / file} is not there" in line
    assert line.endswith(f"python -m course_utils download {name}")


def test_a_damaged_real_file_is_named_in_the_notice(tmp_path, capsys):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in PUBLISHED["mnist"]:
        for name, (size, _) in archive.members.items():
            with open(tmp_path / "data" / name, "wb") as handle:  # sparse: the right size without the bytes
                handle.truncate(100 if "t10k-images" in name else size)
    data = load_images("mnist", "train")
    assert data.source == "mnist/train (stand-in)"
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{raw / 't10k-images-idx3-ubyte'} is damaged: 100 bytes, expected 7,840,016" in line


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_full_profile_never_serves_the_stand_in(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROFILE", "full")
    with pytest.raises(FileNotFoundError, match="no mirror answered") as error:
        load_images(name, "train")
    for part in (str(tmp_path / "data"), f"python -m course_utils download {name}", "unset COURSE_PROFILE"):
        assert part in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_an_interrupted_download_is_not_taken_for_a_missing_network(error, monkeypatch):
    monkeypatch.setattr(course_data, "download", failing(error))
    with pytest.raises(type(error)):
        load_images("mnist", "train")
