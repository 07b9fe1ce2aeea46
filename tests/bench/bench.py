"""Compare the course's shared code with the plain way, in one run: `make bench`.

Each row runs its two sides in turn (A B, B A, A B, …) and prints the median of the pairs' ratios, so that a machine
that slows down hurts both sides alike. The first row compares a training with itself: when that ratio leaves
0.98 … 1.02, the machine was too busy for the other rows to mean much.
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import Compose, Normalize, ToTensor, v2

from course_utils.augmentation import random_crop, random_flip
from course_utils.data import ImageData, channel_statistics, load_images, locate, make_loader
from course_utils.models import lenet5, two_conv_net
from course_utils.training import classification_step, fit
from course_utils.widgets import (
    convolution_arithmetic,
    convolution_stepper,
    data_augmentation,
    drawing,
    first_network,
    lenet,
    mnist_dnn,
    pooling,
    start_here,
)
from course_utils.widgets.canvas import Explorer

IMAGES = 6000  # a tenth of an epoch: ratios of seconds are the same, and the run stays short
BATCH = 64


def main() -> None:
    """Measure everything and print one row a comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9, help="pairs a row (default and least: 9)")
    pairs = max(9, parser.parse_args().pairs)
    train = load_images("mnist", "train")
    train = train.select(torch.arange(min(IMAGES, len(train))))
    print(f"{train}; batches of {BATCH}; torch {torch.__version__}, {torch.get_num_threads()} threads; {pairs} pairs\n")
    print(f"{'A / B':<66} {'ratio':>7}   {'pairs':>13}   goal")
    busy = (
        not 0.98 <= compare("A/A: one epoch, ours / the same", ours(train), ours(train), pairs, "0.98 to 1.02") <= 1.02
    )
    compare("data pass: torchvision per image / resident tensors", plain_pass(train), our_pass(train), pairs, "")
    compare("dense net, one epoch: plain torchvision loop / ours", plain(train), ours(train), pairs, "≥ 3.5")
    for name, make, goal in [("LeNet-5", lenet5, "≥ 2.2"), ("two-conv net", two_conv_net, "≥ 2.4")]:
        compare(f"{name}, one epoch: plain torchvision loop / ours", plain(train, make), ours(train, make), pairs, goal)
    compare("dense net: ours / the same steps on one batch in memory", ours(train), floor(train), pairs, "≤ 1.05")
    compare("fit with its default callbacks / a bare loop", with_fit(train, 5), repeat(ours(train), 5), pairs, "≤ 1.02")
    name = "augmented CIFAR pass: torchvision per sample / ours by batches"
    compare(name, augmented_per_sample(photos()), augmented_by_batches(photos()), pairs, "≥ 10")
    compare_imports(pairs)
    redraws()
    if busy:
        print("\nThe machine was busy: the first ratio left 0.98 … 1.02. Close other programs and run again.")


def compare(name: str, a: Callable, b: Callable, pairs: int, goal: str) -> float:
    """Time A and B in turn, after one warm-up of each, and print the median of A / B."""
    a(), b()
    ratios = []
    for k in range(pairs):
        first, second = (a, b) if k % 2 == 0 else (b, a)
        seconds = {first: timed(first), second: timed(second)}
        ratios.append(seconds[a] / seconds[b])
    middle = statistics.median(ratios)
    print(f"{name:<66} {middle:7.3f}   {min(ratios):5.2f} … {max(ratios):5.2f}   {goal}", flush=True)
    return middle


def timed(work: Callable) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ------------------------------------------------------------------------------------------------- what is compared


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


def our_loader(train: ImageData):
    """Return the course's loader."""
    return make_loader(train, BATCH, shuffle=True, statistics=channel_statistics(train))


def go_through(loader) -> Callable:
    """Return a pass over a loader without training."""

    def work() -> None:
        for _ in loader:
            pass

    return work


def plain_pass(train: ImageData) -> Callable:
    return go_through(plain_loader(train))


def our_pass(train: ImageData) -> Callable:
    return go_through(our_loader(train))


def photos() -> ImageData:
    """Return random images in CIFAR-10's shape: what is in them does not matter for the time."""
    images = torch.randint(256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageData(images, torch.arange(IMAGES) % 10, tuple("0123456789"), "random")


class PerSample(Dataset):
    """Images that torchvision crops, mirrors and standardizes one at a time, as most tutorials do."""

    def __init__(self, data: ImageData) -> None:
        mean, std = (values.tolist() for values in channel_statistics(data))
        self.data = data
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.transform(self.data.images[k]), self.data.labels[k]


def augmented_per_sample(data: ImageData) -> Callable:
    return go_through(DataLoader(PerSample(data), batch_size=BATCH, shuffle=True))


def augmented_by_batches(data: ImageData) -> Callable:
    """The same three changes, a draw an image too, but of whole batches."""
    mean, std = (values.view(3, 1, 1) for values in channel_statistics(data))

    def transform(images: torch.Tensor) -> torch.Tensor:
        return (random_flip(random_crop(images, 4)) - mean) / std

    return go_through(make_loader(data, BATCH, shuffle=True, transform=transform))


def training(loader, step: Callable, make: Callable) -> Callable:
    """Return one epoch of a bare loop over `loader` with plain SGD and momentum, from the same start each time."""
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

    def work() -> None:
        for batch in loader:
            loss = step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work


def plain(train: ImageData, make: Callable = dense_net) -> Callable:
    """The loop of most tutorials; it asks for the loss and counts right answers in every batch."""

    def step(model: nn.Module, batch: list) -> torch.Tensor:
        images, labels = batch
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.item(), (logits.argmax(dim=1) == labels).sum().item()
        return loss

    return training(plain_loader(train), step, make)


def bare_step(model: nn.Module, batch: tuple) -> torch.Tensor:
    """The course's step without anything around it."""
    return classification_step(model, batch)["loss"]


def ours(train: ImageData, make: Callable = dense_net) -> Callable:
    return training(our_loader(train), bare_step, make)


def floor(train: ImageData) -> Callable:
    """The same number of steps on one batch that is already there: no loader can be faster."""
    loader = our_loader(train)
    batch = next(iter(loader))
    return training([batch] * len(loader), bare_step, dense_net)


def repeat(work: Callable, times: int) -> Callable:
    """Return `work` done several times."""
    return lambda: [work() for _ in range(times)]


def with_fit(train: ImageData, epochs: int) -> Callable:
    """The same epochs through one `fit`, as a chapter calls it, with its progress bar writing to nowhere."""
    model, loader = dense_net(), our_loader(train)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            fit(model, loader, optimizer=optimizer, epochs=epochs)

    return work


def compare_imports(pairs: int) -> None:
    """Time fresh interpreters that import torch alone, the course's modules, and the libraries behind the pictures."""
    course = "from course_utils import callbacks, checks, data, runtime, tracing, training"
    pictures = "import torch, matplotlib.figure, ipywidgets"
    everything = f"{course}; from course_utils import plotting; from course_utils.widgets import mnist_dnn"
    compare("import of the course's modules / import torch", fresh(course), fresh("import torch"), pairs, "≤ 1.1")
    name = "… with plotting and controls / torch, matplotlib, ipywidgets"
    compare(name, fresh(everything), fresh(pictures), pairs, "≤ 1.1")


def fresh(statement: str) -> Callable:
    """Return a run of a statement in a new interpreter."""
    return lambda: subprocess.run([sys.executable, "-c", statement], check=True)


def redraws() -> None:
    """Print the median time of a redraw of each control, in the kernel."""
    rows = torch.rand(10_000, 3)
    losses = {(rate, size): torch.rand(300).tolist() for rate in (0.01, 0.1) for size in (1, 64)}
    explorers = {
        "00 wave": start_here.wave_explorer(),
        "01 neuron": first_network.neuron_explorer(rows, (rows.sum(dim=1) > 1).long()),
        "01 descent": first_network.descent_explorer(losses, dict.fromkeys(losses, 0.5), 0.9),
        "03 valley": mnist_dnn.valley_explorer(),
        "04 stepper": convolution_stepper.stepper_explorer(),
        "04 output size": convolution_arithmetic.output_size_explorer(),
        "04 receptive field": convolution_arithmetic.receptive_field_explorer(torch.rand(28, 28)),
        "04 pooling": pooling.pooling_explorer(),
        "05 activations": lenet.activation_explorer(*networks_and_digits(), mean=0.1307, std=0.3081),
        "05 draw a digit": drawing.draw_a_digit(networks_and_digits()[0], mean=0.1307, std=0.3081),
        "09 gallery": data_augmentation.gallery_explorer(*networks_and_digits()[1:]),
    }
    explorers["05 draw a digit"].controls["drawing"].value = bytes(255 * (k % 280 > 130) for k in range(280 * 280))
    print(f"\n{'redraw of a control, in the kernel':<66} {'median':>7}           goal")
    for name, explorer in explorers.items():
        print(f"{name:<66} {1000 * redraw_seconds(explorer):5.1f} ms           ≤ 30 ms")


def networks_and_digits() -> tuple:
    """Return two networks by name, and images and labels that they read."""
    images = torch.randint(256, (100, 1, 28, 28), dtype=torch.uint8)
    return {"a": lenet5(), "b": lenet5()}, images, torch.arange(100) % 10


def redraw_seconds(explorer: Explorer, times: int = 25) -> float:
    """Return the median seconds of a redraw."""
    return statistics.median(timed(explorer.redraw) for _ in range(times))


if __name__ == "__main__":
    main()
