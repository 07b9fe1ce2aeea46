"""Changes of whole batches of images, each image with a draw of its own: a few tensor operations each.

All take images (B, C, H, W), return new ones of the same shape and dtype, and draw from `generator`, or from torch's
global random state. A probability, padding, size or scale that does not fit raises ValueError.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def random_flip(
    images: Tensor, p: float = 0.5, *, vertical: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Mirror each image left to right (or, `vertical`, upside down) with probability p."""
    chosen = choose(images, p, generator)  # (B, 1, 1, 1)
    return torch.where(chosen, images.flip(2 if vertical else 3), images)


def random_crop(images: Tensor, padding: int, *, fill: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
    """Pad each image by `padding` pixels of `fill` and cut the original size out at a place of its own.

    Each image is shifted by −padding to +padding pixels in both directions, all shifts equally likely.
    """
    down, across = draw(images, generator), draw(images, generator)  # (B,) each
    height, width = images.shape[2:]
    require(0 <= padding < min(height, width), f"a padding from 0 to {min(height, width) - 1} pixels", padding)
    padded = F.pad(images, (padding,) * 4, value=fits(images, fill))  # (B, C, H + 2P, W + 2P)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2P + 1, 2P + 1, H, W): a view, not a copy
    top, left = (down * (2 * padding + 1)).long(), (across * (2 * padding + 1)).long()  # (B,) each
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
    if not images.is_floating_point():
        raise TypeError(f"expected float images, since values are interpolated, got {images.dtype}: use images / 255")
    require(0 <= scale < 1, "a scale below 1 (0.1 means from 0.9 to 1.1 times)", scale)
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
    chosen = choose(images, p, generator)  # (B, 1, 1, 1)
    require(0 <= size <= max(images.shape[2:]), f"a size from 0 to {max(images.shape[2:])} pixels", size)

    def inside(length: int) -> Tensor:
        first = draw(images, generator).mul(length).long() - size // 2  # (B,): where the square begins
        place = torch.arange(length, device=images.device) - first[:, None]  # (B, length)
        return (place >= 0) & (place < size)

    rows, columns = (inside(length) for length in images.shape[2:])  # (B, H), (B, W)
    return images.masked_fill(chosen & rows[:, None, :, None] & columns[:, None, None, :], fits(images, fill))


def random_grayscale(images: Tensor, p: float = 0.1, *, generator: torch.Generator | None = None) -> Tensor:
    """Turn each color image (B, 3, H, W), float, gray with probability p: 0.299 red + 0.587 green + 0.114 blue."""
    chosen = choose(images, p, generator)  # (B, 1, 1, 1)
    if images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"expected float color images (B, 3, H, W), got {images.dtype} {tuple(images.shape)}")
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    return torch.where(chosen, (images * weights).sum(dim=1, keepdim=True), images)


def choose(images: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    """Return for each image whether it is changed, True with probability p: bool (B, 1, 1, 1)."""
    require(0 <= p <= 1, "a probability p from 0 to 1", p)
    return (draw(images, generator) < p).view(-1, 1, 1, 1)


def draw(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a number from 0 to 1 for each image (B, C, H, W), drawn on the CPU so that every device gets the same."""
    require(images.dim() == 4, "images of shape (B, C, H, W); add missing axes, images[None]", tuple(images.shape))
    return torch.rand(len(images), generator=generator).to(images.device)


def fits(images: Tensor, fill: float) -> float:
    """Return `fill`; torch would cut it to a whole number without a word where the images are bytes."""
    require(images.is_floating_point() or fill in range(256), "a whole number from 0 to 255 as fill", fill)
    return fill


def require(fine: bool, expected: str, got: object) -> None:
    """Raise ValueError unless the argument is fine."""
    if not fine:
        raise ValueError(f"expected {expected}, got {got!r}")
