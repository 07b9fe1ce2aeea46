"""Chapter 11's exercises: the residual block, the bottleneck, a negative loss, the depth and size of ResNets."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks.engine import (
    Exercise,
    NotAttempted,
    Raised,
    attempt,
    choice_exercise,
    describe,
    same,
    untouched,
    value_exercise,
)

Shape = tuple[int, ...]  # of a convolution's weight: (out, in, kernel, kernel)

# ------------------------------------------------------------------------------------------- what a block consists of


@dataclass(frozen=True)
class Plan:
    """A block of one size: the weights of its convolutions on the branch and on the shortcut, in order."""

    arguments: tuple[int, ...]  # the class is called with them
    branch: tuple[Shape, ...]
    stride: int = 1

    @property
    def before(self) -> int:
        return self.branch[0][1]

    @property
    def after(self) -> int:
        return self.branch[-1][0]

    @property
    def shortcut(self) -> tuple[Shape, ...]:
        """The projection where x does not fit, else nothing."""
        fits = self.stride == 1 and self.before == self.after
        return () if fits else ((self.after, self.before, 1, 1),)

    @property
    def weights(self) -> tuple[Shape, ...]:
        return self.branch + self.shortcut

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels of each BatchNorm: one follows each convolution."""
        return tuple(weight[0] for weight in self.weights)

    def __str__(self) -> str:
        return f"for {self.before} to {self.after} channels and stride {self.stride}"


def residual_plan(before: int, after: int, stride: int = 1) -> Plan:
    """Return the block of two 3 × 3 convolutions; without a stride, the class is called without one too."""
    arguments = (before, after, stride) if stride != 1 else (before, after)
    return Plan(arguments, ((after, before, 3, 3), (after, after, 3, 3)), stride)


def bottleneck_plan(before: int, narrow: int, after: int, stride: int = 1) -> Plan:
    """Return the block of 1 × 1, 3 × 3 and 1 × 1 convolutions."""
    arguments = (before, narrow, after, stride) if stride != 1 else (before, narrow, after)
    return Plan(arguments, ((narrow, before, 1, 1), (narrow, narrow, 3, 3), (after, narrow, 1, 1)), stride)


# the first needs no projection; the others need it for both reasons, for channels alone, and for the stride alone
RESIDUAL_PLANS = (residual_plan(4, 4), residual_plan(4, 6, 2), residual_plan(4, 6), residual_plan(4, 4, 2))
BOTTLENECK_PLANS = (
    bottleneck_plan(6, 3, 6),
    bottleneck_plan(6, 3, 8, 2),
    bottleneck_plan(6, 3, 8),
    bottleneck_plan(6, 3, 6, 2),
)


def in_words(weights: Counter[Shape]) -> str:
    """Write convolutions as people do: 3×3 from 4 to 6, 1×1 from 4 to 6."""
    texts = [f"{kernel}×{kernel} from {before} to {after}" for after, before, kernel, _ in weights.elements()]
    return ", ".join(texts) or "none"


# ------------------------------------------------------------------------------------------------ what is in the model


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d) and layer.affine]


def weight_shape(layer: nn.Conv2d) -> Shape:
    return tuple(layer.weight.shape)


def layer_message(model: nn.Module, plan: Plan) -> str | None:
    """Say which layer of a block is missing, too much, or of another kind than planned, or return None."""
    layers = convolutions(model)
    if not layers:
        return "there is no nn.Conv2d: make the layers in __init__ (self.… = …), so that they can be trained"
    return (
        weight_message(Counter(map(weight_shape, layers)), plan)
        or stride_message(layers, plan)
        or detail_message(layers)
        or norm_message(Counter(layer.num_features for layer in norms(model)), plan)
    )


def weight_message(found: Counter[Shape], plan: Plan) -> str | None:
    """Compare the shapes of the weights with the plan's."""
    missing, extra = Counter(plan.weights) - found, found - Counter(plan.weights)
    if not missing and not extra:
        return None
    wide = Counter([(plan.after, plan.before, 3, 3)])
    if not plan.shortcut and not missing and set(extra) <= {(plan.after, plan.before, 1, 1), *wide}:
        return f"{plan} x fits as it is: make the projection only where channels or size change"
    if missing == Counter(plan.shortcut) and extra == wide:
        return "the projection is a 3×3 convolution: 1×1 brings x to the new shape with a ninth of the weights"
    if missing == Counter(plan.shortcut) and not extra:
        reason = "the stride" if plan.before == plan.after else "the number of channels"
        return f"{plan} the projection is missing: {reason} changes, so x does not fit"
    if len(plan.branch) == 3 and (plan.after, plan.branch[1][1], 3, 3) in extra:
        return "the 3×3 convolution widens the maps: keep it narrow, the last 1×1 goes back to many channels"
    return f"{plan} expected the convolutions {in_words(Counter(plan.weights))}; got {in_words(found)}"


def stride_message(layers: Sequence[nn.Conv2d], plan: Plan) -> str | None:
    """Say which convolution strides and should not, or the other way round; a bottleneck's may stand on 1×1 or 3×3."""
    if plan.stride == 1:
        return None
    strides = {shape: [c.stride[0] for c in layers if weight_shape(c) == shape] for shape in plan.weights}
    on_branch = [stride for shape in dict.fromkeys(plan.branch) for stride in strides[shape]]
    if strides[plan.shortcut[0]] == [1]:
        return (
            f"{plan} the shortcut keeps the size and the branch does not: the 1×1 convolution needs the stride as well"
        )
    if sum(stride > 1 for stride in on_branch) > 1:
        return f"{plan} more than one convolution of the branch has the stride: each of them divides the size again"
    if max(on_branch) == 1:
        return f"{plan} no convolution of the branch has the stride"
    if max(strides[plan.branch[-1]]) > 1 and plan.branch[0] != plan.branch[-1]:
        return f"{plan} the stride stands on the last convolution: an earlier one makes the maps small for the rest"
    return None


def detail_message(layers: Sequence[nn.Conv2d]) -> str | None:
    """Say which convolution has the wrong padding or a bias."""
    for layer in layers:
        kernel = layer.kernel_size[0]
        if layer.padding not in ("same", (kernel // 2, kernel // 2)):
            return f"a {kernel}×{kernel} convolution needs padding={kernel // 2} here, yours has {layer.padding[0]}"
    if any(layer.bias is not None for layer in layers):
        return "a convolution has a bias: BatchNorm takes the mean away right after it, so write bias=False"
    return None


def norm_message(found: Counter[int], plan: Plan) -> str | None:
    """Compare the BatchNorms with the plan's: one after each convolution."""
    missing, extra = Counter(plan.widths) - found, found - Counter(plan.widths)
    if plan.shortcut and missing == Counter([plan.after]) and not extra:
        return "there is no BatchNorm in the projection: its 1×1 convolution is followed by one too"
    if missing or extra:
        wanted, got = (", ".join(map(str, sorted(widths))) or "none" for widths in (plan.widths, found.elements()))
        return f"{plan} each convolution has a BatchNorm of its own, over {wanted} channels; yours are over: {got}"
    return None


# ---------------------------------------------------------------------------------------------- what the model computes


def nothing(x: Tensor) -> Tensor:
    return x


def block_output(
    x: Tensor,
    layers: Sequence[tuple[nn.Conv2d, nn.BatchNorm2d]],
    depth: int,
    *,
    training: bool,
    without_relu: Sequence[int] = (),
    relu_first: bool = False,
    on_branch: Callable = nothing,
    on_shortcut: Callable = nothing,
    after_sum: Callable = torch.relu,
    add: bool = True,
) -> Tensor:
    """Run a block with given layers, the first `depth` of them on the branch; the keywords make the mistakes."""
    out = x
    for k, (convolution, norm) in enumerate(layers[:depth]):
        has_relu = k < depth - 1 and k not in without_relu
        out = convolution(out)
        if relu_first and has_relu:
            out = normalize(out.relu(), norm, training)
        else:
            out = normalize(out, norm, training)
            out = out.relu() if has_relu else out
    for convolution, norm in layers[depth:]:
        x = normalize(convolution(x), norm, training)
    return after_sum(on_branch(out) + on_shortcut(x)) if add else after_sum(on_branch(out))


def normalize(x: Tensor, norm: nn.BatchNorm2d, training: bool) -> Tensor:
    """Apply BatchNorm without moving its running statistics."""
    training = training or norm.running_mean is None
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training, 0.0, norm.eps)


MISTAKES = (  # what to say, and the keywords of block_output that make it; pairs of them are tried too
    ("the ReLU after the sum is missing", {"after_sum": nothing}),
    (
        "a ReLU cuts the branch before the sum: then the block can only add, never take away",
        {"on_branch": torch.relu},
    ),
    ("the shortcut is not added: out = F(x) + x", {"add": False}),
    ("x is added, but passes through a ReLU first: the shortcut takes it as it is", {"on_shortcut": torch.relu}),
    ("ReLU comes before BatchNorm: the order is convolution, BatchNorm, ReLU", {"relu_first": True}),
    ("the ReLU after the first BatchNorm is missing", {"without_relu": (0,)}),
    ("the ReLU after the second BatchNorm is missing", {"without_relu": (1,)}),
    ("the ReLUs inside the branch are missing", {"without_relu": (0, 1)}),
)


def arrangements(model: nn.Module, plan: Plan) -> Iterator[list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """Yield the layers in the plan's order, in each way in which equal shapes can be told apart: names are free."""
    found, found_norms = convolutions(model), norms(model)
    for order in itertools.permutations(found):
        if tuple(map(weight_shape, order)) != plan.weights:
            continue
        for norm_order in itertools.permutations(found_norms):
            if tuple(norm.num_features for norm in norm_order) == plan.widths:
                yield list(zip(order, norm_order, strict=True))


def value_message(model: nn.Module, plan: Plan, x: Tensor, got: Sequence[Tensor]) -> str | None:
    """Compare the outputs in training and eval mode with those of the planned block; name what was built instead."""
    ways = list(arrangements(model, plan))
    for count in (0, 1, 2):
        for mistakes in itertools.combinations(MISTAKES, count):
            changes = {key: value for _, change in mistakes for key, value in change.items()}
            for layers in ways:
                expected = (block_output(x, layers, len(plan.branch), training=t, **changes) for t in (True, False))
                if all(map(same, got, expected)):
                    return "; ".join(text for text, _ in mistakes) or None
    return (
        f"{plan} layers and shapes are right, the numbers are not: compare line by line (each convolution followed by "
        "its BatchNorm, a ReLU between them, the sum, a ReLU)"
    )


# ------------------------------------------------------------------------------------------------------- the judgment


def judge_block(plans: Sequence[Plan]) -> Callable[[object], str | None]:
    """Return the judge of a class that makes blocks: it is tried with each plan."""

    def judge(answer: object) -> str | None:
        if isinstance(answer, nn.Module) or not callable(answer):
            return f"expected the class itself, got {describe_answer(answer)}: pass its name without brackets"
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            return next(filter(None, (plan_message(answer, plan) for plan in plans)), None)

    return judge


def describe_answer(answer: object) -> str:
    return f"an object of {type(answer).__name__}" if isinstance(answer, nn.Module) else describe(answer)


def plan_message(answer: Callable, plan: Plan) -> str | None:
    """Make one block and say what is wrong with its layers, its shapes or its numbers, or return None."""
    model = attempt(answer, *plan.arguments)
    if isinstance(model, Raised):
        return f"making the block {plan} raised {model.kind}: {model.text}"
    if not isinstance(model, nn.Module):
        return f"expected an nn.Module, got {describe(model)}"
    model = model.cpu().float()
    shuffle_norms(model)
    x = torch.randn(5, plan.before, 9, 8)  # (B, C, H, W)
    given = x.clone()
    got = [attempt(model.train(), given)]  # moves the running statistics, so eval comes after it
    if any(map(untouched, got)):
        raise NotAttempted
    changed = not torch.equal(given, x)
    got.append(attempt(model.eval(), x.clone()))
    if got[0] is None:
        return "forward returned None: is the return missing?"
    message = layer_message(model, plan)
    if message:
        return message
    if changed and isinstance(got[0], Tensor):
        return "you overwrote x: an operation in place (inplace=True, +=, relu_) changed what the shortcut still needs"
    message = next(filter(None, (shape_message(out, plan, x) for out in got)), None)
    if message is None and any(norm.track_running_stats and not norm.num_batches_tracked for norm in norms(model)):
        return "a BatchNorm that __init__ makes is not used in forward"
    return message or value_message(model, plan, x, got)


def shuffle_norms(model: nn.Module) -> None:
    """Give the BatchNorms γ and β that tell them apart: as they come, all are 1 and 0."""
    for norm in norms(model):
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()


def shape_message(out: object, plan: Plan, x: Tensor) -> str | None:
    """Say that a block raised, or gave something else than maps of the planned shape, or return None."""
    if isinstance(out, Raised):
        return f"{plan} the block raised {out.kind}: {out.text}"
    height, width = (-(-side // plan.stride) for side in x.shape[2:])
    expected = (len(x), plan.after, height, width)
    if not isinstance(out, Tensor) or out.shape != expected:
        came = tuple(out.shape) if isinstance(out, Tensor) else describe(out)
        return f"{plan} and x of shape {tuple(x.shape)} expected maps of shape {expected}, got {came}"
    return None


residual_block = Exercise(
    judge_block(RESIDUAL_PLANS),
    praise="Equal to the reference in training and eval mode, for every change of channels and size.",
    hints=(
        "Branch first: convolution, BatchNorm, ReLU, convolution, BatchNorm. Only the first convolution strides.",
        "When is x itself of the right shape? Only if the stride is 1 and the channels stay: nn.Identity() then.",
        "Otherwise the shortcut is a 1×1 convolution with the same stride and a BatchNorm. The ReLU follows the sum.",
    ),
)

bottleneck = Exercise(
    judge_block(BOTTLENECK_PLANS),
    praise="Equal to the reference in training and eval mode: narrow in the middle, wide at both ends. (The stride may "
    "stand in the 3×3, as in torchvision, or in the first 1×1, as in the paper.)",
    hints=(
        "Three convolutions: before → narrow (1×1), narrow → narrow (3×3), narrow → after (1×1).",
        "BatchNorm follows each of them, ReLU only the first two: the third meets the shortcut before its ReLU.",
        "Only the 3×3 convolution needs padding; it takes the stride, and the shortcut takes the same.",
    ),
)

# -------------------------------------------------------------------------------------------------- letters and numbers

negative_loss = choice_exercise(
    "c",
    {
        "a": "the absolute value grows as the right class gets more probable: training would then make it improbable",
        "b": "cross-entropy takes the softmax itself: on a softmax it is taken twice, and the gradient fades",
        "d": "a smaller learning rate follows the same wrong loss more slowly",
    },
    praise="Cross-entropy takes logits. NLLLoss on log_softmax is the same; log of a softmax too, but less stable.",
    hints=[
        "NLLLoss expects log-probabilities: which function makes them from logits?",
        "Which of PyTorch's losses contains log_softmax and NLLLoss?",
    ],
)

blocks_for_56 = value_exercise(
    9,
    {
        18: "that counts the layers of a stage: a block has two of them",
        27: "that counts the blocks of all three stages: n is the number in one of them",
        54: "these are the layers in the blocks: divide them by three stages of two layers a block",
        56 / 6: "two of the 56 layers stand outside the blocks: the first convolution and the dense layer",
        10: "10 blocks a stage make 62 layers",
        8: "8 blocks a stage make 50 layers",
    },
    praise="6 · 9 + 2 = 56.",
    hints=["n blocks of two convolutions in each of three stages, and two layers outside: 6n + 2."],
    tolerance=1e-6,
)

IMAGENET = "that is a network of ImageNet's widths (64 to 512 channels): here they are 16, 32 and 64"
resnet20_parameters = value_exercise(
    269722,
    {
        268346: "BN's gamma and beta are missing: two for each of its 688 channels",
        269034: "only one of BN's gamma and beta is counted: there are two for each channel",
        270410: "biases before BN are counted: these convolutions have none",
        272474: "right for the projection (option B): here the shortcuts slice and pad, without parameters",
        269072: "the dense layer is missing: 64 · 10 + 10",
        269712: "the dense layer's 10 biases are missing",
        270000: "that is the paper's 0.27 million: count exactly",
        11_000_000: IMAGENET,
        11_173_962: IMAGENET,
        11_181_642: IMAGENET,
        11_689_512: IMAGENET,
    },
    praise="267 696 weights of convolutions, 1376 of BatchNorm, 650 of the dense layer: a fortieth of ResNet-18's 11 "
    "million.",
    hints=[
        "A 3×3 convolution from C to N channels has 9 · C · N weights; its BatchNorm has 2 · N.",
        "First convolution: 3 → 16. Then 6 of 16 → 16; 16 → 32 and 5 of 32 → 32; 32 → 64 and 5 of 64 → 64.",
    ],
    tolerance=1e-9,
)

EXERCISES = {
    "residual_block": residual_block,
    "bottleneck": bottleneck,
    "negative_loss": negative_loss,
    "blocks_for_56": blocks_for_56,
    "resnet20_parameters": resnet20_parameters,
}
