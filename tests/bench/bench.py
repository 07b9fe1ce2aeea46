"""Compare the course's shared code with the plain way, in one run: `make bench`, or `make bench ARGS="lenet floor"`.

Each row runs its two sides in turn (A B, B A, A B, …) and prints the median of the pairs' ratios, so that a machine
that slows down hurts both sides alike. First a training is compared with itself, by more and more pairs until that
ratio lies in 0.98 … 1.02; where it never does, the machine is too busy for the other rows to mean much.
How fast controls redraw is no comparison: a test holds it.
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import Compose, Normalize, ToTensor, v2

from course_utils.augmentation import random_crop, random_flip
from course_utils.data import BatchLoader, ImageData, channel_statistics, load_images, locate, make_loader
from course_utils.models import lenet5, two_conv_net
from course_utils.training import Step, bfloat16_step, classification_step, fit

BATCH = 64
IMAGES = 94 * BATCH  # a tenth of MNIST: ratios of seconds are the same, and the run stays short
LEAST, MOST = 9, 27  # pairs a row
ROW_SECONDS, SELF_SECONDS = 20, 60  # no new pair begins after so long (at least three are run), nor in A/A

Work = Callable[[], None]


class Row(NamedTuple):
    """A comparison: what it is called, what makes its two sides ready to run, and which ratio A / B is the goal."""

    name: str
    a: Callable[[], Work]
    b: Callable[[], Work]
    goal: str


def main() -> None:
    """Measure the rows asked for, or all, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only rows whose name contains one of these words (all by default)")
    parser.add_argument("--list", action="store_true", help="print the rows' names and stop")
    options = parser.parse_args()
    train = load_images("mnist", "train")
    train = train.select(torch.arange(min(IMAGES, len(train))))
    words = [word.lower() for word in options.words] or [""]
    rows = [row for row in all_rows(train) if any(word in row.name.lower() for word in words)]
    if options.list:
        print(*(row.name for row in rows), sep="\n")
        return
    print(f"{train}; batches of {BATCH}; torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"{'A / B':<62} {'ratio':>6}   {'quarter … three quarters':^24} pairs  goal")
    start = time.perf_counter()
    itself = Row(
        "A/A: LeNet-5, ours / the same", partial(ours, train, lenet5), partial(ours, train, lenet5), "0.98–1.02"
    )
    ratio, pairs = compare(itself, LEAST, SELF_SECONDS, until=is_calm)
    for row in rows:
        compare(row, pairs, ROW_SECONDS)
    print(f"\n{time.perf_counter() - start:.0f} seconds in all.")
    if not is_calm(ratio):
        print(f"The machine was busy: A/A was {ratio:.3f} after {pairs} pairs. Close other programs and run again.")


def is_calm(ratio: float) -> bool:
    """Say whether the ratio of a training to itself is near enough to 1."""
    return 0.98 <= ratio <= 1.02


def compare(row: Row, pairs: int, seconds: float, until: Callable[[float], bool] | None = None) -> tuple[float, int]:
    """Time A and B in turn, after a warm-up of each; print and return the median of A / B, and the number of pairs.

    `until` says of a median whether more pairs, up to MOST, are needless.
    """
    a, b = row.a(), row.b()
    a(), b()
    ratios, start = [], time.perf_counter()
    while len(ratios) < pairs or (until and not until(statistics.median(ratios)) and len(ratios) < MOST):
        if len(ratios) >= 3 and time.perf_counter() - start > seconds:
            break
        first, second = (a, b) if len(ratios) % 2 == 0 else (b, a)
        took = {first: timed(first), second: timed(second)}
        ratios.append(took[a] / took[b])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{row.name:<62} {middle:6.3f}   {low:10.3f} … {high:<11.3f} {len(ratios):5}  {row.goal}", flush=True)
    return middle, len(ratios)


def timed(work: Work) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def all_rows(train: ImageData) -> Iterable[Row]:
    """List what is compared, in the order of PERFORMANCE: the course's promises."""
    goals = {lenet5: ("≥ 2.7", "≥ 3.2"), two_conv_net: ("≥ 2.3", "≥ 3.4"), dense_net: ("≥ 4", "")}
    names = {lenet5: "LeNet-5", two_conv_net: "two-conv net", dense_net: "dense net"}
    for make, (goal, goal_in_16_bits) in goals.items():
        torchvision_loop, name = partial(plain, train, make), names[make]
        yield Row(f"{name}: plain torchvision loop / ours", torchvision_loop, partial(ours, train, make), goal)
        in_16_bits = partial(ours, train, make, step=bfloat16_step)
        yield Row(
            f"{name}: plain torchvision loop / ours, bfloat16_step", torchvision_loop, in_16_bits, goal_in_16_bits
        )
        yield Row(f"{name}: ours / floor", partial(ours, train, make), partial(floor, train, make), "≤ 1.05")
        if make is not dense_net:
            wide = partial(ours, train, make, memory_format=torch.channels_last)
            yield Row(f"{name}: ours / ours, the model in channels_last too", partial(ours, train, make), wide, "")
    fitted, bare = partial(with_fit, train, epochs=5), partial(ours, train, dense_net, epochs=5)
    yield Row("fit with its default callbacks / a bare loop", fitted, bare, "≤ 1.02")
    per_image, by_batches = (partial(go_through, loader(train)) for loader in (plain_loader, our_loader))
    yield Row("data pass: torchvision per image / ours", per_image, by_batches, "")
    yield Row("augmented photos: per sample / ours", augmented_per_sample, augmented_by_batches, "≥ 15")
    course = "from course_utils import augmentation, callbacks, data, exercises, models, runtime, tracing, training"
    yield Row("import: the course's modules / torch", fresh(course), fresh("import torch"), "≤ 1.1")
    pictures = "import torch, matplotlib.figure"
    yield Row("import: … and plotting / torch, matplotlib", fresh(f"{course}, plotting"), fresh(pictures), "≤ 1.1")


# --------------------------------------------------------------------------------------------------------- training


def dense_net() -> nn.Sequential:
    """Return chapter 03's network."""
    layers = [nn.Flatten()]
    for before, after in ((784, 512), (512, 256), (256, 128), (128, 64), (64, 10)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plain_loader(train: ImageData) -> DataLoader:
    """Return the loader of most tutorials: torchvision's data set with transforms for each sample."""
    transform = Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    dataset = torchvision.datasets.MNIST(locate("mnist"), train=True, transform=transform)
    return DataLoader(Subset(dataset, range(len(train))), batch_size=BATCH, shuffle=True)


def our_loader(train: ImageData) -> BatchLoader:
    """Return the course's loader."""
    return make_loader(train, BATCH, shuffle=True, statistics=channel_statistics(train))


def training(loader: Iterable, make: Callable, loss_of: Callable, *, epochs: int = 1, **layout) -> Work:
    """Return epochs of a bare loop with plain SGD and momentum, which go on where the last call ended."""
    torch.manual_seed(0)
    model = make().to(**layout) if layout else make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

    def work() -> None:
        for _ in range(epochs):
            for batch in loader:
                loss = loss_of(model, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return work


def plain(train: ImageData, make: Callable) -> Work:
    """The loop of most tutorials; it asks for the loss and counts right answers in every batch."""

    def loss_of(model: nn.Module, batch: list) -> torch.Tensor:
        images, labels = batch
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.item(), (logits.argmax(dim=1) == labels).sum().item()
        return loss

    return training(plain_loader(train), make, loss_of)


def ours(train: ImageData, make: Callable, *, step: Step = classification_step, **options) -> Work:
    """The course's loader and step without anything around them."""
    return training(our_loader(train), make, lambda model, batch: step(model, batch)["loss"], **options)


def floor(train: ImageData, make: Callable) -> Work:
    """The same number of steps on one batch that is already there: no loader can be faster."""
    loader = our_loader(train)
    batch = next(iter(loader))
    return training([batch] * len(loader), make, lambda model, batch: classification_step(model, batch)["loss"])


def with_fit(train: ImageData, epochs: int) -> Work:
    """The same epochs through one `fit`, as a chapter calls it, with its progress bar writing to nowhere."""
    model, loader = dense_net(), our_loader(train)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            fit(model, loader, optimizer=optimizer, epochs=epochs)

    return work


# ------------------------------------------------------------------------------------------------- data and imports


def go_through(loader: Iterable) -> Work:
    """Return a pass over a loader without training."""

    def work() -> None:
        for _ in loader:
            pass

    return work


def photos() -> ImageData:
    """Return random images in CIFAR-10's shape: what is in them does not matter for the time."""
    images = torch.randint(256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageData(images, torch.arange(IMAGES) % 10, tuple("0123456789"), "random")


class PerSample(Dataset):
    """Images that torchvision crops, mirrors and standardizes one at a time, as most tutorials do."""

    def __init__(self, data: ImageData) -> None:
        mean, std = (values.tolist() for values in channel_statistics(data))
        to_floats = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
        self.data = data
        self.transform = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *to_floats])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.transform(self.data.images[k]), self.data.labels[k]


def augmented_per_sample() -> Work:
    return go_through(DataLoader(PerSample(photos()), batch_size=BATCH, shuffle=True))


def augmented_by_batches() -> Work:
    """The same three changes, a draw an image too, but of whole batches."""
    data = photos()
    mean, std = (values.view(3, 1, 1) for values in channel_statistics(data))

    def transform(images: torch.Tensor) -> torch.Tensor:
        return (random_flip(random_crop(images, 4)) - mean) / std

    return go_through(make_loader(data, BATCH, shuffle=True, transform=transform))


def fresh(statement: str) -> Callable[[], Work]:
    """Return what makes a run of a statement in a new interpreter."""
    return lambda: partial(subprocess.run, [sys.executable, "-c", statement], check=True)


if __name__ == "__main__":
    main()
