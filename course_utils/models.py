"""Networks that one chapter builds and later ones reuse; a test proves each equal to its chapter's."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

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


class PadShortcut(nn.Module):
    """Bring (B, in, H, W) to (B, out, H/stride, W/stride) without parameters: skip pixels, add channels of zeros.

    Option A of He et al. 2016, "Deep residual learning for image recognition", section 3.3. Chapter 11 builds it.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = out_channels - in_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        pixels = F.max_pool2d(x, 1, self.stride)  # windows of one pixel: x[:, :, ::stride, ::stride]
        return F.pad(pixels, (0, 0, 0, 0, 0, self.new_channels))  # (B, out, H/stride, W/stride)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return a 1 × 1 convolution with this stride, and BatchNorm: option B of He et al. 2016."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class ResidualBlock(nn.Module):
    """The basic block of He et al. 2016: (B, in, H, W) → (B, out, H/stride, W/stride). Chapter 11 builds it.

    `shortcut` makes what brings x to another shape: `projection` or `PadShortcut`; where the shape stays, x is added.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, shortcut: Callable = projection) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm1(self.conv1(x)).relu()  # (B, out, H/stride, W/stride)
        return (self.norm2(self.conv2(out)) + self.shortcut(x)).relu()


class Bottleneck(nn.Module):
    """1 × 1 to `width` channels, 3 × 3, 1 × 1 to `out_channels`, around which the input is added. Chapter 11 builds it.

    (B, in, H, W) → (B, out, H/stride, W/stride). The 3 × 3 convolution has the stride, as in torchvision.
    """

    def __init__(self, in_channels: int, width: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.branch(x) + self.shortcut(x)).relu()


def resnet20(blocks: int = 3) -> nn.Sequential:
    """Return the residual network of He et al. 2016 for photos (B, 3, 32, 32): logits (B, 10). Chapter 11 builds it.

    6·`blocks` + 2 layers (20, 32, 44, 56, …) with shortcuts that have no parameters; 269 722 parameters for 20 layers.
    """
    stages = OrderedDict(conv=nn.Conv2d(3, 16, 3, padding=1, bias=False), norm=nn.BatchNorm2d(16), relu=nn.ReLU())
    in_channels = 16
    for number, out_channels in enumerate((16, 32, 64), start=1):  # (B, 16, 32, 32), (B, 32, 16, 16), (B, 64, 8, 8)
        first = ResidualBlock(in_channels, out_channels, stride=1 if number == 1 else 2, shortcut=PadShortcut)
        more = [ResidualBlock(out_channels, out_channels) for _ in range(blocks - 1)]
        stages[f"stage{number}"] = nn.Sequential(first, *more)
        in_channels = out_channels
    model = nn.Sequential(
        stages | OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), out=nn.Linear(64, 10))
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def load_weights(name: str) -> dict[str, Tensor]:
    """Return the weights that ship as data/weights/NAME.safetensors, ready for `model.load_state_dict`.

    Raises FileNotFoundError, with the names there are, for others, and ValueError for a damaged file.
    `python data/make_weights.py NAME` makes them again.
    """
    path = weights_file(name)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): bring it back with `git checkout {path}`") from error


def weights_story(name: str) -> dict[str, str]:
    """Return how shipped weights came about: command, data, recipe and what was measured. Errors as `load_weights`."""
    with safe_open(weights_file(name), "pt") as file:
        return file.metadata()


def weights_file(name: str) -> Path:
    """Return where weights lie. Raises FileNotFoundError, with the names there are, for a name that is not there."""
    path = WEIGHTS_FOLDER / f"{name}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in WEIGHTS_FOLDER.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(f"there are no weights named {name!r} in {WEIGHTS_FOLDER}: there are {there}")
    return path
