"""Build the animals: cats, deer, dogs, horses, birds and frogs."""

import numpy as np

from tiny_pictures.parts import (
    Bone,
    Thing,
    ball,
    between,
    both_sides,
    chain,
    choose,
    choose_weighted,
    moved,
    multiply,
    panel,
    toward,
)

# Lengths in units of the body's length from hip to shoulder; `rise` and `tail_rise` in degrees. How often which pose;
# `close` is the share of close-ups of the head.
FOUR_LEGGED = {
    "cat": dict(leg=0.5, hip=0.2, chest=0.19, limb=0.07, foot=0.05, neck=0.2, rise=45, skull=0.25,
                tail=[0.45, 0.45], tail_rise=20, tail_width=(0.05, 0.035),
                poses={"sit": 4, "lie": 4, "stand": 2, "walk": 1}, close=0.45),
    "deer": dict(leg=0.95, hip=0.2, chest=0.21, limb=0.065, foot=0.03, neck=0.55, rise=58, skull=0.13,
                 tail=[0.14], tail_rise=-30, tail_width=(0.06, 0.03),
                 poses={"stand": 5, "walk": 2, "graze": 1}, close=0.25),
    "dog": dict(leg=0.65, hip=0.19, chest=0.24, limb=0.085, foot=0.06, neck=0.32, rise=50, skull=0.21,
                tail=[0.25, 0.25], tail_rise=35, tail_width=(0.06, 0.03),
                poses={"stand": 3, "sit": 3, "walk": 2, "lie": 2}, close=0.4),
    "horse": dict(leg=0.95, hip=0.27, chest=0.28, limb=0.09, foot=0.06, neck=0.6, rise=48, skull=0.17,
                  tail=[0.22, 0.5], tail_rise=-50, tail_width=(0.09, 0.08),
                  poses={"stand": 4, "walk": 4, "graze": 2}, close=0.25),
}  # fmt: skip

# Height of hip and shoulder in leg lengths, where the shoulder is, how far before hip and shoulder the feet stand, and
# how far they swing.
POSES = {
    "stand": (1, 1, 1, 0, 0, 0.12),
    "walk": (0.98, 0.98, 1, 0, 0, 0.5),
    "graze": (1, 0.95, 1, 0, 0.1, 0.2),
    "sit": (0.32, 1.05, 0.6, 0.4, 0.05, 0.05),
    "lie": (0.3, 0.36, 1, 0.4, 0.45, 0.15),
}

# Bones of a head: color, start, radius there, end, radius there; a point is (forward, up, to the side), and all is in
# units of the skull's radius. What lies to the side comes twice.
HEADS = {
    "cat": [
        ("coat", (0, 0, 0), 1.0, (0.2, -0.1, 0), 0.95),  # skull
        ("bib", (0.6, -0.35, 0.15), 0.45, (0.85, -0.4, 0.15), 0.32),  # muzzle
        ("coat", (-0.1, 0.55, 0.5), 0.5, (-0.1, 1.5, 0.8), 0.06),  # pointed ears
        ("skin", (0.15, 0.65, 0.55), 0.28, (0.05, 1.25, 0.74), 0.05),
        ("iris", (0.82, 0.15, 0.42), 0.27, (0.85, 0.15, 0.44), 0.27),
        ("dark", (1.05, 0.15, 0.48), 0.13, (1.05, 0.1, 0.48), 0.13),
        ("skin", (1.15, -0.15, 0), 0.13, (1.15, -0.2, 0), 0.13),  # nose
    ],
    "deer": [
        ("coat", (0, 0, 0), 1.0, (0.3, -0.1, 0), 0.85),
        ("coat", (0.4, -0.2, 0), 0.7, (1.9, -0.9, 0), 0.42),
        ("bib", (1.6, -1.0, 0), 0.4, (1.9, -1.05, 0), 0.36),
        ("dark", (2.2, -0.85, 0), 0.26, (2.15, -0.8, 0), 0.26),
        ("dark", (0.55, 0.3, 0.7), 0.24, (0.5, 0.3, 0.7), 0.24),  # eyes
        ("coat", (-0.3, 0.6, 0.6), 0.25, (-0.4, 1.0, 1.3), 0.42),  # ears like leaves
        ("skin", (-0.35, 1.0, 1.35), 0.38, (-0.4, 1.4, 2.1), 0.08),
    ],
    "dog": [
        ("coat", (0, 0, 0), 1.0, (0.2, -0.1, 0), 0.9),
        ("bib", (0.5, -0.25, 0), 0.62, (1.6, -0.4, 0), 0.42),
        ("ear", (-0.15, 0.6, 0.75), 0.36, (-0.05, -0.75, 1.1), 0.34),  # hanging ears
        ("dark", (0.82, 0.32, 0.4), 0.18, (0.85, 0.32, 0.42), 0.18),
        ("dark", (1.95, -0.2, 0), 0.27, (1.85, -0.2, 0), 0.27),
        ("dark", (1.2, -0.65, 0), 0.25, (1.7, -0.65, 0), 0.2),  # mouth
    ],
    "horse": [
        ("coat", (0, 0, 0), 1.0, (0.4, -0.3, 0), 0.9),
        ("coat", (0.3, -0.3, 0), 0.85, (2.3, -1.6, 0), 0.52),
        ("muzzle", (2.2, -1.55, 0), 0.5, (2.5, -1.7, 0), 0.48),
        ("dark", (0.75, 0.15, 0.6), 0.2, (0.75, 0.1, 0.6), 0.2),
        ("coat", (-0.3, 0.7, 0.4), 0.28, (-0.1, 1.6, 0.45), 0.08),
        ("mane", (-0.3, 0.9, 0), 0.35, (0.75, 0.6, 0), 0.2),  # forelock
        ("blaze", (0.95, 0.25, 0), 0.4, (2.2, -1.15, 0), 0.2),
    ],
}
ANTLERS = [
    ("antler", (-0.1, 0.8, 0.3), 0.18, (-0.9, 2.2, 1.0), 0.16),
    ("antler", (-0.9, 2.2, 1.0), 0.16, (0.0, 3.8, 1.7), 0.1),
    ("antler", (-0.5, 1.6, 0.7), 0.14, (0.5, 2.5, 0.7), 0.08),
    ("antler", (-0.7, 2.7, 1.2), 0.14, (-1.6, 3.6, 1.5), 0.08),
]

COATS = {
    "cat": [("8a8078", "4f4a46"), ("c8843f", "e8b878"), ("d8d4cc", "f0eee8"), ("2f2c2c", "3f3a3a"),
            ("4a4644", "e0dcd4"), ("7d6a50", "3f352a"), ("a09890", "c8c0b8"), ("c0a888", "8c7458")],
    "deer": [("94683e", "b08454"), ("7a5a40", "94745a"), ("a8743f", "c8985c"), ("6c5a48", "8a7660")],
    "dog": [("b08450", "caa06c"), ("2f2a28", "403a36"), ("e0d8c8", "f2ede2"), ("6f4a2c", "8c6038"),
            ("3a3432", "dcd6cc"), ("a0622f", "e6dccc"), ("8c8880", "b8b4ac"), ("d0b080", "e8d4b0")],
    "horse": [("6a3c20", "8a5430"), ("3c2a20", "54392a"), ("2a2626", "3a3432"), ("c8c0b4", "e8e4dc"),
              ("a4682f", "bf8444"), ("8c867e", "b4aea4"), ("74442a", "ece4d8")],
}  # fmt: skip


def four_legged(rng, kind):
    """Return a cat, deer, dog or horse in one of its poses, or a close-up of its head."""
    size = {key: value * between(rng, 0.85, 1.18) if isinstance(value, float) else value
            for key, value in FOUR_LEGGED[kind].items()}  # fmt: skip
    pose = choose_weighted(rng, size["poses"])
    hip_height, chest_height, chest_at, *_ = POSES[pose]
    hip = np.array([0, max(hip_height * size["leg"], size["hip"]), 0])
    chest = np.array([chest_at, max(chest_height * size["leg"], size["chest"]), 0])
    nape = chest + np.array([0.3, 0.5, 0]) * size["chest"]
    rise = -35 if pose == "graze" else size["rise"] + between(rng, -20, 20)
    poll = nape + size["neck"] * toward(rise, between(rng, -15, 15))  # where neck and head meet
    body = draw_trunk(size, hip, chest, nape, poll) + draw_legs(rng, pose, size, hip, chest)
    body += draw_tail(rng, size, hip, "mane" if kind == "horse" else "coat")
    if kind == "horse":
        body += draw_mane(nape, poll, size["chest"])
    yaw = between(rng, -30, 75)
    # cats and dogs like to look into the camera
    gaze = between(rng, -0.2, 1.0) * (90 - yaw) if kind in ("cat", "dog") else between(rng, -20, 50)
    head = draw_head(rng, kind, poll, size["skull"], -25 if pose == "graze" else between(rng, -12, 10), gaze)
    close = rng.random() < size["close"]
    return Thing(
        parts=body + head, palette=animal_colors(rng, kind),
        yaw=yaw, pitch=between(rng, 0, 25), roll=between(rng, -6, 6),
        size=(0.65, 1.0) if close else (0.8, 1.1), focus=head if close else None,
        pattern=choose(rng, [(4, 4), (3, 14), (12, 4)]), contrast=choose(rng, [1, 2, 6]),
    )  # fmt: skip


def draw_trunk(size, hip, chest, nape, poll):
    """Return body, neck and bib of an animal with four legs."""
    thick = size["chest"] * 0.7
    waist = ((hip + chest) / 2, (size["hip"] + size["chest"]) * 0.47)
    parts = chain("coat", (hip, size["hip"]), waist, (chest, size["chest"]))
    parts += chain("coat", (nape, thick), (poll, min(size["skull"] * 0.85, thick)))
    below, above = chest + np.array([0.25, -0.2, 0]) * size["chest"], moved(nape, 0.4 * size["chest"], -0.1, 0)
    return parts + chain("bib", (below, size["chest"] * 0.82), (above, thick * 0.7))


def draw_legs(rng, pose, size, hip, chest):
    """Return the four legs of an animal in a `pose`; the knees bend forward behind and backward in front."""
    _, _, _, hind, fore, swing = POSES[pose]
    parts = []
    for joint, ahead, bend, strong in [(hip, hind, 1, 1.25), (chest, fore, -1, 1.0)]:
        for side in (1, -1):
            root = joint + np.array([0, -0.3 * size["hip"], side * 0.5 * size["chest"]])
            lift = 0.25 * size["leg"] * rng.random() if pose == "walk" and rng.random() < 0.5 else 0
            foot = np.array([joint[0] + ahead + swing * between(rng, -0.6, 0.6), size["foot"] + lift, root[2] * 1.1])
            way = foot - root
            distance = np.sqrt((way**2).sum())
            length = size["leg"] - 0.27 * size["hip"]  # where the leg is longer than the way, it bends
            out = np.sqrt(max(length**2 - distance**2, 0)) / 2 * bend
            knee = (root + foot) / 2 + out * np.array([-way[1], way[0], 0]) / distance
            parts += chain("coat", (root, size["limb"] * 1.5 * strong), (knee, size["limb"]), (foot, size["foot"]))
            parts += ball("hoof", foot, size["foot"] * 1.15)
    return parts


def draw_tail(rng, size, hip, color):
    """Return the tail, which hangs no lower than to the ground."""
    at, rise, parts = hip + np.array([-0.8, 0.4, 0]) * size["hip"], size["tail_rise"] + between(rng, -30, 30), []
    for length in size["tail"]:
        end = at - length * toward(-rise, between(rng, -40, 40))
        end[1] = max(end[1], 0.05)
        parts += chain(color, (at, size["tail_width"][0]), (end, size["tail_width"][1]))
        at, rise = end, rise + between(rng, -30, 30)
    return parts


def draw_mane(nape, poll, thick):
    """Return the mane, which hangs from the neck of a horse to both sides."""
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        crest = nape + share * (poll - nape) + np.array([-0.4, 0.4, 0]) * thick
        parts += both_sides(chain("mane", (crest, 0.08), (moved(crest, 0.02, -0.2, 0.15), 0.05)))
    return parts


def draw_head(rng, kind, center, radius, up, side):
    """Return the parts of a head at `center` that looks `up` and to the `side`, both in degrees."""
    rows = HEADS[kind]
    if kind == "deer" and rng.random() < 0.6:
        rows = rows + ANTLERS
    if kind == "horse" and rng.random() < 0.5:
        rows = [row for row in rows if row[0] != "blaze"]
    front, above = toward(up, side), toward(up + 90, side)
    frame = np.array([front, above, np.cross(front, above)]) * radius
    parts = []
    for color, start, first, end, last in rows:
        for sign in (1, -1) if start[2] else (1,):
            points = multiply(np.array([start, end]) * [1, 1, sign], frame) + center
            parts.append(Bone(points, (first * radius, last * radius), color))
    return parts


def animal_colors(rng, kind):
    """Return the palette of an animal with four legs."""
    coat = choose(rng, COATS[kind])
    pale = choose(rng, ["f0ece4", "e0d4c0", coat[1], coat[0]])
    return {
        "coat": coat,
        "bib": pale,
        "ear": choose(rng, [coat[0], "4a3424", "2c2624"]),
        "dark": "141210",
        "iris": choose(rng, ["a8b040", "c89c30", "6fa070", "88b0c8"]),
        "skin": choose(rng, ["d09890", "c8a898", "a87c70"]),
        "hoof": choose(rng, [coat[0], pale, "3a302a"]),
        "antler": choose(rng, ["b09878", "8a7458", "d0c0a0"]),
        "mane": choose(rng, ["1e1a18", "3a2a20", "2a2624", "d8ccb4"]),
        "muzzle": choose(rng, ["3a302c", "8a7468", coat[0]]),
        "blaze": "eae6de",
    }


# --------------------------------------------------------------------------------------------------------------- birds

# Neck, legs, beak, radius of the body; the body is half a unit long.
BIRDS = {"songbird": (0.16, 0.28, 0.2, 0.29), "wader": (0.75, 0.8, 0.35, 0.27), "duck": (0.32, 0.12, 0.24, 0.26)}
BIRD_COLORS = [("8a6f50", "b89c78"), ("3c5f94", "7fa0c8"), ("2c2a2c", "484448"), ("b04030", "d86c50"),
               ("c8c4bc", "f0eeea"), ("6c6a68", "9a9894"), ("c8a030", "e8cc60"), ("4c6c48", "84a070"),
               ("5a4632", "2c241c")]  # fmt: skip


def bird(rng, scene):
    """Return a bird: in flight, on a branch, on its legs or swimming."""
    kind = choose_weighted(rng, {"songbird": 5, "duck": 2, "wader": 0 if scene == "air" else 2})
    neck, legs, beak, plump = BIRDS[kind]
    flies = scene == "air" or (scene == "open sea" and rng.random() < 0.5)
    swims = kind == "duck" and scene in ("pond", "open sea")
    tilt = between(rng, -5, 15) if flies or kind == "duck" else between(rng, 10, 50)
    rump = np.array([0, legs + plump, 0])
    breast = rump + 0.5 * toward(tilt)
    rise = between(rng, 5, 30) if flies else between(rng, 45, 85)
    crown = moved(breast + neck * toward(rise), 0.08, 0.1, 0)
    parts = chain("coat", (rump, plump * 0.7), (breast, plump), (crown, 0.13))
    parts += ball("bib", moved(breast, 0.07, -0.05, 0), plump * 0.93)
    parts += draw_bird_head(rng, crown, beak) + draw_wings(rng, rump, breast, tilt, plump, flies)
    if not (flies or swims):
        hip = moved(rump, 0.2, -0.5 * plump, 0.08)
        parts += both_sides(chain("beak", (hip, 0.04), ((0.22, legs / 2, 0.08), 0.022), ((0.25, 0, 0.09), 0.03)))
    branch, lean = [], between(rng, -0.8, 0.8)
    if kind == "songbird" and scene in ("thicket", "wood", "pond"):
        branch = chain("branch", ((0.2, -0.05 - lean, -2), 0.07), ((0.25, -0.05, 0.1), 0.08),
                       ((0.3, -0.05 + lean, 2), 0.05))  # fmt: skip
    return Thing(
        parts=parts + branch, focus=parts, palette=bird_colors(rng), aloft=scene in ("air", "thicket"),
        yaw=between(rng, -35, 65), size=(0.65, 1.05),
        pitch=between(rng, -35, 35) if flies else between(rng, 0, 20), roll=between(rng, -25, 25) if flies else 0.0,
    )  # fmt: skip


def draw_bird_head(rng, crown, beak):
    """Return head, beak and eyes of a bird that looks about."""
    gaze = toward(between(rng, -15, 10), between(rng, -60, 60))
    side = np.cross(gaze, [0, 1, 0])
    parts = ball("cap", crown, 0.17) + chain("beak", (crown + 0.13 * gaze, 0.07), (crown + (0.15 + beak) * gaze, 0.015))
    for sign in (1, -1):
        parts += ball("dark", moved(crown + 0.12 * gaze + 0.1 * sign * side, 0, 0.04, 0), 0.035)
    return parts


def draw_wings(rng, rump, breast, tilt, plump, flies):
    """Return tail and wings of a bird, which are spread when it `flies`."""
    back = toward(tilt)
    end = rump - between(rng, 0.45, 0.8) * back
    edge = [moved(rump, 0, 0.06, 0.12), moved(rump, 0, 0.06, -0.12), moved(end, 0, 0, -0.13), moved(end, 0, 0, 0.13)]
    parts = panel("wing", *edge)
    parts += chain("wing", (rump, 0.13), (end, 0.05))
    if not flies:
        shoulder, tip = moved(breast, -0.08, 0.02, 0.75 * plump), moved(rump - 0.25 * back, 0, 0.03, 0.12)
        return parts + both_sides(chain("wing", (shoulder, 0.55 * plump), (tip, 0.08)))
    flap, sweep = np.deg2rad(between(rng, -35, 60)), between(rng, -0.1, 0.35)
    up, out = np.sin(flap), np.cos(flap)
    tip, bend = moved(rump, sweep, 1.1 * up, 1.1 * out), moved(rump, 0.45, 0.6 * up + 0.08, 0.55 * out)
    parts += both_sides(panel("wing", breast, bend, tip, (rump + tip) / 2 - [0.25, 0, 0], rump))
    return parts + both_sides(chain("coat", (breast, 0.09), (bend, 0.06), (tip, 0.02)))


def bird_colors(rng):
    """Return the palette of a bird."""
    coat = choose(rng, BIRD_COLORS)
    return {
        "coat": coat,
        "bib": choose(rng, ["f0ece0", "d8a060", coat[1], "c86848"]),
        "cap": choose(rng, [coat[0], coat[1], "242022"]),
        "wing": choose(rng, [coat, (coat[0], "2c2826"), ("4c443c", "80766a")]),
        "beak": choose(rng, ["e0a030", "3c3430", "c87830"]),
        "dark": "0c0a0a",
        "branch": "5c4630",
    }


# --------------------------------------------------------------------------------------------------------------- frogs

FROG_COLORS = [("5c8a2c", "88b048"), ("6f6a34", "949050"), ("7c5c38", "a48458"), ("3f6f34", "2c3c20"),
               ("88a83c", "b8cc60"), ("c04828", "e07038"), ("4c4434", "746850"), ("2f8f4c", "70c070"),
               ("3c5ca8", "20242c")]  # fmt: skip


def frog(rng, scene):
    """Return a frog that squats, from close up."""
    wide = between(rng, 0.9, 1.15)
    rump, mouth = np.array([0, 0.2, 0]), np.array([0.62, between(rng, 0.28, 0.42), 0])
    parts = chain("coat", (rump, 0.19), ((0.3, 0.3, 0), 0.27), (mouth, 0.2))
    parts += both_sides(chain("coat", (moved(rump, 0, 0, 0.1), 0.17), (moved(mouth, -0.02, 0, 0.14 * wide), 0.16)))
    parts += chain("belly", ((0.3, 0.17, 0), 0.22), (moved(mouth, 0.03, -0.07, 0), 0.17))
    eye = moved(mouth, 0.0, 0.16, 0.17 * wide)
    for color, out, radius in [("coat", 0, 0.1), ("iris", 0.03, 0.09), ("dark", 0.07, 0.05)]:
        parts += both_sides(ball(color, moved(eye, out, out / 3, out), radius))
    parts += both_sides(chain("line", (moved(mouth, 0.2, -0.05, 0.03), 0.02), (moved(mouth, 0.1, -0.03, 0.24), 0.02)))
    knee, ankle = (0.3, between(rng, 0.25, 0.4), 0.42 * wide), (-0.08, 0.06, 0.36 * wide)
    parts += both_sides(chain("coat", ((0, 0.18, 0.16), 0.14), (knee, 0.1), (ankle, 0.06), ((0.35, 0.03, 0.46), 0.04)))
    elbow, hand = (0.45, 0.15, 0.36 * wide), np.array([0.6, 0.03, between(rng, 0.24, 0.4)])
    parts += both_sides(chain("coat", (moved(mouth, -0.15, -0.14, 0.2), 0.08), (elbow, 0.06), (hand, 0.045)))
    for side in (-0.12, 0, 0.12):
        parts += both_sides(chain("coat", (hand, 0.035), (moved(hand, 0.13, -0.02, side), 0.025)))
    return Thing(
        parts=parts, palette=frog_colors(rng), yaw=between(rng, -20, 90), pitch=between(rng, 5, 55),
        roll=between(rng, -12, 12), size=(0.75, 1.15), horizon=(0.5, 2.5),
        pattern=choose(rng, [(4, 4), (8, 8)]), contrast=choose(rng, [2, 4, 8]),
    )  # fmt: skip


def frog_colors(rng):
    """Return the palette of a frog."""
    coat = choose(rng, FROG_COLORS)
    return {
        "coat": coat,
        "belly": choose(rng, ["d8d8a8", "c8c0a0", coat[1]]),
        "iris": choose(rng, ["d0a030", "b8702c", "e0d060", "a03020"]),
        "dark": "0c0c0a",
        "line": choose(rng, ["2c2c1c", coat[1]]),
    }
