"""Chapter 05's exercises: LeNet's shapes, layers, parameters and work; evaluating well; preparing a drawn digit."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.exercises import (
    Exercise,
    NotAttempted,
    as_tensor,
    attempt,
    choice,
    describe,
    difference,
    function,
    module,
    table,
    untouched,
    value,
    variants,
)

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
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, 10),
    )  # fmt: skip
"""
COUNT = """
parameter_count = (25 + 1) * 6 + (6 * 25 + 1) * 16 + (16 * 25 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10
"""
WORK = """
work = {"C1": 6 * 28 * 28 * 25, "C3": 16 * 10 * 10 * 6 * 25, "C5": 120 * 400, "F6": 84 * 120, "out": 10 * 84}
share_of_work = (work["C1"] + work["C3"]) / sum(work.values())
"""
POOLING = """
def with_max_pooling(model):
    model = copy.deepcopy(model)
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.AvgPool2d):
                setattr(parent, name, nn.MaxPool2d(child.kernel_size, child.stride, child.padding))
    return model
"""
ACCURACY = """
def accuracy(model, batches):
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in batches:
            right += (model(images).argmax(dim=1) == labels).sum().item()
            total += len(labels)
    for module, mode in modes:
        module.training = mode
    return right / total
"""
PREPARE = """
def prepare(canvas):
    picture = torch.zeros(28, 28)
    if not canvas.any():
        return picture
    rows, columns = canvas.any(dim=1).nonzero()[:, 0], canvas.any(dim=0).nonzero()[:, 0]
    ink = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = [max(1, round(20 * side / max(ink.shape))) for side in ink.shape]
    small = F.interpolate(ink[None, None], size=size, mode="area")[0, 0]
    corner = []
    for axis in (0, 1):
        center = (small.sum(dim=1 - axis) * torch.arange(size[axis])).sum() / small.sum()
        corner.append(min(max(round(14 - center.item()), 0), 28 - size[axis]))
    picture[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = small
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
        row = f"{mine[0]} channels or features is not what this layer gives out: see its row in the table"
        return pooling if name in ("S2", "S4") else row
    return f"{mine} is not it: put the size of the layer before into ⌊(H + 2P − K)/S⌋ + 1"


shape_table = table(
    right=SHAPES,
    slips=[
        ("it has padding 2, so it keeps height and width", "(6, 28, 28)", "(6, 24, 24)"),
        ("a 5×5 kernel with padding 2 adds 4 pixels and loses 4", "(6, 28, 28)", "(6, 32, 32)"),
        ("pooling halves height and width", "(6, 14, 14)", "(6, 28, 28)", "(16, 5, 5)", "(16, 10, 10)"),
        ("pooling moves by its own size: stride 2", "(6, 14, 14)", "(6, 27, 27)", "(16, 5, 5)", "(16, 9, 9)"),
        ("C3 has no padding: a 5×5 kernel loses 4 pixels", "(16, 10, 10)", "(16, 14, 14)"),
        ("the convolution keeps two axes of size 1: flatten comes after it", "(120, 1, 1)", "(120,)"),
        ("the convolution keeps two axes of size 1: flatten comes after it", "(120, 1, 1)", "120"),
        ("C5 has no padding: a 5×5 kernel fits into a 5×5 map once", "(120, 1, 1)", "(120, 5, 5)"),
        ("", "(84,)", "84", "(10,)", "10"),
    ],
    otherwise=other_shape,
    praise="Convolutions set the channels, poolings halve the map, and C5 leaves 1×1.",
)

LAYERS = {"C1": "5, padding=2", "C3": "6, 16, 5", "C5": "16, 120, 5", "F6": "120, 84", "the output": "84, 10"}
HIDDEN = dict(list(LAYERS.items())[:4])

make_lenet = module(
    right=LENET,
    cases=[((), (3, 1, 28, 28))],
    slips=[
        ("there is no activation: tanh follows C1, C3, C5 and F6", " nn.Tanh(),", ""),
        ("ReLU takes the place of tanh", "Tanh", "ReLU"),
        ("sigmoid takes the place of tanh", "Tanh", "Sigmoid"),
        *((f"the tanh after {name} is missing", f"{a}), nn.Tanh(),", f"{a}),") for name, a in HIDDEN.items()),
        *((f"ReLU takes the place of the tanh after {name}", f"{a}), nn.Tanh", f"{a}), nn.ReLU")
          for name, a in HIDDEN.items()),
        *((f"{name}'s bias is missing: every layer of ours has biases", f"{a})", f"{a}, bias=False)")
          for name, a in LAYERS.items()),
        ("the poolings take the maximum: LeNet takes the mean", "AvgPool", "MaxPool"),
        ("S2 takes the maximum: LeNet's poolings take the mean", "2), nn.Tanh(), nn.Avg", "2), nn.Tanh(), nn.Max"),
        ("S4 takes the maximum: LeNet's poolings take the mean",
         "16, 5), nn.Tanh(), nn.Avg", "16, 5), nn.Tanh(), nn.Max"),
        ("the pooling comes before tanh: LeNet pools what tanh gives",
         "nn.Tanh(), nn.AvgPool2d(2)", "nn.AvgPool2d(2), nn.Tanh()"),
        *((f"the {name} at the end is too much: cross-entropy has it", "84, 10)", f"84, 10), nn.{layer}")
          for name, layer in (("softmax", "Softmax(1)"), ("log-softmax", "LogSoftmax(1)"))),
        *((f"the logits pass through {name}: give them out as they are", "84, 10)", f"84, 10), nn.{layer}()")
          for name, layer in (("tanh", "Tanh"), ("ReLU", "ReLU"), ("a sigmoid", "Sigmoid"))),
        ("C1 has padding 2", ", padding=2", ""),
        ("C1 has padding 2: then the map of S4 is 5×5, not 4×4", ", padding=2", "",
         "nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten()", "nn.Flatten(), nn.Linear(256, 120), nn.Tanh()"),
        ("C1 has padding 2, and C5 is missing", ", padding=2", "",
         "nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten()", "nn.Flatten()", "120, 84", "256, 84"),
        ("flatten is missing before F6", " nn.Flatten(),", ""),
    ],
    praise="Equal to LeNet for any weights. C5 as a convolution or as nn.Linear(400, 120): the same 48 120 parameters.",
)  # fmt: skip

first_mismatch = choice(
    right='first_mismatch = "c"',
    wrong={
        "a": "C1 takes 28×28 with or without padding: it gives 24×24 and no error",
        "b": "S2 halves any map: 24×24 becomes 12×12",
        "d": "the first linear layer is never reached: follow the sizes 24, 12, 8, 4, and look at the kernel of C5",
    },
    praise="24, 12, 8, 4: a 5×5 kernel does not fit into 4×4. The fault is in C1, the error comes at C5.",
)

SPANS = "a filter spans all input channels: C3's are 6·5·5, C5's 16·5·5"

parameter_count = value(
    right=COUNT,
    slips=[
        ("the biases are forgotten: one for each of the 6 + 16 + 120 + 84 + 10 maps and units", " + 1)", ")"),
        ("that is the paper's figure: its C3 sees only some of the maps (900 fewer), its output is not trained (850 "
         "fewer) and its poolings have coefficients (44 more)", 60000),
        (SPANS, "(6 * 25", "(25", "(16 * 25", "(25"),
        (SPANS, "(6 * 25", "(25"),
        ("our pooling learns nothing: its 12 + 32 coefficients belong to the paper's", 61750),
        ("the output layer is forgotten: 84·10 + 10", " + (84 + 1) * 10", ""),
        ("these are the biases only", 236),
        ("these are the multiply-adds: a weight counts once, at however many places its filter stands", 416520),
    ],
    praise="156 + 2416 + 48 120 + 10 164 + 850 = 61 706: more than three quarters sit in C5.",
)  # fmt: skip

share_of_work = value(
    right=WORK,
    slips=[
        ("that is C5's share of the parameters: count multiply-adds, where C1 and C3 use a weight often",
         48120 / 61706),
        ("that is their share of the parameters: count multiply-adds", (156 + 2416) / 61706),
        ("that is C1 alone: add C3's 16·10·10·150", ' + work["C3"]', ""),
        ("that is C3 alone: add C1's 6·28·28·25", 'work["C1"] + ', ""),
        ("a filter of C3 spans all six maps: 16·10·10 · 6·25", "10 * 6 * 25", "10 * 25"),
        ("C3 gives out 10×10 places: without padding it loses 4 of 14", "16 * 10 * 10", "16 * 14 * 14"),
        ("this is in percent: give a share from 0 to 1", "= (work", "= 100 * (work"),
        ("that is the share of all other layers", "= (work", "= 1 - (work"),
        ("the dense layers work too: 120·84 and 84·10", "sum(work.values())", "405600"),
        ("that is how many there are: divide by the multiply-adds of all layers", " / sum(work.values())", ""),
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
        sizes = [f"{size}={np.broadcast_to(getattr(layer, size), 2)}" for size in WINDOW if hasattr(layer, size)]
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


WINDOW = ("kernel_size", "stride")
EVERY = "    for layer in model.modules():\n        "

with_max_pooling = function(
    right=POOLING,
    cases=pooling_cases,
    run=swapped,
    slips=[
        ("the model that came in has changed: replace the poolings in a copy of it (copy.deepcopy)",
         "copy.deepcopy(model)", "model"),
        ("both models hold the same weights, so training one would train the other: copy them (copy.deepcopy)",
         "deepcopy(model)", "deepcopy(model, {id(weight): weight for weight in model.parameters()})"),
        ("some poolings still take the mean: replace all, also those inside a block of layers",
         "model.modules()", "[model]"),
        ("some poolings still take the mean: replace all, also those inside a block of layers",
         "child.padding))", "child.padding))\n                break"),
        ("keep kernel size and stride of each pooling: without a stride it moves by its own size",
         ", child.stride, child.padding", ""),
        ("keep kernel size and stride of each pooling: not every window is 2×2",
         "child.kernel_size, child.stride, child.padding", "2"),
        ("no pooling was replaced: is the new layer put into the model, in the place of the old one?",
         "setattr(parent, name, ", "child = ("),
        ("the weights are not those of the model: copy them, or two things differ at a time",
         "    return", f"{EVERY}hasattr(layer, 'reset_parameters') and layer.reset_parameters()\n    return"),
        ("the new model is in eval mode: it came in training mode, and nothing else changes", "return model",
         "return model.eval()"),
    ],
    praise="One difference between two models: now a comparison says what it is worth.",
)  # fmt: skip

spot_evaluation = choice(
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
    """Make classifiers with dropout in training mode, in eval mode, with a frozen layer, and batches of some sizes."""
    cases = []
    for training, frozen, sizes in ((True, False, (8, 8, 3)), (False, False, (6, 4)), (True, True, (10, 10, 7))):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Dropout(0.5), nn.Linear(64, 10)).eval()
        batches = []
        for k, size in enumerate(sizes):
            images = torch.randn((size, 1, 8, 8), generator=generator)
            labels = model(images).argmax(dim=1)
            labels[: k + 1] = (labels[: k + 1] + 1) % 10  # so many are answered wrongly
            batches.append((images, labels))
        model.train(training)[1].train(training and not frozen)
        cases.append((model, batches))
    return cases


def watched(answer: Callable, model: nn.Module, batches: list) -> object:
    """Return an accuracy and how the model was asked: dropout, gradients, images at once, its modes afterwards."""

    def note(model: nn.Module, inputs: tuple, logits: Tensor) -> None:
        asked.append((len(inputs[0]), model[2].training, logits.requires_grad))

    asked = []
    model.register_forward_hook(note)  # copies of the model have it too
    torch.manual_seed(0)  # dropout draws alike for each answer
    found = answer(model, batches)
    counts, dropout, gradients = zip(*asked, strict=True) if asked else [[0]] * 3
    how = f"dropout {('off', 'on')[any(dropout)]}, gradients {('off', 'on')[any(gradients)]}"
    modes = ["training" if layer.training else "eval" for layer in model.modules()]
    return None if found is None else (found, how, f"at most {max(counts)} images at once", *modes)


RESTORE = "    for module, mode in modes:\n        module.training = mode\n"
BATCHWISE = "this is the mean of the batches' accuracies: the last batch is shorter; count right answers and images"

accuracy = function(
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
        ("a frozen part of the model came in eval mode and is now in training mode, since train() reaches every part: "
         "remember the mode of each module in model.modules()", RESTORE, "    model.train(modes[0][1])\n"),
        ("all batches were joined into one, so nothing bounds the memory: give them to the model one by one",
         "in batches", "in [tuple(map(torch.cat, zip(*batches)))]"),
        ("the model was never called: model(images) gives the logits", "model(images)", "torch.zeros(len(labels), 10)"),
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


def canvases() -> dict[str, Tensor]:
    """Return drawings by what they are: strokes that cross, of any size and place, and four extreme ones."""
    found = {}
    random = torch.Generator().manual_seed(0)
    for k in range(12):
        length, narrow, down, across, *place = torch.rand(6, generator=random).tolist()
        sides = [90 + 120 * length] * 2
        sides[k % 2] *= 0.3 + 0.2 * narrow if k % 3 else 0.9
        (height, width), canvas = map(int, sides), torch.zeros(280, 280)
        top, left = (5 + int(p * (268 - side)) for p, side in zip(place, (height, width), strict=True))
        middle, row = left + int((0.1 + 0.4 * across) * width), top + int((0.1 + 0.4 * down) * height)
        canvas[top : top + height, middle : middle + 12] = 1
        canvas[row : row + 12, left : left + width] = 1
        found[f"a drawing of {height}×{width} pixels"] = F.avg_pool2d(canvas[None], 3, 1, 1)[0]  # soft edges
    found["an empty canvas"], thin, line, hammer = torch.zeros(4, 280, 280)
    thin[60:200, 90:93] = line[100, 60:160] = hammer[60:260, 92:98] = hammer[30:90, 40:150] = 1
    thin[60:120] *= 0.7  # without a center that lies between two pixels
    line[:, 60:90] *= 0.7
    return found | {"a thin stroke": thin, "a line of one pixel": line, "a drawing with its mass at the top": hammer}


EXTREMES = {
    "an empty canvas": "return zeros where there is no ink",
    "a thin stroke": "let neither side become 0 pixels, max(1, …)",
    "a line of one pixel": "the last row of ink belongs to it: rows[0] to rows[-1] + 1",
    "a drawing with its mass at the top": "where ink would leave the picture, move it back in",
}
NOTHING, THIN, LINE, TOP = EXTREMES.values()
SMALLER = "size = [max(1, round(20 * side / max(ink.shape))) for side in ink.shape]"
CLAMPED = "min(max(round(14 - center.item()), 0), 28 - size[axis])"
CROPPED = "canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]"
UNCROPPED = "the picture's size depends on how large one draws: crop to the ink before you scale"
HALF = "half a pixel: the center of mass lies at 13.5, MNIST's at index 14; if you shift by whole pixels, round"
PREPARE_SLIPS = [
    (NOTHING, "not canvas.any()", "False"),
    (THIN, "max(1, round(20 * side / max(ink.shape)))", "round(20 * side / max(ink.shape))"),
    (LINE, "rows[-1] + 1", "rows[-1]"),
    (TOP, CLAMPED, "round(14 - center.item())"),
    (UNCROPPED, CROPPED, "canvas"),
    (UNCROPPED, "    picture =",
     "    return F.interpolate(canvas[None, None], size=(28, 28), mode='area')[0, 0]\n    picture ="),
    ("the ink fills all 28 pixels: MNIST scales the longer side to 20 and leaves a margin", "20 * side", "28 * side"),
    ("the longer side of the ink should have 20 pixels, 16 are too few", "20 * side", "16 * side"),
    ("the longer side of the ink should have 20 pixels, not 19", "20 * side", "19 * side"),
    ("narrow drawings come out stretched: scale height and width by the same factor", SMALLER, "size = [20, 20]"),
    ("everything comes out stretched: scale height and width by the same factor", SMALLER, "size = [28, 28]"),
    (HALF, "14 - center", "13.5 - center"),
    (HALF, "round(14 - center.item())", "int(14 - center.item())"),
    ("the rectangle around the ink is centered: MNIST centers the center of mass",
     CLAMPED, "(28 - size[axis]) // 2"),
    ("the picture stays at the top left: its center of mass should lie at row 14 and column 14", CLAMPED, "0"),
    ("tall drawings come out wide: rows and columns are swapped", "return picture", "return picture.T"),
    ("the picture is inverted: MNIST has ink 1 on paper 0", "return picture", "return 1 - picture"),
    ("the picture is mirrored", "return picture", "return picture.flip(1)"),
    ("the picture is upside down", "return picture", "return picture.flip(0)"),
    ("the ink has become faint: the strokes of MNIST reach 1", "return picture", "return 0.5 * picture"),
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
    if any(map(untouched, got.values())):
        raise NotAttempted
    for what, picture in got.items():
        message = fault(picture) or ("came out empty" if drawn[what].any() and not picture.any() else None)
        if message:
            return f"for {what}: {message}" + (f"; {EXTREMES[what]}" if what in EXTREMES else "")
    for most in (1, 2):
        apart = [(distances(got, other, drawn), said) for said, other in variants(PREPARE, PREPARE_SLIPS, most)]
        far, nearest = min(apart, key=lambda pair: sum(pair[0][:-4]))
        if sum(far[:-4]) < 12 * NEAR:
            extreme = zip(EXTREMES.items(), far[-4:], strict=True)
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
prepare = Exercise(
    judge_prepare,
    praise="As MNIST did it: cropped, 20 pixels long, shape kept, the center of mass at index 14.",
    right=PREPARE,
    slips=PREPARE_SLIPS,
)
