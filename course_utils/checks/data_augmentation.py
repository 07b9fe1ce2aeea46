"""Chapter 09's exercises: flips, crops and quarter turns with a draw for each image; labels that stay; safe orders."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks.engine import (
    Exercise,
    NotAttempted,
    Raised,
    attempt,
    choice_exercise,
    describe,
    untouched,
)

CALLS, BATCH = 10, 200  # an answer is called so often, on so many images: 2000 draws
SURPRISE = 21  # −log of the probability, about 1e-9, at which chance is no longer an excuse


# --------------------------------------------------------------------------------------------- what an answer draws


@contextmanager
def fixed_draws() -> Iterator[None]:
    """Seed all random states that an answer may draw from inside the block; give each its state back afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def some_images(batch: int, height: int, width: int) -> Tensor:
    """Return float images (B, 3, H, W) without symmetry: all pixels differ, and none is 0."""
    pixels = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    return 0.1 + 0.9 * pixels


def changed_images(answer: Callable, images: Tensor) -> Tensor | str:
    """Return what an answer makes of the images, or the message when that is no batch of such images."""
    given = images.clone()
    result = attempt(answer, given)
    if untouched(result):
        raise NotAttempted
    shape, kind = tuple(images.shape), str(images.dtype).removeprefix("torch.")
    if isinstance(result, Raised):
        return f"your function raised {result.kind}: {result.text} (for {kind} images of shape {shape})"
    if result is None:
        return "your function returned None: is the return missing?"
    if not torch.equal(given, images):
        return "the images that came in have changed: work on a copy"
    if not isinstance(result, Tensor):
        return f"expected one tensor of images back, got {type(result).__name__}: torch.stack makes one of several"
    if result.shape != images.shape:
        return f"for images of shape {shape} expected the same shape, got {tuple(result.shape)}"
    if result.dtype != images.dtype:
        return f"{kind} images came back as {str(result.dtype).removeprefix('torch.')}: keep the dtype"
    return result


def which(result: Tensor, allowed: Tensor) -> Tensor:
    """Return for each image (B, C, H, W) the index of the allowed one (K, B, C, H, W) that it equals, or −1."""
    equal = (result == allowed).flatten(2).all(dim=2)  # (K, B)
    return torch.where(equal.any(dim=0), equal.int().argmax(dim=0), -1)


def draws(
    answer: Callable, images: Tensor, allowed: Tensor, also: Mapping[str, Callable[[Tensor], bool]], decision: str
) -> Tensor | str:
    """Return which of the allowed images (K, B, C, H, W) each call chose, int64 (CALLS, B), or the first mistake.

    `also` maps messages to what recognizes their mistake in images that are none of the allowed; the last one fits any.
    `decision` is what is drawn, in a word.
    """
    chosen = []
    for _ in range(CALLS):
        result = changed_images(answer, images)
        if isinstance(result, str):
            return result
        chosen.append(which(result, allowed))
        wrong = (chosen[-1] < 0).nonzero()
        if len(wrong):
            channels = (result == allowed).flatten(3).all(dim=3).any(dim=0)  # (B, C)
            if channels.all():
                return f"the channels of one image are mixed up: one {decision} an image, the same for its channels"
            return next(text for text, found in also.items() if found(result)).format(k=int(wrong[0]))
    chosen = torch.stack(chosen)  # (CALLS, B)
    if (chosen == chosen[:1]).all() and not (chosen == chosen[:, :1]).all():
        return f"each call makes the same {decision}s: draw anew in each call, without a seed of your own"
    return chosen


def among(*others: Tensor) -> Callable[[Tensor], bool]:
    """Return a function that says whether all images are among other ones, each (K, B, C, H, W)."""
    return lambda result: any(bool((which(result, other) >= 0).all()) for other in others)


def mixed_pixels(allowed: Tensor) -> Callable[[Tensor], bool]:
    """Return a function that says whether each pixel, taken alone, is one of an allowed image (K, B, C, H, W)."""
    return lambda result: bool((result == allowed).any(dim=0).all())


def one_for_all(chosen: Tensor) -> bool:
    """Say whether in each call all images were treated alike."""
    return bool((chosen == chosen[:, :1]).all())


def uneven(counts: Tensor) -> bool:
    """Say whether counts (K,) are too far from equal for chance (chi-square; bound of Laurent & Massart 2000)."""
    expected, free = counts.sum() / len(counts), len(counts) - 1
    limit = free + 2 * (free * SURPRISE) ** 0.5 + 2 * SURPRISE
    return bool(((counts - expected) ** 2 / expected).sum() > limit)


def judged(judge: Callable[[Callable], str | None]) -> Callable[[object], str | None]:
    """Return a judge that first refuses what is no function, and gives the random states back."""

    def with_fixed_draws(answer: object) -> str | None:
        if not callable(answer):
            return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
        with fixed_draws():
            return judge(answer)

    return with_fixed_draws


def other_batches(answer: Callable, height: int, width: int) -> str | None:
    """Try one image in bytes, and images in gray, and return what is wrong with what comes back."""
    colored = (255 * some_images(BATCH, height, width)).to(torch.uint8)
    for images in (colored, colored[:1], colored[:, :1]):
        result = changed_images(answer, images)
        if isinstance(result, str):
            return result
    return None


# -------------------------------------------------------------------------------------------------------- random flip


def judge_flip(answer: Callable) -> str | None:
    """Judge a function that mirrors each image with probability p."""
    images = some_images(BATCH, 4, 5)
    allowed = torch.stack([images, images.flip(3)])
    also = {
        "these images are upside down: dim 3 is width": among(torch.stack([images, images.flip(2)])),
        "these images are turned by half a turn: flip dim 3 alone": among(torch.stack([images, images.flip(2, 3)])),
        "the channels come out in reverse order: dim 3 is width": among(torch.stack([images, images.flip(1)])),
        "the images of the batch have changed places: dim 0 is the batch, dim 3 is width": among(
            torch.stack([images, images.flip(0), images.flip(0, 3)])
        ),
        "the pixels of one image are mixed up: one decision an image, not one a pixel": mixed_pixels(allowed),
        "image {k} came back neither as it was nor mirrored": lambda result: True,
    }
    shares = {}
    for p in (0.5, 0.2, 0.0, 1.0):
        chosen = draws(partial(with_second, answer, p), images, allowed, also, "decision")
        if isinstance(chosen, str):
            return chosen
        message = half_message(chosen) if p == 0.5 else None
        if message:
            return message
        shares[p] = chosen.float().mean().item()
    return share_message(shares) or other_batches(partial(with_second, answer, 0.5), 4, 5)


def with_second(answer: Callable, second: object, images: Tensor) -> object:
    """Call an answer with the images first and another argument second."""
    return answer(images, second)


def half_message(chosen: Tensor) -> str | None:
    """Say what is wrong with decisions (CALLS, B) at p = 0.5 that were not drawn one by one."""
    if (chosen == 1).all():
        return "every image is mirrored, also at p = 0.5: draw torch.rand(B) and compare it with p"
    if (chosen == 0).all():
        return "no image is mirrored at p = 0.5: draw torch.rand(B) and compare it with p"
    if one_for_all(chosen):
        return "all images got the same decision: draw torch.rand(B), one number an image"
    if len(chosen.sum(dim=1).unique()) == 1:
        return "each call mirrors exactly the same number of images: let each image draw for itself, torch.rand(B) < p"
    return None


def share_message(shares: Mapping[float, float]) -> str | None:
    """Say what is wrong with the shares of mirrored images by p."""
    near = {p: abs(shares[0.2] - p) < 0.08 for p in (0.2, 0.5, 0.8)}  # nine standard deviations of a share
    if near[0.8]:
        return f"p is inverted: at p = 0.2, {shares[0.2]:.0%} of the images are mirrored. torch.rand(B) < p mirrors"
    if near[0.5]:
        return "p is ignored: about half of the images are mirrored also at p = 0.2"
    if not near[0.2]:
        return (
            f"at p = 0.2, {shares[0.2]:.0%} of the images are mirrored: a number from torch.rand(B) is below p in 20 %"
        )
    if abs(shares[0.5] - 0.5) > 0.11:
        return f"at p = 0.5, {shares[0.5]:.0%} of the images are mirrored: expected about half"
    if shares[0.0] > 0:
        return "at p = 0 some images are mirrored: expected none"
    return "at p = 1 some images are not mirrored: expected all" if shares[1.0] < 1 else None


random_flip = Exercise(
    judged(judge_flip),
    praise="Each image decides for itself. Without a loop it takes three tensor operations.",
    hints=(
        "torch.rand(len(images)) < p is True for a share p of the images.",
        "images.flip(3) mirrors the whole batch; torch.where(condition, a, b) takes from a where the condition holds.",
        "The condition needs the shape (B, 1, 1, 1) beside images of shape (B, C, H, W).",
    ),
)

# -------------------------------------------------------------------------------------------------------- random crop


def windows(images: Tensor, padding: int, mode: str = "constant") -> Tensor:
    """Return all windows of the padded images, ((2P + 1)², B, C, H, W): row offsets outside, column offsets inside."""
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4, mode=mode)
    places = [(top, left) for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    return torch.stack([padded[:, :, top : top + height, left : left + width] for top, left in places])


def judge_crop(answer: Callable) -> str | None:
    """Judge a function that shifts each image by −P … P pixels."""
    for padding in (2, 1, 0):
        images = some_images(BATCH, 5, 6)
        crop = partial(with_second, answer, padding)
        message = shape_of_crop(crop, images, padding)
        if message:
            return message
        chosen = draws(crop, images, windows(images, padding), crop_mistakes(images, padding), "shift")
        message = chosen if isinstance(chosen, str) else offset_message(chosen, padding)
        if message:
            return message
    return other_batches(partial(with_second, answer, 2), 5, 6)


def shape_of_crop(crop: Callable, images: Tensor, padding: int) -> str | None:
    """Say what a wrong shape tells about a crop, or return None: `draws` sees to all others."""
    result = attempt(crop, images.clone())
    batch, channels, height, width = images.shape
    shapes = {
        (batch, channels, height + 2 * padding, width + 2 * padding): "padded, but not cut: take H×W pixels out again",
        (batch, channels, batch, height, width): "every image was cut at every draw: index the batch axis too, with "
        "torch.arange(B) beside top and left",
        (batch, channels, width, height): "height and width are swapped: dim 2 is height",
    }
    if not isinstance(result, Tensor) or result.shape == images.shape or tuple(result.shape) not in shapes:
        return None
    return f"got the shape {tuple(result.shape)}: {shapes[tuple(result.shape)]}"


def crop_mistakes(images: Tensor, padding: int) -> dict[str, Callable[[Tensor], bool]]:
    """Return messages for images that are no windows of the padded ones, each with what recognizes it."""
    if padding == 0:
        return {"at a padding of 0 image {k} has changed: there is no other place to cut": lambda result: True}
    modes = {mode: among(windows(images, padding, mode)) for mode in ("circular", "reflect", "replicate")}
    wider = [windows(images, other) for other in (padding + 1, 2 * padding, 4)]
    return {
        "what leaves on one side comes back on the other: pad with zeros in place of rolling": modes["circular"],
        "the border mirrors the image: pad with zeros": modes["reflect"],
        "the border repeats the image's edge: pad with zeros": modes["replicate"],
        f"images are shifted by more than the padding, {padding}: offsets go from 0 to 2·padding": among(*wider),
        "image {k} is no window of its padded image: H×W pixels that lie together, in their order": lambda result: True,
    }


def offset_message(chosen: Tensor, padding: int) -> str | None:
    """Say what is wrong with chosen windows (CALLS, B) when not every image drew one of all of them."""
    if padding == 0:
        return None
    last, side = 2 * padding, 2 * padding + 1
    if (chosen == (side * side) // 2).all():
        return f"no image is shifted at a padding of {padding}: draw the offsets"
    if one_for_all(chosen):
        return "all images got the same shift: draw B offsets for each direction, one pair an image"
    rows, columns = chosen // side, chosen % side
    for name, offsets in (("top", rows), ("left", columns)):
        if one_for_all(offsets):
            return f"all images got the same {name} offset: draw B of them for each direction"
    if (rows == columns).all():
        return "each image is shifted as far down as to the right: draw the two offsets apart"
    for name, offsets in (("top", rows), ("left", columns)):
        missing = [k for k in range(side) if not (offsets == k).any()]
        if missing == [last]:
            return f"the last {name} offset, {last}, never occurs: the upper end of randint is exclusive"
        if missing:
            return f"at a padding of {padding} the {name} offsets {missing} never occur: draw from 0 to {last}"
    if uneven(chosen.flatten().bincount(minlength=side * side)):
        return "some shifts occur far more often than others: all are equally likely, torch.randint(2 * padding + 1, …)"
    return None


random_crop = Exercise(
    judged(judge_crop),
    praise="Each image gets its own of (2P + 1)² shifts. One view of all windows and one indexing step are enough.",
    hints=(
        "F.pad(images, (padding,) * 4) adds zeros on all four sides.",
        "padded.unfold(2, height, 1).unfold(3, width, 1) has the shape (B, C, 2P + 1, 2P + 1, H, W).",
        "torch.randint(n, …) gives 0 to n − 1; windows[torch.arange(B), :, top, left] picks one window an image.",
    ),
)

# ------------------------------------------------------------------------------------------------------ quarter turns

TURNS = ("0°", "90°", "180°", "270°")


def judge_turns(answer: Callable) -> str | None:
    """Judge a function that turns each image by 90°, 180° or 270°."""
    images = some_images(BATCH, 5, 5)
    allowed = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
    chosen = draws(answer, images, allowed, turn_mistakes(allowed), "turn")
    return chosen if isinstance(chosen, str) else turn_message(chosen) or other_batches(answer, 5, 5)


def turn_mistakes(allowed: Tensor) -> dict[str, Callable[[Tensor], bool]]:
    """Return messages for images that are no quarter turns, each with what recognizes it."""

    def nearly(result: Tensor) -> bool:
        return bool(((result - allowed).abs().flatten(2).amax(dim=2) < 1e-3).any(dim=0).all())

    return {
        "the values are interpolated: rot90 moves the pixels themselves": nearly,
        "some images are mirrored: a turn alone never mirrors": among(torch.cat([allowed, allowed.flip(4)])),
        "the pixels of one image are mixed up: one turn an image, not one a pixel": mixed_pixels(allowed),
        "image {k} is turned by neither 90°, 180° nor 270°: a range such as (90, 270) means any angle between, "
        "not these three": lambda result: True,
    }


def turn_message(chosen: Tensor) -> str | None:
    """Say what is wrong with turns (CALLS, B), 0 to 3 quarters, that are not 1, 2 or 3 alike often."""
    if one_for_all(chosen):
        return "all images got the same turn: draw torch.randint(1, 4, (B,)), one number an image"
    counts = chosen.flatten().bincount(minlength=4)
    if counts[0]:
        return "some images are not turned, 0° is included: torch.randint(1, 4, …) draws 1, 2 or 3"
    if not counts[3] and counts[1] and counts[2]:
        return "270° never occurs: the upper end of randint is exclusive"
    missing = [name for name, count in zip(TURNS[1:], counts[1:], strict=True) if not count]
    if missing:
        return f"{' and '.join(missing)} never occurs: draw all of 1, 2 and 3 quarters"
    if uneven(counts[1:]):
        shares = ", ".join(
            f"{name} {share:.0%}" for name, share in zip(TURNS[1:], counts[1:] / counts.sum(), strict=True)
        )
        return f"the three turns are not equally likely: {shares}"
    return None


quarter_turns = Exercise(
    judged(judge_turns),
    praise="Three angles, one draw an image, and every pixel keeps its value.",
    hints=(
        "torch.randint(1, 4, (B,)) draws how many quarters.",
        "image.rot90(k, (1, 2)) turns one image (C, H, W); torch.stack makes a batch of several.",
    ),
)

# -------------------------------------------------------------------------------------------------- labels and orders

KEEPS = {
    "a": "a shift moves a digit, it does not change it: a belongs to the answer",
    "d": "handwriting slants by more than 10°: d belongs to the answer",
    "f": "people write larger and smaller: f belongs to the answer",
}
SPOILS = {
    "b": "mirror: an 8 survives it, but a mirrored 5 looks like a 2, and a mirrored 2 like a 5",
    "c": "turned by 180°, a 6 is a 9 and a 9 is a 6",
    "e": "upside down, a 2 looks like a 5 and a 5 like a 2",
}


def judge_letters(answer: object) -> str | None:
    """Judge which changes keep a digit's label: letters in any order and case, with anything between them."""
    parts = answer if isinstance(answer, str) else "".join(answer) if is_letters(answer) else None
    if parts is None:
        return f'expected a string of letters, for example "abc", got {describe(answer)}'
    letters = {letter for letter in parts.lower() if letter.isalnum()}
    unknown = sorted(letters - KEEPS.keys() - SPOILS.keys())
    if unknown or not letters:
        return f"expected letters from a to f, got {answer!r}"
    mistakes = [text for letter, text in SPOILS.items() if letter in letters]
    mistakes += [text for letter, text in KEEPS.items() if letter not in letters]
    return mistakes[0] if mistakes else None


def is_letters(answer: object) -> bool:
    """Say whether an answer is a collection of strings."""
    return isinstance(answer, list | tuple | set) and all(isinstance(part, str) for part in answer)


keeps_label = Exercise(
    judge_letters,
    praise="Small shifts, turns and scales: what handwriting does by itself.",
    hints=(
        "Would the person who wrote the digit still read the same one?",
        "Try each on all ten digits: which one turns into another?",
    ),
)

safe_order = choice_exercise(
    "c",
    {
        "a": "copies of one image end up on both sides: the validation set asks what training has shown",
        "b": "the split is right, but validation images are changed too: the number is too low, and another each time",
        "d": "however well you shuffle, copies of one image are on both sides: split the originals first",
    },
    praise="Split the originals, then change the training part only.",
    hints=(
        "Follow one original and its copies: on which sides do they end up?",
        "Should the validation number be the same at each call?",
    ),
)

STEPS = "abcde"
TOO_EARLY = {  # a step, and one that must come before it
    ("a", "e"): "a before e: the statistics are those of pixels in 0 … 1, so standardizing expects such pixels",
    ("a", "b"): "a before b: 0 is now the mean, and the black border a gray frame around the photos",
    ("b", "d"): "b before d: a random crop is kept in memory, the same draw every epoch",
    ("c", "d"): "c before d: a random mirror is kept in memory, the same draw every epoch",
}


def judge_pipeline(answer: object) -> str | None:
    """Judge the order of five steps: letters in any case, with anything between them."""
    if not isinstance(answer, str):
        return f'expected a string of five letters, for example "{STEPS}", got {describe(answer)}'
    letters = [letter for letter in answer.lower() if letter.isalnum()]
    unknown = [letter for letter in letters if letter not in STEPS]
    if unknown:
        return f"there is no step {unknown[0]!r}: expected letters from a to e, got {answer!r}"
    for step in STEPS:
        if letters.count(step) != 1:
            found = "is missing" if step not in letters else "occurs more than once"
            return f"step {step} {found}: expected each letter from a to e once, got {answer!r}"
    return next((text for (step, first), text in TOO_EARLY.items() if letters.index(step) < letters.index(first)), None)


pipeline = Exercise(
    judge_pipeline,
    praise="What never changes is kept, what is random is drawn anew each epoch, and black is still black at the crop.",
    hints=(
        "What is kept in memory is made once: which steps must be done anew in each epoch?",
        "Which number is black, before and after the standardization?",
        "In which scale of pixels were mean and standard deviation measured?",
    ),
)

EXERCISES = {
    "random_flip": random_flip,
    "random_crop": random_crop,
    "keeps_label": keeps_label,
    "safe_order": safe_order,
    "pipeline": pipeline,
    "quarter_turns": quarter_turns,
}
