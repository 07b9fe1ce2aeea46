"""Chapter 09's exercises: labels that stay, safe orders, and changes drawn for each image of a batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_utils.exercises import (
    Exercise,
    NotAttempted,
    attempt,
    choice,
    describe,
    difference,
    draws,
    keeps_its_inputs,
    untouched,
    value,
)

FLIP = """
def flip(images, p):
    chosen = torch.rand(len(images)) < p  # (B,)
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
"""
CROP = """
def crop(images, padding):
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)  # (B, C, H + 2P, W + 2P)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, n, n, H, W)
    top, left = torch.randint(2 * padding + 1, (2, len(images)))  # (B,) each
    return windows[torch.arange(len(images)), :, top, left]
"""
TURNS = """
def quarter_turns(images):
    turns = torch.randint(1, 4, (len(images),)).tolist()  # B numbers
    pairs = zip(images, turns, strict=True)
    return torch.stack([image.rot90(k, (1, 2)) for image, k in pairs])
"""
PIXELS = torch.arange(1.0, 91.0)  # all different, so that a picture has no symmetry


def moves_pixels(answer: Callable, right: Callable, cases: Sequence[tuple]) -> str | None:
    """Law: pixels keep their values and dtype, also as bytes, in gray, in a batch of one."""
    for images, *arguments in cases:
        for batch in (images, images.byte(), images[:, :1].byte()):
            result = attempt(answer, batch.clone(), *arguments)
            kind, shape = (str(batch.dtype).removeprefix("torch."), tuple(batch.shape))
            if not isinstance(result, Tensor) or result.shape != batch.shape:
                return f"for {kind} images of shape {shape}: {difference(result, batch)}"
            if result.dtype != batch.dtype:
                return f"{kind} images came back as {str(result.dtype).removeprefix('torch.')}: keep the dtype"
            if (result != result.round()).any():
                return "the values are interpolated: move the pixels themselves"
    return None


keeps_label = choice(
    right='keeps_label = "adf"',
    wrong={
        "b": "mirror: an 8 survives it, but a mirrored 5 looks like a 2, and a mirrored 2 like a 5",
        "c": "turned by 180°, a 6 is a 9 and a 9 is a 6",
        "e": "upside down, a 2 looks like a 5 and a 5 like a 2",
        "a": "a shift moves a digit, it does not change it: a belongs to the answer",
        "d": "handwriting slants by more than 10°: d belongs to the answer",
        "f": "people write larger and smaller: f belongs to the answer",
    },
    praise="Small shifts, turns and scales: what handwriting does by itself.",
)

random_flip = draws(
    right=FLIP,
    picture=PIXELS[:60].view(3, 4, 5),
    arguments=[(0.5,), (0.2,), (0.0,), (1.0,)],
    slips=[
        ("these images are upside down: dim 3 is width", "flip(3)", "flip(2)"),
        ("these images are turned by half a turn: flip dim 3 alone", "flip(3)", "flip(2, 3)"),
        ("the channels come out in reverse order: dim 3 is width", "flip(3)", "flip(1)"),
        ("the images of the batch have changed places: dim 0 is the batch, dim 3 is width", "flip(3)", "flip(0)"),
        ("the images of the batch have changed places: dim 0 is the batch, dim 3 is width", "flip(3)", "flip(0, 3)"),
        ("p is inverted: torch.rand(B) < p mirrors a share p", "< p", "> p"),
        ("p is ignored: about half of the images are mirrored also at p = 0.2", "< p", "< 0.5"),
        ("numbers of randn are below 0 half of the time: torch.rand(B) is below p in a share p", "rand(", "randn("),
        ("every image is mirrored, also at p = 0.5: draw torch.rand(B) and compare it with p", "< p", "< 2"),
        ("no image is mirrored at p = 0.5: draw torch.rand(B) and compare it with p", "< p", "< 0"),
    ],
    laws=[moves_pixels, keeps_its_inputs],
    otherwise="image {k} came back neither as it was nor mirrored",
    praise="Each image decides for itself. Without a loop it takes three tensor operations.",
)  # fmt: skip

safe_order = choice(
    right='safe_order = "c"',
    wrong={
        "a": "copies of one image end up on both sides: the validation set asks what training has shown",
        "b": "the split is right, but validation images are changed too: the number is too low, and another each time",
        "d": "however well you shuffle, copies of one image are on both sides: split the originals first",
    },
    praise="Split the originals, then change the training part only.",
)

TOO_EARLY = {  # a step, and one that must come before it
    ("a", "e"): "a before e: the statistics are those of pixels in 0 … 1, so standardizing expects such pixels",
    ("a", "b"): "a before b: 0 is now the mean, and the black border a gray frame around the photos",
    ("b", "d"): "b before d: a random crop is kept in memory, the same draw every epoch",
    ("c", "d"): "c before d: a random mirror is kept in memory, the same draw every epoch",
}


def judge_pipeline(answer: object) -> str | None:
    """Judge the order of five steps: letters in any case, with anything between them."""
    if untouched(answer):
        raise NotAttempted
    if not isinstance(answer, str):
        return f'expected a string of five letters, for example "abcde", got {describe(answer)}'
    letters = [letter for letter in answer.lower() if letter.isalnum()]
    for letter in letters:
        if letter not in "abcde":
            return f"there is no step {letter!r}: expected letters from a to e, got {answer!r}"
    for step in "abcde":
        if letters.count(step) != 1:
            found = "occurs more than once" if step in letters else "is missing"
            return f"step {step} {found}: expected each letter from a to e once, got {answer!r}"
    return next((text for (step, first), text in TOO_EARLY.items() if letters.index(step) < letters.index(first)), None)


pipeline = Exercise(
    judge_pipeline,
    praise="What never changes is kept, what is random is drawn anew each epoch, and black is still black at the crop.",
    right='pipeline = "debca"',
)

WINDOW = "windows[torch.arange(len(images)), :, top, left]"

CROP_SLIPS = [
    ("the last offset, 2·padding, never occurs: the upper end of randint is exclusive",
     "2 * padding + 1,", "max(1, 2 * padding),"),
    ("offsets above the padding never occur: draw from 0 to 2·padding", "2 * padding + 1,", "padding + 1,"),
    ("each image is shifted as far down as to the right: draw the two offsets apart", "top, left]", "top, top]"),
    ("all images got the same top offset: draw B of them for each direction", "top, left]", "top[:1], left]"),
    ("all images got the same left offset: draw B of them for each direction", "top, left]", "top, left[:1]]"),
    ("all images got the same top offset: draw B of them for each direction", "top, left]", "padding, left]"),
    ("all images got the same left offset: draw B of them for each direction", "top, left]", "top, padding]"),
    ("no image is shifted: draw the offsets", WINDOW, "images.clone()"),
    ("every image was cut at every draw: index the batch axis too, with torch.arange(B) beside top and left",
     WINDOW, "windows[:, :, top, left]"),
    ("padded, but not cut: take H×W pixels out again", WINDOW, "padded"),
    ("height and width are swapped: dim 2 is height", "height, width = images", "width, height = images"),
    ("height and width are swapped: dim 2 is height", "(2, height, 1)", "(2, width, 1)",
     "(3, width, 1)", "(3, height, 1)"),
    ("the border mirrors the image: pad with zeros", "* 4", "* 4, mode='reflect'"),
    ("the border repeats the image's edge: pad with zeros", "* 4", "* 4, mode='replicate'"),
    ("what leaves on one side comes back on the other: pad with zeros in place of rolling",
     "* 4", "* 4, mode='circular'"),
    ("images are shifted by more than the padding: offsets go from 0 to 2·padding",
     "(padding,) * 4", "(4,) * 4", "2 * padding + 1,", "9,"),
    ("images are shifted by 2, whatever the padding", "(padding,) * 4", "(2,) * 4", "2 * padding + 1,", "5,"),
    ("the two axes of the result are in the wrong order: unfold dim 2 first, then dim 3",
     "unfold(2, height, 1).unfold(3, width, 1)", "unfold(3, width, 1).unfold(2, height, 1)"),
]  # fmt: skip
CROPPED = "Each image gets its own of (2P + 1)² shifts. One view of all windows and one indexing step are enough."


def judge_crop(answer: object) -> str | None:
    """Judge a crop on images that are not square; where it raises, try whether square ones would pass."""

    def judge(picture: Tensor) -> str | None:
        return draws(
            right=CROP,
            picture=picture,
            arguments=[(2,), (1,), (0,)],
            slips=CROP_SLIPS,
            laws=[moves_pixels, keeps_its_inputs],
            otherwise="image {k} is no window of its padded image: H×W pixels that lie together, in their order",
            praise=CROPPED,
        ).judge(answer)

    message = judge(PIXELS.view(3, 5, 6))
    if message and "raised" in message and judge(PIXELS[:75].view(3, 5, 5)) is None:
        return "height and width are swapped: it works for square images alone, and dim 2 is height"
    return message


random_crop = Exercise(judge_crop, praise=CROPPED, right=CROP, slips=CROP_SLIPS)

kept_share = value(
    right="kept_share = 1 - 8 * 12 / 32**2",
    slips=[
        ("the square begins at row −4, so four of its rows lie outside: count the pixels that arrive", "8 *", "12 *"),
        ("that is the share of the pasted pixels: which share stays?", "1 - ", ""),
        ("that is the share of the pasted pixels, and a part of the square lies outside", 12 * 12 / 32**2),
        ("rows −4 to 7 hold eight rows from 0 to 7: do not forget row 0", "8 *", "7 *"),
        ("rows −4 to 7 end before row 8: eight rows arrive", "8 *", "9 *"),
        ("count pixels, rows times columns, not rows alone", "8 * 12 / 32**2", "8 / 32"),
    ],
    praise="A label counts as many pixels as it has. Without the edge the share would be wrong in every such picture.",
)

ONE = "image.rot90(k, (1, 2))"
EACH = "torch.randint(1, 4, (len(images),))"

quarter_turns = draws(
    right=TURNS,
    picture=PIXELS[:75].view(3, 5, 5),
    arguments=[()],
    slips=[
        ("some images are not turned, 0° is included: torch.randint(1, 4, …) draws 1, 2 or 3", "(1, 4,", "(0, 4,"),
        ("270° never occurs: the upper end of randint is exclusive", "(1, 4,", "(1, 3,"),
        ("180° never occurs: draw all of 1, 2 and 3 quarters", EACH, "(torch.randint(2, (len(images),)) * 2 + 1)"),
        ("some images are mirrored: a turn alone never mirrors", ONE, f"{ONE}.flip(2)"),
        ("the channels of one image are turned differently: one turn an image, the same for its channels",
         ONE, "torch.stack([channel.rot90(k + c) for c, channel in enumerate(image)])"),
    ],
    laws=[moves_pixels, keeps_its_inputs],
    otherwise="image {k} is turned by neither 90°, 180° nor 270°: a range such as (90, 270) means any angle "
    "between, not these three",
    praise="Three angles, one draw an image, and every pixel keeps its value.",
)  # fmt: skip
