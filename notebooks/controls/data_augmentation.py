"""Chapter 09's controls: a gallery of images changed at random, and what comes in at the border of a crop.

Also one figure: where in the old picture the pixels of a new one look.
"""

import itertools
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle, StepPatch
from torch import Tensor
from torch.nn import functional as F

from course_utils.augmentation import random_affine, random_cutout, random_flip
from course_utils.controls import Control, menu, slider, toggle
from course_utils.plotting import COLORS, new_figure

# ----------------------------------------------------------------------------------------------------------- gallery

COUNT, COLUMNS, GAP, SAFE_ANGLE = 16, 4, 2, 45  # GAP: white pixels between two images
GRAY = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}  # colors stay as they are


NONE, SAFE, UNSAFE = GUESSES = ("none yet", "safe to train with", "not safe")


def draw_gallery(pixels: Tensor, axes: Axes, *, guess: str, **changes) -> str:
    """Show what the changes make of images (16, C, H, W) in 0 … 1; judge them only after a guess."""
    picture, reasons = mosaic(augmented(pixels, **changes)), unsafe(pixels.shape[1] == 3, **changes)
    axes.imshow(picture, **GRAY)
    if guess != NONE:  # a frame: blue around a right guess, red around a wrong one
        height, width = picture.shape[:2]
        color = COLORS[0] if (guess == UNSAFE) == bool(reasons) else COLORS[2]
        axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, linewidth=5, edgecolor=color))
    text = "draws lie within ± these values, flips take half of the images, cutout is a gray square"
    return f"{text}. {verdict(guess, reasons)}"


def augmented(
    images: Tensor, *, shift: int, angle: int, scale: int, mirror: bool, upside_down: bool, cutout: int, redraw: int
) -> Tensor:
    """Change float images (B, C, H, W) by the draws that belong to the number `redraw`."""
    generator = torch.Generator().manual_seed(redraw)  # what is off draws as well: so the other changes stay
    changed = random_affine(images, shift=shift, degrees=angle, scale=scale / 100, generator=generator)
    changed = random_flip(changed, 0.5 * mirror, generator=generator)
    changed = random_flip(changed, 0.5 * upside_down, vertical=True, generator=generator)
    return random_cutout(changed, cutout, fill=0.5, generator=generator)


def mosaic(images: Tensor, columns: int = COLUMNS) -> np.ndarray:
    """Return images (N, C, H, W) in 0 … 1, so many in a row, as one picture (rows, columns) or (rows, columns, 3)."""
    tiles = F.pad(images, (0, GAP, 0, GAP), value=1.0)  # white below and to the right
    picture = torch.cat([torch.cat([*row], dim=2) for row in tiles.split(columns)], dim=1)[:, :-GAP, :-GAP]
    return picture.clamp(0, 1).permute(1, 2, 0).squeeze(-1).numpy()


def unsafe(color: bool, *, angle: int, mirror: bool, upside_down: bool, **others) -> list[str]:
    """Say what speaks against training with these changes: for photos in color, or for digits, by class."""
    turned = angle > SAFE_ANGLE
    photos = {"turned so far, things keep their names, but few photos of a test look like that": turned or upside_down}
    digits = {
        "a mirrored 5 looks like a 3 or a 2": mirror,
        "upside down, 5 and 2 look like each other": upside_down,
        f"beyond {SAFE_ANGLE}° digits become hard to tell apart, at half a turn 6 and 9 most of all": turned,
        "both flips together are half a turn, which makes a 9 of a 6 and a 6 of a 9": mirror and upside_down,
    }
    return [text for text, true in (photos if color else digits).items() if true]


def verdict(guess: str, reasons: list[str]) -> str:
    """Judge a guess; without one, ask for it."""
    if guess == NONE:
        return "Would you train with these? Choose a guess; every other knob takes it back."
    found = "; ".join(reasons) or "angle and flips are in the safe range (shift, scale and cutout are not judged)"
    return f"{'Yes' if (guess == UNSAFE) == bool(reasons) else 'No'}: {found}."


def gallery_explorer(images: Tensor, labels: Tensor) -> Control:
    """Return controls for random changes of the first 16 of digits (N, 1, H, W) or photos (N, 3, H, W), uint8."""
    pixels = pixels_of(images, COUNT)
    if len(labels) != len(images):
        raise ValueError(f"expected one label an image, got {len(labels)} labels and {len(images)} images")
    _, (before, after) = new_figure(7, 3.6, columns=2, gridspec_kw={"wspace": 0.06})
    for axes, title in ((before, "as they are, with their labels"), (after, "changed, each by its own draws")):
        axes.imshow(mosaic(pixels), **GRAY)
        axes.set_title(title)
        axes.axis("off")
    height, width = (size + GAP for size in images.shape[2:])
    for k, label in enumerate(labels[:COUNT].tolist()):
        x, y, box = k % COLUMNS * width + 1, k // COLUMNS * height + 1, {"color": "black", "pad": 1}  # on any photo
        before.text(x, y, f"{label}", color=COLORS[1], ha="left", va="top", fontsize=9, bbox=box)
    guess = menu("your guess", list(GUESSES), NONE)
    knobs = {
        "shift": slider("shift (px)", 2, 0, 6, 1),
        "angle": slider("angle (°)", 15, 0, 180, 5),
        "scale": slider("scale (%)", 10, 0, 40, 5),
        "mirror": toggle("mirror"),
        "upside_down": toggle("upside down"),
        "cutout": slider("cutout (px)", 0, 0, 16, 1),
        "redraw": slider("redraw", 1, 1, 50, 1),
    }

    def take_back(change: dict) -> None:
        guess.value = NONE

    for knob in knobs.values():
        knob.observe(take_back, names="value")  # before the Control draws for the new value
    return Control(partial(draw_gallery, pixels), after, **knobs, guess=guess)


def pixels_of(images: Tensor, count: int) -> Tensor:
    """Return the first images as floats in 0 … 1. Raises ValueError unless they are uint8 (N, 1 or 3, H, W)."""
    if images.dim() != 4 or images.shape[1] not in (1, 3) or len(images) < count or images.dtype != torch.uint8:
        expected = f"uint8 images of shape (N, 1 or 3, H, W) with N of at least {count}"
        raise ValueError(f"expected {expected}, got {images.dtype} {tuple(images.shape)}")
    return images[:count].float() / 255


# ------------------------------------------------------------------------------------------------- a crop's border

# where each image is cut, (down, across), as a share of all places: fixed, so that only the knobs change the picture
PLACES = ((0.1, 0.9), (0.8, 0.2), (0.95, 0.6), (0.3, 0.05))
LARGEST_PADDING, BAR = 8, 0.25  # BAR: the width of a bar; 0 lies in the middle of one
ZEROS, MEAN, REFLECT = BORDERS = ("zeros", "mean", "reflect")
CROP_FIRST, CROP_LAST = ORDERS = ("crop, then standardize", "standardize, then crop")


def draw_border(
    pixels: Tensor, edges: np.ndarray, left: Axes, right: Axes, *, padding: int, border: str, order: str
) -> str:
    """Show four cropped images on the scale of pixels, and the histogram of what the network gets."""
    (mean, std), values = statistics(pixels), cropped(pixels, padding, border, order)
    left.imshow(mosaic(values * std + mean, 2), **GRAY)
    inside = crop(torch.ones_like(pixels), padding, 0 * mean) == 1
    for part, color, label in ((values, 1, "from the border"), (values[inside], 0, "the images' own")):
        shares = np.histogram(part, edges)[0] / values.numel()
        right.add_artist(StepPatch(shares, edges, facecolor=COLORS[color], linewidth=0, label=label))
    text = f"{(~inside).float().mean():.1%} of the pixels come in at the border"
    return f"{text}. {border_text(pixels, padding, border, order)}"


def statistics(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, (1, C, 1, 1)."""
    return torch.std_mean(pixels, dim=(0, 2, 3), correction=0, keepdim=True)[::-1]


def cropped(pixels: Tensor, padding: int, border: str, order: str) -> Tensor:
    """Return what the network gets: the images (4, C, H, W), cropped and standardized in this order."""
    mean, std = statistics(pixels)
    if order == CROP_FIRST:
        return (crop(pixels, padding, {ZEROS: 0 * mean, MEAN: mean, REFLECT: None}[border]) - mean) / std
    return crop((pixels - mean) / std, padding, None if border == REFLECT else 0 * mean)  # 0 is their mean


def crop(images: Tensor, padding: int, fill: Tensor | None) -> Tensor:
    """Pad images (4, C, H, W) by `fill` (1, C, 1, 1), or mirrored ones; cut each to its size again, at its place."""
    (height, width), around = images.shape[2:], (padding,) * 4
    padded = F.pad(images, around, mode="reflect") if fill is None else F.pad(images - fill, around) + fill
    corners = (torch.tensor(PLACES, dtype=torch.float64) * (2 * padding + 1)).int().tolist()
    return torch.stack([one[:, y : y + height, x : x + width] for one, (y, x) in zip(padded, corners, strict=True)])


def border_text(pixels: Tensor, padding: int, border: str, order: str) -> str:
    """Say what the border looks like, in pixels and among the standardized values."""
    if padding == 0:
        return "Without padding nothing is shifted, and there is no border."
    if border == REFLECT:
        return "They repeat the images' own pixels, mirrored: no new spike, and the same in both orders."
    reasons = {
        (ZEROS, CROP_LAST): "0 after standardizing is the mean",
        (MEAN, CROP_LAST): "the mean of standardized values is 0",
        (MEAN, CROP_FIRST): "standardizing makes 0 of the mean",
    }
    (mean, std), photos = statistics(pixels), pixels.shape[1] == 3
    if reason := reasons.get((border, order)):
        color = " (in the mean color: over many photos it is gray)" if photos else ""
        return f"The spike stands at 0.00: {reason}: a gray frame{color}."
    where = ", ".join(f"{value:.2f}".replace("-", "−") for value in (-mean / std).flatten())
    edge = torch.cat([pixels[..., [0, -1], :].flatten(), pixels[..., [0, -1]].flatten()])
    frame = "the border joins the background, and no frame is seen" if edge.median() == 0 else "a black frame"
    channels = " (red, green, blue)" if photos else ""
    return f"The spike stands at {where}{channels}: 0 before standardizing is black: {frame}."


def border_explorer(images: Tensor) -> Control:
    """Return controls for the border of a random crop, before or after standardizing, on the first 4 images.

    `images` is uint8 (N, 1 or 3, H, W), with H and W above 8; those shown are standardized by their own channels.
    """
    pixels = pixels_of(images, len(PLACES))
    if (pixels.amin(dim=(0, 2, 3)) == pixels.amax(dim=(0, 2, 3))).any():
        raise ValueError("a channel of the first four images is constant, so its sd is 0: show other images")
    settings = itertools.product(range(LARGEST_PADDING + 1), BORDERS, ORDERS)
    every = torch.stack([cropped(pixels, *setting) for setting in settings]).numpy()
    first, last = np.floor(every.min() / BAR) - 1, np.ceil(every.max() / BAR) + 2  # an empty bar on either side
    edges = BAR * (np.arange(first, last + 1) - 0.5)
    highest = max(np.histogram(values, edges)[0].max() for values in every) / every[0].size
    figure, (left, right) = new_figure(8, 3.6, columns=2, width_ratios=(1, 1.4))
    left.imshow(mosaic(pixels, 2), **GRAY)
    left.set_title("cropped, as pixels from 0 to 1")
    left.axis("off")
    right.set(title="what the network gets", xlabel="standardized value", ylabel="share of all values")
    right.set(xlim=edges[[0, -1]], ylim=(0, 1.05 * highest))
    return Control(
        partial(draw_border, pixels, edges),
        (left, right),
        legends=[(figure, {"loc": "outside lower right", "ncols": 2, "fontsize": 9})],  # inside, bars would meet it
        padding=slider("padding (px)", 4, 0, LARGEST_PADDING, 1),
        border=menu("border", list(BORDERS), ZEROS),
        order=menu("order", list(ORDERS), CROP_FIRST),
    )


# -------------------------------------------------------------------------------------- where the new pixels look


def plot_lookup(image: Tensor, matrix: Tensor) -> Figure:
    """Draw where in an image (1, H, W) some pixels of the new picture look, as a matrix (2, 3) says.

    Both axes run from −1 to 1, as `affine_grid` counts. One arrow leads from a new pixel to its place in the old one.
    """
    grid = F.affine_grid(matrix[None], [1, *image.shape], align_corners=False)  # (1, H, W, 2)
    new = F.grid_sample(image[None], grid, align_corners=False)[0]  # (1, H, W)
    ticks = torch.linspace(-0.8, 0.8, 5)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    here = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(-1, 3)  # (25, 3): x, y and 1 for the matrix
    here, there = here[:, :2].numpy(), (here @ matrix.T).numpy()  # (25, 2) each
    figure, (left, right) = new_figure(7.6, 3.2, columns=2, sharey=True)
    (x_low, y_low), (x_high, y_high) = there.min(axis=0).clip(max=-1) - 0.05, there.max(axis=0).clip(min=1) + 0.05
    looks = ((left, image, there, "old picture, and where the new one looks"), (right, new, here, "new picture"))
    for axes, picture, places, title in looks:
        axes.imshow(picture[0], cmap="gray", extent=(-1, 1, 1, -1))
        axes.scatter(places[:, 0], places[:, 1], s=14, color=COLORS[1], clip_on=False)
        axes.set(title=title, xlabel="x", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        axes.set(xlim=(x_low, x_high), ylim=(y_high, y_low))
    left.set_ylabel("y")
    ends = {"xyA": here[13], "xyB": there[13], "coordsA": right.transData, "coordsB": left.transData}
    figure.add_artist(ConnectionPatch(**ends, arrowstyle="-|>", color=COLORS[2], linewidth=2, mutation_scale=14))
    return figure
