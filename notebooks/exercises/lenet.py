"""Chapter 05's exercises: LeNet's shapes, layers, parameters and work; evaluating well; preparing a drawn digit."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import exercises as kinds
from course_utils.exercises import NotAttempted, as_tensor, attempt, describe, difference

SHAPES = """
shape_table = {
    "C1": (6, 28, 28),
    "S2": (6, 14, 14),
    "C3": (16, 10, 10),
    "S4": (16, 5, 5),
    "C5": (120, 1, 1),
    "F6": (84,),
    "out": (10,),
}
"""
LENET = """
def make_lenet():
    layers = [nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)]
    layers += [nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)]
    layers += [nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))
"""
COUNT = """
convolutions = (25 + 1) * 6 + (6 * 25 + 1) * 16 + (16 * 25 + 1) * 120
parameter_count = convolutions + (120 + 1) * 84 + (84 + 1) * 10
"""
WORK = """
c1, c3 = 6 * 28 * 28 * 25, 16 * 10 * 10 * 6 * 25
share_of_work = (c1 + c3) / (c1 + c3 + 120 * 400 + 84 * 120 + 10 * 84)
"""
POOLING = """
def with_max_pooling(model):
    model = copy.deepcopy(model)
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.AvgPool2d):
                pool = nn.MaxPool2d(child.kernel_size, child.stride, child.padding)
                setattr(parent, name, pool)
    return model
"""
ACCURACY = """
def accuracy(model, batches):
    was_training = model.training
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in batches:
            right += (model(images).argmax(dim=1) == labels).sum().item()
            total += len(labels)
    model.train(was_training)
    return right / total
"""
PREPARE = """
def prepare(canvas):
    picture = torch.zeros(28, 28)
    if not canvas.any():
        return picture
    rows = canvas.any(dim=1).nonzero()[:, 0]
    columns = canvas.any(dim=0).nonzero()[:, 0]
    ink = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = [max(1, round(20 * side / max(ink.shape))) for side in ink.shape]
    small = F.interpolate(ink[None, None], size=size, mode="area")[0, 0]
    start = []
    for axis in (0, 1):
        center = small.sum(dim=1 - axis) @ torch.arange(1.0 * size[axis]) / small.sum()
        start.append(min(max(round(14 - center.item()), 0), 28 - size[axis]))
    (top, left), (height, width) = start, size
    picture[top : top + height, left : left + width] = small
    return picture
"""


def other_shape(name: str, mine: object, right: tuple) -> str:
    """Say what is wrong with a layer's shape that no slip gives."""
    sizes = as_tensor(mine)
    if not isinstance(mine, int) and (not isinstance(sizes, Tensor) or sizes.dim() != 1):
        return f"expected a tuple of {len(right)} whole numbers, got {describe(mine)}"
    if isinstance(mine, int) or len(mine) not in (len(right), len(right) + 1):
        return f"expected {len(right)} number{'s' * (len(right) > 1)}, got {describe(mine)}"
    if len(mine) > len(right):
        return "leave the batch axis out"
    if len(right) == 3 and mine in (right[1:] + right[:1], right[::-1]):
        return f"channels first: (channels, height, width), not {mine}"
    if mine[0] != right[0]:
        pooling = f"pooling keeps the channels: there are {right[0]} before it and after it"
        return pooling if name in ("S2", "S4") else f"{mine[0]} is not in this layer's row: how many maps or units?"
    return f"{mine} is not it: put the size of the layer before into ⌊(H + 2P − K)/S⌋ + 1"


C5_KEEPS = "the convolution keeps two axes of size 1: flatten comes after it"
shape_table = kinds.table(
    right=SHAPES,
    slips=[
        ("it has padding 2, so it keeps height and width", "(6, 28, 28)", "(6, 24, 24)"),
        ("a 5×5 kernel with padding 2 adds 4 pixels and loses 4", "(6, 28, 28)", "(6, 32, 32)"),
        ("pooling halves height and width", "(6, 14, 14)", "(6, 28, 28)", "(16, 5, 5)", "(16, 10, 10)"),
        ("pooling moves by its own size: stride 2", "(6, 14, 14)", "(6, 27, 27)", "(16, 5, 5)", "(16, 9, 9)"),
        ("C3 has no padding: a 5×5 kernel loses 4 pixels", "(16, 10, 10)", "(16, 14, 14)"),
        *((C5_KEEPS, "(120, 1, 1)", flat) for flat in ("(120,)", "120")),
        ("C5 has no padding: a 5×5 kernel fits into a 5×5 map once", "(120, 1, 1)", "(120, 5, 5)"),
        ("", "(84,)", "84", "(10,)", "10"),
    ],
    otherwise=other_shape,
    praise="Convolutions set the channels, poolings halve the map, and C5 leaves 1×1.",
)

LAYERS = {"C1": "5, padding=2", "C3": "6, 16, 5", "C5": "16, 120, 5", "F6": "120, 84", "the output": "84, 10"}
HIDDEN = list(LAYERS.items())[:4]
ENDS = {"softmax": "Softmax(1)", "log-softmax": "LogSoftmax(1)"}
POOLS_FIRST = ("nn.Tanh(), nn.AvgPool2d(2)", "nn.AvgPool2d(2), nn.Tanh()")
C5 = "nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten()"

make_lenet = kinds.module(
    right=LENET,
    cases=[((), (3, 1, 28, 28))],
    slips=[
        ("there is no activation: tanh follows C1, C3, C5 and F6", " nn.Tanh(),", ""),
        *((f"{kind} takes the place of tanh", "Tanh", kind) for kind in ("ReLU", "Sigmoid")),
        *((f"the tanh after {name} is missing", f"{a}), nn.Tanh(),", f"{a}),") for name, a in HIDDEN),
        *((f"ReLU takes the place of the tanh after {n}", f"{a}), nn.Tanh", f"{a}), nn.ReLU") for n, a in HIDDEN),
        *((f"{name}'s bias is missing: every layer of ours has biases", f"{a})", f"{a}, bias=False)")
          for name, a in LAYERS.items()),
        ("the poolings take the maximum: LeNet takes the mean", "AvgPool", "MaxPool"),
        *((f"{pool} takes the maximum: LeNet's poolings take the mean", f"{LAYERS[conv]}), nn.Tanh(), nn.Avg",
           f"{LAYERS[conv]}), nn.Tanh(), nn.Max") for pool, conv in (("S2", "C1"), ("S4", "C3"))),
        ("the pooling comes before tanh: LeNet pools what tanh gives", *POOLS_FIRST),
        *((f"the {name} at the end is too much: cross-entropy has it", "84, 10)", f"84, 10), nn.{layer}")
          for name, layer in ENDS.items()),
        *((f"the logits pass through {kind}: give them out as they are", "84, 10)", f"84, 10), nn.{kind}()")
          for kind in ("Tanh", "ReLU", "Sigmoid")),
        ("C1 has padding 2", ", padding=2", ""),
        ("C1 has padding 2: then the map of S4 is 5×5, not 4×4", ", padding=2", "",
         C5, "nn.Flatten(), nn.Linear(256, 120), nn.Tanh()"),
        ("C1 has padding 2, and C5 is missing", ", padding=2", "", C5, "nn.Flatten()", "120, 84", "256, 84"),
        ("flatten is missing before F6", ", nn.Flatten()", ""),
    ],
    praise="Equal to LeNet for any weights. C5 as a convolution or as nn.Linear(400, 120): the same function.",
)  # fmt: skip

first_mismatch = kinds.choice(
    right='first_mismatch = "c"',
    wrong={
        "a": "C1 takes 28×28 with or without padding: it gives 24×24 and no error",
        "b": "S2 halves any map: 24×24 becomes 12×12",
        "d": "the first linear layer is never reached: follow the sizes 24, 12, 8, 4, and look at the kernel of C5",
    },
    praise="24, 12, 8, 4: a 5×5 kernel does not fit into 4×4. The fault is in C1, the error comes at C5.",
)

SPANS = "a filter spans all input channels: C3's are 6·5·5, C5's 16·5·5"
PAPER = "that is the paper's figure: section 4 says where it differs from the table above"

parameter_count = kinds.value(
    right=COUNT,
    slips=[
        ("the biases are forgotten: one for each of the 6 + 16 + 120 + 84 + 10 maps and units", " + 1)", ")"),
        (PAPER, 60000),
        (SPANS, "(6 * 25", "(25", "(16 * 25", "(25"),
        (SPANS, "(6 * 25", "(25"),
        ("our pooling learns nothing: its 12 + 32 coefficients belong to the paper's", 61750),
        ("the output layer is forgotten: 84·10 + 10", " + (84 + 1) * 10", ""),
        ("these are the biases only", 236),
        ("these are the multiply-adds: a weight counts once, at however many places its filter stands", 416520),
    ],
    praise="156 + 2416 + 48 120 + 10 164 + 850 = 61 706.",
)  # fmt: skip

share_of_work = kinds.value(
    right=WORK,
    slips=[
        ("that is C5's share of the parameters: count multiply-adds, where C1 and C3 use a weight often",
         48120 / 61706),
        ("that is their share of the parameters: count multiply-adds", (156 + 2416) / 61706),
        ("that is C1 alone: add C3's 16·10·10·150", "= (c1 + c3)", "= c1"),
        ("that is C3 alone: add C1's 6·28·28·25", "= (c1 + c3)", "= c3"),
        ("a filter of C3 spans all six maps: 16·10·10 · 6·25", "10 * 6 * 25", "10 * 25"),
        ("C3 gives out 10×10 places: without padding it loses 4 of 14", "16 * 10 * 10", "16 * 14 * 14"),
        ("this is in percent: give a share from 0 to 1", "= (c1", "= 100 * (c1"),
        ("that is the share of all other layers", "= (c1", "= 1 - (c1"),
        ("the dense layers work too: 120·84 and 84·10", " + 84 * 120 + 10 * 84", ""),
        ("that is how many there are: divide by the multiply-adds of all layers", 357600),
    ],
    praise="4 % of the parameters do 86 % of the work: each weight of a convolution is used at every position.",
    tolerance=5e-3,
)  # fmt: skip


def pooling_cases(generator: torch.Generator) -> list[tuple]:
    """Make a plain model, one with a block inside, one whose windows overlap; a pooling of another kind stays."""
    first, second = [nn.Conv2d(1, 4, 5), nn.Tanh()], [nn.Conv2d(4, 6, 3), nn.ReLU()]
    stacks = (
        [*first, nn.AvgPool2d(2), *second, nn.AvgPool2d(2)],
        [nn.Sequential(*first, nn.AvgPool2d(2)), *second, nn.AvgPool2d(3), nn.AdaptiveAvgPool2d(1)],
        [*first, nn.AvgPool2d(3, stride=2), *second, nn.AvgPool2d(2, stride=1)],
    )
    return [(nn.Sequential(*stack),) for stack in stacks]


def state(model: nn.Module) -> tuple[list[str], list]:
    """Return the layers that hold no others in words, poolings and convolutions with their windows; all weights."""
    words = []
    for layer in model.modules():
        windows = [name for name in ("kernel_size", "stride") if hasattr(layer, name)]
        sizes = [f"{name}={np.broadcast_to(getattr(layer, name), 2)}" for name in windows]
        mode = [] if layer.training else ["in eval mode"]
        words += [] if list(layer.children()) else [" ".join([type(layer).__name__, *sizes, *mode])]
    return words, [weights.tolist() for weights in model.parameters()]


def swapped(answer: Callable, model: nn.Module) -> object:
    """Return what an answer makes of a model: layers in words, its weights, and what became of the original."""
    before = state(model)
    new = answer(model)
    if not isinstance(new, nn.Module):
        return new
    layers, weights = state(new)
    shared = {id(weight) for weight in model.parameters()} & {id(weight) for weight in new.parameters()}
    original = "changed" if state(model) != before else "trained along" if shared else "untouched"
    return (*layers, "its weights" if weights == before[1] else "other weights", f"the original is {original}")


RESET = "    for layer in model.modules():\n        getattr(layer, 'reset_parameters', layer.train)()\n    return"
STILL = "some poolings still take the mean: replace all, also those inside a block of layers"

with_max_pooling = kinds.function(
    right=POOLING,
    cases=pooling_cases,
    run=swapped,
    slips=[
        ("the model that came in has changed: replace the poolings in a copy of it (copy.deepcopy)",
         "copy.deepcopy(model)", "model"),
        ("both models hold the same weights, so training one would train the other: copy them (copy.deepcopy)",
         "deepcopy(model)", "deepcopy(model, {id(weight): weight for weight in model.parameters()})"),
        (STILL, "model.modules()", "[model]"),
        (STILL, "name, pool)", "name, pool)\n                break"),
        ("nn.AdaptiveAvgPool2d is another layer and stays: ask isinstance(layer, nn.AvgPool2d)",
         "isinstance(child, nn.AvgPool2d)", "'Avg' in type(child).__name__"),
        ("keep kernel size and stride of each pooling: without a stride it moves by its own size",
         ", child.stride, child.padding", ""),
        ("keep kernel size and stride of each pooling: not every window is 2×2",
         "child.kernel_size, child.stride, child.padding", "2"),
        ("no pooling was replaced: is the new layer put into the model, in the place of the old one?",
         "setattr(parent, name, pool)", "child = pool"),
        ("the weights are not those of the model: copy them, or two things differ at a time", "    return", RESET),
        ("the new model is in eval mode: it came in training mode, and nothing else changes", "return model",
         "return model.eval()"),
    ],
    praise="One difference between two models: now a comparison says what it is worth.",
)  # fmt: skip

spot_evaluation = kinds.choice(
    right='spot_evaluation = "c"',
    wrong={
        "a": "eval() changes dropout and BatchNorm; this network has neither, so the accuracy is right: what else is "
        "there 10 000 times?",
        "b": "weights change in optimizer.step(), and the test has none",
        "d": "no_grad lets each layer's activations go after use, but one layer's for 10 000 images are still there at "
        "once: it saves a part, batches save nearly all",
    },
    praise="The accuracy is right, the memory is wasted: batches bound it, whatever the size of the test set.",
)


def accuracy_cases(generator: torch.Generator) -> list[tuple]:
    """Make classifiers with dropout, in training and in eval mode, and batches of some sizes."""
    cases = []
    for training, sizes in ((True, (8, 8, 3)), (False, (6, 4))):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Dropout(0.5), nn.Linear(64, 10)).eval()
        images = [torch.randn((size, 1, 8, 8), generator=generator) for size in sizes]
        labels = [model(some).argmax(dim=1) for some in images]
        for k, some in enumerate(labels):
            some[: k + 1] = (some[: k + 1] + 1) % 10  # so many are answered wrongly
        cases.append((model.train(training), list(zip(images, labels, strict=True))))
    return cases


def watched(answer: Callable, model: nn.Module, batches: list) -> object:
    """Return an accuracy and how the model was asked: dropout, gradients, images at once, its mode afterwards."""

    def note(model: nn.Module, inputs: tuple, logits: Tensor) -> None:
        asked.append((len(inputs[0]), model[2].training, logits.requires_grad))

    asked = []
    model.register_forward_hook(note)  # copies of the model have it too
    torch.manual_seed(0)  # dropout draws alike for each answer
    found = answer(model, batches)
    counts, dropout, gradients = zip(*asked, strict=True) if asked else [[0]] * 3
    how = f"dropout {('off', 'on')[any(dropout)]}, gradients {('off', 'on')[any(gradients)]}"
    return None if found is None else (found, how, f"at most {max(counts)} images at once", model.training)


RESTORE = "    model.train(was_training)\n"
BATCHWISE = "this is the mean of the batches' accuracies: the last batch is shorter; count right answers and images"

accuracy = kinds.function(
    right=ACCURACY,
    cases=accuracy_cases,
    run=watched,
    slips=[
        ("dropout was at work: call model.eval() before the first batch", "    model.eval()\n", ""),
        ("a graph for gradients was built: eval() does not stop that, torch.no_grad() does",
         "with torch.no_grad()", "if True"),
        ("the model came in training mode and is still in eval mode: give it back in the mode it had", RESTORE, ""),
        ("the model came in eval mode and is now in training mode: give it back in the mode it had",
         RESTORE, "    model.train()\n"),
        ("all batches were joined into one, so nothing bounds the memory: give them to the model one by one",
         "in batches", "in [tuple(map(torch.cat, zip(*batches)))]"),
        (BATCHWISE, ".sum().item()", ".float().mean().item()", "/ total", "/ len(batches)"),
        ("divide by the number of images, not of batches", "/ total", "/ len(batches)"),
        ("divide by the number of images that came: the last batch is shorter",
         "/ total", "/ (len(batches) * len(batches[0][1]))"),
        ("this is in percent: return a share from 0 to 1", "return right", "return 100 * right"),
        ("this is how many are right: divide by how many images there are", " / total", ""),
        ("this is the last batch alone", "right +=", "right =", "total +=", "total ="),
        ("this is the share of wrong answers", "return right", "return 1 - right"),
        ("argmax needs dim=1: without it there is one index for the whole batch", "dim=1", ""),
    ],
    praise="Right for a short last batch, without dropout, without a graph, and the model is as it was.",
)  # fmt: skip

EXTREMES = {
    "an empty canvas": "return zeros where there is no ink",
    "a thin stroke": "let neither side become 0 pixels, max(1, …)",
    "a line of one pixel": "the last row of ink belongs to it: rows[0] to rows[-1] + 1",
    "a drawing with its mass at the top": "where ink would leave the picture, move it back in",
    "a drawing with a faint stroke": "every pixel above 0 is ink, also one of 0.3: crop to all of them",
}


def canvases() -> dict[str, Tensor]:
    """Return drawings by what they are: strokes that cross, of any size and place, and the extreme ones."""
    found, random = {}, torch.Generator().manual_seed(0)
    for k in range(12):
        length, narrow, down, across, *place = torch.rand(6, generator=random).tolist()
        sides = [90 + 120 * length] * 2
        sides[k % 2] *= 0.3 + 0.2 * narrow if k % 3 else 0.9
        (height, width), canvas = map(int, sides), torch.zeros(280, 280)
        top, left = (5 + int(p * (268 - side)) for p, side in zip(place, (height, width), strict=True))
        middle, row = left + int((0.1 + 0.4 * across) * width), top + int((0.1 + 0.4 * down) * height)
        canvas[top : top + height, middle : middle + 12] = canvas[row : row + 12, left : left + width] = 1
        found[f"a drawing of {height}×{width} pixels"] = F.avg_pool2d(canvas[None], 3, 1, 1)[0]  # soft edges
    _, thin, line, hammer, faint = extremes = torch.zeros(5, 280, 280)
    thin[60:200, 90:93] = line[100, 60:160] = hammer[60:260, 92:98] = hammer[30:90, 40:150] = faint[90:150, 90:110] = 1
    thin[60:120] *= 0.7  # without a center that lies between two pixels
    line[:, 60:90] *= 0.7
    faint[150:210, 90:110] = faint[90:110, 110:190] = 0.3
    return found | dict(zip(EXTREMES, extremes, strict=True))


SIZES = "size = [max(1, round(20 * side / max(ink.shape))) for side in ink.shape]"
PLACED = "min(max(round(14 - center.item()), 0), 28 - size[axis])"
CROPPED = "canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]"
UNCROPPED = "the picture's size depends on how large one draws: crop to the ink before you scale"
HALF = "half a pixel: the center of mass lies at 13.5, MNIST's at index 14; if you shift by whole pixels, round"
AT_ONCE = "return F.interpolate(canvas[None, None], size=(28, 28), mode='area')[0, 0]"
PREPARE_SLIPS = [
    (UNCROPPED, CROPPED, "canvas"),
    (UNCROPPED, "    picture =", f"    {AT_ONCE}\n    picture ="),
    ("the ink fills all 28 pixels: MNIST scales the longer side to 20 and leaves a margin", "20 * side", "28 * side"),
    *((f"the longer side of the ink should have 20 pixels, not {n}", "20 * side", f"{n} * side") for n in (16, 19, 21)),
    ("a pixel in ten is kept and the rest dropped: average them, with mode=\"area\" or antialias=True",
     'mode="area"', 'mode="nearest"'),
    ("narrow drawings come out stretched: scale height and width by the same factor", SIZES, "size = [20, 20]"),
    ("everything comes out stretched: scale height and width by the same factor", SIZES, "size = [28, 28]"),
    (HALF, "14 - center", "13.5 - center"),
    (HALF, "round(14 - center.item())", "int(14 - center.item())"),
    ("the rectangle around the ink is centered: MNIST centers the center of mass", PLACED, "(28 - size[axis]) // 2"),
    ("the picture stays at the top left: its center of mass should lie at row 14 and column 14", PLACED, "0"),
    *((what, "return picture", f"return {result}") for what, result in {
        "tall drawings come out wide: rows and columns are swapped": "picture.T",
        "the picture is inverted: MNIST has ink 1 on paper 0": "1 - picture",
        "the picture is mirrored": "picture.flip(1)",
        "the picture is upside down": "picture.flip(0)",
        "the ink has become faint: the strokes of MNIST reach 1": "0.5 * picture",
    }.items()),
]  # fmt: skip


def fault(picture: object) -> str | None:
    """Say what is wrong with shape, dtype or range of a picture, or return None."""
    if not isinstance(picture, Tensor) or picture.shape != (28, 28) or not picture.is_floating_point():
        return difference(picture, torch.zeros(28, 28))
    low, high = picture.min().item(), picture.max().item()
    standardized = f"expected pixels from 0 to 1, got {low:.2f} to {high:.2f} (standardizing comes later)"
    return None if -1e-3 <= low <= high <= 1 + 1e-3 else standardized


def judge_prepare(answer: object) -> str | None:
    """Judge pictures by the variant of the right answer whose ones are nearest: ways of shrinking differ a little."""
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
    drawn = canvases()
    got = {what: as_tensor(attempt(answer, canvas.clone())) for what, canvas in drawn.items()}
    if any(map(kinds.untouched, got.values())):
        raise NotAttempted
    for what, picture in got.items():
        message = fault(picture) or ("came out empty" if drawn[what].any() and not picture.any() else None)
        if message:
            return f"for {what}: {message}" + (f"; {EXTREMES[what]}" if what in EXTREMES else "")
    usual = len(drawn) - len(EXTREMES)
    for most in (1, 2):
        apart = [(distances(got, other, drawn), said) for said, other in kinds.variants(PREPARE, PREPARE_SLIPS, most)]
        far, nearest = min(apart, key=lambda pair: sum(pair[0][:usual]))
        if sum(far[:usual]) < usual * NEAR:
            extreme = zip(EXTREMES.items(), far[usual:], strict=True)
            return nearest or next((f"{what} goes wrong: {advice}" for (what, advice), d in extreme if d > NEAR), None)
    what, _ = max(zip(got, apart[0][0], strict=True), key=lambda pair: pair[1])
    ink = got[what].double()
    row, column = (float(ink.sum(dim=1 - axis) @ torch.arange(28.0).double() / ink.sum()) for axis in (0, 1))
    return (
        f"{what} comes out as another picture than it should: its center of mass should lie at row 14 and column 14, "
        f"to the nearest pixel, and lies at {row:.1f} and {column:.1f}"
    )


def distances(pictures: dict[str, Tensor], variant: Callable, drawn: dict[str, Tensor]) -> list[float]:
    """Return how far each picture is from that of a variant, per pixel; infinitely for a variant that raises."""
    theirs = [attempt(variant, canvas) for canvas in drawn.values()]
    if any(map(fault, theirs)):
        return [math.inf] * len(drawn)
    return [float((mine - its).abs().mean()) for mine, its in zip(pictures.values(), theirs, strict=True)]


NEAR = 0.04  # of a pixel's range: so far two ways of shrinking a drawing may be apart
prepare = kinds.Exercise(
    judge_prepare,
    praise="As MNIST did it: cropped, 20 pixels long, shape kept, the center of mass at index 14.",
    right=PREPARE,
    slips=PREPARE_SLIPS,
)
