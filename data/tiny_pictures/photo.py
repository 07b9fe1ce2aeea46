"""Put an object into a scene and take the photo."""

import numpy as np

from tiny_pictures.animals import bird, four_legged, frog
from tiny_pictures.parts import Bone, between, choose, choose_weighted, multiply
from tiny_pictures.scenes import (
    CENTERS,
    IMAGE_SIZE,
    PLACES,
    SIZE,
    ZOOM,
    draw_scene,
    draw_surface,
    grain,
    rgb,
    spots,
    stretch,
)
from tiny_pictures.vehicles import airplane, automobile, ship, truck

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BUILDERS = {"airplane": airplane, "automobile": automobile, "bird": bird, "frog": frog, "ship": ship, "truck": truck}


def rotation(yaw, pitch, roll):
    """Return the matrix (3, 3) that turns an object by three angles in degrees, see `Thing`."""
    angles = np.deg2rad([yaw, pitch, roll])
    (c1, c2, c3), (s1, s2, s3) = np.cos(angles), np.sin(angles)
    around_y = np.array([[c1, 0, -s1], [0, 1, 0], [s1, 0, c1]])
    around_x = np.array([[1, 0, 0], [0, c2, -s2], [0, s2, c2]])
    around_z = np.array([[c3, -s3, 0], [s3, c3, 0], [0, 0, 1]])
    return multiply(multiply(around_z, around_x), around_y)


def turn(parts, matrix):
    """Return the parts as the viewer sees them: x to the right, y downward, z toward the viewer."""
    matrix = matrix * np.array([[1], [-1], [1]])
    return [part._replace(points=multiply(part.points, matrix.T)) for part in parts]


def box_around(parts):
    """Return the upper left and the lower right corner (x, y) of the box that holds all parts."""
    low = np.min([(part.points[:, :2].T - part.radii).min(axis=1) for part in parts], axis=0)
    high = np.max([(part.points[:, :2].T + part.radii).max(axis=1) for part in parts], axis=0)
    return low, high


def place(rng, thing):
    """Return the object's parts in the picture, whose sides run from 0 to 1: turned, scaled and moved."""
    matrix = rotation(thing.yaw, thing.pitch, thing.roll)
    low, high = box_around(turn(thing.focus or thing.parts, matrix))
    scale = between(rng, *thing.size) / (high - low).max()
    room = np.maximum(1 - scale * (high - low), 0.15)  # how far it can move; a large object may leave the picture a bit
    shift = 0.5 - scale * (low + high) / 2 + room * [between(rng, -0.5, 0.5), between(rng, -0.35, 0.5)]
    return [part.scaled(scale, np.array([*shift, 0])) for part in turn(thing.parts, matrix)]


def look_at_bone(bone, x, y):
    """Return what a viewer sees of a bone at the points (x, y): depth, −inf beside it, and the normal's three parts.

    A bone is round: a ball that moves from one end to the other and grows or shrinks on its way. Of all those balls,
    the one nearest in the picture is looked at, and the two at the ends, which hide it when the bone points at us.
    """
    (start, end), (first, last) = bone.points, bone.radii
    way = end - start
    nearest = ((x - start[0]) * way[0] + (y - start[1]) * way[1]) / (way[0] ** 2 + way[1] ** 2 + 1e-9)
    along = np.stack([np.clip(nearest, 0, 1), np.zeros_like(nearest), np.ones_like(nearest)])  # (3, rows, columns)
    radius = first + along * (last - first)
    dx, dy = x - start[0] - along * way[0], y - start[1] - along * way[1]
    height = radius**2 - dx**2 - dy**2
    depth = np.where(height > 0, start[2] + along * way[2] + np.sqrt(np.maximum(height, 0)), -np.inf)
    front = depth.argmax(axis=0)[None]
    depth, dx, dy, height, radius = (
        np.take_along_axis(values, front, axis=0)[0] for values in (depth, dx, dy, height, radius)
    )
    return depth, np.stack([dx, dy, np.sqrt(np.maximum(height, 0))]) / radius


def look_at_panel(panel, x, y):
    """Return what a viewer sees of a flat panel at the points (x, y): depth, −inf beside it, and its normal."""
    corners = panel.points
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal = normal / np.sqrt((normal**2).sum() + 1e-18)
    if abs(normal[2]) < 1e-3:  # seen edge-on
        return np.full(np.broadcast(x, y).shape, -np.inf), normal[:, None, None]
    normal = normal * np.sign(normal[2])
    inside = np.zeros(np.broadcast(x, y).shape, dtype=bool)
    for (x1, y1, _), (x2, y2, _) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:  # a ray to the left crosses this side or not; an odd number of crossings means inside
            inside ^= ((y1 > y) != (y2 > y)) & (x > x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    depth = corners[0, 2] - (normal[0] * (x - corners[0, 0]) + normal[1] * (y - corners[0, 1])) / normal[2]
    return np.where(inside, depth, -np.inf), normal[:, None, None]


def render(parts, palette, pattern, light):
    """Return the object's colors, float64 (SIZE, SIZE, 3), and where it is, bool (SIZE, SIZE, 1).

    Of all parts at a point the nearest shows. Its color, or mix of two colors after the `pattern` (SIZE, SIZE), is
    brighter the more its surface faces the `light` (3,).
    """
    colors, nearest = np.zeros((SIZE, SIZE, 3)), np.full((SIZE, SIZE), -np.inf)
    for part in parts:
        (left, top), (right, bottom) = (np.clip(corner * SIZE, 0, SIZE).astype(int) for corner in box_around([part]))
        here = slice(top, bottom + 1), slice(left, right + 1)
        look = look_at_bone if isinstance(part, Bone) else look_at_panel
        depth, normal = look(part, CENTERS[here[1]], CENTERS[here[0], None])
        shows = depth > nearest[here]
        facing = np.maximum((normal * light[:, None, None]).sum(axis=0), 0)
        first, second = palette[part.color]
        color = (first + pattern[here][..., None] * (second - first)) * (0.5 + 0.75 * facing)[..., None]
        colors[here] = np.where(shows[..., None], color, colors[here])
        nearest[here] = np.where(shows, depth, nearest[here])
    return colors, np.isfinite(nearest)[..., None]


def choose_light(rng):
    """Return where the light comes from, float64 (3,), from above and in front; its length is its strength."""
    light = np.array([between(rng, -0.8, 0.8), between(rng, -1.0, -0.3), between(rng, 0.2, 1.0)])
    return light / np.sqrt((light**2).sum()) * between(rng, 0.5, 1.1)


def draw_object(rng, thing, parts):
    """Return the object in its palette, as `render` does, with spots and grain."""
    pairs = {name: pair if isinstance(pair, tuple) else (pair, pair) for name, pair in thing.palette.items()}
    palette = {name: [rgb(code) for code in pair] for name, pair in pairs.items()}
    pattern = np.clip(0.5 + thing.contrast * (spots(rng, *thing.pattern) - 0.5), 0, 1)
    colors, there = render(parts, palette, pattern, choose_light(rng))
    return colors * (1 + 0.25 * grain(rng)), there


def cast_shadow(picture, parts, darkness):
    """Return the picture with the ground under the object darkened, softly."""
    (left, _), (right, bottom) = box_around(parts)
    across = (CENTERS - (left + right) / 2) / (0.6 * (right - left))
    down = (CENTERS[:, None] - bottom + 0.02) / 0.06
    return picture * (1 - darkness * np.exp(-2 * across**2 - down**2))[..., None]


def cover(rng, picture):
    """Return the picture with something in front: plants that grow from below, or a post."""
    if rng.random() < 0.6:
        height = between(rng, 0.05, 0.35) * stretch(rng.random(int(between(rng, 5, 40))), 0)
        hidden = CENTERS[:, None] > 1 - height
    else:
        middle, lean = rng.random(), between(rng, -0.2, 0.2)
        hidden = np.abs(CENTERS - middle + lean * CENTERS[:, None]) < between(rng, 0.02, 0.07)
    surface = draw_surface(rng, choose(rng, ["grass", "leaves", "trees", "wall", "forest"]))
    return np.where(hidden[..., None], surface, picture)


def expose(rng, picture):
    """Return the picture, (SIZE, SIZE, 3), as a small photo, uint8 (3, 32, 32): light, blur, noise, whole numbers."""
    picture = picture * between(rng, 0.82, 1.15) * (1 + 0.1 * (rng.random(3) - 0.5))  # bright or dark, warm or cold
    picture = 0.5 + (picture - 0.5) * between(rng, 0.8, 1.2)
    photo = picture.reshape(IMAGE_SIZE, ZOOM, IMAGE_SIZE, ZOOM, 3).mean(axis=(1, 3))
    blur = between(rng, 0, 0.15)
    for axis in (0, 1):
        wide = np.concatenate([photo.take([0], axis), photo, photo.take([-1], axis)], axis)
        neighbors = wide.take(range(IMAGE_SIZE), axis) + wide.take(range(2, IMAGE_SIZE + 2), axis)
        photo = (1 - 2 * blur) * photo + blur * neighbors
    photo = photo + between(rng, 0.01, 0.05) * (rng.random(photo.shape) - 0.5)
    return np.rint(np.clip(photo, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)


def take_photo(rng, name):
    """Return one picture of the class `name`, uint8 (3, 32, 32)."""
    scene = choose_weighted(rng, PLACES[name])
    thing = BUILDERS[name](rng, scene) if name in BUILDERS else four_legged(rng, name)
    parts = place(rng, thing)
    (_, top), (_, bottom) = box_around(parts)
    if thing.aloft:
        picture = draw_scene(rng, scene, horizon=2)  # below the picture
    else:
        picture = draw_scene(rng, scene, horizon=bottom - between(rng, *thing.horizon) * (bottom - top))
        picture = cast_shadow(picture, parts, between(rng, 0.1, 0.6))
    colors, there = draw_object(rng, thing, parts)
    picture = np.where(there, colors, picture)
    if rng.random() < 0.1:
        picture = cover(rng, picture)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]  # so that as many look left as right
    return expose(rng, picture)


def choose_labels(count, seed):
    """Return `count` labels in random order, uint8 (count,), every class equally often.

    Where `count` is no multiple of ten, the first classes come once more.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    order = np.argsort(rng.random(count), kind="stable")
    return (np.arange(count) % 10)[order].astype(np.uint8)


def draw_picture(label, seed, number):
    """Return picture `number` of the set `seed`, uint8 (3, 32, 32), which shows the class `label`.

    Each picture has its own source of chance, so that a test can draw any of them again.
    """
    return take_photo(np.random.Generator(np.random.PCG64([seed, number])), CLASSES[label])


def draw_pictures(count, seed):
    """Return `count` pictures, uint8 (count, 3, 32, 32), and their labels, uint8 (count,)."""
    labels = choose_labels(count, seed)
    return np.stack([draw_picture(label, seed, number) for number, label in enumerate(labels)]), labels
