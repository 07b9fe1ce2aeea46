"""Paint backgrounds: sky, grass, roads, water, rooms."""

import numpy as np

from tiny_pictures.parts import between, choose

IMAGE_SIZE = 32  # pixels a side
ZOOM = 3  # points a pixel, along each side
SIZE = IMAGE_SIZE * ZOOM  # points a side
CENTERS = (np.arange(SIZE) + 0.5) / SIZE  # from 0 to 1: rows from the top, columns from the left

# What fills a part of the picture: pairs of colors that mix; texture's rows and columns of spots; how rough it is.
SURFACES = {
    "sky": ([("4f86c6", "b5d0ea"), ("7fb0e0", "e8eef2"), ("a9b4bf", "d8dcdf"), ("c8ccd0", "f0f0ee"),
             ("35609f", "86abd6"), ("d99a6c", "6b7fa8"), ("8fa3b8", "e6ddd0")], (3, 2), 0.05),
    "trees": ([("24381f", "4f6b34"), ("3a4a28", "6f7f4a"), ("2d3329", "59604a"), ("6a5a34", "9a7c40")], (9, 12), 0.25),
    "houses": ([("8a7f78", "b3a79a"), ("6e6a6c", "9aa0a8"), ("a08468", "c9b394"), ("55504f", "7d746d")], (6, 7), 0.15),
    "hills": ([("6d7f8f", "8f9ea6"), ("5f6f5a", "7f8a6a"), ("8b7b64", "a8977c")], (3, 4), 0.08),
    "grass": ([("4f7a2c", "86a94c"), ("5f7038", "98985a"), ("3f5f2a", "6a8a3c"), ("8f8348", "b8a868"),
               ("6b8f3a", "a9b95c")], (14, 9), 0.22),
    "forest": ([("2f3a22", "66753f"), ("3d3a28", "7a7350"), ("4a4a3c", "8a8a6c"), ("24301f", "4f6b34")], (4, 14), 0.3),
    "leaves": ([("2f5a1f", "79a83c"), ("3b4a24", "8a9a4c"), ("5a5f2c", "a3ad5f"), ("4a3f2a", "8c7a50")], (6, 6), 0.25),
    "road": ([("55565a", "7d7e82"), ("6f6c69", "96928c"), ("8c8a88", "b5b2ac"), ("3f4145", "606368")], (12, 5), 0.1),
    "sand": ([("b09a72", "d6c39a"), ("8f7a5c", "b8a382"), ("a08a78", "c9b8a4"), ("6f5c48", "94806a")], (10, 7), 0.12),
    "snow": ([("c3ccd8", "f2f4f6"), ("b0b8c2", "dde2e8")], (6, 4), 0.07),
    "sea": ([("2f5a7f", "5f8fae"), ("3f6f78", "7fa8a8"), ("5a6a78", "94a3ad"), ("1f3f5f", "4a7090"),
            ("7f8c8a", "b0b8b4")], (22, 5), 0.15),
    "wall": ([("b8a890", "d8ccb8"), ("8f9aa3", "b8c0c6"), ("a07f6a", "c4a48c"), ("c9c6c0", "e8e6e0"),
              ("5f5a5f", "86808a"), ("7a8f7a", "a4b5a0"), ("6a4f3c", "8c6e58")], (3, 4), 0.06),
    "floor": ([("8a6a48", "b08c64"), ("9a948c", "c2bcb2"), ("7a4a44", "a46c60"), ("5a6a8a", "8494b0"),
               ("b8ac9c", "dcd2c4"), ("4a4440", "746c66")], (8, 5), 0.12),
    "blanket": ([("8f3f44", "c07a74"), ("44608f", "7f98bf"), ("c0b49c", "e6dcc8"), ("5f7f5a", "93ad88"),
                 ("7f6f8f", "b0a0bc"), ("5f4f40", "907c68")], (5, 5), 0.2),
}  # fmt: skip

# What lies above the horizon, what may stand on it, and what lies below it.
SCENES = {
    "air": ("sky", None, "sky"),
    "runway": ("sky", "hills", "road"),
    "street": ("sky", "houses", "road"),
    "highway": ("sky", "trees", "road"),
    "meadow": ("sky", "trees", "grass"),
    "wood": ("forest", None, "grass"),
    "thicket": ("leaves", None, "leaves"),
    "desert": ("sky", "hills", "sand"),
    "beach": ("sea", None, "sand"),
    "bank": ("leaves", None, "sand"),
    "pond": ("leaves", None, "sea"),
    "winter": ("forest", None, "snow"),
    "snow": ("sky", "trees", "snow"),
    "open sea": ("sky", None, "sea"),
    "harbor": ("sky", "houses", "sea"),
    "bay": ("sky", "hills", "sea"),
    "room": ("wall", None, "floor"),
    "bed": ("wall", None, "blanket"),
    "yard": ("wall", None, "grass"),
    "garage": ("wall", None, "road"),
}

# How often each class is met in each scene. Classes share scenes, so that the background alone does not give them away.
PLACES = {
    "airplane": {"air": 6, "runway": 4, "meadow": 1, "bay": 1, "snow": 0.5, "desert": 1},
    "automobile": {"street": 3, "highway": 3, "meadow": 2, "desert": 1, "garage": 2, "snow": 1, "yard": 1,
                   "beach": 0.5},
    "bird": {"air": 3, "thicket": 2, "meadow": 2, "wood": 1, "pond": 2, "beach": 1, "open sea": 1, "winter": 1,
             "yard": 1},
    "cat": {"room": 4, "bed": 4, "yard": 1.5, "garage": 1, "meadow": 1, "thicket": 1, "street": 1, "bank": 0.5},
    "deer": {"wood": 3, "meadow": 4, "winter": 1.5, "thicket": 1, "desert": 1, "snow": 1, "highway": 0.5, "yard": 0.5},
    "dog": {"meadow": 2, "room": 2.5, "bed": 2, "yard": 2, "beach": 1.5, "street": 1, "snow": 1, "garage": 1,
            "wood": 1},
    "frog": {"thicket": 2, "bank": 3, "pond": 2, "garage": 1, "wood": 1.5, "room": 1, "beach": 1, "bed": 0.5},
    "horse": {"meadow": 5, "desert": 1.5, "wood": 1.5, "yard": 2, "highway": 1, "beach": 1, "snow": 1, "bank": 1},
    "ship": {"open sea": 4, "bay": 3, "harbor": 3, "pond": 1, "beach": 0.5},
    "truck": {"highway": 3, "street": 3, "meadow": 1.5, "desert": 1.5, "garage": 1, "snow": 1, "runway": 1,
              "harbor": 0.3},
}  # fmt: skip


def rgb(code):
    """Return the color of a code like "4f86c6" as float64 (3,), 0 to 1."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255


def stretch(grid, axis):
    """Return `grid` with `axis` stretched to `SIZE` points; between two values it glides from one to the other."""
    at = CENTERS * (grid.shape[axis] - 1)
    below = np.floor(at).astype(int)
    part = at - below
    part = part * part * (3 - 2 * part)  # flat at both ends, so that no edges show
    if axis == 0 and grid.ndim == 2:
        part = part[:, None]
    return grid.take(below, axis) * (1 - part) + grid.take(below + 1, axis) * part


def spots(rng, rows, columns):
    """Return smooth random spots, float64 (SIZE, SIZE), 0 to 1: some `rows` × `columns` of them, finer ones on top."""
    field = np.zeros((SIZE, SIZE))
    for fineness, strength in [(1, 0.6), (2, 0.28), (4, 0.12)]:
        grid = rng.random((fineness * rows + 1, fineness * columns + 1))
        field += strength * stretch(stretch(grid, 0), 1)
    return field


def grain(rng):
    """Return fine random grain, float64 (SIZE, SIZE, 1), −0.5 to 0.5."""
    return stretch(stretch(rng.random((49, 49)), 0), 1)[..., None] - 0.5


def draw_surface(rng, name):
    """Return a picture, float64 (SIZE, SIZE, 3), filled with one of `SURFACES`: two colors that mix in spots."""
    pairs, texture, roughness = SURFACES[name]
    first, second = (rgb(code) for code in choose(rng, pairs))
    grade = between(rng, -0.5, 0.5) * (CENTERS[:, None] - 0.5)  # toward one color at the top, the other at the bottom
    mix = np.clip(0.5 + grade + 1.6 * (spots(rng, *texture) - 0.5), 0, 1)[..., None]
    tint = 1 + 0.1 * (rng.random(3) - 0.5)
    return (first + mix * (second - first)) * tint * (1 + roughness * grain(rng))


def draw_scene(rng, name, horizon):
    """Return a background, float64 (SIZE, SIZE, 3): one surface above the `horizon` (0 is the top row), one below."""
    above, standing, below = SCENES[name]
    picture = draw_surface(rng, above)
    if standing and rng.random() < 0.75:
        heights = rng.random(12)
        profile = np.repeat(heights, SIZE // 12) if standing == "houses" else stretch(heights, 0)
        skyline = horizon - 0.03 - between(rng, 0.05, 0.3) * profile
        picture = np.where((CENTERS[:, None] > skyline)[..., None], draw_surface(rng, standing), picture)
    edge = horizon + between(rng, -0.06, 0.06) * (CENTERS - 0.5)  # hardly anyone holds a camera straight
    return np.where((CENTERS[:, None] > edge)[..., None], draw_surface(rng, below), picture)
