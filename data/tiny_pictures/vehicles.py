"""Build the vehicles: cars, trucks, airplanes and ships."""

import numpy as np

from tiny_pictures.parts import (
    Thing,
    ball,
    between,
    both_sides,
    box,
    chain,
    choose,
    choose_weighted,
    end_panel,
    panel,
    prism,
    side_panel,
    wheels,
)

PAINTS = ["b02828", "2c4c94", "dcdcdc", "1c1c20", "a8acb0", "e0b828", "2c6c48", "6c7078", "c86830", "7c2430", "8cb0d0",
          "d8d0b8"]  # fmt: skip

# Side views of cars: the body's outline, then that of the windows (x, y).
CARS = {
    "sedan": ([(-1, 0.2), (-1.02, 0.48), (-0.95, 0.57), (0.45, 0.57), (0.95, 0.48), (1, 0.2)],
              [(-0.78, 0.56), (-0.48, 0.86), (0.1, 0.87), (0.48, 0.56)]),
    "hatchback": ([(-0.85, 0.2), (-0.88, 0.6), (0.5, 0.6), (0.9, 0.5), (0.95, 0.2)],
                  [(-0.86, 0.59), (-0.7, 0.95), (0.1, 0.96), (0.52, 0.59)]),
    "off-roader": ([(-0.95, 0.25), (-0.97, 0.72), (0.5, 0.72), (0.92, 0.66), (0.95, 0.25)],
                   [(-0.95, 0.71), (-0.88, 1.1), (0.2, 1.1), (0.5, 0.71)]),
    "coupe": ([(-1, 0.16), (-1.02, 0.48), (-0.9, 0.54), (0.35, 0.5), (0.95, 0.36), (1.02, 0.16)],
              [(-0.75, 0.52), (-0.3, 0.75), (0.02, 0.76), (0.42, 0.5)]),
    "van": ([(-1, 0.2), (-1.02, 0.62), (0.6, 0.62), (0.95, 0.5), (1, 0.2)],
            [(-1, 0.61), (-0.96, 1.08), (0.3, 1.06), (0.7, 0.61)]),
    "classic": ([(-1, 0.2), (-0.95, 0.5), (-0.7, 0.64), (0.4, 0.64), (0.95, 0.6), (1, 0.2)],
                [(-0.72, 0.63), (-0.5, 1.0), (0.05, 1.0), (0.25, 0.63)]),
}  # fmt: skip


def road_colors(rng):
    """Return the palette of a car or truck."""
    paint = choose(rng, PAINTS)
    return {
        "paint": paint,
        "cargo": choose(rng, [paint, "e8e8e4", "b4b8bc", "98764c", *PAINTS]),
        "glass": choose(rng, ["28323c", "4c5c68", "88a0ac"]),
        "lamp": choose(rng, ["f4f0dc", "e8d8a0"]),
        "grille": choose(rng, ["242424", "8c9094"]),
        "hub": choose(rng, ["9a9ca0", "54565a"]),
        "tire": "1a1a1a",
        "frame": "2a2a2c",
        "red": "c02018",
        "wood": ("7c5a38", "a8845c"),
    }


def choose_yaw(rng):
    """Return an angle that shows a car or truck from any side, most often from the side and the front."""
    return choose(rng, [between(rng, -70, 70), between(rng, 15, 75), between(rng, 110, 250)])


def automobile(rng, scene):
    """Return a car."""
    stretch, width = between(rng, 0.92, 1.08), between(rng, 0.38, 0.44)
    body, windows = ([(x * stretch, y) for x, y in outline] for outline in CARS[choose(rng, list(CARS))])
    nose, rear = max(x for x, _ in body) + 0.01, min(x for x, _ in body) - 0.01
    parts = prism("paint", body, width) + draw_cabin(windows, width)
    parts += both_sides(ball("lamp", (nose - 0.03, 0.4, 0.72 * width), 0.07))
    parts += both_sides(ball("red", (rear + 0.03, 0.4, 0.72 * width), 0.07))
    parts += end_panel("grille", nose, 0.26, 0.4, 0.2)
    parts += box("frame", rear + 0.05, nose - 0.05, 0.13, 0.21, 0.95 * width)
    parts += wheels([-0.6 * stretch, 0.62 * stretch], between(rng, 0.17, 0.21), width + 0.01)
    return Thing(
        parts=parts, palette=road_colors(rng), yaw=choose_yaw(rng), pitch=between(rng, 3, 25), roll=between(rng, -4, 4),
        size=(0.75, 1.1), horizon=(0.3, 1.6),
    )  # fmt: skip


def draw_cabin(windows, width):
    """Return the upper part of a car: glass all round, pillars and a roof."""
    (back, _), (roof_back, roof), (roof_front, _), (front, low) = windows
    parts = prism("glass", windows, 0.94 * width, top=0.8)
    middle = ((back + front) / 2 - 0.1, (roof_back + roof_front) / 2 - 0.1)
    for foot, top in [(back, roof_back), middle, (front, roof_front)]:
        parts += both_sides(chain("paint", ((foot, low, 0.93 * width), 0.03), ((top, roof, 0.75 * width), 0.03)))
    edge = [(roof_back - 0.03, roof - 0.01), (roof_back, roof + 0.04), (roof_front, roof + 0.04),
            (roof_front + 0.03, roof - 0.01)]  # fmt: skip
    return parts + prism("paint", edge, 0.78 * width)


# Side views of a truck's cab; the second edge from the top is the windshield.
CABS = [
    [(0.62, 0.2), (0.62, 1.0), (0.97, 1.0), (1.0, 0.65), (1.0, 0.2)],
    [(0.5, 0.2), (0.5, 0.98), (0.72, 0.98), (0.8, 0.68), (1.08, 0.62), (1.1, 0.2)],
    [(0.6, 0.2), (0.6, 0.9), (0.85, 0.9), (1.0, 0.6), (1.04, 0.2)],
]


def truck(rng, scene):
    """Return a truck with a box, a tank, a dump body, logs or an empty bed."""
    cab, length, width = choose(rng, CABS), between(rng, 1.1, 2.1), between(rng, 0.3, 0.36)
    rear, end = 0.55 - length, cab[0][0] - 0.06
    parts = draw_cab(cab, width) + box("frame", rear, 0.9, 0.2, 0.3, 0.8 * width)
    parts += draw_load(rng, rear, end, width)
    parts += wheels([0.78, rear + 0.2, rear + 0.52] + [end - 0.1] * (length > 1.5), 0.17, width)
    return Thing(
        parts=parts, palette=road_colors(rng), yaw=choose_yaw(rng), pitch=between(rng, 0, 20), roll=between(rng, -4, 4),
        size=(0.8, 1.15), horizon=(0.2, 1.0),
    )  # fmt: skip


def draw_cab(cab, width):
    """Return the cab of a truck with its windows, lamps, grille and bumper."""
    (back, _), _, (top_x, top), (sill_x, sill), *_ = cab
    nose = max(x for x, _ in cab)
    parts = prism("paint", cab, width)
    parts += panel("glass", *[(x + 0.015, y - 0.03, z * 0.8 * width) for x, y, z in
                              [(top_x, top, -1), (top_x, top, 1), (sill_x, sill, 1), (sill_x, sill, -1)]])  # fmt: skip
    window = [(back + 0.06, sill + 0.02), (back + 0.06, top - 0.06), (top_x - 0.05, top - 0.06),
              (sill_x - 0.06, sill + 0.02)]  # fmt: skip
    parts += side_panel("glass", window, width + 0.01)
    parts += end_panel("grille", nose + 0.02, 0.28, 0.55, 0.16)
    parts += both_sides(ball("lamp", (nose - 0.01, 0.36, 0.75 * width), 0.06))
    return parts + box("frame", nose - 0.05, nose + 0.03, 0.16, 0.24, 1.03 * width)


def draw_load(rng, rear, end, width):
    """Return what a truck carries behind its cab, from x = `rear` to `end`."""
    load = choose_weighted(rng, {"box": 5, "tank": 1.5, "dump": 2, "logs": 1, "bed": 1})
    if load == "box":
        return box("cargo", rear, end, 0.3, between(rng, 0.85, 1.25), 1.05 * width)
    if load == "tank":
        return chain("cargo", ((rear + 0.3, 0.62, 0), 0.31), ((end - 0.3, 0.62, 0), 0.31))
    if load == "dump":
        body = [(rear + 0.1, 0.32), (rear - 0.08, 0.85), (end + 0.03, 0.85), (end, 0.32)]
        return prism("cargo", body, 1.05 * width)
    if load == "bed":
        return box("cargo", rear, end, 0.3, 0.48, width)
    parts = []
    for y, z in [(0.42, -0.2), (0.42, 0), (0.42, 0.2), (0.6, -0.1), (0.6, 0.1), (0.76, 0)]:
        parts += chain("wood", ((rear, y, z), 0.1), ((end, y, z), 0.1))
    return parts


# ----------------------------------------------------------------------------------------------------------- airplanes

# Radius of the hull, then of each wing: how far it reaches, how far back it is swept, its depth at the hull.
AIRPLANES = {
    "airliner": (0.105, 0.95, 0.5, 0.34),
    "propeller": (0.12, 1.0, 0.03, 0.3),
    "fighter": (0.09, 0.55, 0.65, 0.75),
}


def airplane(rng, scene):
    """Return an airliner, a propeller plane or a fighter, in the air or on its wheels."""
    kind = choose_weighted(rng, {"airliner": 5, "propeller": 3, "fighter": 2})
    thick, span, sweep, depth = AIRPLANES[kind]
    parts = chain("hull", ((1, -0.02, 0), 0.03), ((0.82, 0, 0), 0.85 * thick), ((0.55, 0, 0), thick),
                  ((-0.4, 0, 0), thick), ((-1, 0.07, 0), 0.03))  # fmt: skip
    parts += ball("glass", (0.74, 0.6 * thick, 0), 0.07 if kind == "airliner" else 0.1)
    height = 0.8 * thick if kind == "propeller" and rng.random() < 0.5 else -0.04
    tip, end = 0.25 - sweep, height + 0.1
    wing = [(0.25, height, 0), (tip, end, span), (tip - 0.35 * depth, end, span), (0.25 - depth, height, 0)]
    parts += both_sides(draw_wing("wing", wing))
    parts += both_sides(draw_wing("wing", [(-0.72, 0.05, 0), (-0.95, 0.06, 0.34), (-1.05, 0.06, 0.34), (-1, 0.05, 0)]))
    parts += draw_wing("tail", [(-0.65, 0.05, 0), (-0.92, 0.42, 0), (-1.06, 0.42, 0), (-1, 0.05, 0)])
    if kind == "airliner":
        parts += draw_jets(sweep / span, count=1 + (rng.random() < 0.4))
        parts += both_sides(chain("line", ((0.65, 0.03, 0.93 * thick), 0.02), ((-0.45, 0.03, 0.93 * thick), 0.02)))
    if kind == "propeller":
        parts += chain("dark", ((1.02, -0.25, 0), 0.02), ((1.02, 0.22, 0), 0.02))
        parts += chain("line", ((0.9, -0.01, 0), 0.11), ((0.7, 0, 0), 0.125))
    flies = scene in ("air", "bay") or (scene in ("meadow", "snow") and rng.random() < 0.3)
    if not flies:
        for x, z in [(0.7, 0), (0, 0.16), (0, -0.16)]:
            parts += chain("dark", ((x, -0.05, z), 0.02), ((x, -0.24, z), 0.02)) + ball("dark", (x, -0.25, z), 0.05)
    return Thing(
        parts=parts, palette=airplane_colors(rng), size=(0.75, 1.1), aloft=scene == "air",
        yaw=between(rng, -70, 70) + 180 * (rng.random() < 0.2),
        pitch=between(rng, -35, 30) if flies else between(rng, 0, 18),
        roll=between(rng, -25, 25) if flies else between(rng, -3, 3),
    )  # fmt: skip


def draw_wing(color, corners):
    """Return a wing: a panel, and a bone along its front edge, so that it can be seen edge-on."""
    return panel(color, *corners) + chain(color, (corners[0], 0.035), (corners[1], 0.015))


def draw_jets(slope, count):
    """Return `count` jet engines under each wing, whose front edge runs back by `slope`."""
    parts = []
    for z in (0.3, 0.55)[:count]:
        front = 0.35 - slope * z
        parts += both_sides(chain("engine", ((front, -0.13, z), 0.055), ((front - 0.2, -0.12, z), 0.045)))
    return parts


def airplane_colors(rng):
    """Return the palette of an airplane."""
    hull = choose(rng, ["eceeee", "d0d4d8", "a8b0b8", "5c646c", "e8e0d0", *PAINTS])
    return {
        "hull": hull,
        "wing": choose(rng, [hull, "b8bcc0", "8c9298"]),
        "tail": choose(rng, [hull, *PAINTS]),
        "engine": choose(rng, ["c0c4c8", "6c7076"]),
        "line": choose(rng, ["2c3440", "b02828", "2c4c94"]),
        "glass": "28303a",
        "dark": "222224",
    }


# --------------------------------------------------------------------------------------------------------------- ships


def ship(rng, scene):
    """Return a liner, a freighter, a warship, a motorboat or a sailing boat."""
    kind = choose_weighted(rng, {draw_liner: 3, draw_freighter: 4, draw_warship: 2, draw_motorboat: 2, draw_sails: 3})
    deck, width = {draw_liner: (0.2, 0.17), draw_freighter: (0.18, 0.16), draw_warship: (0.13, 0.12),
                   draw_motorboat: (0.3, 0.3), draw_sails: (0.16, 0.2)}[kind]  # fmt: skip
    palette = ship_colors(rng)
    if kind is draw_warship:
        palette.update(hull="7c868c", house="98a2a8")
    return Thing(
        parts=draw_hull(deck, width) + kind(rng, deck, width), palette=palette, size=(0.75, 1.1), horizon=(0.15, 0.9),
        yaw=between(rng, -55, 55) + 180 * (rng.random() < 0.2), pitch=between(rng, 2, 16), roll=between(rng, -4, 4),
    )  # fmt: skip


def draw_hull(deck, width):
    """Return the hull of a ship from the water up to its `deck`: broad behind, pointed and higher in front."""
    shape = [(-1, 0.75 * width), (-0.9, width), (0.4, width), (0.8, 0.55 * width), (1.05, 0)]
    top = np.array([(x, deck + 0.06 * max(x, 0), z) for x, z in shape])
    low = np.array([(0.97 * x - 0.02, 0, 0.75 * z) for x, z in shape])
    parts = []
    for i in range(len(shape) - 1):
        parts += both_sides(panel("hull", top[i], top[i + 1], low[i + 1], low[i]))
        out, up = np.array([1, 1, 1.05]), np.array([0, 0.05, 0])
        parts += both_sides(
            panel("stripe", *[low[i] * out, low[i + 1] * out, low[i + 1] * out + up, low[i] * out + up])
        )
    mirror = np.array([1, 1, -1])
    parts += panel("hull", top[0], top[0] * mirror, low[0] * mirror, low[0])
    return parts + panel("deck", *[(x, deck, z) for x, z in shape], *[(x, deck, -z) for x, z in shape[::-1]])


def draw_liner(rng, deck, width):
    """Return the decks and the funnel of a liner."""
    parts = []
    for level in range(int(between(rng, 2, 5))):
        back, front, floor = -0.85 + 0.07 * level, 0.5 - 0.09 * level, deck + 0.09 * level
        row = floor + 0.05  # of windows
        parts += box("house", back, front, floor, floor + 0.09, 0.9 * width)
        parts += both_sides(
            chain("line", ((back + 0.05, row, 0.9 * width), 0.015), ((front - 0.05, row, 0.9 * width), 0.015))
        )
    return parts + chain("funnel", ((-0.3, floor, 0), 0.09), ((-0.34, floor + 0.25, 0), 0.08))


def draw_freighter(rng, deck, width):
    """Return the bridge of a freighter and its containers, or its cranes where it has no load."""
    parts = box("house", -0.9, -0.62, deck, deck + between(rng, 0.3, 0.45), 0.9 * width)
    parts += chain("funnel", ((-0.85, deck, 0), 0.06), ((-0.85, deck + 0.52, 0), 0.06))
    loaded = rng.random() < 0.6
    for number, x in enumerate(np.arange(-0.55, 0.6, 0.19)):
        if loaded:
            parts += box(f"crate {number % 4}", x, x + 0.17, deck, deck + between(rng, 0.08, 0.3), 0.9 * width)
        elif number % 3 == 1:
            parts += chain(
                "line", ((x, deck, 0), 0.02), ((x, deck + 0.35, 0), 0.012), ((x + 0.2, deck + 0.25, 0), 0.01)
            )
    return parts


def draw_warship(rng, deck, width):
    """Return the bridge, the mast and the gun of a warship."""
    bridge = [(-0.4, deck), (-0.3, deck + 0.2), (0.15, deck + 0.22), (0.3, deck)]
    parts = prism("house", bridge, 0.8 * width, top=0.6)
    parts += chain("line", ((-0.05, deck, 0), 0.05), ((-0.05, deck + between(rng, 0.4, 0.6), 0), 0.02))
    parts += box("house", -0.75, -0.55, deck, deck + 0.1, 0.06) + box("house", 0.45, 0.6, deck, deck + 0.1, 0.06)
    return parts + chain("line", ((0.55, deck + 0.07, 0), 0.02), ((0.8, deck + 0.1, 0), 0.015))


def draw_motorboat(rng, deck, width):
    """Return the cabin of a motorboat."""
    roof = deck + between(rng, 0.25, 0.4)
    parts = prism("house", [(-0.5, deck), (-0.45, roof), (0.1, roof), (0.4, deck)], 0.75 * width, top=0.8)
    window = [(-0.4, deck + 0.12), (-0.38, roof - 0.05), (0.05, roof - 0.05), (0.2, deck + 0.12)]
    return parts + side_panel("line", window, 0.77 * width)


def draw_sails(rng, deck, width):
    """Return the mast and the two sails of a sailing boat."""
    mast, belly = between(rng, 1.3, 2.0), between(rng, 0.05, 0.3)
    parts = chain("line", ((0.15, deck, 0), 0.025), ((0.15, mast, 0), 0.015))
    parts += panel("sail", (0.12, deck + 0.15, 0), (0.12, 0.97 * mast, 0), (-0.75, deck + 0.17, belly))
    return parts + panel("sail", (0.22, deck + 0.12, belly / 2), (0.17, 0.85 * mast, 0), (0.98, deck + 0.12, 0))


def ship_colors(rng):
    """Return the palette of a ship."""
    hull = choose(rng, ["24304c", "7c2c28", "2a2a2c", "e4e6e6", "5c6870", "8c969c", "38586c", "a84c2c"])
    return {
        "hull": hull,
        "stripe": choose(rng, ["8c2c24", hull, "20242c"]),
        "deck": choose(rng, ["8c7c64", "7c8484", "945c44"]),
        "house": choose(rng, ["ecece8", "e0dccc", "c8ccd0"]),
        "funnel": choose(rng, PAINTS),
        "line": choose(rng, ["30343a", "5c5448"]),
        "sail": choose(rng, ["f4f2ea", "e8e0cc", "c8d0d8", "c04830"]),
        **{f"crate {number}": choose(rng, PAINTS) for number in range(4)},
    }
