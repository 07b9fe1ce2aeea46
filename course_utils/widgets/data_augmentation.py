"""Chapter 09's controls: a gallery of images changed at random, and what comes in at the border of a crop."""

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.augmentation import random_affine, random_cutout, random_flip
from course_utils.plotting import COLORS, new_figure
from course_utils.widgets.canvas import Explorer, explore, menu, slider, toggle

# ----------------------------------------------------------------------------------------------------------- gallery

COUNT, COLUMNS, GAP = 16, 4, 2  # images, images in a row, white pixels between two of them
SAFE_ANGLE = 45


class GalleryPicture:
    """Two mosaics: the images with their labels, and what the chosen changes make of them."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.pixels = images.float() / 255  # (16, C, H, W)
        self.figure, (before, after) = new_figure(7, 3.6, columns=2, gridspec_kw={"wspace": 0.06})
        self.shown = [
            axes.imshow(mosaic(self.pixels), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            for axes in (before, after)
        ]
        for axes, title in ((before, "as they are, with their labels"), (after, "changed, each by its own draws")):
            axes.axis("off")
            axes.set_title(title)
        height, width = (size + GAP for size in images.shape[2:])
        for k, label in enumerate(labels.tolist()):
            place = (k % COLUMNS * width + 1, k // COLUMNS * height + 1)
            box = {"color": "black", "pad": 1}  # a photo may have the text's color
            before.text(*place, f"{label}", color=COLORS[1], ha="left", va="top", fontsize=9, bbox=box)
        self.moving = self.shown[1:]

    def update(
        self, shift: float, angle: float, scale: float, mirror: bool, upside_down: bool, cutout: float, redraw: float
    ) -> str:
        """Change all images; say what each may get and, past the safe range, which classes look like each other."""
        changed = augmented(
            self.pixels,
            affine={"shift": shift, "degrees": angle, "scale": scale / 100},
            mirror=mirror,
            upside_down=upside_down,
            cutout=int(cutout),
            seed=int(redraw),
        )
        self.shown[1].set_data(mosaic(changed))
        flips = {"mirror": mirror, "upside down": upside_down}
        warning = "; ".join(confusions(len(self.pixels[0]) == 3, angle, mirror, upside_down))
        return (
            f"shift = ± {shift:g} px, angle = ± {angle:g}°, scale = ± {scale:g} %, "
            f"{', '.join(f'{name} = ' + ('half of them' if on else 'off') for name, on in flips.items())}, "
            f"cutout = {cutout:g} px (a gray square), redraw = {redraw:g}. "
            + (
                f"Past the safe range: {warning}."
                if warning
                else "Angle and flips are in the safe range (shift, scale and cutout are not judged)."
            )
        )


def augmented(
    images: Tensor, *, affine: dict[str, float], mirror: bool, upside_down: bool, cutout: int, seed: int
) -> Tensor:
    """Return float images (B, C, H, W), changed by the draws that belong to `seed`.

    What is off draws as well, so an image keeps its turn and its place when another change is switched on.
    """
    generator = torch.Generator().manual_seed(seed)
    changed = random_affine(images, **affine, generator=generator)
    changed = random_flip(changed, 0.5 * mirror, generator=generator)
    changed = random_flip(changed, 0.5 * upside_down, vertical=True, generator=generator)
    return random_cutout(changed, cutout, fill=0.5, generator=generator)


def mosaic(images: Tensor, columns: int = COLUMNS) -> np.ndarray:
    """Return images (N, C, H, W) in 0 … 1, so many in a row, as one picture (rows, columns) or (rows, columns, 3)."""
    tiles = F.pad(images, (0, GAP, 0, GAP), value=1.0)  # white below and to the right
    count, channels, height, width = tiles.shape
    tiles = tiles.view(-1, columns, channels, height, width).permute(0, 3, 1, 4, 2)  # (rows, H, columns, W, C)
    picture = tiles.reshape(count // columns * height, columns * width, channels)[:-GAP, :-GAP]
    return picture.clamp(0, 1).squeeze(-1).numpy()


def confusions(color: bool, angle: float, mirror: bool, upside_down: bool) -> list[str]:
    """Say what no longer keeps the label, one text a cause: of photos in color, or of digits, by class."""
    turned = angle > SAFE_ANGLE
    if color:
        return ["few things stand on their heads, and the network spends its weights on those"] * (
            turned or upside_down
        )
    found = {
        "a mirrored 5 looks like a 3 or a 2": mirror,
        "upside down, 5 and 2 look like each other": upside_down,
        f"beyond {SAFE_ANGLE}° digits become hard to tell apart, at half a turn 6 and 9 most of all": turned,
        "both flips together are half a turn, which makes a 9 of a 6 and a 6 of a 9": mirror and upside_down,
    }
    return [text for text, true in found.items() if true]


def gallery_explorer(images: Tensor, labels: Tensor) -> Explorer:
    """Return controls for random changes of the first 16 images.

    `images` is uint8 (N, 1, H, W), digits, or (N, 3, H, W), photos, with N of at least 16; `labels` is int64 (N,).
    Raises ValueError for others.
    """
    check_images(images, COUNT)
    if len(labels) != len(images):
        raise ValueError(f"expected one label an image, got {len(labels)} labels and {len(images)} images")
    return explore(
        GalleryPicture(images[:COUNT], labels[:COUNT]),
        shift=slider("shift (px)", 2, 0, 6, 1),
        angle=slider("angle (°)", 15, 0, 180, 5),
        scale=slider("scale (%)", 10, 0, 40, 5),
        mirror=toggle("mirror"),
        upside_down=toggle("upside down"),
        cutout=slider("cutout (px)", 0, 0, 16, 1),
        redraw=slider("redraw", 1, 1, 50, 1),
    )


def check_images(images: Tensor, count: int) -> None:
    """Raise ValueError unless these are at least `count` images, uint8 (N, 1 or 3, H, W)."""
    fits = images.dim() == 4 and len(images) >= count and images.shape[1] in (1, 3) and images.dtype == torch.uint8
    if not fits:
        raise ValueError(
            f"expected uint8 images of shape (N, 1 or 3, H, W) with N of at least {count}, "
            f"got {images.dtype} {tuple(images.shape)}"
        )


# ------------------------------------------------------------------------------------------------- a crop's border

# where each image is cut, (down, across), as a share of all places: fixed, so that only the controls change the picture
DRAWS = ((0.1, 0.9), (0.8, 0.2), (0.95, 0.6), (0.3, 0.05))
LARGEST_PADDING = 8
BAR = 0.25  # width of a bar; 0 lies in the middle of one
ZEROS, MEAN, REFLECT = BORDERS = ("zeros", "mean", "reflect")
CROP_FIRST, CROP_LAST = ORDERS = ("crop, then standardize", "standardize, then crop")


class BorderPicture:
    """Four cropped images on the scale of pixels, and the histogram of the standardized values in them."""

    def __init__(self, images: Tensor) -> None:
        self.pixels = images.float() / 255  # (4, C, H, W)
        self.mean = self.pixels.mean(dim=(0, 2, 3), keepdim=True)  # (1, C, 1, 1)
        self.std = self.pixels.std(dim=(0, 2, 3), correction=0, keepdim=True)
        low, high = self.standardized(torch.zeros(1)).min().item(), self.standardized(self.pixels).max().item()
        self.edges = BAR * (np.arange(np.floor(low / BAR), np.ceil(high / BAR) + 2) - 0.5)
        self.figure, (left, right) = new_figure(8, 3.6, columns=2, width_ratios=(1, 1.4))
        self.shown = left.imshow(mosaic(self.pixels, 2), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        left.axis("off")
        left.set_title("cropped, as pixels from 0 to 1")
        empty = 0 * self.edges[1:]
        self.all = right.stairs(empty, self.edges, fill=True, color=COLORS[1], label="from the border")
        self.own = right.stairs(empty, self.edges, fill=True, color=COLORS[0], label="the images' own")
        settings = itertools.product(range(LARGEST_PADDING + 1), BORDERS, ORDERS)
        highest = max(self.shares(padding, self.cropped(padding, *rest))[0].max() for padding, *rest in settings)
        right.set(ylim=(0, 1.05 * highest), xlabel="standardized value", ylabel="share of all values")
        right.set_title("what the network gets")
        self.figure.legend(loc="outside lower right", ncols=2, fontsize=9)  # moving bars would cover it inside
        self.moving = [self.shown, self.all, self.own]

    def update(self, padding: float, border: str, order: str) -> str:
        """Crop and standardize in this order; say how much is border, and what it looks like."""
        padding = int(padding)
        values = self.cropped(padding, border, order)
        self.shown.set_data(mosaic(values * self.std + self.mean, 2))
        for bars, heights in zip((self.all, self.own), self.shares(padding, values), strict=True):
            bars.set_data(heights)
        return (
            f"padding = {padding} px, border = {border}, order = {order}: {self.outside(padding).float().mean():.1%} "
            f"of the pixels come in at the border. {self.finding(padding, border, order)}"
        )

    def standardized(self, pixels: Tensor) -> Tensor:
        """Return (pixels − mean) / sd by the channels of the images shown."""
        return (pixels - self.mean) / self.std

    def cropped(self, padding: int, border: str, order: str) -> Tensor:
        """Return what the network gets: the images (4, C, H, W), cropped and standardized in this order."""
        zero = torch.zeros_like(self.mean)
        if order == CROP_FIRST:
            fills = {ZEROS: zero, MEAN: self.mean, REFLECT: None}
            return self.standardized(crop(self.pixels, padding, fills[border]))
        fills = {ZEROS: zero, MEAN: zero, REFLECT: None}  # the mean of standardized values is 0
        return crop(self.standardized(self.pixels), padding, fills[border])

    def outside(self, padding: int) -> Tensor:
        """Say for each pixel, bool (4, 1, H, W), whether it comes from the border."""
        return crop(torch.ones_like(self.pixels[:, :1]), padding, torch.zeros(1)) == 0

    def shares(self, padding: int, values: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the heights of the bars: of all values (4, C, H, W), and of those that are not from the border."""
        own = values[~self.outside(padding).expand_as(values)]
        return tuple(np.histogram(part, self.edges)[0] / values.numel() for part in (values, own))

    def finding(self, padding: int, border: str, order: str) -> str:
        """Say what the border looks like, in pixels and among the standardized values."""
        if padding == 0:
            return "Without padding nothing is shifted, and there is no border."
        if border == REFLECT:
            return "They repeat the images' own pixels, mirrored: no new spike, and the same in both orders."
        if order == CROP_LAST or border == MEAN:
            same = {
                (ZEROS, CROP_LAST): "0 after standardizing is the mean",
                (MEAN, CROP_LAST): "the mean of standardized values is 0",
                (MEAN, CROP_FIRST): "standardizing makes 0 of the mean",
            }
            color = "" if self.mean.numel() == 1 else " (in the mean color: over many photos it is gray)"
            return f"The spike stands at 0.00: {same[border, order]}: a gray frame{color}."
        places = [f"{value:.2f}".replace("-", "−") for value in self.standardized(torch.zeros(1)).flatten().tolist()]
        where = places[0] if len(places) == 1 else f"{', '.join(places)} (red, green, blue)"
        edge = torch.cat([self.pixels[..., [0, -1], :].flatten(), self.pixels[..., [0, -1]].flatten()])
        frame = "the border joins the background, and no frame is seen" if edge.median() == 0 else "a black frame"
        return f"The spike stands at {where}: 0 before standardizing is black: {frame}."


def crop(images: Tensor, padding: int, fill: Tensor | None) -> Tensor:
    """Pad float images (4, C, H, W) and cut each to its size again, at the place that its draws give.

    The border is `fill`, one value a channel (1, C, 1, 1), or without one the image, mirrored.
    """
    height, width = images.shape[2:]
    if fill is None:
        padded = F.pad(images, (padding,) * 4, mode="reflect")
    else:
        padded = F.pad(images - fill, (padding,) * 4) + fill
    cut = []
    for image, draws in zip(padded, DRAWS, strict=True):
        top, left = (int(draw * (2 * padding + 1)) for draw in draws)
        cut.append(image[:, top : top + height, left : left + width])
    return torch.stack(cut)


def border_explorer(images: Tensor) -> Explorer:
    """Return controls for what comes in at the border of a random crop, before or after standardizing.

    `images` is uint8 (N, 1 or 3, H, W) with N of at least 4, of which the first four are shown, standardized by their
    own channels; H and W are above 8. Raises ValueError for others, and where a channel is constant.
    """
    check_images(images, len(DRAWS))
    height, width = images.shape[2:]
    if min(height, width) <= LARGEST_PADDING:
        raise ValueError(
            f"expected images of more than {LARGEST_PADDING} pixels in height and width, since reflect takes the "
            f"border out of the image, got {height}×{width}"
        )
    shown = images[: len(DRAWS)]
    if (shown.amin(dim=(0, 2, 3)) == shown.amax(dim=(0, 2, 3))).any():
        raise ValueError("a channel of the first four images is constant, so its sd is 0: show other images")
    return explore(
        BorderPicture(shown),
        padding=slider("padding (px)", 4, 0, LARGEST_PADDING, 1),
        border=menu("border", list(BORDERS), ZEROS),
        order=menu("order", list(ORDERS), CROP_FIRST),
    )
