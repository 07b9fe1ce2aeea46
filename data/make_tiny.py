"""Draw the small stand-in data sets that ship with the course and serve where the real ones cannot be downloaded.

    python data/make_tiny.py [--out DIR]

The first is handwriting-like digits in MNIST's format, 2000 for training and 500 for testing. A digit is drawn the way
a hand draws it: choose a writing style, move the pen along its strokes with some wobble, press harder here and softer
there. Then it is fitted and centered the way MNIST's digits were (LeCun et al. 1998, section III.A).

The second is photo-like color pictures in CIFAR-10's format, 1000 for training and 300 for testing. The package
`tiny_pictures` beside this file draws them.

Every run and every machine must give the same bytes. Hence two rules. The only source of chance is `rng.random()`:
NumPy keeps that stream fixed for PCG64, while its normal or shuffled draws may change between versions. And every
value stays in float64 until one rounding to whole gray levels at the very end, so that a last-bit difference between
two math libraries has next to no chance to show.

The files are not compressed: zlib versions differ in the bytes that they write, and git compresses what it stores
anyway (1.6 MB of training digits become about 0.3 MB).
"""

import argparse
import struct
from pathlib import Path

import numpy as np
from tiny_pictures.photo import CLASSES, draw_pictures

TRAIN_COUNT, TEST_COUNT = 2000, 500
TRAIN_SEED, TEST_SEED = 1, 2
PICTURE_TRAIN_COUNT, PICTURE_TEST_COUNT = 1000, 300
PICTURE_TRAIN_SEED, PICTURE_TEST_SEED = 3, 4
IMAGE_SIZE = 28  # pixels a side
BOX_SIZE = 20  # pixels; the longer side of the ink, as in MNIST
EDGE_WIDTH = 1.1  # pixels from full ink to none
POINTS_PER_STROKE = 160  # pen positions; less than a pixel apart, so that a line shows no beads

# How people write each digit: (how often, strokes). A stroke is a list of (x, y) points that the pen passes in a smooth
# curve; x grows to the right, y downward, a digit is 1 high. A point given twice is a sharp corner.
STYLES = {
    0: [
        (4, [[(0.42, 0.02), (0.16, 0.16), (0.03, 0.52), (0.15, 0.88), (0.38, 0.98), (0.62, 0.82), (0.71, 0.46),
              (0.6, 0.13), (0.4, 0.02)]]),
        (2, [[(0.5, 0.1), (0.34, 0.03), (0.1, 0.25), (0.04, 0.62), (0.2, 0.94), (0.45, 0.95), (0.65, 0.68),
              (0.66, 0.3), (0.5, 0.05), (0.26, 0.1)]]),
        (1, [[(0.3, 0.06), (0.58, 0.1), (0.74, 0.42), (0.66, 0.82), (0.38, 1.0), (0.1, 0.84), (0.04, 0.42),
              (0.22, 0.08), (0.42, 0.0)]]),
    ],
    1: [
        (6, [[(0.36, 0.0), (0.35, 0.5), (0.34, 1.0)]]),
        (2, [[(0.2, 0.2), (0.38, 0.0), (0.38, 0.0), (0.37, 0.5), (0.37, 1.0)]]),
        (1, [[(0.16, 0.22), (0.38, 0.0), (0.38, 0.0), (0.37, 0.5), (0.37, 0.98)], [(0.1, 0.98), (0.66, 0.97)]]),
    ],
    2: [
        (3, [[(0.08, 0.24), (0.3, 0.02), (0.58, 0.13), (0.58, 0.4), (0.34, 0.72), (0.04, 0.96), (0.04, 0.96),
              (0.36, 0.92), (0.74, 0.95)]]),
        (4, [[(0.06, 0.2), (0.3, 0.02), (0.58, 0.16), (0.54, 0.46), (0.3, 0.82), (0.1, 0.95), (0.02, 0.85),
              (0.14, 0.76), (0.38, 0.88), (0.62, 0.97), (0.8, 0.9)]]),
        (2, [[(0.1, 0.12), (0.38, 0.02), (0.6, 0.2), (0.5, 0.5), (0.24, 0.78), (0.08, 0.93), (0.2, 0.94), (0.5, 0.9),
              (0.76, 0.98)]]),
        (3, [[(0.02, 0.28), (0.14, 0.08), (0.42, 0.0), (0.66, 0.18), (0.64, 0.5), (0.42, 0.84), (0.16, 0.98),
              (0.0, 0.84), (0.14, 0.68), (0.42, 0.8), (0.78, 0.98)]]),
        (1, [[(0.02, 0.06), (0.36, 0.03), (0.66, 0.05), (0.5, 0.36), (0.26, 0.7), (0.02, 0.96), (0.02, 0.96),
              (0.36, 0.94), (0.7, 0.97)]]),
    ],
    3: [
        (4, [[(0.1, 0.12), (0.36, 0.01), (0.58, 0.17), (0.48, 0.38), (0.24, 0.47), (0.24, 0.47), (0.52, 0.54),
              (0.64, 0.76), (0.4, 0.98), (0.05, 0.9)]]),
        (2, [[(0.08, 0.04), (0.6, 0.02), (0.6, 0.02), (0.46, 0.22), (0.28, 0.42), (0.28, 0.42), (0.56, 0.52),
              (0.62, 0.76), (0.36, 0.98), (0.05, 0.9)]]),
        (2, [[(0.12, 0.1), (0.42, 0.01), (0.58, 0.2), (0.42, 0.42), (0.24, 0.5), (0.22, 0.44), (0.4, 0.48),
              (0.6, 0.68), (0.46, 0.94), (0.2, 1.0), (0.04, 0.9)]]),
        (2, [[(0.06, 0.2), (0.22, 0.02), (0.5, 0.06), (0.5, 0.26), (0.3, 0.38), (0.3, 0.38), (0.62, 0.46),
              (0.68, 0.74), (0.42, 0.97), (0.1, 0.96), (0.02, 0.8)]]),
        (2, [[(0.14, 0.08), (0.44, 0.0), (0.62, 0.2), (0.46, 0.42), (0.32, 0.46), (0.32, 0.46), (0.5, 0.56),
              (0.54, 0.76), (0.36, 0.94), (0.02, 1.0)]]),
    ],
    4: [
        (4, [[(0.12, 0.05), (0.06, 0.32), (0.1, 0.54), (0.34, 0.56), (0.64, 0.5)],
             [(0.62, 0.0), (0.58, 0.5), (0.54, 1.0)]]),
        (2, [[(0.52, 0.02), (0.28, 0.34), (0.03, 0.62), (0.03, 0.62), (0.4, 0.63), (0.76, 0.62)],
             [(0.54, 0.02), (0.53, 0.5), (0.5, 1.0)]]),
        (2, [[(0.1, 0.04), (0.06, 0.4), (0.24, 0.53), (0.56, 0.46), (0.66, 0.06), (0.66, 0.06), (0.6, 0.5),
              (0.56, 1.0)]]),
    ],
    5: [
        (3, [[(0.18, 0.04), (0.12, 0.42), (0.12, 0.42), (0.4, 0.4), (0.6, 0.62), (0.46, 0.92), (0.04, 0.95)],
             [(0.18, 0.04), (0.44, 0.04), (0.72, 0.0)]]),
        (3, [[(0.7, 0.02), (0.44, 0.05), (0.22, 0.05), (0.22, 0.05), (0.14, 0.4), (0.14, 0.4), (0.38, 0.42),
              (0.58, 0.64), (0.44, 0.92), (0.2, 0.99), (0.04, 0.9)]]),
        (2, [[(0.76, 0.02), (0.4, 0.06), (0.24, 0.24), (0.34, 0.42), (0.52, 0.6), (0.44, 0.88), (0.18, 0.98),
              (0.03, 0.9)]]),
    ],
    6: [
        (4, [[(0.52, 0.0), (0.22, 0.3), (0.05, 0.68), (0.16, 0.95), (0.42, 0.97), (0.6, 0.76), (0.44, 0.57),
              (0.2, 0.66), (0.09, 0.8)]]),
        (2, [[(0.34, 0.0), (0.14, 0.36), (0.06, 0.74), (0.22, 0.97), (0.46, 0.9), (0.5, 0.68), (0.34, 0.58),
              (0.12, 0.72)]]),
        (2, [[(0.64, 0.08), (0.44, 0.04), (0.16, 0.34), (0.06, 0.7), (0.24, 0.98), (0.54, 0.88), (0.6, 0.62),
              (0.36, 0.52), (0.12, 0.68)]]),
        (3, [[(0.24, 0.0), (0.08, 0.34), (0.03, 0.72), (0.22, 0.98), (0.56, 0.96), (0.78, 0.7), (0.62, 0.5),
              (0.36, 0.6), (0.22, 0.9)]]),
    ],
    7: [
        (4, [[(0.04, 0.1), (0.36, 0.08), (0.66, 0.04), (0.66, 0.04), (0.48, 0.44), (0.32, 1.0)]]),
        (2, [[(0.06, 0.22), (0.07, 0.07), (0.07, 0.07), (0.38, 0.08), (0.62, 0.05), (0.56, 0.34), (0.36, 0.66),
              (0.3, 1.0)]]),
        (2, [[(0.04, 0.08), (0.36, 0.06), (0.66, 0.04), (0.66, 0.04), (0.48, 0.44), (0.3, 1.0)],
             [(0.2, 0.52), (0.42, 0.5), (0.66, 0.47)]]),
        (3, [[(0.02, 0.3), (0.06, 0.1), (0.34, 0.02), (0.58, 0.1), (0.58, 0.34), (0.44, 0.66), (0.38, 1.0)]]),
        (1, [[(0.04, 0.26), (0.06, 0.04), (0.06, 0.04), (0.34, 0.08), (0.56, 0.04), (0.56, 0.04), (0.56, 0.5),
              (0.54, 1.0)]]),
    ],
    8: [
        (4, [[(0.6, 0.14), (0.38, 0.01), (0.13, 0.16), (0.24, 0.4), (0.5, 0.6), (0.56, 0.84), (0.3, 0.99),
              (0.08, 0.82), (0.26, 0.56), (0.5, 0.36), (0.62, 0.12)]]),
        (2, [[(0.38, 0.46), (0.14, 0.28), (0.34, 0.02), (0.58, 0.2), (0.4, 0.46), (0.1, 0.72), (0.32, 0.99),
              (0.6, 0.78), (0.38, 0.46)]]),
        (2, [[(0.4, 0.02), (0.16, 0.14), (0.26, 0.4), (0.54, 0.66), (0.4, 0.97), (0.12, 0.9), (0.16, 0.64),
              (0.48, 0.4), (0.58, 0.14), (0.38, 0.01)]]),
        (3, [[(0.72, 0.08), (0.44, 0.02), (0.16, 0.16), (0.22, 0.36), (0.42, 0.54), (0.42, 0.84), (0.22, 1.0),
              (0.08, 0.84), (0.22, 0.62), (0.52, 0.38), (0.78, 0.14)]]),
        (2, [[(0.6, 0.1), (0.3, 0.0), (0.04, 0.2), (0.22, 0.44), (0.4, 0.62), (0.42, 0.86), (0.26, 0.99),
              (0.16, 0.82), (0.34, 0.54), (0.62, 0.3), (0.56, 0.06)]]),
    ],
    9: [
        (4, [[(0.58, 0.12), (0.34, 0.01), (0.08, 0.24), (0.16, 0.47), (0.42, 0.42), (0.6, 0.12), (0.6, 0.12),
              (0.57, 0.5), (0.5, 1.0)]]),
        (2, [[(0.54, 0.2), (0.36, 0.02), (0.1, 0.2), (0.18, 0.44), (0.44, 0.4), (0.58, 0.14), (0.62, 0.5),
              (0.48, 0.9), (0.22, 0.98), (0.08, 0.88)]]),
        (2, [[(0.54, 0.3), (0.36, 0.48), (0.1, 0.34), (0.24, 0.05), (0.54, 0.08), (0.56, 0.34), (0.44, 0.66),
              (0.34, 1.0)]]),
    ],
}  # fmt: skip


def bell(rng, *shape):
    """Return bell-shaped random numbers of mean 0 and standard deviation 1 (float64): four uniform draws added up."""
    return (rng.random((*shape, 4)).sum(axis=-1) - 2) * np.sqrt(3)


def choose_style(rng, digit):
    """Return the strokes of one writing style of `digit`: the higher its weight, the more often it comes."""
    weights = np.array([weight for weight, _ in STYLES[digit]])
    chosen = np.searchsorted(weights.cumsum(), rng.random() * weights.sum(), side="right")
    return STYLES[digit][chosen][1]


def move_points(rng, strokes):
    """Return the strokes, each an array (points, 2), with every point moved a little: no hand hits the same spot twice.

    Equal points move together, so that corners stay sharp and strokes that start at the same spot still do.
    """
    moved = {point: point + 0.036 * bell(rng, 2) for stroke in strokes for point in stroke}
    return [np.array([moved[point] for point in stroke]) for stroke in strokes]


def smooth_curve(points):
    """Return evenly spaced positions, float64 (POINTS_PER_STROKE, 2), on the Catmull-Rom spline through `points`."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, start, end, after = ends[:-3, None], ends[1:-2, None], ends[2:-1, None], ends[3:, None]
    t = np.linspace(0, 1, 20, endpoint=False)[:, None]
    curve = start + 0.5 * t * (
        (end - before) + t * (2 * before - 5 * start + 4 * end - after) + t * t * (3 * (start - end) + after - before)
    )  # (segments, 20, 2)
    curve = np.concatenate([curve.reshape(-1, 2), points[-1:]])
    steps = np.sqrt((np.diff(curve, axis=0) ** 2).sum(axis=1))
    length = np.concatenate([[0], steps.cumsum()])
    at = np.linspace(0, length[-1], POINTS_PER_STROKE)
    return np.stack([np.interp(at, length, curve[:, axis]) for axis in (0, 1)], axis=1)


def bend(rng, path):
    """Return `path` (points, 2) pushed about by three slow waves: neighbors move together, like on stretched paper."""
    for _ in range(3):
        frequency, phase, push = 4 * bell(rng, 2), 2 * np.pi * rng.random(), 0.03 * bell(rng, 2)
        path = path + np.sin(path @ frequency + phase)[:, None] * push
    return path


def lean(rng, path):
    """Return `path` (points, 2) made wider or narrower, slanted and turned by random amounts."""
    width, slant, turn = np.exp(0.24 * bell(rng)), 0.16 + 0.26 * bell(rng), 0.1 * bell(rng)
    x, y = path[:, 0] * width - slant * path[:, 1], path[:, 1]
    return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)


def press(rng, strokes):
    """Return the pen's radius in pixels at each position, float64 (strokes * POINTS_PER_STROKE,).

    One pen a digit; along each stroke the pressure drifts, and it fades where the pen comes down and lifts.
    """
    pen = np.exp(0.27 * bell(rng)) * 1.33
    t = np.linspace(0, 1, POINTS_PER_STROKE)
    radii = []
    for _ in range(strokes):
        drift = sum(0.07 * bell(rng) * np.sin(2 * np.pi * (n * t + rng.random())) for n in (0.5, 1, 2, 4, 8))
        fade_in, fade_out = 0.4 * rng.random(2)
        fade = fade_in * np.exp(-t / 0.06) + fade_out * np.exp((t - 1) / 0.06)
        radii.append(pen * (1 + drift - fade))
    return np.maximum(np.concatenate(radii), 0.6)


def ink(path, radii):
    """Return a float64 image (28, 28), 0 to 1: how far each pixel lies under a round pen that visits every position.

    `path` (points, 2) holds positions and `radii` (points,) the pen's radius there, both in pixels. An edge fades over
    `EDGE_WIDTH` pixels: that is the anti-aliasing.
    """
    pixels = np.arange(IMAGE_SIZE)[:, None]
    dx2, dy2 = (pixels - path[:, 0]) ** 2, (pixels - path[:, 1]) ** 2  # (28, points) each
    distance = np.sqrt(dy2[:, None, :] + dx2[None, :, :])  # (28, 28, points)
    return np.clip((radii - distance).max(axis=-1) / EDGE_WIDTH + 0.5, 0, 1)


def fit_box(path, radii):
    """Return `path` (points, 2) in pixels: the longer side of its ink is `BOX_SIZE` pixels, proportions kept.

    The pen's width does not grow with the digit, so the scale is found by halving an interval.
    """
    reach = (radii + EDGE_WIDTH / 2)[:, None]  # how far ink goes beyond the pen's position

    def box(scale):
        return (path * scale - reach).min(axis=0), (path * scale + reach).max(axis=0)

    small, large = 0.0, 100.0
    for _ in range(40):
        scale = (small + large) / 2
        low, high = box(scale)
        small, large = (small, scale) if (high - low).max() > BOX_SIZE else (scale, large)
    low, high = box(scale)
    return path * scale - (low + high) / 2 + (IMAGE_SIZE - 1) / 2


def center(image):
    """Return `image` (28, 28) shifted by whole pixels so that its center of mass is within half a pixel of index 14.

    That is where MNIST has it, half a pixel beyond the middle of 28 pixels. The margin round the ink is 4 pixels wide,
    so no shift is longer: else ink would come in again on the other side.
    """
    axis = np.arange(IMAGE_SIZE) - IMAGE_SIZE / 2
    down, right = image.sum(axis=1) @ axis, image.sum(axis=0) @ axis
    shift = np.rint(np.array([down, right]) / image.sum()).clip(-4, 4).astype(int)
    return np.roll(image, -shift, axis=(0, 1))


def draw_digit(rng, digit):
    """Return one image of `digit`, uint8 (28, 28), white ink on black."""
    strokes = [smooth_curve(points) for points in move_points(rng, choose_style(rng, digit))]
    path = lean(rng, bend(rng, np.concatenate(strokes)))
    radii = press(rng, len(strokes))
    image = center(ink(fit_box(path, radii), radii))
    return np.rint(image * 255).astype(np.uint8)


def draw_digits(count, seed):
    """Return `count` digits in random order: images uint8 (count, 28, 28) and labels uint8 (count,).

    Every class comes equally often (where `count` is no multiple of ten, the first classes once more).
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = np.arange(count) % 10
    labels = labels[np.argsort(rng.random(count), kind="stable")]
    images = np.stack([draw_digit(rng, digit) for digit in labels])
    return images, labels.astype(np.uint8)


def write_idx(path, array):
    """Write a uint8 array as an IDX file: two zero bytes, type 8 (uint8), number of axes, axis sizes, the values."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def make_digits(folder):
    """Write the stand-in for MNIST under `folder`, where torchvision's layout puts it: MNIST/raw."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for split, count, seed in [("train", TRAIN_COUNT, TRAIN_SEED), ("t10k", TEST_COUNT, TEST_SEED)]:
        images, labels = draw_digits(count, seed)
        write_idx(raw / f"{split}-images-idx3-ubyte", images)
        write_idx(raw / f"{split}-labels-idx1-ubyte", labels)


def write_records(path, images, labels):
    """Write pictures uint8 (N, 3, 32, 32) as CIFAR-10's records: a label, then the red, green and blue plane."""
    path.write_bytes(np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1).tobytes())


def make_pictures(folder):
    """Write the stand-in for CIFAR-10 under `folder`, in the files of its binary version."""
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = draw_pictures(PICTURE_TRAIN_COUNT, PICTURE_TRAIN_SEED)
    for number, rows in enumerate(np.array_split(np.arange(len(labels)), 5), start=1):
        write_records(folder / f"data_batch_{number}.bin", images[rows], labels[rows])
    write_records(folder / "test_batch.bin", *draw_pictures(PICTURE_TEST_COUNT, PICTURE_TEST_SEED))
    (folder / "batches.meta.txt").write_bytes("\n".join([*CLASSES, ""]).encode())  # as bytes: the same on Windows


def main():
    """Read the command line and make every stand-in; one more data set is one more `make_...` function here."""
    parser = argparse.ArgumentParser(description="Draw the small stand-in data sets of the course.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "tiny", help="folder to write into")
    folder = parser.parse_args().out
    make_digits(folder)
    print(f"wrote {TRAIN_COUNT} + {TEST_COUNT} digits to {folder / 'MNIST' / 'raw'}")
    make_pictures(folder)
    print(f"wrote {PICTURE_TRAIN_COUNT} + {PICTURE_TEST_COUNT} pictures to {folder / 'cifar-10-batches-bin'}")


if __name__ == "__main__":
    main()
