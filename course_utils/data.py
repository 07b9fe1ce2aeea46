"""Tensors to learn from: the published data sets, their stand-ins, made-up rows, splits and batches."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_utils.download import DownloadError, altered_files, data_folder, download, missing_files
from course_utils.runtime import REPOSITORY, profile

STAND_IN_FOLDER = REPOSITORY / "data" / "tiny"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with their labels: uint8 (N, C, H, W) from 0 to 255, int64 (N,) from 0 to len(classes) − 1.

    `source` says where they come from, for example "mnist/train" or "mnist/train (stand-in)".
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if self.images.dim() != 4 or self.images.dtype != torch.uint8:
            came = f"{self.images.dtype} {tuple(self.images.shape)}"
            raise ValueError(f"expected uint8 images (N, C, H, W) as read, got {came}: images[:, None] adds a channel")
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
        return replace(self, images=self.images[rows], labels=self.labels[rows])


def check_labels(labels: Tensor, count: int, classes: int | None = None) -> None:
    """Raise TypeError or ValueError unless these are int64 (count,), at least one, from 0 to classes − 1."""
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        came = f"{type(labels).__name__} of {getattr(labels, 'dtype', 'numbers')}"
        raise TypeError(f"expected an int64 tensor of labels, got {came}: use torch.as_tensor(labels).long()")
    if count == 0 or labels.shape != (count,):
        raise ValueError(
            f"expected a label for each of one or more rows, got {count} rows, labels {tuple(labels.shape)}"
        )
    if labels.min() < 0 or (classes is not None and labels.max() >= classes):
        expected = "0 and up" if classes is None else f"0 to {classes - 1}"
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, expected {expected}: count classes from 0")


def load_images(name: str, split: str) -> ImageData:
    """Return the "train" or "test" split of "mnist" or "cifar10", from where `locate` finds it.

    One line says so when the stand-in serves unasked, and one when a file is not as published: then `source` ends in
    "(altered)". Raises ValueError for an unknown name and for a damaged file.
    """
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r}: expected one of train, test")
    folder = locate(name)
    stand_in = folder == STAND_IN_FOLDER
    altered = [] if stand_in else [path for path in altered_files(name, folder) if split_of(path) == split]
    images, labels, classes = READERS[name](folder, split)
    source = f"{name}/{split}" + (" (stand-in)" if stand_in else " (altered)" if altered else "")
    try:
        data = ImageData(torch.from_numpy(images), torch.from_numpy(labels).long(), classes, source)
    except ValueError as error:
        raise ValueError(f"{source} in {folder} is damaged ({error}): delete its files and load again") from error
    if stand_in and profile() != "tiny":
        print(
            f"Stand-in data: {len(data):,} drawn images serve as {name}/{split}, because {name} is not complete "
            f"({missing_files(name, data_folder())[0]}) and could not be downloaded. To get the real images, "
            f"restart the kernel after: python -m course_utils download {name}"
        )
    if altered:
        print(f"Not as published: {', '.join(map(str, altered))} (other bytes; delete it and load again)")
    return data


def split_of(path: Path) -> str:
    """Return which split a published file belongs to."""
    return "test" if path.name.startswith(("t10k", "test")) else "train"


def locate(name: str) -> Path:
    """Return the folder to read a data set from: COURSE_DATA, where what is missing is downloaded, or the stand-in's.

    COURSE_PROFILE=tiny always means the stand-in. With COURSE_PROFILE=full it raises FileNotFoundError instead.
    """
    if name not in READERS:
        raise ValueError(f"unknown data set {name!r}: expected one of {', '.join(READERS)}")
    return STAND_IN_FOLDER if profile() == "tiny" else found(name, data_folder(), profile())


@cache
def found(name: str, folder: Path, profile: str) -> Path:
    """Return what `locate` returns. Once in a process, so that training and test images are of one kind."""
    try:
        download(name, folder)
    except DownloadError as error:
        if profile == "full":
            raise FileNotFoundError(
                f"the real {name} is not in {folder} and could not be downloaded ({error}): run "
                f"`python -m course_utils download {name}` with a network, or unset COURSE_PROFILE to use the stand-in"
            ) from error
        return STAND_IN_FOLDER
    return folder


def read_mnist(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return MNIST's images (N, 1, 28, 28), labels (N,), both uint8, and class names."""
    prefix = folder / "MNIST" / "raw" / ("train" if split == "train" else "t10k")
    images, labels = (read_idx(Path(f"{prefix}-{kind}-ubyte")) for kind in ("images-idx3", "labels-idx1"))
    return images[:, None], labels, tuple("0123456789")


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes: 0, 0, 8, the number of axes, the axis sizes (big-endian uint32), the values.

    Raises ValueError, naming the file, when it is none or damaged. Format: http://yann.lecun.com/exdb/mnist (archived)
    """
    raw = np.fromfile(path, dtype=np.uint8)
    header = 4 + 4 * int(raw[3]) if len(raw) > 3 and raw[:3].tolist() == [0, 0, 8] else 0
    shape = [int.from_bytes(raw[k : k + 4].tobytes(), "big") for k in range(4, header, 4)]
    if not header or len(raw) != header + math.prod(shape):
        found = f"{len(raw):,} bytes, the header says {shape}" if header else "it begins otherwise"
        raise ValueError(f"{path} is no whole IDX file of bytes ({found}): delete it and load again")
    return raw[header:].reshape(shape)


def read_cifar10(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return CIFAR-10's images (N, 3, 32, 32), labels (N,), both uint8, and class names.

    A record is a label byte and 3072 pixels, the red plane first. Raises ValueError, naming the file, for a cut one.
    """
    folder = folder / "cifar-10-batches-bin"
    name = "data_batch_{}.bin" if split == "train" else "test_batch.bin"
    paths = sorted(folder.glob(name.format("[1-5]"))) or [folder / name.format(1)]  # the stand-in has fewer
    parts = [np.fromfile(path, dtype=np.uint8) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if len(part) == 0 or len(part) % 3073:
            raise ValueError(f"{path} holds {len(part):,} bytes, no multiple of 3073: delete it and load again")
    records = np.concatenate(parts).reshape(-1, 3073)
    classes = tuple((folder / "batches.meta.txt").read_text(encoding="utf-8").split())
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], classes


READERS = {"mnist": read_mnist, "cifar10": read_cifar10}


def make_three_feature_rows(count: int = 10_000, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Make rows of three numbers and the class of their sum: float32 (count, 3) in [0, 1), int64 (count,) from 0 to 2.

    Class 0 where x1 + x2 + x3 < 1, class 1 between 1 and 2, class 2 above 2.
    """
    rows = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    sums = rows.sum(dim=1)
    return rows, (sums > 1).long() + (sums > 2).long()


def split(data: ImageData, fraction: float, *, seed: int = 0) -> tuple[ImageData, ImageData]:
    """Shuffle `data` and set `fraction` (between 0 and 1) aside: return (the rest, the part), which share no image."""
    part = round(len(data) * fraction) if 0 < fraction < 1 else 0
    if not 0 < part < len(data):
        what = f"a fraction of {fraction} of {len(data)} images leaves one side empty"
        raise ValueError(f"{what}: choose one between 0 and 1, for example split(data, 0.1)")
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
    """Return (images / 255 − mean) / std, float32, of uint8 images (N, C, H, W), by the training images' statistics."""
    if images.dtype != torch.uint8:
        raise TypeError(f"expected uint8 images from 0 to 255, got {images.dtype}: standardize them once, as read")
    if not (statistics.std > 0).all():
        raise ValueError("a channel is constant (its std is 0), so nothing can be standardized: leave it out")
    mean, std = (value.view(-1, 1, 1).to(images.device) for value in statistics)
    return images.float().div_(255).sub_(mean).div_(std)


def channels_last(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) with a pixel's channels side by side in memory: convolutions are faster, values equal.

    `flatten` and `reshape` work as ever; behind a convolution `view` does not. Apple's GPUs keep their order: there,
    BatchNorm could not train in this one.
    """
    if images.dim() != 4 or images.device.type == "mps":
        return images
    _, C, H, W = images.shape
    images = images.contiguous(memory_format=torch.channels_last)  # does nothing for one channel, so say it in strides:
    return images.as_strided(images.shape, (C * H * W, 1, W * C, C))


@dataclass(eq=False)
class BatchLoader:
    """Iterate over (inputs, labels) batches, copied out of tensors that stay in memory. Made by `make_loader`."""

    inputs: Tensor
    labels: Tensor
    batch_size: int
    shuffle: bool
    transform: Callable[[Tensor], Tensor] | None
    generator: torch.Generator

    def __len__(self) -> int:
        return len(self.batch_sizes())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.labels)
        order = torch.randperm(count, generator=self.generator) if self.shuffle else torch.arange(count)
        for rows in order.to(self.labels.device).split(self.batch_sizes()):
            inputs = self.inputs.index_select(0, rows)  # (B, …), in half the time of self.inputs[rows]
            if self.transform is not None:
                inputs = self.transform(inputs)
            yield channels_last(inputs), self.labels[rows]

    def batch_sizes(self) -> list[int]:
        """Return the sizes of one epoch's batches; a small rest joins the last batch when shuffling."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        if self.shuffle and whole and 2 * rest < self.batch_size:
            return [self.batch_size] * (whole - 1) + [self.batch_size + rest]
        return [self.batch_size] * whole + [rest] * (rest > 0)


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
    """Return a loader of (inputs, labels) batches, copied out of tensors that stay in memory on `device`.

    `data` is an ImageData, whose images become float32, 0 … 1 or, with `statistics`, standardized; or a pair
    (inputs (N, …), labels int64 (N,)) that is taken as it is. `transform` changes one whole batch of inputs.

    Every row is used once an epoch. When shuffling, a last batch smaller than half of `batch_size` is joined to the one
    before it: a step on a handful of images is noisy, and BatchNorm's statistics of so few are worse than none. The
    shuffling draws from `generator`, or from one of its own, never from torch's global random state.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"expected a whole number of at least 1 as batch_size, got {batch_size!r}")
    if isinstance(data, ImageData):
        pixels, labels = data.images.to(device), data.labels
        inputs = pixels.float().div_(255) if statistics is None else standardize(pixels, statistics)
    elif statistics is not None or not isinstance(data, tuple | list) or len(data) != 2:
        expected = "ImageData, or a pair of tensors (inputs, labels) and then no statistics"
        raise TypeError(f"expected {expected}, got {type(data).__name__}")
    else:
        inputs, labels = data
        check_labels(labels, len(inputs))
    generator = generator or torch.Generator().manual_seed(torch.initial_seed() % 2**63)
    return BatchLoader(inputs.to(device), labels.to(device), batch_size, shuffle, transform, generator)
