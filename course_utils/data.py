"""Tensors to learn from: the published data sets, their stand-ins, made-up rows, splits and batches."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_utils.download import DownloadError, download, missing_files
from course_utils.runtime import REPOSITORY, profile

STAND_IN_FOLDER = REPOSITORY / "data" / "tiny"
STAND_INS = ("mnist", "cifar10")
SPLITS = ("train", "test")
DIGITS = tuple("0123456789")


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with their labels: uint8 (N, C, H, W) from 0 to 255, int64 (N,) from 0 to len(classes) − 1.

    `source` says where they come from, for example "mnist/train" or "mnist/train (stand-in)". Raises ValueError or
    TypeError when shapes, dtypes or labels do not fit together.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if self.images.dim() != 4:
            raise ValueError(
                f"expected images of shape (N, C, H, W), got {tuple(self.images.shape)}: "
                "add the missing axes, for example images[:, None] for one channel"
            )
        if self.images.dtype != torch.uint8:
            raise TypeError(
                f"expected uint8 images from 0 to 255, got {self.images.dtype}: keep them as they were read"
            )
        check_labels(self.labels, len(self.images), classes=len(self.classes))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        count, *shape = self.images.shape
        return f"{self.source}: {count:,} images of shape {tuple(shape)}, {len(self.classes)} classes"

    @property
    def is_stand_in(self) -> bool:
        """Say whether these are the drawn images that ship with the course, not the published ones."""
        return "(stand-in)" in self.source

    def select(self, rows: Tensor) -> "ImageData":
        """Return the images and labels at `rows` (int64 indices or a bool mask)."""
        return ImageData(self.images[rows], self.labels[rows], self.classes, self.source)


def check_labels(labels: Tensor, count: int, classes: int | None = None) -> None:
    """Raise ValueError or TypeError unless `labels` is int64 (count,), from 0 to classes − 1, and not empty."""
    if count == 0:
        raise ValueError("the data is empty: expected at least one row")
    if labels.dtype != torch.int64:
        raise TypeError(f"expected int64 labels (class indices), got {labels.dtype}: convert them with labels.long()")
    if labels.shape != (count,):
        raise ValueError(f"expected one label a row, shape ({count},), got {tuple(labels.shape)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        raise ValueError(
            f"labels run from {low} to {high}, expected 0 to {(classes or high + 1) - 1}: count classes from 0"
        )


# ---------------------------------------------------------------------------------------------- images from files


def data_folder() -> Path:
    """Return the folder of the published data: COURSE_DATA, or `data/` in the repository."""
    return Path(os.environ.get("COURSE_DATA") or REPOSITORY / "data").expanduser()


def load_images(name: str, split: str) -> ImageData:
    """Return the "train" or "test" split of "mnist" or "cifar10".

    Looks in the folder COURSE_DATA, downloads what is missing there, and serves the stand-in data with one line of
    notice when that fails. COURSE_PROFILE=tiny always serves the stand-in; COURSE_PROFILE=full never does. Raises
    ValueError for an unknown name or split and for a damaged file, FileNotFoundError when the real data is required
    and cannot be had.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    folder = locate(name)
    stand_in = folder == STAND_IN_FOLDER
    data = READERS[name](folder, split, f"{name}/{split} (stand-in)" if stand_in else f"{name}/{split}")
    if stand_in and profile() != "tiny":
        print(
            f"Stand-in data: {len(data):,} drawn images serve as {name}/{split}, because "
            f"{missing_files(name, data_folder())[0]} and it could not be downloaded. "
            f"To get the real ones: python -m course_utils download {name}"
        )
    return data


def locate(name: str) -> Path:
    """Return the folder to read a data set from: the real one, downloaded when it is missing, or the stand-in's.

    Raises ValueError for an unknown name, FileNotFoundError when the real data cannot be had and COURSE_PROFILE=full
    asks for it, or no stand-in exists.
    """
    if name not in READERS:
        raise ValueError(f"unknown data set {name!r}: expected one of {', '.join(READERS)}")
    if profile() == "tiny":
        return stand_in_folder(name)
    folder = data_folder()
    if not missing_files(name, folder):
        return folder
    try:
        download(name, folder)
    except (DownloadError, OSError) as error:
        if profile() == "full":
            raise FileNotFoundError(
                f"the real {name} is not in {folder} and could not be downloaded ({error}): run "
                f"`python -m course_utils download {name}` with a network, or unset COURSE_PROFILE to use the stand-in"
            ) from error
        return stand_in_folder(name)
    return folder


def stand_in_folder(name: str) -> Path:
    """Return the folder of a data set's stand-in. Raises FileNotFoundError when it has none."""
    if name not in STAND_INS:
        raise FileNotFoundError(
            f"there is no stand-in for {name}, and the real files are not in {data_folder()}: get them with a network "
            f"by `python -m course_utils download {name}`, and leave COURSE_PROFILE unset"
        )
    return STAND_IN_FOLDER


def read_mnist(folder: Path, split: str, source: str) -> ImageData:
    """Read MNIST's IDX files from `folder`/MNIST/raw. Raises ValueError for a file that is not what it should be."""
    prefix = folder / "MNIST" / "raw" / ("train" if split == "train" else "t10k")
    images = read_idx(Path(f"{prefix}-images-idx3-ubyte"))  # (N, 28, 28)
    labels = read_idx(Path(f"{prefix}-labels-idx1-ubyte"))  # (N,)
    if images.ndim != 3 or len(images) != len(labels):
        raise ValueError(
            f"{prefix}-…: images of shape {images.shape} and labels of shape {labels.shape} do not belong together: "
            "delete both files and load again"
        )
    return ImageData(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long(), DIGITS, source)


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes: 2 zero bytes, type 8, number of axes, the axis sizes (big-endian uint32), the values.

    Returns uint8 with as many axes as the header says. Raises ValueError, naming the file, when it is truncated or no
    IDX file, FileNotFoundError when it is missing. Format: http://yann.lecun.com/exdb/mnist (archived).
    """
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) < 4 or tuple(raw[:3]) != (0, 0, 8):
        raise ValueError(
            f"{path} is no IDX file of bytes (it starts with {raw[:4].tolist()}): delete it and load again"
        )
    axes = int(raw[3])
    header = 4 + 4 * axes
    shape = tuple(int(size) for size in raw[4:header].view(">u4")) if len(raw) >= header else ()
    if len(raw) != header + math.prod(shape):
        raise ValueError(
            f"{path} holds {len(raw):,} bytes, but its header promises the shape {shape}: "
            "it is truncated or altered; delete it and load again"
        )
    return raw[header:].reshape(shape)


def read_cifar10(folder: Path, split: str, source: str) -> ImageData:
    """Read CIFAR-10's binary files: each record is a label byte and 3072 pixels, red plane first, then green, blue."""
    folder = folder / "cifar-10-batches-bin"
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] if split == "train" else ["test_batch.bin"]
    parts = [read_records(folder / name) for name in names if split == "test" or (folder / name).exists()]
    if not parts:
        raise FileNotFoundError(f"{folder} holds no data_batch_1.bin … data_batch_5.bin")
    records = np.concatenate(parts)  # (N, 3073)
    classes = tuple((folder / "batches.meta.txt").read_text(encoding="utf-8").split())
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy())  # (N, 3, 32, 32)
    return ImageData(images, torch.from_numpy(records[:, 0]).long(), classes, source)


def read_records(path: Path) -> np.ndarray:
    """Read one file of CIFAR-10 records as uint8 (N, 3073). Raises ValueError, naming the file, when it is damaged."""
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) == 0 or len(raw) % 3073:
        raise ValueError(
            f"{path} holds {len(raw):,} bytes, no multiple of 3073: it is damaged; delete it and load again"
        )
    return raw.reshape(-1, 3073)


READERS: dict[str, Callable[[Path, str, str], ImageData]] = {"mnist": read_mnist, "cifar10": read_cifar10}


# ------------------------------------------------------------------------------------------------- rows and splits


def make_three_feature_rows(count: int = 10_000, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Make rows of three numbers and the class of their sum: float32 (count, 3) in [0, 1), int64 (count,) from 0 to 2.

    Class 0 where x1 + x2 + x3 < 1, class 1 between 1 and 2, class 2 above 2. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"expected at least one row, got count={count}")
    rows = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    sums = rows.sum(dim=1)
    return rows, (sums > 1).long() + (sums > 2).long()


def split(data: ImageData, fraction: float, *, seed: int = 0) -> tuple[ImageData, ImageData]:
    """Shuffle `data` and set `fraction` of it aside: return (the rest, the part), which share no image.

    `fraction` lies between 0 and 1, both excluded. Raises ValueError when one side would be empty.
    """
    part = round(len(data) * fraction) if 0 < fraction < 1 else 0
    if not 0 < part < len(data):
        raise ValueError(
            f"a fraction of {fraction} of {len(data)} images leaves one side empty: choose one between 0 and 1, "
            "for example split(data, 0.1)"
        )
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return data.select(order[part:]), data.select(order[:part])


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, float32 (C,), of pixels scaled to 0 … 1."""

    mean: Tensor
    std: Tensor


def channel_statistics(data: ImageData) -> Statistics:
    """Return mean and standard deviation of each channel over all images and pixels, of values scaled to 0 … 1.

    Counts how often each of the 256 pixel values occurs, so the result is exact and needs no float copy of the images.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in data.images.unbind(1)])
    share = counts.double() / counts.sum(dim=1, keepdim=True)  # (C, 256)
    mean = share @ values  # (C,)
    std = (share @ values.square() - mean.square()).sqrt()
    return Statistics(mean.float(), std.float())


def standardize(images: Tensor, statistics: Statistics) -> Tensor:
    """Return (images / 255 − mean) / std for uint8 images (N, C, H, W): float32 of the same shape.

    Use the training images' statistics for every split. Raises TypeError for images that are not uint8.
    """
    if images.dtype != torch.uint8:
        raise TypeError(
            f"expected uint8 images from 0 to 255, got {images.dtype}: standardize the images once, as read"
        )
    if not (statistics.std > 0).all():
        raise ValueError("a channel is constant (its std is 0), so nothing can be standardized: leave it out")
    mean, std = (value.view(-1, 1, 1).to(images.device) for value in statistics)
    return images.float().div_(255).sub_(mean).div_(std)


# --------------------------------------------------------------------------------------------------------- batches


class BatchLoader:
    """Iterate over (inputs, labels) batches, cut out of tensors that stay in memory. Made by `make_loader`."""

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        batch_size: int,
        shuffle: bool,
        transform: Callable | None,
        generator: torch.Generator,
    ) -> None:
        self.inputs, self.labels = inputs, labels
        self.batch_size, self.shuffle, self.transform, self.generator = batch_size, shuffle, transform, generator

    def __len__(self) -> int:
        """Return the number of batches in one epoch."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        joined = self.shuffle and whole > 0 and 2 * rest < self.batch_size
        return whole if rest == 0 or joined else whole + 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.batches_of_rows():
            inputs = take(self.inputs, rows)  # (B, …)
            if self.transform is not None:
                inputs = self.transform(inputs if self.shuffle else inputs.clone())  # a slice is the data itself
            yield inputs, take(self.labels, rows)

    def batches_of_rows(self) -> list[Tensor] | list[slice]:
        """Return the rows of each batch: shuffled indices, or slices (which copy nothing) in the order of the data."""
        edges = [*range(0, len(self) * self.batch_size, self.batch_size), len(self.labels)]
        slices = [slice(start, stop) for start, stop in pairwise(edges)]
        if not self.shuffle:
            return slices
        order = torch.randperm(len(self.labels), generator=self.generator).to(self.labels.device)
        return [order[rows] for rows in slices]


def take(tensor: Tensor, rows: Tensor | slice) -> Tensor:
    """Return `tensor[rows]`: by index_select where it can, in half the time; that would forget channels_last."""
    if isinstance(rows, slice) or not tensor.is_contiguous():
        return tensor[rows]
    return tensor.index_select(0, rows)


def make_loader(
    data: ImageData | tuple[Tensor, Tensor],
    batch_size: int,
    *,
    shuffle: bool = False,
    statistics: Statistics | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> BatchLoader:
    """Return a loader of (inputs, labels) batches, cut out of tensors that stay in memory on `device`.

    `data` is an ImageData, whose images become float32, 0 … 1 or, with `statistics`, standardized; or a pair
    (inputs (N, …), labels int64 (N,)) that is taken as it is. `transform` changes one whole batch of inputs.

    Every row is used once an epoch. When shuffling, a last batch smaller than half of `batch_size` is joined to the one
    before it: a step on a handful of images is noisy, and BatchNorm's statistics of so few are worse than none. The
    shuffling draws from `generator`, or from one of its own, never from torch's global random state.

    Raises ValueError for a batch size below 1, empty data or labels that do not fit, TypeError for wrong types.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        raise TypeError(f"expected a whole number for batch_size, got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"expected a batch_size of at least 1, got {batch_size}")
    if isinstance(data, ImageData):
        labels = data.labels
        inputs = standardize(data.images, statistics) if statistics is not None else data.images.float().div_(255)
    else:
        if not (isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)):
            raise TypeError(f"expected ImageData or a pair of tensors (inputs, labels), got {type(data).__name__}")
        if statistics is not None:
            raise ValueError(
                "statistics standardize an ImageData; a pair of tensors is taken as it is: standardize it first"
            )
        inputs, labels = data
        check_labels(labels, len(inputs))
    generator = generator or torch.Generator().manual_seed(torch.initial_seed() % 2**63)
    return BatchLoader(inputs.to(device), labels.to(device), batch_size, shuffle, transform, generator)
