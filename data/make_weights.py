"""Train the networks whose weights ship in data/weights/: `python data/make_weights.py lenet5` or `… resnet20`.

LeNet-5 takes half a minute, ResNet-20 an hour on one CPU core, and goes on where it was stopped. A file holds nothing
but the weights and, as text, how they came about. It needs the real data: `make download`, or COURSE_DATA.
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # also where the package is not installed

from course_utils.augmentation import random_crop, random_flip  # noqa: E402
from course_utils.callbacks import Checkpoint, Schedule  # noqa: E402
from course_utils.data import ImageData, channel_statistics, load_images, make_loader, split, standardize  # noqa: E402
from course_utils.models import WEIGHTS_FOLDER, lenet5, resnet20  # noqa: E402
from course_utils.runtime import has_bfloat16, pick_device  # noqa: E402
from course_utils.training import bfloat16_step, classification_step, evaluate, fit  # noqa: E402

SEED = 0


def main(arguments: list[str]) -> None:
    """Train one network and write data/weights/NAME.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("lenet5", "resnet20"))
    name = parser.parse_args(arguments).name
    torch.set_num_threads(1)  # the order in which threads add up would change the last digits
    torch.manual_seed(SEED)
    model, story = {"lenet5": train_lenet5, "resnet20": train_resnet20}[name]()
    WEIGHTS_FOLDER.mkdir(exist_ok=True)
    story = {"command": f"python data/make_weights.py {name}", "torch": torch.__version__} | story
    weights = {key: tensor.cpu().contiguous() for key, tensor in model.state_dict().items()}
    save_file(weights, WEIGHTS_FOLDER / f"{name}.safetensors", metadata=story)
    print("\n".join(f"{key}: {value}" for key, value in story.items()))


def real(name: str, part: str) -> ImageData:
    """Return the real data; end the program where there is only the stand-in."""
    data = load_images(name, part)
    if data.is_stand_in:
        sys.exit(f"this needs the real {name}: run `make download`, or set COURSE_DATA")
    return data


def train_lenet5(epochs: int = 5, rate: float = 5e-3, batch_size: int = 128) -> tuple[nn.Module, dict[str, str]]:
    """Train chapter 05's better LeNet; return it and its story."""
    train, test = real("mnist", "train"), real("mnist", "test")
    model, statistics = lenet5(nn.ReLU, nn.MaxPool2d), channel_statistics(train)
    order = torch.Generator().manual_seed(SEED)
    loader = make_loader(train, batch_size, shuffle=True, statistics=statistics, generator=order)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(loader))
    fit(model, loader, optimizer=optimizer, epochs=epochs, callbacks=[Schedule(cycle)])
    accuracy = evaluate(model, make_loader(test, 1000, statistics=statistics))["accuracy"]
    return model, {
        "data": "MNIST, 60 000 training images, standardized by their mean and standard deviation",
        "recipe": f"ReLU, max-pooling, AdamW, OneCycle {rate}, batch {batch_size}, {epochs} epochs, seed {SEED}",
        "test_accuracy": f"{accuracy:.4f}",
    }


def train_resnet20(epochs: int = 40, rate: float = 0.2, batch_size: int = 128) -> tuple[nn.Module, dict[str, str]]:
    """Train chapter 11's ResNet-20 on 45 000 photos; return it and its story, with 5000 photos held out."""
    train, held_out = split(real("cifar10", "train"), 0.1, seed=SEED)
    test, device = real("cifar10", "test"), pick_device()
    statistics = channel_statistics(train)

    def augment(images: Tensor) -> Tensor:
        return standardize(random_flip(random_crop(images, 4)), statistics)

    model = resnet20().to(device, memory_format=torch.channels_last)
    order = torch.Generator().manual_seed(SEED)
    pairs = (train.images, train.labels)
    loader = make_loader(pairs, batch_size, shuffle=True, transform=augment, device=device, generator=order)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(loader))
    unfinished = Checkpoint(WEIGHTS_FOLDER / "resnet20.unfinished.pt", resume=True)
    step = bfloat16_step if has_bfloat16(device) else classification_step
    history = fit(model, loader, optimizer=optimizer, epochs=epochs, step=step, callbacks=[Schedule(cycle), unfinished])
    parts = {"held_out": held_out, "first_1000_test_images": test.select(torch.arange(1000))}
    scores = {}
    for name, data in parts.items():
        result = evaluate(model, make_loader(data, 500, statistics=statistics, device=device))
        scores[f"{name}_accuracy"] = f"{result['accuracy']:.4f}"
    for path in WEIGHTS_FOLDER.glob("resnet20.unfinished*"):
        path.unlink()
    return model, {
        "data": "CIFAR-10, 45 000 training images (5000 held out: split(train, 0.1, seed=0)), standardized by channel",
        "recipe": (
            f"crop 4 and mirror, SGD with Nesterov momentum 0.9, weight decay 5e-4, OneCycle {rate}, "
            f"batch {batch_size}, {epochs} epochs, seed {SEED}, {step.__name__.split('_')[0]}"
        ),
        "minutes": f"{sum(row['seconds'] for row in history) / 60:.0f} on {device.type}",
        **scores,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
