"""What objects are made of: round bones and flat panels, in three dimensions.

x points to the object's front, y up from the ground, z to its side. Angles are in degrees.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Bone(NamedTuple):
    """A round part between two points (2, 3), as thick as its two radii say."""

    points: np.ndarray
    radii: tuple[float, float]
    color: str

    def scaled(self, scale, shift):
        """Return the part made larger by the factor `scale` and then moved by `shift` (3,)."""
        return Bone(self.points * scale + shift, (self.radii[0] * scale, self.radii[1] * scale), self.color)


class Panel(NamedTuple):
    """A flat part with three corners or more, (corners, 3)."""

    points: np.ndarray
    color: str
    radii = (0.0,)  # it reaches no further than its corners

    def scaled(self, scale, shift):
        """Return the part made larger by the factor `scale` and then moved by `shift` (3,)."""
        return Panel(self.points * scale + shift, self.color)


class Thing(NamedTuple):
    """An object and how to take its photo: angles in degrees, ranges as (least, most)."""

    parts: list
    palette: dict  # name of a color: its code, or two codes that mix after a pattern of spots
    yaw: float  # 0 shows its right side, 90 its front
    pitch: float  # above 0 it is seen from above
    roll: float
    size: tuple  # of its longer side; 1 fills the picture
    horizon: tuple = (0.1, 0.9)  # how high up the object the horizon comes; 1 is its top
    focus: list | None = None  # the parts that are to fill the picture; all where None
    aloft: bool = False  # no ground shows
    pattern: tuple = (4, 4)  # rows and columns of spots
    contrast: float = 2.0  # of the spots


def between(rng, low, high):
    """Return a random number from `low` to `high`."""
    return low + (high - low) * rng.random()


def choose(rng, options):
    """Return one of the `options`, each equally often."""
    return options[int(rng.random() * len(options))]


def choose_weighted(rng, weights):
    """Return one key of `weights`: the higher its weight, the more often."""
    total = np.cumsum(list(weights.values()))
    return list(weights)[np.searchsorted(total, rng.random() * total[-1], side="right")]


def toward(up, side=0.0):
    """Return the unit vector that points forward, but `up` degrees upward and `side` degrees to the side."""
    up, side = np.deg2rad([up, side])
    return np.array([np.cos(up) * np.cos(side), np.sin(up), np.cos(up) * np.sin(side)])


def moved(point, x, y, z):
    """Return the point moved by x forward, y upward and z to the side."""
    return point + np.array([x, y, z])


def multiply(points, matrix):
    """Return `points` (N, 3) times `matrix` (3, 3), without `@`: its last bits depend on the machine's library."""
    return (points[:, :, None] * matrix).sum(axis=1)


def chain(color, *joints):
    """Return the bones that join (point, radius) pairs one after the other."""
    return [
        Bone(np.array([start, end], dtype=float), (first, last), color)
        for (start, first), (end, last) in pairwise(joints)
    ]


def ball(color, point, radius):
    """Return a ball: a bone without length."""
    return chain(color, (point, radius), (point, radius))


def panel(color, *corners):
    """Return a flat part with these corners."""
    return [Panel(np.array(corners, dtype=float), color)]


def side_panel(color, outline, z):
    """Return a flat part on each side of the object: `outline` holds (x, y) points."""
    return both_sides(panel(color, *[(x, y, z) for x, y in outline]))


def end_panel(color, x, bottom, top, width):
    """Return an upright flat part across the object's front or back."""
    return panel(color, (x, bottom, -width), (x, bottom, width), (x, top, width), (x, top, -width))


def both_sides(parts):
    """Return the parts and their mirror images on the other side of the object."""
    mirror = np.array([1, 1, -1])
    return parts + [part._replace(points=part.points * mirror) for part in parts]


def prism(color, outline, width, top=1.0):
    """Return the panels of a body whose side view is `outline`, (x, y) points, and that reaches `width` to each side.

    At its highest point it is `top` times as wide as at its lowest.
    """
    heights = np.array([y for _, y in outline])
    widths = width * (1 + (top - 1) * (heights - heights.min()) / (heights.max() - heights.min()))
    near = np.array([(x, y, z) for (x, y), z in zip(outline, widths, strict=True)])
    far = near * [1, 1, -1]
    edges = [Panel(np.array([near[i - 1], near[i], far[i], far[i - 1]]), color) for i in range(len(near))]
    return [Panel(near, color), Panel(far, color), *edges]


def box(color, back, front, bottom, top, width):
    """Return the panels of a box from x = `back` to `front` and y = `bottom` to `top`, `width` to each side."""
    return prism(color, [(back, bottom), (back, top), (front, top), (front, bottom)], width)


def wheels(places, radius, width):
    """Return a wheel on each side at every x of `places`; its outer face lies `width` to the side."""
    angles = np.deg2rad(np.arange(0, 360, 36))
    parts = []
    for x in places:
        for color, size, out in [("tire", radius, width), ("hub", 0.55 * radius, width + 0.01)]:
            parts += side_panel(color, [(x + size * np.cos(a), radius + size * np.sin(a)) for a in angles], out)
        parts += both_sides(ball("tire", (x, radius, width - 0.9 * radius), 0.9 * radius))
    return parts
