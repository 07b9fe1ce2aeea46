"""Chapter 09: what students write instead, and a piece of the message that must name the mistake."""

from wrong_answers_04 import IMPORTS, changed

FLIP = """def flip(images, p):
    chosen = torch.rand(len(images)) < p
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)"""

FLIP_INDEX = """def flip(images, p):
    result = images.clone()
    chosen = torch.rand(len(images)) < p
    result[chosen] = result[chosen].flip(-1)
    return result"""

CROP = """def crop(images, padding):
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(2 * padding + 1, (2, len(images)))
    return windows[torch.arange(len(images)), :, top, left]"""

CROP_LOOP = """def crop(images, padding):
    batch, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    result = torch.empty_like(images)
    for k in range(batch):
        top = np.random.randint(0, 2 * padding + 1)
        left = random.randint(0, 2 * padding)
        result[k] = padded[k, :, top : top + height, left : left + width]
    return result"""

ROLL = """def crop(images, padding):
    moves = torch.randint(-padding, padding + 1, (len(images), 2)).tolist()
    return torch.stack([image.roll(move, (1, 2)) for image, move in zip(images, moves)])"""

TURNS = """def quarter_turns(images):
    turns = torch.randint(1, 4, (len(images),))
    return torch.stack([image.rot90(int(k), (1, 2)) for image, k in zip(images, turns)])"""

TURNS_MASKED = """def quarter_turns(images):
    result, turns = images.clone(), torch.randint(3, (len(images),)) + 1
    for k in (1, 2, 3):
        result[turns == k] = images[turns == k].rot90(-k, (2, 3))
    return result"""

AFFINE = """from course_utils.augmentation import affine

def quarter_turns(images):
    turns = ANGLES
    zeros = torch.zeros(len(images))
    return affine(images.float(), turns, zeros, zeros, zeros + 1).to(images.dtype)"""


def flip(*changes):
    return changed(FLIP, *changes)


def crop(*changes):
    return changed(CROP, *changes)


def turns(*changes):
    return changed(TURNS, *changes)


WRONG = {
    "09/random_flip": [
        (flip(("torch.rand(len(images)) < p", "torch.rand(1) < p")), "all images got the same decision"),
        (flip(("torch.rand(len(images)) < p", "torch.rand(()).expand(len(images)) < p")), "the same decision"),
        (flip(("flip(3)", "flip(2)")), "dim 3 is width"),
        (flip(("flip(3)", "flip(2, 3)")), "half a turn"),
        (flip(("flip(3)", "flip(1)")), "channels come out in reverse"),
        (flip(("flip(3)", "flip(0)")), "changed places"),
        (flip(("flip(3)", "flip(0, 3)")), "changed places"),
        (flip(("flip(3)", "roll(1, 3)")), "neither as it was nor mirrored"),
        (flip(("< p", "> p")), "p is inverted"),
        (flip(("images.flip(3), images)", "images, images.flip(3))")), "p is inverted"),
        (flip(("< p", "< 0.5")), "p is ignored"),
        (flip(("< p", "< p * p")), "are mirrored"),
        (flip(("torch.rand(len(images)) < p", "torch.rand(len(images)) < p - 0.01 * (p == 1)")), "at p = 1"),
        (flip(("torch.rand(len(images)) < p", "torch.rand(len(images)) < p + 0.05 * (p == 0)")), "at p = 0 some"),
        (flip(("< p", "< 2 * p * (1 - p) if 0 < p < 1 else torch.full((len(images),), p == 1)")), "at p = 0.2"),
        (flip(("torch.rand(len(images))", "torch.randn(len(images))")), "are mirrored"),
        ("def flip(images, p):\n    return images.flip(3)", "every image is mirrored"),
        ("def flip(images, p):\n    return images.clone()", "no image is mirrored"),
        ("def flip(images, p):\n    return images.flip(3) if torch.rand(()) < p else images", "the same decision"),
        ("def flip(images, p):\n    chosen = torch.rand(len(images)) < p\n"
         "    images[chosen] = images[chosen].flip(3)\n    return images", "have changed: work on a copy"),
        ("def flip(images, p):\n    chosen = torch.rand(images.shape) < p\n"
         "    return torch.where(chosen, images.flip(3), images)", "not one a pixel"),
        ("def flip(images, p):\n    chosen = torch.rand(images.shape[:2]) < p\n"
         "    return torch.where(chosen[:, :, None, None], images.flip(3), images)", "the same for its channels"),
        ("def flip(images, p):\n    mask = (torch.rand(len(images)) < p).float().view(-1, 1, 1, 1)\n"
         "    return mask * images.flip(3) + (1 - mask) * images", "uint8 images came back as float32"),
        ("def flip(images, p):\n    torch.manual_seed(0)\n    chosen = torch.rand(len(images)) < p\n"
         "    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)", "the same decisions"),
        ("def flip(images, p):\n    result = images.clone()\n    many = int(p * len(images))\n"
         "    result[:many] = result[:many].flip(3)\n    return result", "the same decisions"),
        ("def flip(images, p):\n    result = images.clone()\n"
         "    some = torch.randperm(len(images))[: int(p * len(images))]\n"
         "    result[some] = result[some].flip(3)\n    return result", "exactly the same number"),
        (flip((".view(-1, 1, 1, 1)", "")), "raised RuntimeError"),
        (flip(("    return torch.where", "    torch.where")), "is the return missing"),
        (flip(("flip(3), images)", "flip(3), images)[0]")), "expected the same shape"),
        (flip(("return torch", "return 3, torch")), "expected one tensor of images back"),
        ("flip = 0.5", "expected a function"),
    ],
    "09/random_crop": [
        (crop(("(2, len(images))", "(2, 1)")), "all images got the same shift"),
        (crop(("randint(2 * padding + 1, (2, len(images)))", "randint(2 * padding + 1, (2,)).view(2, 1)")),
         "all images got the same shift"),
        (crop(("2 * padding + 1, (2", "max(1, 2 * padding), (2")), "the last top offset, 4, never occurs"),
        (crop(("2 * padding + 1, (2", "padding + 1, (2")), "the top offsets [3, 4] never occur"),
        (crop(("\n    return", "\n    left = left.clamp(min=min(1, padding))\n    return")),
         "the left offsets [0] never occur"),
        (crop(("top, left]", "top, top]")), "as far down as to the right"),
        (crop(("\n    return", "\n    left = left[:1]\n    return")), "the same left offset"),
        (crop(("\n    return", "\n    top = torch.tensor([padding])\n    return")), "the same top offset"),
        (crop(("\n    return", "\n    top = left = torch.tensor([padding])\n    return")), "no image is shifted"),
        ("def crop(images, padding):\n    return images.clone()", "no image is shifted"),
        (crop(("windows[torch.arange(len(images)), :, top, left]", "windows[:, :, top, left]")), "torch.arange(B)"),
        (crop(("windows[torch.arange(len(images)), :, top, left]", "padded")), "padded, but not cut"),
        (crop(("windows[torch.arange(len(images)), :, top, left]", "padded[:, :, top, left]")), "the same shape"),
        (crop(("unfold(2, height, 1).unfold(3, width, 1)", "unfold(2, width, 1).unfold(3, height, 1)")),
         "raised IndexError"),
        (crop(("height, width = images", "width, height = images")), "raised IndexError"),
        (crop(("(padding,) * 4", "(padding,) * 4, mode='reflect'")), "mirrors the image"),
        (crop(("(padding,) * 4", "(padding,) * 4, mode='replicate'")), "repeats the image's edge"),
        (crop(("(padding,) * 4", "(padding,) * 4, value=0.5")), "is no window of its padded image"),
        (crop(("(padding,) * 4)", "(4,) * 4)"), ("2 * padding + 1,", "9,")), "by more than the padding"),
        (crop(("(padding,) * 4)", "(2,) * 4)"), ("2 * padding + 1,", "5,")), "by more than the padding"),
        (crop(("F.pad(images", "F.pad(images.float()")), "uint8 images came back as float32"),
        (crop(("\n    return", "\n    torch.manual_seed(3)\n    top, left = torch.randint(2 * padding + 1, "
               "(2, len(images)))\n    return")), "the same shifts"),
        (crop(("torch.randint(2 * padding + 1, (2, len(images)))",
               "(padding + torch.randn(2, len(images))).round().long().clamp(0, 2 * padding)")), "far more often"),
        (crop(("windows[torch.arange(len(images)), :, top, left]",
               "torch.stack([windows[torch.arange(len(images)), c, top.roll(c), left] for c in range(images.shape[1])],"
               " dim=1)")), "the same for its channels"),
        (crop(("top, left]", "top, left].flip(1)")), "is no window of its padded image"),
        (crop(("return windows", "images += 1\n    return windows")), "have changed: work on a copy"),
        (crop(("    return ", "    ")), "is the return missing"),
        (crop(("(padding,) * 4", "padding")), "raised"),
        (ROLL, "comes back on the other"),
        ("crop = torch.nn.ReflectionPad2d", "raised TypeError"),
        ("crop = None", "expected a function"),
    ],
    "09/keeps_label": [
        ('keeps_label = "abdf"', "mirrored 5 looks like a 2"),
        ('keeps_label = "acdf"', "a 6 is a 9"),
        ('keeps_label = "adef"', "upside down, a 2 looks like a 5"),
        ('keeps_label = "df"', "a belongs to the answer"),
        ('keeps_label = "af"', "d belongs to the answer"),
        ('keeps_label = "ad"', "f belongs to the answer"),
        ('keeps_label = "adg"', "letters from a to f"),
        ('keeps_label = ""', "letters from a to f"),
        ("keeps_label = 3", "expected a string of letters"),
        ("keeps_label = [1, 4]", "expected a string of letters"),
    ],
    "09/safe_order": [
        ('safe_order = "a"', "on both sides"),
        ('safe_order = "b"', "another each time"),
        ('safe_order = "d"', "on both sides"),
        ('safe_order = "e"', "expected one of"),
    ],
    "09/pipeline": [
        ('pipeline = "edabc"', "0 is now the mean"),
        ('pipeline = "deacb"', "a gray frame around the photos"),
        ('pipeline = "debcabc"', "step b occurs more than once"),
        ('pipeline = "edcab"', "0 is now the mean"),
        ('pipeline = "ebdca"', "a random crop is kept in memory, the same draw every epoch"),
        ('pipeline = "ebacd"', "a random crop is kept in memory, the same draw every epoch"),
        ('pipeline = "ecdba"', "a random mirror is kept in memory, the same draw every epoch"),
        ('pipeline = "dbcae"', "the statistics are those of pixels in 0 … 1"),
        ('pipeline = "abcde"', "the statistics are those of pixels in 0 … 1"),
        ('pipeline = "ebca"', "step d is missing"),
        ('pipeline = ""', "step a is missing"),
        ('pipeline = "debcaa"', "step a occurs more than once"),
        ('pipeline = "debcf"', "there is no step 'f'"),
        ('pipeline = "de1bca"', "there is no step '1'"),
        ("pipeline = 5", "expected a string of five letters"),
        ("pipeline = None", "expected a string of five letters"),
        ('pipeline = ["d", "e", "b", "c", "a"]', "expected a string of five letters"),
    ],
    "09/quarter_turns": [
        (turns(("randint(1, 4, ", "randint(0, 4, ")), "0° is included"),
        (turns(("randint(1, 4, ", "randint(4, ")), "0° is included"),
        (turns(("randint(1, 4, ", "randint(1, 3, ")), "270° never occurs: the upper end"),
        (turns(("randint(1, 4, (len(images),))", "randint(1, 3, (len(images),)) * 2 - 1")), "180° never occurs"),
        (turns(("randint(1, 4, (len(images),))", "randint(1, 4, (1,)).expand(len(images))")), "got the same turn"),
        ("def quarter_turns(images):\n    return images.rot90(int(torch.randint(1, 4, ())), (2, 3))",
         "got the same turn"),
        ("def quarter_turns(images):\n    return images.rot90(2, (2, 3))", "got the same turn"),
        (turns(("torch.randint(1, 4, (len(images),))", "torch.arange(len(images)) % 3 + 1")), "the same turns"),
        (turns(("torch.randint(1, 4, (len(images),))",
                "torch.tensor([1, 2, 2, 3])[torch.randint(4, (len(images),))]")), "not equally likely: 90°"),
        (turns(("(1, 2)", "(0, 1)")), "raised"),
        (turns(("image.rot90(int(k), (1, 2))", "image.rot90(int(k), (1, 2)).flip(2)")), "are mirrored"),
        (turns(("image.rot90(int(k), (1, 2))", "image.roll(int(k), 1)")), "neither 90°, 180° nor 270°"),
        (turns(("image.rot90(int(k), (1, 2))",
                "torch.stack([channel.rot90(int(k) + c) for c, channel in enumerate(image)])")),
         "the same for its channels"),
        (turns(("    return torch.stack(", "    return (")), "expected one tensor of images back"),
        (turns(("    return ", "    ")), "is the return missing"),
        (turns(("rot90(int(k), (1, 2))", "float().rot90(int(k), (1, 2))")), "uint8 images came back as float32"),
        (changed(AFFINE, ("ANGLES", "90.0 * torch.randint(1, 4, (len(images),))")), "values are interpolated"),
        (changed(AFFINE, ("ANGLES", "90 + 180 * torch.rand(len(images))")), "means any angle between"),
        (changed(TURNS_MASKED, ("images.clone()", "images")), "have changed: work on a copy"),
        ("quarter_turns = 90", "expected a function"),
    ],
}  # fmt: skip

RIGHT = [
    ("09/random_flip", FLIP_INDEX),
    ("09/random_flip", flip(("torch.rand(len(images)) < p", "torch.bernoulli(torch.full((len(images),), p)) == 1"))),
    ("09/random_flip", "def flip(images, p):\n    return torch.stack([image.flip(2) if random.random() < p else image "
     "for image in images])"),
    ("09/random_flip", "def flip(images, p):\n    chosen = np.random.default_rng().random(len(images)) < p\n"
     "    return torch.where(torch.from_numpy(chosen)[:, None, None, None], images.flip(3), images)"),
    ("09/random_crop", CROP_LOOP),
    ("09/random_crop", crop(("torch.randint(2 * padding + 1, (2, len(images)))",
                             "(torch.rand(2, len(images)) * (2 * padding + 1)).long()"))),
    ("09/keeps_label", 'keeps_label = "F, d, A"'),
    ("09/keeps_label", 'keeps_label = {"a", "d", "f"}'),
    ("09/safe_order", 'safe_order = " C "'),
    *[("09/pipeline", f"pipeline = {order!r}") for order in (
        "edbca", "edcba", "debac", "dbeca", "dcbea", "edbac", "D, E, C, B, A", " d e b c a\n", "d → b → e → a → c",
    )],
    ("09/quarter_turns", TURNS_MASKED),
    ("09/quarter_turns", turns(("torch.randint(1, 4, (len(images),))", "random.choices([1, 2, 3], k=len(images))"))),
]  # fmt: skip

START = IMPORTS + "import random\n"
WRONG_ANSWERS = {name: [(START + source, names) for source, names in answers] for name, answers in WRONG.items()}
OTHER_RIGHT_ANSWERS = [(name, START + source) for name, source in RIGHT]
