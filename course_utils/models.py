"""Networks that one chapter builds and later ones reuse; a test proves each equal to its chapter's."""

from collections import OrderedDict
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "data" / "weights"


def lenet5(activation: type[nn.Module] = nn.Tanh, pool: type[nn.Module] = nn.AvgPool2d) -> nn.Sequential:
    """Return LeNet-5 for images (B, 1, 28, 28): logits (B, 10), 61 706 parameters. Chapter 05 builds it.

    Layers bear the names of LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.B.
    """
    return nn.Sequential(
        OrderedDict(
            C1=nn.Conv2d(1, 6, 5, padding=2),  # (B, 6, 28, 28)
            act1=activation(),
            S2=pool(2),  # (B, 6, 14, 14)
            C3=nn.Conv2d(6, 16, 5),  # (B, 16, 10, 10)
            act3=activation(),
            S4=pool(2),  # (B, 16, 5, 5)
            C5=nn.Conv2d(16, 120, 5),  # (B, 120, 1, 1)
            act5=activation(),
            flatten=nn.Flatten(),  # (B, 120)
            F6=nn.Linear(120, 84),
            act6=activation(),
            out=nn.Linear(84, 10),
        )
    )


def two_conv_net(first: int = 16, second: int = 32) -> nn.Sequential:
    """Return two 5 × 5 convolutions with ReLU and max-pooling, and a dense layer: chapter 04's 32·7·7 network.

    Takes images (B, 1, 28, 28) and returns logits (B, 10); 28 938 parameters for 16 and 32 channels.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, first, 5, padding=2),  # (B, first, 28, 28)
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),  # (B, first, 14, 14)
            conv2=nn.Conv2d(first, second, 5, padding=2),  # (B, second, 14, 14)
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),  # (B, second, 7, 7)
            flatten=nn.Flatten(),
            out=nn.Linear(second * 7 * 7, 10),
        )
    )


def load_weights(name: str) -> dict[str, Tensor]:
    """Return the weights that ship as data/weights/NAME.safetensors, ready for `model.load_state_dict`.

    Raises FileNotFoundError, with the names there are, for others. `python data/make_weights.py` makes them again.
    """
    path = WEIGHTS_FOLDER / f"{name}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in WEIGHTS_FOLDER.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(f"there are no weights named {name!r} in {WEIGHTS_FOLDER}: there are {there}")
    return load_file(path)
