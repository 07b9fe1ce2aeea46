"""Chapter 05's exercises: LeNet's shapes, layers, parameters and work, evaluating well, preparing a drawn digit."""

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks.engine import (
    Exercise,
    NotAttempted,
    Raised,
    as_tensor,
    attempt,
    choice_exercise,
    describe,
    is_number,
    untouched,
    value_exercise,
)


def run_answer(function: Callable, *arguments: object) -> object:
    """Return what the answer returns, or Raised. Raises NotAttempted for the stub's dots."""
    result = attempt(function, *arguments)
    if untouched(result):
        raise NotAttempted
    return result


def no_result(result: object, wanted: str) -> str | None:
    """Say that a function raised or returned nothing, or return None if it did neither."""
    if isinstance(result, Raised):
        return f"your function raised {result.kind}: {result.text}"
    return f"your function returned None: return {wanted}" if result is None else None


# -------------------------------------------------------------------------------------------------------- shape table

SHAPES = {
    "C1": (6, 28, 28),
    "S2": (6, 14, 14),
    "C3": (16, 10, 10),
    "S4": (16, 5, 5),
    "C5": (120, 1, 1),
    "F6": (84,),
    "out": (10,),
}
WRONG_SHAPES = {
    ("C1", (6, 24, 24)): "C1 has padding 2, so it keeps height and width",
    ("C1", (6, 32, 32)): "a 5×5 kernel with padding 2 adds 4 pixels and loses 4",
    ("C3", (16, 14, 14)): "C3 has no padding: a 5×5 kernel loses 4 pixels",
    ("S2", (6, 28, 28)): "pooling halves height and width",
    ("S2", (6, 27, 27)): "pooling moves by its own size: stride 2",
    ("S4", (16, 10, 10)): "pooling halves height and width",
    ("S4", (16, 9, 9)): "pooling moves by its own size: stride 2",
    ("C5", (120,)): "the convolution keeps two axes of size 1: flatten comes after it",
    ("C5", (120, 5, 5)): "C5 has no padding: a 5×5 kernel fits into a 5×5 map once",
}


def judge_shapes(answer: object) -> str | None:
    """Judge a table of shapes and name its first wrong layer."""
    if untouched(answer):
        raise NotAttempted
    if not isinstance(answer, Mapping):
        return f"expected a dict with the shapes of {', '.join(SHAPES)}, got {type(answer).__name__}"
    for name, right in SHAPES.items():
        if name not in answer:
            return f"{name} is missing: the table has {', '.join(SHAPES)}"
        message = shape_message(name, answer[name], right)
        if message:
            return message if message.startswith(name) else f"{name}: {message}"
    return None


def shape_message(name: str, answer: object, right: tuple[int, ...]) -> str | None:
    """Say what is wrong with a layer's shape, or return None."""
    sizes = as_tensor([answer] if is_number(answer) else answer)
    if not isinstance(sizes, Tensor) or sizes.dim() != 1:
        return f"expected a tuple of {len(right)} whole numbers, got {describe(answer)}"
    shape = tuple(sizes.tolist())
    if shape == right:
        return None
    if (name, shape) in WRONG_SHAPES:
        return WRONG_SHAPES[name, shape]
    if shape[1:] == right:
        return "leave the batch axis out"
    if len(right) == 3 and shape in (right[1:] + right[:1], right[::-1]):
        return f"channels first: (channels, height, width), not {shape}"
    if len(shape) != len(right):
        return f"expected {len(right)} number{'s' * (len(right) > 1)}, got {shape}"
    if name in ("S2", "S4") and shape[0] != right[0]:
        return f"pooling keeps the channels: there are {right[0]} before it and after it"
    if shape[0] != right[0]:
        return f"{shape[0]} channels or features is not what this layer gives out: see its row in the table"
    return f"{shape} is not it: put the size of the layer before into ⌊(H + 2P − K)/S⌋ + 1"


shape_table = Exercise(
    judge_shapes,
    praise="Convolutions set the channels, poolings halve the map, and C5 leaves 1×1.",
    hints=(
        "Each layer's input is the output of the layer before: work from top to bottom.",
        "Channels are the convolution's second number; height and width follow from ⌊(H + 2P − K)/S⌋ + 1.",
        "A pooling is such a window too, with K = S = 2: it treats each map alone.",
    ),
)

# --------------------------------------------------------------------------------------------------------- make_lenet

PARAMETERS = {
    "C1's weight": (6, 1, 5, 5),
    "C1's bias": (6,),
    "C3's weight": (16, 6, 5, 5),
    "C3's bias": (16,),
    "C5's weight": (120, 16, 5, 5),
    "C5's bias": (120,),
    "F6's weight": (84, 120),
    "F6's bias": (84,),
    "the output's weight": (10, 84),
    "the output's bias": (10,),
}
TRACE = "trace_shapes(make_lenet(), torch.zeros(2, 1, 28, 28)) shows where"


def no_activation(x: Tensor) -> Tensor:
    return x


def lenet_logits(
    parameters: Sequence[Tensor],
    images: Tensor,
    *,
    C1: Callable = torch.tanh,
    C3: Callable = torch.tanh,
    C5: Callable = torch.tanh,
    F6: Callable = torch.tanh,
    out: Callable = no_activation,
    S2: Callable = F.avg_pool2d,
    S4: Callable = F.avg_pool2d,
    pool_first: bool = False,
) -> Tensor:
    """Run LeNet with given parameters; each keyword is what follows, or is, the layer of that name."""
    w1, b1, w3, b3, w5, b5, w6, b6, weight, bias = parameters
    x = F.conv2d(images, w1, b1, padding=2)  # (B, 6, 28, 28)
    x = C1(S2(x, 2)) if pool_first else S2(C1(x), 2)  # (B, 6, 14, 14)
    x = F.conv2d(x, w3, b3)  # (B, 16, 10, 10)
    x = C3(S4(x, 2)) if pool_first else S4(C3(x), 2)  # (B, 16, 5, 5)
    x = C5(F.linear(x.flatten(start_dim=1), w5.flatten(start_dim=1), b5))  # (B, 120)
    return out(F.linear(F6(F.linear(x, w6, b6)), weight, bias))  # (B, 10)


def everywhere(activation: Callable) -> dict[str, Callable]:
    return dict.fromkeys(("C1", "C3", "C5", "F6"), activation)


LENET_MISTAKES = (  # what to say, and the keywords of lenet_logits that make it; pairs of them are tried too
    ("there is no activation: tanh follows C1, C3, C5 and F6", everywhere(no_activation)),
    ("ReLU takes the place of tanh", everywhere(torch.relu)),
    ("sigmoid takes the place of tanh", everywhere(torch.sigmoid)),
    *((f"the tanh after {name} is missing", {name: no_activation}) for name in ("C1", "C3", "C5", "F6")),
    *((f"ReLU takes the place of the tanh after {name}", {name: torch.relu}) for name in ("C1", "C3", "C5", "F6")),
    ("the poolings take the maximum: LeNet takes the mean", {"S2": F.max_pool2d, "S4": F.max_pool2d}),
    ("S2 takes the maximum: LeNet's poolings take the mean", {"S2": F.max_pool2d}),
    ("S4 takes the maximum: LeNet's poolings take the mean", {"S4": F.max_pool2d}),
    ("the pooling comes before tanh: LeNet pools what tanh gives", {"pool_first": True}),
    ("the softmax at the end is too much: cross-entropy has it", {"out": lambda x: x.softmax(dim=1)}),
    ("the log-softmax at the end is too much: cross-entropy has it", {"out": lambda x: x.log_softmax(dim=1)}),
    ("the logits pass through tanh: give them out as they are", {"out": torch.tanh}),
    ("the logits pass through ReLU: give them out as they are", {"out": torch.relu}),
    ("the logits pass through a sigmoid: give them out as they are", {"out": torch.sigmoid}),
)


def judge_lenet(answer: object) -> str | None:
    """Judge a function that makes LeNet: does it run, has it the right parameters, does it compute the same?"""
    if isinstance(answer, nn.Module) or not callable(answer):
        return f"expected the function make_lenet, got {type(answer).__name__}: pass its name without brackets"
    generator = torch.Generator().manual_seed(0)
    images = 2 * torch.randn(3, 1, 28, 28, generator=generator)
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # making layers draws from the global generator
        model = run_answer(answer)
        if not isinstance(model, nn.Module):
            return no_result(model, "the network") or f"expected an nn.Module back, got {describe(model)}"
        model = model.cpu().float().eval()
        logits, again, single = (run_answer(model, batch) for batch in (images, images, images[:1]))
    return run_message(model, logits, again, single) or parameter_message(model) or value_message(model, images, logits)


def run_message(model: nn.Module, logits: object, again: object, single: object) -> str | None:
    """Say why a model does not give one row of ten logits for each image, or return None."""
    padding = [layer.padding for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.in_channels == 1]
    if padding and padding[0] not in ((2, 2), "same"):
        return f"C1 has padding 2, yours has {padding[0]}"
    for result, batch in ((logits, 3), (single, 1)):
        if isinstance(result, Raised):
            return f"for images of shape {(batch, 1, 28, 28)} the network raised {result.kind}: {result.text}; {TRACE}"
        if not isinstance(result, Tensor) or result.shape != (batch, 10):
            got = tuple(result.shape) if isinstance(result, Tensor) else describe(result)
            return (
                f"for images of shape {(batch, 1, 28, 28)} expected logits of shape {(batch, 10)}, got {got}; {TRACE}"
            )
    if not torch.equal(logits, again):
        return "the same images give other logits each time: make the layers once, in __init__, not in forward"
    return None


def ordered_parameters(model: nn.Module) -> dict[str, Tensor | None]:
    """Return LeNet's parameters by what they are, found by their shapes, which all differ: names do not matter."""
    by_shape = {tuple(parameter.shape): parameter.detach() for parameter in model.parameters()}
    if (120, 400) in by_shape:  # C5 as a dense layer: the same function
        by_shape[120, 16, 5, 5] = by_shape.pop((120, 400))
    return {name: by_shape.get(shape) for name, shape in PARAMETERS.items()}


def parameter_message(model: nn.Module) -> str | None:
    """Say which parameter is missing, too much, or of another shape, or return None."""
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    missing = [name for name, parameter in ordered_parameters(model).items() if parameter is None]
    if not shapes:
        return "the network has no parameters: make its layers in __init__ (self.… = …), so that they can be trained"
    if missing and all("bias" in name for name in missing) and len(shapes) + len(missing) == len(PARAMETERS):
        return f"{missing[0]} is missing: every layer of ours has biases"
    if missing:
        return f"expected {missing[0]} of shape {PARAMETERS[missing[0]]}; the shapes of your parameters are {shapes}"
    if len(shapes) > len(PARAMETERS):
        return f"expected ten parameters, weights and biases of five layers, got {len(shapes)}: {shapes}"
    return None


def value_message(model: nn.Module, images: Tensor, logits: Tensor) -> str | None:
    """Compare the logits with those of LeNet with the same parameters; name what was built instead."""
    parameters = list(ordered_parameters(model).values())
    for count in (0, 1, 2):
        for mistakes in itertools.combinations(LENET_MISTAKES, count):
            changes = {key: value for _, change in mistakes for key, value in change.items()}
            if torch.allclose(lenet_logits(parameters, images, **changes), logits, rtol=1e-4, atol=1e-5):
                return "; ".join(text for text, _ in mistakes) or None
    return (
        "shapes and parameters are right, the logits are not: compare the order line by line (convolution, tanh, mean "
        "pooling, twice; convolution, tanh, flatten; linear, tanh; linear)"
    )


make_lenet = Exercise(
    judge_lenet,
    praise="Equal to LeNet for any weights. C5 as a convolution or as nn.Linear(400, 120): the same 48 120 parameters.",
    hints=(
        "nn.Sequential takes the layers in the order of the table; nn.Tanh() and nn.Flatten() are layers too.",
        "C5 gives (B, 120, 1, 1); after nn.Flatten() it is (B, 120), which the first linear layer takes.",
        "Nothing follows the last linear layer: its ten outputs are the logits.",
    ),
)

# ---------------------------------------------------------------------------------------------------- parameter count

parameter_count = value_exercise(
    61706,
    {
        61470: "the biases are forgotten: one for each of the 6 + 16 + 120 + 84 + 10 maps and units",
        60000: "that is the paper's figure: its C3 sees only some of the maps (900 fewer), its output is not trained "
        "(850 fewer) and its poolings have coefficients (44 more)",
        14706: "a filter spans all input channels: C3's are 6·5·5, C5's 16·5·5",
        61750: "our pooling learns nothing: its 12 + 32 coefficients belong to the paper's",
        60856: "the output layer is forgotten: 84·10 + 10",
        236: "these are the biases only",
    },
    praise="156 + 2416 + 48 120 + 10 164 + 850 = 61 706: more than three quarters sit in C5.",
    hints=[
        "A convolution from C to N maps has N·C·K·K weights and N biases; a dense layer from n to m has n·m and m.",
        "C1 has 6·1·5·5 + 6 = 156. Pooling and tanh have none.",
    ],
    tolerance=1e-9,
)

# --------------------------------------------------------------------------------------------------- with max pooling


def pooling_models() -> list[nn.Module]:
    """Make three models: a plain one, one with a block inside, one whose windows overlap."""
    first, second = [nn.Conv2d(1, 4, 5), nn.Tanh()], [nn.Conv2d(4, 6, 3), nn.ReLU()]
    layers = (
        [*first, nn.AvgPool2d(2), *second, nn.AvgPool2d(2)],
        [nn.Sequential(*first, nn.AvgPool2d(2)), *second, nn.AvgPool2d(3)],
        [*first, nn.AvgPool2d(3, stride=2), *second, nn.AvgPool2d(2, stride=1)],
    )
    return [copy.deepcopy(nn.Sequential(*stack)) for stack in layers]


def leaves(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a model that hold no others."""
    return [layer for layer in model.modules() if not list(layer.children())]


def window(layer: nn.Module) -> tuple:
    """Return kernel size and stride of a pooling, each as a pair."""
    return tuple((size, size) if isinstance(size, int) else tuple(size) for size in (layer.kernel_size, layer.stride))


def judge_max_pooling(answer: object) -> str | None:
    """Judge a function that swaps the poolings of three models."""
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return next(filter(None, (max_pooling_message(answer, model) for model in pooling_models())), None)


def max_pooling_message(answer: Callable, model: nn.Module) -> str | None:
    """Say what is wrong with the answer for one model, or return None."""
    before = copy.deepcopy(model)
    result = run_answer(answer, model)
    if not isinstance(result, nn.Module):
        return no_result(result, "the new model") or f"expected an nn.Module back, got {describe(result)}"
    if list(map(type, leaves(model))) != list(map(type, leaves(before))) or not same_weights(model, before):
        return "the model that came in has changed: replace the poolings in a copy of it (copy.deepcopy)"
    message = layers_message(leaves(before), leaves(result))
    if message:
        return message
    if not same_weights(result, before):
        return "the weights are not those of the model: copy them, or two things differ at a time"
    if {id(parameter) for parameter in model.parameters()} & {id(parameter) for parameter in result.parameters()}:
        return "both models hold the same weights, so training one would train the other: copy them (copy.deepcopy)"
    return None


def same_weights(model: nn.Module, other: nn.Module) -> bool:
    """Say whether two models have equal parameters, in the same order."""
    mine, others = list(model.parameters()), list(other.parameters())
    return len(mine) == len(others) and all(map(torch.equal, mine, others))


def layers_message(before: Sequence[nn.Module], after: Sequence[nn.Module]) -> str | None:
    """Say which layer is not what it should be after the swap, or return None."""
    there, left = (sum(isinstance(layer, nn.AvgPool2d) for layer in layers) for layers in (before, after))
    if left == there:
        return "no pooling was replaced: is the new layer put into the model, in the place of the old one?"
    if left:
        return f"{left} of {there} poolings still take the mean: replace all, also those inside a block of layers"
    if len(before) != len(after):
        return f"the model had {len(before)} layers, yours has {len(after)}: replace, add nothing, leave out nothing"
    for old, new in zip(before, after, strict=True):
        wanted = nn.MaxPool2d if isinstance(old, nn.AvgPool2d) else type(old)
        if type(new) is not wanted:
            return (
                f"{type(old).__name__} became {type(new).__name__}, expected {wanted.__name__}: one change at a time, "
                "or you do not know what helped"
            )
        if wanted is nn.MaxPool2d and window(new) != window(old):
            return f"kernel size and stride of a pooling were {window(old)}, now they are {window(new)}: keep both"
    return None


with_max_pooling = Exercise(
    judge_max_pooling,
    praise="One difference between two models: now a comparison says what it is worth.",
    hints=(
        "Start with copy.deepcopy(model): weights and all, and the original stays as it is.",
        "Collect the poolings by isinstance(layer, nn.AvgPool2d), also those inside blocks: model.modules() sees all.",
        "For every block in modules() and each (name, layer) in its named_children(): setattr(block, name, …).",
    ),
)

# ------------------------------------------------------------------------------------------------------ share of work

share_of_work = value_exercise(
    357600 / 416520,
    {
        48120 / 61706: "that is C5's share of the parameters: count multiply-adds, where C1 and C3 use a weight often",
        (156 + 2416) / 61706: "that is their share of the parameters: count multiply-adds",
        117600 / 416520: "that is C1 alone: add C3's 16·10·10·150",
        240000 / 416520: "that is C3 alone: add C1's 6·28·28·25",
        100 * 357600 / 416520: "this is in percent: give a share from 0 to 1",
        58920 / 416520: "that is the share of all other layers",
        357600 / 405600: "the dense layers work too: 120·84 and 84·10",
        357600: "that is how many there are: divide by the multiply-adds of all layers",
    },
    praise="4 % of the parameters do 86 % of the work: each weight of a convolution is used at every position.",
    hints=[
        "One output number of a convolution takes C·K·K multiply-adds: C1 does 6·28·28 · 1·5·5.",
        "A dense layer from n to m features does n·m. C5 sees one position only: 120·400.",
    ],
    tolerance=5e-3,
)

# ----------------------------------------------------------------------------------------------------------- accuracy


class Log(list):
    """A list that a copy of the model shares: whoever evaluates a copy is seen too."""

    def __deepcopy__(self, memo: dict) -> "Log":
        return self


class Probe(nn.Module):
    """A small classifier with dropout that notes whether it ran with dropout and gradients, and on how many images."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.dropout = nn.Flatten(), nn.Dropout(0.5)
        self.frozen, self.head = nn.Linear(64, 64), nn.Linear(64, 10)
        self.ran = Log()

    def forward(self, images: Tensor) -> Tensor:
        self.ran.append((self.dropout.training, torch.is_grad_enabled(), len(images)))
        return self.head(self.dropout(self.frozen(self.flatten(images))))  # (B, 10)


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def probe_case(training: bool, frozen: bool, sizes: Sequence[int]) -> tuple[Probe, list[tuple[Tensor, Tensor]]]:
    """Return a model in a mode, and batches of which the first is answered best."""
    model = Probe().eval()
    batches = []
    for k, size in enumerate(sizes):
        images = torch.randn(size, 1, 8, 8)
        labels = model(images).argmax(dim=1)
        labels[: k + 1] = (labels[: k + 1] + 1) % 10  # so many are answered wrongly
        batches.append((images, labels))
    model.train(training)
    model.frozen.train(training and not frozen)
    model.ran.clear()
    return model, batches


ACCURACY_MISTAKES = {
    "this is the mean of the batches' accuracies: the last batch is shorter; count right answers and images": (
        lambda right, sizes: sum(r / n for r, n in zip(right, sizes, strict=True)) / len(sizes)
    ),
    "divide by the number of images, not of batches": lambda right, sizes: sum(right) / len(sizes),
    "divide by the number of images that came: the last batch is shorter": (
        lambda right, sizes: sum(right) / (sizes[0] * len(sizes))
    ),
    "this is in percent: return a share from 0 to 1": lambda right, sizes: 100 * sum(right) / sum(sizes),
    "this is how many are right: divide by how many images there are": lambda right, sizes: sum(right),
    "this is the last batch alone": lambda right, sizes: right[-1] / sizes[-1],
    "this is the share of wrong answers": lambda right, sizes: 1 - sum(right) / sum(sizes),
}


def judge_accuracy(answer: object) -> str | None:
    """Judge how a function evaluates a probe, and the numbers that it returns."""
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
    values, counts = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for training, frozen, sizes in ((True, False, (8, 8, 3)), (False, False, (6, 4)), (True, True, (10, 10, 7))):
            model, batches = probe_case(training, frozen, sizes)
            before = modes(model)
            value = as_tensor(run_answer(answer, model, batches))
            message = no_result(value, "the accuracy") or conduct_message(model, before, max(sizes))
            if message:
                return message
            if not is_number(value):
                return f"expected one number, got {describe(value)}"
            values.append(float(value))
            counts.append(([size - k - 1 for k, size in enumerate(sizes)], sizes))
    return number_message(values, counts)


def conduct_message(model: Probe, before: list[bool], largest: int) -> str | None:
    """Say what the function did to the model beside asking it, or return None."""
    if not model.ran:
        return "the model was never called: model(images) gives the logits"
    if any(training for training, _, _ in model.ran):
        return "dropout was at work: call model.eval() before the first batch"
    if any(count > largest for _, _, count in model.ran):
        return "all batches were joined into one, so nothing bounds the memory: give them to the model one by one"
    if any(grad for _, grad, _ in model.ran):
        return "a graph for gradients was built: eval() does not stop that, torch.no_grad() does"
    if modes(model) == before:
        return None
    if model.training and not before[0]:
        return "the model came in eval mode and is now in training mode: give it back in the mode it had"
    if not model.training and before[0]:
        return "the model came in training mode and is still in eval mode: give it back in the mode it had"
    return (
        "a frozen part of the model came in eval mode and is now in training mode, since train() reaches every part: "
        "remember the mode of each module in model.modules()"
    )


def number_message(values: Sequence[float], counts: Sequence[tuple]) -> str | None:
    """Compare the accuracies with the right ones and with typical wrong ones."""

    def is_it(formula: Callable) -> bool:
        return all(
            math.isclose(value, formula(*case), abs_tol=1e-5) for value, case in zip(values, counts, strict=True)
        )

    if is_it(lambda right, sizes: sum(right) / sum(sizes)):
        return None
    for message, formula in ACCURACY_MISTAKES.items():
        if is_it(formula):
            return message
    right, sizes = map(sum, counts[0])
    return f"{right} of {sizes} answers are right, so expected {describe(right / sizes)}, got {describe(values[0])}"


accuracy = Exercise(
    judge_accuracy,
    praise="Right for a short last batch, without dropout, without a graph, and the model is as it was.",
    hints=(
        "model.eval() switches dropout off; torch.no_grad() keeps no activations. They are two different things.",
        "Add up right answers and images over the batches, and divide once at the end.",
        "Before: modes = [module.training for module in model.modules()]. Afterwards give each module its own back.",
    ),
)

# ------------------------------------------------------------------------------------------------------------ prepare

SIDE, BOX, CENTER = 28, 20, 14  # what MNIST did: longer side 20 pixels, center of mass at index 14 of 28


@dataclass(frozen=True)
class Ink:
    """Where the ink of a picture lies, each as (row, column): top left corner, height and width, center of mass."""

    corner: Tensor
    size: Tensor
    mass: Tensor


def find_ink(picture: Tensor) -> Ink:
    """Measure a picture (H, W) in 0..1 that is not empty."""
    picture = picture.double()
    corner, size, mass = [], [], []
    for axis in (1, 0):  # what is summed over: first rows are measured, then columns
        places = (picture > 0.1 * picture.max()).any(dim=axis).nonzero()
        ink = picture.sum(dim=axis)
        corner.append(places[0].item())
        size.append(places[-1].item() - places[0].item() + 1)
        mass.append(((torch.arange(len(ink)) * ink).sum() / ink.sum()).item())
    return Ink(*map(torch.tensor, (corner, size, mass)))


def stroke(points: Tensor, radius: float) -> Tensor:
    """Draw lines from point (row, column) to point on a canvas (280, 280), in 0..1 with soft edges."""
    rows, columns = torch.arange(280.0)[:, None], torch.arange(280.0)
    canvas = torch.zeros(280, 280)
    for (top, left), (bottom, right) in itertools.pairwise(points.tolist()):
        down, across = bottom - top, right - left
        along = ((rows - top) * down + (columns - left) * across) / (down**2 + across**2)
        along.clamp_(0, 1)  # how far along the line its nearest point is
        distance = torch.hypot(rows - top - along * down, columns - left - along * across)
        canvas = canvas.maximum((radius + 0.5 - distance).clamp(0, 1))
    return canvas


def drawings(generator: torch.Generator, count: int = 32) -> list[Tensor]:
    """Draw tall, wide and other figures of all sizes anywhere; their mass lies so that no ink leaves the 28×28."""
    found = []
    while len(found) < count:
        narrow, radius, length, *place = torch.rand(5, generator=generator).tolist()
        radius, length = 8 + 4 * radius, 80 + 130 * length
        shape = torch.tensor([(1, 0.2 + 0.2 * narrow), (0.2 + 0.2 * narrow, 1), (1, 0.9)][len(found) % 3]) * length
        points = torch.rand(5, 2, generator=generator)
        points = (points - points.amin(dim=0)) / (points.amax(dim=0) - points.amin(dim=0)) * shape
        free = 280 - 2 * radius - shape - 2
        canvas = stroke(points + radius + 1 + torch.tensor(place) * free, radius)
        ink = find_ink(canvas)
        if ((ink.mass - ink.corner) / ink.size - 0.5).abs().max() < 0.14:
            found.append(canvas)
    return found


def prepared(canvas: Tensor) -> Tensor:
    """Prepare a canvas as MNIST's digits were."""
    ink = find_ink(canvas)
    (top, left), (height, width) = ink.corner.tolist(), ink.size.tolist()
    crop = canvas[top : top + height, left : left + width]
    size = [max(1, round(BOX * side / max(height, width))) for side in (height, width)]
    small = F.interpolate(crop[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
    picture = torch.zeros(SIDE, SIDE)
    picture[: size[0], : size[1]] = small
    shift = (CENTER - find_ink(picture).mass).round().int().tolist()
    return picture.roll(shift, dims=(0, 1))


def judge_prepare(answer: object) -> str | None:
    """Judge a function that prepares drawings, by what its pictures have to be one after the other."""
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
    canvases = drawings(torch.Generator().manual_seed(0))
    pictures = [as_tensor(run_answer(answer, canvas.clone())) for canvas in canvases]
    message = next(filter(None, map(form_message, pictures)), None)
    if message:
        return message
    if all(picture.median() > 0.5 for picture in pictures):
        return "the picture is inverted: MNIST has ink 1 on paper 0"
    if not all(picture.any() for picture in pictures):
        return "a canvas with ink on it came out empty"
    empty = as_tensor(run_answer(answer, torch.zeros(280, 280)))
    if isinstance(empty, Raised):
        return f"an empty canvas raised {empty.kind}: {empty.text}; return zeros where there is no ink"
    if isinstance(empty, Tensor) and empty.isnan().any():
        return "an empty canvas gives NaN (0/0: it has no center of mass): return zeros where there is no ink"
    if form_message(empty) or empty.any():
        return f"an empty canvas should give zeros of shape (28, 28), got {describe(empty)}"
    before, after = list(map(find_ink, canvases)), list(map(find_ink, pictures))
    message = size_message(before, after) or center_message(after) or content_message(canvases, pictures)
    return message or extreme_message(answer)


def extreme_message(answer: Callable) -> str | None:
    """Try a thin stroke and a drawing whose mass lies at one end; say what goes wrong, or return None."""
    thin = stroke(torch.tensor([(20.0, 90.0), (250.0, 90.0)]), 4)
    hammer = stroke(torch.tensor([(60.0, 60.0), (60.0, 130.0)]), 30).maximum(
        stroke(torch.tensor([(60.0, 95.0), (260.0, 95.0)]), 3)
    )
    for canvas, what, advice in (
        (thin, "a thin straight stroke", "let neither side become 0 pixels, max(1, …)"),
        (hammer, "a drawing whose mass lies near its top", "where ink would leave the picture, move it back in"),
    ):
        picture = as_tensor(run_answer(answer, canvas))
        fault = form_message(picture) or (None if picture.any() else "the picture is empty")
        if not fault and abs(find_ink(picture).size.max().item() - BOX) > 1:
            fault = f"its longer side has {find_ink(picture).size.max()} pixels in place of 20"
        if fault:
            return f"{what} goes wrong ({fault}): {advice}"
    return None


def form_message(picture: object) -> str | None:
    """Say what is wrong with shape, dtype or range of a picture, or return None."""
    if not isinstance(picture, Tensor):
        return no_result(picture, "the picture") or f"expected a tensor of shape (28, 28), got {describe(picture)}"
    if tuple(picture.shape) != (SIDE, SIDE):
        return f"expected a picture of shape (28, 28), got {tuple(picture.shape)}"
    if not picture.is_floating_point():
        return f"expected float pixels from 0 to 1, got {describe(picture)}"
    low, high = picture.min().item(), picture.max().item()
    if not -1e-3 <= low <= high <= 1 + 1e-3:
        return f"expected pixels from 0 to 1, got {low:.2f} to {high:.2f} (standardizing comes later)"
    return None


def size_message(before: Sequence[Ink], after: Sequence[Ink]) -> str | None:
    """Compare heights and widths of the ink before and after, or return None where they are right."""
    canvas, got = (torch.stack([ink.size for ink in inks]).double() for inks in (before, after))  # (drawings, 2)
    wanted = BOX * canvas / canvas.amax(dim=1, keepdim=True)
    narrow = wanted.amin(dim=1) < 14
    longer = got.amax(dim=1)
    in_proportion = canvas.amax(dim=1) * (longer / canvas.amax(dim=1)).mean()  # what an uncropped canvas gives
    if ((got - wanted.flip(1)).abs().amax(dim=1) < (got - wanted).abs().amax(dim=1))[narrow].all():
        return "tall drawings come out wide: rows and columns are swapped"
    if (got.amin(dim=1) > wanted.amin(dim=1) + 3)[narrow].all():
        return "narrow drawings come out stretched: scale height and width by the same factor"
    if ((longer - in_proportion).abs() <= 1.5).all():
        return "the picture's size depends on how large one draws: crop to the ink before you scale"
    if (longer >= 26).all():
        return "the ink fills all 28 pixels: MNIST scales the longer side to 20 and leaves a margin"
    if ((longer - BOX).abs() > 1).any():
        worst = longer[(longer - BOX).abs().argmax()]
        return f"the longer side of the ink should have 20 pixels, got {worst:.0f}: is ink cut off at the edge?"
    if ((got - wanted).abs() > 2).any():
        return "height and width do not keep their ratio: scale both by the same factor"
    return None


def center_message(after: Sequence[Ink]) -> str | None:
    """Compare the centers of mass with index 14; rounding to whole pixels is allowed, a bias is not."""

    def lies_at(points: Tensor, index: float, each: float = 0.8, mean: float = 0.25) -> bool:
        off = points - index
        return bool((off.abs() <= each).all() and (off.mean(dim=0).abs() < mean).all())

    masses = torch.stack([ink.mass for ink in after])  # (drawings, 2)
    if lies_at(masses, CENTER):
        return None
    if lies_at(masses, CENTER - 0.5):
        return (
            "half a pixel: the center of mass lies at 13.5, MNIST's at index 14, counted from 0; if you shift by whole "
            "pixels, round, do not cut off"
        )
    boxes = torch.stack([ink.corner + (ink.size - 1) / 2 for ink in after])
    if lies_at(boxes, CENTER - 0.25, each=1, mean=0.6):
        return "the rectangle around the ink is centered: MNIST centers the center of mass"
    row, column = masses[(masses - CENTER).abs().amax(dim=1).argmax()].tolist()
    return f"the center of mass should lie at row 14 and column 14, one of yours lies at {row:.1f} and {column:.1f}"


def content_message(canvases: Sequence[Tensor], pictures: Sequence[Tensor]) -> str | None:
    """Say whether the ink has the right size and place but is not the drawing, or return None."""
    right, got = torch.stack(list(map(prepared, canvases))), torch.stack(list(pictures))
    distance = {axes: (got - right.flip(axes)).abs().mean().item() for axes in ((), (1,), (2,), (1, 2))}
    if min(distance, key=distance.get):
        return "the picture is mirrored or upside down"
    if got.amax(dim=(1, 2)).mean() < 0.75:
        return "the ink has become faint: the strokes of MNIST reach 1"
    return "size and place are right, but the picture is not the drawing" if distance[()] > 0.1 else None


prepare = Exercise(
    judge_prepare,
    praise="As MNIST did it: cropped, 20 pixels long, shape kept, the center of mass at index 14.",
    hints=(
        "Is there any ink? Then its rows are canvas.amax(dim=1).nonzero(), its columns likewise: crop to them.",
        "One factor for both sides: 20 / max(height, width). F.interpolate(…, antialias=True) averages the pixels.",
        "The mean row is Σ row · ink / Σ ink. Paste the picture so that it lands on 14; round the shift.",
    ),
)

# --------------------------------------------------------------------------------------------------- what is going on

spot_evaluation = choice_exercise(
    "c",
    {
        "a": "eval() changes dropout and BatchNorm; this network has neither, so the accuracy is right: what else is "
        "there 10 000 times?",
        "b": "weights change in optimizer.step(), and the test has none",
        "d": "no_grad lets each layer's activations go after use, but one layer's for 10 000 images are still there at "
        "once: it saves a part, batches save nearly all",
    },
    praise="The accuracy is right, the memory is wasted: batches bound it, whatever the size of the test set.",
    hints=[
        "Which of the four statements would change the accuracy? Does anything in this network depend on the mode?",
        "How many numbers does the first convolution give out for 10 000 images?",
    ],
)

first_mismatch = choice_exercise(
    "c",
    {
        "a": "C1 takes 28×28 with or without padding: it gives 24×24 and no error",
        "b": "S2 halves any map: 24×24 becomes 12×12",
        "d": "the first linear layer is never reached: follow the sizes 24, 12, 8, 4, and look at the kernel of C5",
    },
    praise="24, 12, 8, 4: a 5×5 kernel does not fit into 4×4. The fault is in C1, the error comes at C5.",
    hints=[
        "Write down height and width after each layer, without the padding.",
        "Which layer gets a map that is smaller than its kernel?",
    ],
)

EXERCISES = {
    "shape_table": shape_table,
    "make_lenet": make_lenet,
    "parameter_count": parameter_count,
    "with_max_pooling": with_max_pooling,
    "share_of_work": share_of_work,
    "accuracy": accuracy,
    "prepare": prepare,
    "spot_evaluation": spot_evaluation,
    "first_mismatch": first_mismatch,
}
