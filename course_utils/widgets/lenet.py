"""Chapter 05's activation browser: what each layer makes of a digit, and what a removed map changes."""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from course_utils.plotting import COLORS, new_figure
from course_utils.tracing import eval_mode
from course_utils.widgets.canvas import Explorer, choice, explore, menu

CELL = 24  # a map in the mosaic has at least about so many pixels each way
WIDTH = 1.25  # of the place for the mosaic, which is 1 high


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (B, classes) of standardized images (B, 1, 28, 28); the model may be on any device.

    Raises ValueError when they are no finite numbers.
    """
    device = next((parameter.device for parameter in model.parameters()), images.device)
    with eval_mode(model), torch.no_grad():
        logits = model(images.to(device)).cpu()
    if not logits.isfinite().all():
        raise ValueError("the network's output holds nan or inf: its training has diverged, take one that has not")
    return logits


def named_layers(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Return, by name, the output shape without batch axis of each layer that gives maps (C, H, W) or a vector (n,).

    Layers are modules without children that are called once: a reused one has several outputs under one name.
    nn.Flatten is left out: it only rearranges the maps before it.
    """
    outputs: list[tuple[str, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: outputs.append((name, output)))
        for name, module in model.named_modules()
        if name and not any(module.children()) and not isinstance(module, nn.Flatten)
    ]
    try:
        logits_of(model, images)
    finally:
        for handle in handles:
            handle.remove()
    times = Counter(name for name, _ in outputs)
    return {
        name: tuple(output.shape[1:])
        for name, output in outputs
        if times[name] == 1 and isinstance(output, Tensor) and output.dim() in (2, 4)
    }


def logits_and_maps(
    model: nn.Module, images: Tensor, layer: str, *, remove: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return logits (B, classes) and the output of a layer, as it was before map `remove` was set to 0 in it."""
    outputs: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        outputs.append(output.cpu().clone())  # a copy: the next layer may work in place
        if remove is None:
            return output
        changed = output.clone()
        changed[:, remove] = 0
        return changed

    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        return logits_of(model, images), outputs[0]
    finally:
        handle.remove()


class ActivationPicture:
    """A digit, the maps that one layer makes of it as one mosaic, and the logits with and without one of the maps."""

    def __init__(
        self, models: Mapping[str, nn.Module], images: Tensor, labels: Tensor, *, mean: float, std: float
    ) -> None:
        self.models, self.images, self.labels = models, images, labels
        self.inputs = (images.float() / 255 - mean) / std  # (N, 1, 28, 28)
        self.layers = layers_of_all(models, self.inputs[:1])
        logits = torch.stack([logits_of(model, self.inputs) for model in models.values()])
        self.classes = logits.shape[-1]
        self.figure, (digit, maps, bars) = new_figure(9, 3.2, columns=3, width_ratios=(0.8, 2.5, 1.7))
        digit.axis("off")
        digit.set_title("the digit")
        self.digit = digit.imshow(np.zeros((28, 28)), cmap="gray", vmin=0, vmax=255)
        self.draw_mosaic_axes(maps)
        self.draw_bar_axes(bars, float(logits.min()), float(logits.max()))
        self.moving = [self.digit, self.mosaic, self.frame, *self.kept, *self.without]

    def draw_mosaic_axes(self, axes: Axes) -> None:
        """Make the mosaic, the frame around the removed map and the color scale that all maps share."""
        axes.axis("off")
        colors = colormaps["RdBu_r"].with_extremes(bad="0.7")  # the gaps
        self.mosaic = axes.imshow(np.zeros((1, 1)), cmap=colors, interpolation="nearest", extent=(0, 1, 1, 0))
        axes.set(xlim=(0, WIDTH), ylim=(1, 0), title="the layer's maps (frame: removed)")
        self.mosaic.set_clim(-1, 1)
        bar = self.figure.colorbar(self.mosaic, ax=axes, shrink=0.8, ticks=[-1, 0, 1])
        bar.ax.set_yticklabels(["−max", "0", "max"])
        self.frame = axes.add_patch(Rectangle((0, 0), 0, 0, fill=False, color="black", linewidth=2))

    def draw_bar_axes(self, axes: Axes, low: float, high: float) -> None:
        """Make two bars a class on one scale for all digits and networks, with room for what a removal adds."""
        classes, room = np.arange(self.classes), 0.25 * (high - low)
        self.kept = axes.bar(classes - 0.2, 0, width=0.4, color=COLORS[0])
        self.without = axes.bar(classes + 0.2, 0, width=0.4, color=COLORS[1])
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(ylim=(min(low, 0) - room, max(high, 0) + room), title="logits (orange: map removed)", xlabel="class")
        axes.set_xticks(classes)

    def update(self, digit: int, layer: str, network: str, remove: int | str) -> str:
        """Show a layer of a network for one digit; name the answer and what the removed map ("none": no) changes."""
        shape, remove = self.layers[layer], None if remove == "none" else remove
        if remove is not None and not 0 <= remove < shape[0]:
            raise ValueError(f"map {remove} does not exist: {layer} has {shape[0]}, choose 0 to {shape[0] - 1}")
        model, inputs = self.models[network], self.inputs[digit : digit + 1]
        before, output = logits_and_maps(model, inputs, layer)
        after = before if remove is None else logits_and_maps(model, inputs, layer, remove=remove)[0]
        maps = output[0].reshape(shape[0], *(shape[1:] or (1, 1)))  # a vector: maps of 1×1
        self.digit.set_data(self.images[digit, 0].numpy())
        self.show_maps(maps, remove)
        for bars, logits in ((self.kept, before), (self.without, after)):
            for bar, logit in zip(bars, logits[0].tolist(), strict=True):
                bar.set_height(logit)
                bar.set_visible(bars is self.kept or remove is not None)
        return (
            f"digit = {digit} (a {int(self.labels[digit])}), layer = {layer} ({size_text(shape)}), "
            f"network = {network}, {removal_text(maps, remove)}: {change_text(before[0], after[0], remove)}."
        )

    def show_maps(self, maps: Tensor, remove: int | None) -> None:
        """Put the maps (C, H, W) into the mosaic, on a color scale centered on 0; frame the removed one, now all 0."""
        shown = (maps / maps.abs().max().clamp(min=1e-12)).numpy()
        if remove is not None:
            shown[remove] = 0
        shown = enlarged(shown)
        mosaic, corners = tile(shown)
        height, width = mosaic.shape
        scale = min(1 / height, WIDTH / width)
        self.mosaic.set_data(mosaic)
        self.mosaic.set_extent((0, width * scale, height * scale, 0))
        self.frame.set_visible(remove is not None)
        if remove is not None:
            row, column = corners[remove]
            self.frame.set_bounds(column * scale, row * scale, shown.shape[2] * scale, shown.shape[1] * scale)


def layers_of_all(models: Mapping[str, nn.Module], images: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the layers that can be shown; ValueError when there are none or the networks differ in them."""
    (first, layers), *others = ((name, named_layers(model, images)) for name, model in models.items())
    for name, its_layers in others:
        if its_layers != layers:
            raise ValueError(
                f'the networks "{first}" and "{name}" have different layers: expected one architecture with different '
                "weights, for example before and after training"
            )
    if not layers:
        raise ValueError(f'the network "{first}" has no layer to show: expected nn.Modules that give (B, C, H, W)')
    return layers


def enlarged(maps: np.ndarray) -> np.ndarray:
    """Repeat the pixels of small maps (C, H, W), so that a gap between maps is narrow beside them."""
    times = max(1, CELL // max(maps.shape[1:]))
    return maps.repeat(times, axis=1).repeat(times, axis=2)


def tile(maps: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return maps (C, H, W) row by row as one picture with gaps of NaN, and each map's upper left (row, column)."""
    count, height, width = maps.shape
    gap = max(2, height // 12)
    columns = min(count, max(1, round(math.sqrt(count * WIDTH * height / width))))
    rows = math.ceil(count / columns)
    mosaic = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan, dtype=np.float32)
    corners = [(k // columns * (height + gap), k % columns * (width + gap)) for k in range(count)]
    for one, (row, column) in zip(maps, corners, strict=True):
        mosaic[row : row + height, column : column + width] = one
    return mosaic, corners


def size_text(shape: tuple[int, ...]) -> str:
    """Write a layer's size as people do: 16 maps of 14×14, or 84 numbers."""
    return f"{shape[0]} maps of {shape[1]}×{shape[2]}" if len(shape) == 3 else f"{shape[0]} numbers"


def removal_text(maps: Tensor, remove: int | None) -> str:
    """Say which map is removed, and the largest value in it or in all of them."""
    if remove is None:
        return f"removed map = none (largest |value| of all maps: {maps.abs().max():.3g})"
    return f"removed map = {remove} (largest |value| in it: {maps[remove].abs().max():.3g})"


def change_text(before: Tensor, after: Tensor, remove: int | None) -> str:
    """Say the answer by the logits (classes,), and how it changes when a map is removed."""
    answer, other = int(before.argmax()), int(after.argmax())
    kept, without = (f"logit {logits.max():.2f}, {logits.softmax(0).max():.1%}" for logits in (before, after))
    if remove is None:
        return f"the answer is {answer} ({kept})"
    if answer == other:
        return f"the answer stays {answer} ({kept}; without the map {without})"
    return f"the answer changes from {answer} ({kept}) to {other} ({without})"


def activation_explorer(
    models: Mapping[str, nn.Module], images: Tensor, labels: Tensor, *, mean: float, std: float, layer: str = ""
) -> Explorer:
    """Return menus over digits, networks, layers and maps.

    `images` is uint8 (N, 1, 28, 28), `labels` int64 (N,): the first 100 are used. `models` are networks of one
    architecture by name; they get images standardized with `mean` and `std` (of pixels in 0..1) and return logits.
    `layer` is the one that is shown first, or else the model's first.
    Raises ValueError for images that do not fit and for networks that differ in their layers.
    """
    check_images(models, images, labels)
    picture = ActivationPicture(models, images[:100], labels[:100], mean=mean, std=std)
    model = next(iter(models.values()))
    layers = [(f"{name} ({type(model.get_submodule(name)).__name__})", name) for name in picture.layers]
    if layer and layer not in picture.layers:
        raise ValueError(f"there is no layer {layer!r}: choose from {', '.join(picture.layers)}")
    layer = menu("layer", layers, layer or layers[0][1])
    remove = menu("remove map", maps_of(picture, layer.value), "none")

    def offer_its_maps(change: dict) -> None:
        remove.options = maps_of(picture, change["new"])  # ipywidgets then chooses the first: none

    layer.observe(offer_its_maps, names="value")  # before `explore` observes it: else it would draw an old map's number
    return explore(
        picture,
        digit=choice("digit", list(range(len(picture.images))), 0),
        layer=layer,
        network=menu("network", list(models), list(models)[-1]),
        remove=remove,
    )


def maps_of(picture: ActivationPicture, layer: str) -> list[str | int]:
    """Return the menu of a layer's maps, "none" first."""
    return ["none", *range(picture.layers[layer][0])]


def check_images(models: Mapping[str, nn.Module], images: Tensor, labels: Tensor) -> None:
    """Raise ValueError when there is no network, or images and labels are not what the browser shows."""
    if not models:
        raise ValueError('there is no network: expected at least one, for example {"after training": model}')
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 1 or len(images) == 0:
        raise ValueError(f"expected uint8 images of shape (N, 1, 28, 28), got {images.dtype} {tuple(images.shape)}")
    if len(labels) != len(images):
        raise ValueError(f"expected one label an image, got {len(labels)} labels and {len(images)} images")
