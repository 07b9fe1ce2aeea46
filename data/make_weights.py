"""Train the networks whose weights ship in data/weights/, on the real MNIST: `python data/make_weights.py`.

Takes about half a minute. The file holds nothing but the weights and, as text, how they came about.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # also where the package is not installed

from course_utils.callbacks import Schedule  # noqa: E402
from course_utils.data import channel_statistics, load_images, make_loader  # noqa: E402
from course_utils.models import WEIGHTS_FOLDER, lenet5  # noqa: E402
from course_utils.training import evaluate, fit  # noqa: E402

EPOCHS, RATE, BATCH_SIZE, SEED = 5, 5e-3, 128, 0


def main() -> None:
    """Train chapter 05's better LeNet once and write data/weights/lenet5.safetensors."""
    train, test = load_images("mnist", "train"), load_images("mnist", "test")
    if train.is_stand_in:
        sys.exit("this needs the real MNIST: run `make download`, or set COURSE_DATA")
    torch.set_num_threads(1)  # the order in which threads add up would change the last digits
    torch.manual_seed(SEED)
    model, statistics = lenet5(nn.ReLU, nn.MaxPool2d), channel_statistics(train)
    order = torch.Generator().manual_seed(SEED)
    loader = make_loader(train, BATCH_SIZE, shuffle=True, statistics=statistics, generator=order)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * len(loader))
    fit(model, loader, optimizer=optimizer, epochs=EPOCHS, callbacks=[Schedule(schedule)])
    accuracy = evaluate(model, make_loader(test, 1000, statistics=statistics))["accuracy"]
    WEIGHTS_FOLDER.mkdir(exist_ok=True)
    story = {
        "command": "python data/make_weights.py",
        "data": "MNIST, 60 000 training images, standardized by their mean and standard deviation",
        "recipe": f"ReLU, max-pooling, AdamW, OneCycle {RATE}, batch {BATCH_SIZE}, {EPOCHS} epochs, seed {SEED}",
        "test_accuracy": f"{accuracy:.4f}",
        "torch": torch.__version__,
    }
    save_file(model.state_dict(), WEIGHTS_FOLDER / "lenet5.safetensors", metadata=story)
    print(f"test accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
