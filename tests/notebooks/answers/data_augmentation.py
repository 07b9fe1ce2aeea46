"""Chapter 09: wrong answers that no slip makes, with a piece of their message, and right ones in unusual forms."""

from answers import changed

FLIP = """def flip(images, p):
    chosen = torch.rand(len(images)) < p
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)"""
CROP = """def crop(images, padding):
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(2 * padding + 1, (2, len(images)))
    return windows[torch.arange(len(images)), :, top, left]"""
TURNS = """def quarter_turns(images):
    turns = torch.randint(1, 4, (len(images),))
    return torch.stack([image.rot90(int(k), (1, 2)) for image, k in zip(images, turns)])"""
CROP_SLICES = """def crop(images, padding):
    batch, channels, width, height = images.shape
    padded = F.pad(images, (padding,) * 4)
    corners = torch.randint(2 * padding + 1, (batch, 2)).tolist()
    parts = [one[:, y : y + height, x : x + width] for one, (y, x) in zip(padded, corners)]
    return torch.stack(parts)"""

FLIP_INDEX = """def flip(images, p):
    result = images.clone()
    chosen = torch.rand(len(images)) < p
    result[chosen] = result[chosen].flip(-1)
    return result"""
FLIP_LOOP = """import random
def flip(images, p):
    return torch.stack([image.flip(2) if random.random() < p else image for image in images])"""
FLIP_NUMPY = """def flip(images, p):
    chosen = np.random.default_rng().random(len(images)) < p
    return torch.where(torch.from_numpy(chosen)[:, None, None, None], images.flip(3), images)"""
FLIP_SHARE = """def flip(images, p):
    result = images.clone()
    some = torch.arange(int(p * len(images)))
    result[some] = result[some].flip(3)
    return result"""
CROP_LOOP = """import random
def crop(images, padding):
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

CHOSEN, WINDOW = "torch.rand(len(images)) < p", "windows[torch.arange(len(images)), :, top, left]"
DRAWN, EACH = "torch.randint(2 * padding + 1, (2, len(images)))", "torch.randint(1, 4, (len(images),))"

WRONG = {
    "09/random_flip": [
        (changed(FLIP, CHOSEN, "torch.rand(1) < p"), "all images of a batch got the same draw"),
        (changed(FLIP, CHOSEN, "torch.rand(()).expand(len(images)) < p"), "the same draw"),
        ("def flip(images, p):\n    return images.flip(3) if torch.rand(()) < p else images", "the same draw"),
        (changed(FLIP, "flip(3)", "roll(1, 3)"), "neither as it was nor mirrored"),
        (changed(FLIP, "images.flip(3), images)", "images, images.flip(3))"), "p is inverted"),
        (changed(FLIP, "< p", "< p * p"), "for p = 0.5: each outcome is a right one, but not as often"),
        (changed(FLIP, "< p", "< p - 0.01 * (p == 1)"), "for p = 1: some images"),
        (changed(FLIP, "< p", "< p + 0.05 * (p == 0)"), "for p = 0: some images"),
        (changed(FLIP, "< p", "< 2 * p * (1 - p) if 0 < p < 1 else torch.full((len(images),), p == 1)"), "for p = 0.2"),
        ("def flip(images, p):\n    return images.flip(3)", "every image is mirrored"),
        ("def flip(images, p):\n    return images.clone()", "no image is mirrored"),
        (changed(FLIP_INDEX, "images.clone()", "images"), "images itself has changed"),
        (changed(FLIP, CHOSEN, "torch.rand(images.shape) < p", ".view(-1, 1, 1, 1)", ""), "the pixels of one image"),
        (changed(FLIP, CHOSEN, "torch.rand(images.shape[:2]) < p", "view(-1, 1, 1, 1)", "view(len(images), -1, 1, 1)"),
         "the channels of one image are mixed up"),
        ("def flip(images, p):\n    mask = (torch.rand(len(images)) < p).float().view(-1, 1, 1, 1)\n"
         "    return mask * images.flip(3) + (1 - mask) * images", "uint8 images came back as float32"),
        (changed(FLIP, "    chosen", "    torch.manual_seed(0)\n    chosen"), "each call makes the same draws"),
        (FLIP_SHARE, "each call makes the same draws"),
        (changed(FLIP_SHARE, "arange(int(p * len(images)))", "randperm(len(images))[: int(p * len(images))]"),
         "exactly the same number"),
        (changed(FLIP, ".view(-1, 1, 1, 1)", ""), "raised RuntimeError"),
        (changed(FLIP, "    return torch.where", "    torch.where"), "is the return missing"),
        (changed(FLIP, "flip(3), images)", "flip(3), images)[0]"), "expected images of the same shape"),
        (changed(FLIP, "return torch", "return 3, torch"), "expected one tensor of images"),
        ("flip = 0.5", "expected a function"),
    ],
    "09/random_crop": [
        (changed(CROP, "(2, len(images))", "(2, 1)"), "all images of a batch got the same draw"),
        (changed(CROP, DRAWN, "torch.randint(2 * padding + 1, (2,)).view(2, 1)"), "the same draw"),
        (changed(CROP, "    return", "    left = left.clamp(min=min(1, padding))\n    return"), "5 of 25 outcomes"),
        (changed(CROP, "    return", "    left = left[:1]\n    return"), "the same left offset"),
        (changed(CROP, "    return", "    top = torch.tensor([padding])\n    return"), "the same top offset"),
        (changed(CROP, "    return", "    top = left = torch.tensor([padding])\n    return"), "no image is shifted"),
        (changed(CROP, WINDOW, "padded[:, :, top, left]"), "expected images of the same shape"),
        (changed(CROP, "* 4)", "* 4, value=0.5)"), "is no window of its padded image"),
        (changed(CROP, "top, left]", "top, left].flip(1)"), "is no window of its padded image"),
        (changed(CROP, "F.pad(images", "F.pad(images.float()"), "uint8 images came back as float32"),
        (changed(CROP, "    top", "    torch.manual_seed(3)\n    top"), "each call makes the same draws"),
        (changed(CROP, DRAWN, "(padding + torch.randn(2, len(images))).round().long().clamp(0, 2 * padding)"),
         "not as often as it should be"),
        (changed(CROP, WINDOW, "torch.stack([windows[torch.arange(len(images)), c, top.roll(c), left] for c in "
                 "range(images.shape[1])], dim=1)"), "the channels of one image are mixed up"),
        (changed(CROP, "return windows", "images += 1\n    return windows"), "images itself has changed"),
        (changed(CROP, "    return ", "    "), "is the return missing"),
        (changed(CROP, "(padding,) * 4", "padding"), "raised"),
        (changed(CROP, "height, width =", "width, height ="), "height and width are swapped"),
        (changed(CROP, "height, width =", "width, height =", DRAWN,
                 "(torch.rand(2, len(images)) * (2 * padding + 1)).long()"), "height and width are swapped"),
        (changed(CROP, "(2, height, 1).unfold(3, width, 1)", "(3, width, 1).unfold(2, height, 1)"),
         "in the wrong order"),
        (CROP_SLICES, "it works for square images alone"),
        (ROLL, "comes back on the other"),
        ("crop = torch.nn.ReflectionPad2d", "raised TypeError"),
        ("crop = None", "expected a function"),
    ],
    "09/keeps_label": [
        ('keeps_label = "abdf"', "mirrored 5 looks like a 2"),
        ('keeps_label = "df"', "a belongs to the answer"),
        ('keeps_label = "abcdef"', "mirrored 5 looks like a 2"),
        ('keeps_label = "adg"', "expected some of a, b, c, d, e, f"),
        ('keeps_label = ""', "expected some of"),
        ("keeps_label = 3", "expected some of"),
        ("keeps_label = [1, 4]", "expected some of"),
    ],
    "09/kept_share": [
        ("kept_share = 1 - 12 * 12 / 32**2", "four of its rows lie outside"),
        ("kept_share = 0.09375", "which share stays"),
        ("kept_share = 1 - 7 * 12 / 1024", "do not forget row 0"),
        ("kept_share = 0.75", "rows times columns"),
        ("kept_share = 0.14", "is not it"),
        ("kept_share = None", "give a number"),
        ('kept_share = "most of it"', "expected a number"),
    ],
    "09/safe_order": [('safe_order = "d"', "on both sides"), ('safe_order = "e"', "expected one of")],
    "09/pipeline": [
        ('pipeline = "edabc"', "0 is now the mean"),
        ('pipeline = "deacb"', "a gray frame around the photos"),
        ('pipeline = "edcab"', "0 is now the mean"),
        ('pipeline = "ebdca"', "a random crop is kept in memory, the same draw every epoch"),
        ('pipeline = "ecdba"', "a random mirror is kept in memory, the same draw every epoch"),
        ('pipeline = "dbcae"', "the statistics are those of pixels in 0 … 1"),
        ('pipeline = "abcde"', "the statistics are those of pixels in 0 … 1"),
        ('pipeline = "ebca"', "step d is missing"),
        ('pipeline = ""', "step a is missing"),
        ('pipeline = "debcaa"', "step a occurs more than once"),
        ('pipeline = "debcabc"', "step b occurs more than once"),
        ('pipeline = "debcf"', "there is no step 'f'"),
        ('pipeline = "de1bca"', "there is no step '1'"),
        ("pipeline = None", "expected a string of five letters"),
        ('pipeline = ["d", "e", "b", "c", "a"]', "expected a string of five letters"),
    ],
    "09/quarter_turns": [
        (changed(TURNS, EACH, "torch.randint(1, 4, (1,)).expand(len(images))"), "all images of a batch got the same"),
        ("def quarter_turns(images):\n    return images.rot90(int(torch.randint(1, 4, ())), (2, 3))", "the same draw"),
        ("def quarter_turns(images):\n    return images.rot90(2, (2, 3))", "each call makes the same draws"),
        (changed(TURNS, EACH, "torch.arange(len(images)) % 3 + 1"), "each call makes the same draws"),
        (changed(TURNS, EACH, "torch.randint(4, (len(images),))"), "0° is included"),
        (changed(TURNS, EACH, "torch.tensor([1, 2, 2, 3])[torch.randint(4, (len(images),))]"),
         "not as often as it should be"),
        (changed(TURNS, "(1, 2)", "(0, 1)"), "want their axes, (1, 2)"),
        (changed(TURNS, "rot90(int(k), (1, 2))", "roll(int(k), 1)"), "neither 90°, 180° nor 270°"),
        (changed(TURNS, "torch.stack([", "list(["), "torch.stack makes one of several"),
        (changed(TURNS, "    return ", "    "), "is the return missing"),
        (changed(TURNS, "rot90(int(k)", "float().rot90(int(k)"), "uint8 images came back as float32"),
        (changed(AFFINE, "ANGLES", "90.0 * torch.randint(1, 4, (len(images),))"), "values are interpolated"),
        (changed(AFFINE, "ANGLES", "90 + 180 * torch.rand(len(images))"), "means any angle between"),
        (changed(TURNS_MASKED, "images.clone()", "images"), "images itself has changed"),
        ("quarter_turns = 90", "expected a function"),
    ],
}  # fmt: skip

RIGHT = [
    ("09/random_flip", FLIP_INDEX),
    ("09/random_flip", FLIP_LOOP),
    ("09/random_flip", FLIP_NUMPY),
    ("09/random_flip", changed(FLIP, CHOSEN, "torch.bernoulli(torch.full((len(images),), p)) == 1")),
    ("09/random_flip", "from course_utils.augmentation import random_flip as flip"),
    ("09/random_crop", "from course_utils.augmentation import random_crop as crop"),
    ("09/random_crop", CROP_LOOP),
    ("09/random_crop", changed(CROP, DRAWN, "(torch.rand(2, len(images)) * (2 * padding + 1)).long()")),
    ("09/random_crop", changed(CROP_SLICES, "width, height", "height, width")),
    ("09/kept_share", "kept_share = 0.90625"),
    ("09/kept_share", "kept_share = torch.tensor(928 / 1024)"),
    ("09/keeps_label", 'keeps_label = "F, d, A"'),
    ("09/keeps_label", 'keeps_label = {"a", "d", "f"}'),
    ("09/safe_order", 'safe_order = " C "'),
    *[("09/pipeline", f"pipeline = {order!r}") for order in (
        "edbca", "edcba", "debac", "dbeca", "dcbea", "edbac", "D, E, C, B, A", " d e b c a\n", "d → b → e → a → c",
    )],
    ("09/quarter_turns", TURNS_MASKED),
    ("09/quarter_turns", changed(TURNS, EACH, "np.random.default_rng().integers(1, 4, len(images))")),
    ("09/quarter_turns", "import random\n" + changed(TURNS, EACH, "random.choices([1, 2, 3], k=len(images))")),
]  # fmt: skip
