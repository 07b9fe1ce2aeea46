"""Changes of whole batches of images, each image with a draw of its own: a few tensor operations each.

All take images (B, C, H, W), return new ones of the same shape and dtype, and draw from `generator`, or from torch's
global random state. All raise ValueError or TypeError for images, probabilities or sizes that do not fit.
"""

import math
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional as F


def random_flip(
    images: Tensor, p: float = 0.5, *, vertical: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Mirror each image left to right (or, `vertical`, upside down) with probability p."""
    check_images(images)
    chosen = draw(images, generator) < probability(p)  # (B,)
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(2 if vertical else 3), images)


def random_crop(images: Tensor, padding: int, *, fill: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
    """Pad each image by `padding` pixels of `fill` and cut the original size out at a place of its own.

    Each image is shifted by −padding to +padding pixels in both directions, all shifts equally likely.
    """
    check_images(images)
    height, width = images.shape[2:]
    if isinstance(padding, bool) or not isinstance(padding, int) or not 0 <= padding < min(height, width):
        raise ValueError(
            f"expected a padding from 0 to {min(height, width) - 1} whole pixels for images of {height}×{width}, "
            f"got {padding!r}"
        )
    check_fill(images, fill)
    padded = F.pad(images, (padding,) * 4, value=fill)  # (B, C, H + 2P, W + 2P)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2P + 1, 2P + 1, H, W): a view, not a copy
    top, left = (draw(images, generator).mul(2 * padding + 1).long() for _ in range(2))  # (B,) each
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def random_affine(
    images: Tensor,
    *,
    degrees: float = 0.0,
    shift: float = 0.0,
    scale: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Turn each image by up to ± `degrees`, shift it by up to ± `shift` pixels, and scale it by 1 ± `scale`.

    Float images only. Between pixels values are interpolated; what comes in at the edge is 0.
    """
    check_images(images)
    if not images.is_floating_point():
        raise TypeError(f"expected float images, since values are interpolated, got {images.dtype}: use images / 255")
    degrees, shift, scale = not_negative("degrees", degrees), not_negative("shift", shift), not_negative("scale", scale)
    if scale >= 1:
        raise ValueError(f"expected a scale below 1 (0.1 means from 0.9 to 1.1 times), got {scale:g}")
    turn, across, down, grow = (2 * draw(images, generator) - 1 for _ in range(4))  # (B,) each, from −1 to 1
    return affine(images, degrees * turn, shift * across, shift * down, 1 + scale * grow)


def affine(images: Tensor, degrees: Tensor, right: Tensor, down: Tensor, scale: Tensor) -> Tensor:
    """Turn float images (B, C, H, W) counterclockwise, scale them around their middle, then shift them.

    All four are (B,): degrees, pixels to the right, pixels down, factor. One 2×3 matrix an image says for each output
    pixel where in the input to look, so it holds the inverse: the opposite shift and turn, divided by the scale.
    """
    height, width = images.shape[2:]
    angle = degrees * math.pi / 180
    cos, sin = angle.cos() / scale, angle.sin() / scale
    x, y = -2 * right / width, -2 * down / height  # affine_grid measures in half widths and half heights
    flat, steep = height / width, width / height
    rows = [cos, -sin * flat, cos * x - sin * flat * y, sin * steep, cos, sin * steep * x + cos * y]
    matrix = torch.stack(rows, dim=1).view(-1, 2, 3).to(images.dtype)  # (B, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(images, grid, align_corners=False)


def random_cutout(
    images: Tensor, size: int, *, p: float = 1.0, fill: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Fill a square of `size` pixels in each image, with probability p; its middle may be any pixel.

    At the edge a part of the square falls outside, as in DeVries & Taylor 2017 (arXiv:1708.04552).
    """
    check_images(images)
    height, width = images.shape[2:]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= max(height, width):
        raise ValueError(f"expected a size from 0 to {max(height, width)} whole pixels, got {size!r}")
    check_fill(images, fill)
    chosen = draw(images, generator) < probability(p)
    inside = []
    for length in (height, width):
        middle = draw(images, generator).mul(length).long()  # (B,)
        first = (middle - size // 2)[:, None]
        place = torch.arange(length, device=images.device)
        inside.append((place >= first) & (place < first + size))  # (B, length)
    hole = inside[0][:, :, None] & inside[1][:, None, :] & chosen[:, None, None]  # (B, H, W)
    return images.masked_fill(hole[:, None], fill)


def random_grayscale(images: Tensor, p: float = 0.1, *, generator: torch.Generator | None = None) -> Tensor:
    """Turn each color image (B, 3, H, W), float, gray with probability p: 0.299 red + 0.587 green + 0.114 blue."""
    check_images(images)
    if images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"expected float color images (B, 3, H, W), got {images.dtype} {tuple(images.shape)}")
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    gray = (images * weights).sum(dim=1, keepdim=True).expand_as(images)
    chosen = draw(images, generator) < probability(p)
    return torch.where(chosen.view(-1, 1, 1, 1), gray, images)


# ------------------------------------------------------------------------------------------------ draws and checks


def draw(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return one number from 0 to 1 for each image, drawn on the CPU so that every device gets the same."""
    return torch.rand(len(images), generator=generator).to(images.device)


def check_images(images: Tensor) -> None:
    """Raise unless these are images (B, C, H, W)."""
    if not isinstance(images, Tensor):
        raise TypeError(f"expected a tensor of images (B, C, H, W), got {type(images).__name__}")
    if images.dim() != 4:
        raise ValueError(
            f"expected images of shape (B, C, H, W), got {tuple(images.shape)}: add the missing axes (images[None])"
        )


def check_fill(images: Tensor, fill: float) -> None:
    """Raise ValueError for a fill that these images cannot hold: integer ones hold whole numbers of a range."""
    if isinstance(fill, bool) or not isinstance(fill, Real) or not math.isfinite(fill):
        raise ValueError(f"expected a finite number as fill, got {fill!r}")
    if not images.is_floating_point():
        range_ = torch.iinfo(images.dtype)
        if fill != int(fill) or not range_.min <= fill <= range_.max:
            raise ValueError(
                f"expected a fill from {range_.min} to {range_.max}, a whole number, for images of {images.dtype}, got "
                f"{fill!r}: for pixels from 0 to 1 use images / 255"
            )


def probability(p: float) -> float:
    """Return p; ValueError unless it lies in 0 … 1."""
    if isinstance(p, bool) or not isinstance(p, Real) or not 0 <= p <= 1:
        raise ValueError(f"expected a probability p from 0 to 1, got {p!r}")
    return float(p)


def not_negative(name: str, value: float) -> float:
    """Return the value; ValueError unless it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
        raise ValueError(f"expected {name} as a number of at least 0, got {value!r}")
    return float(value)
