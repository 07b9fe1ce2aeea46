"""Chapter 07's exercises: batch normalization, running statistics, groups, folding, two choices."""

import copy
import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_utils.exercises import Raised, attempt, choice, function, keeps_its_inputs, same_gradients

BY_N = "divides by n, not n − 1: var(…, correction=0)"
BESIDE = "ε stands under the root: divide by sqrt(variance + ε), not by sqrt(variance) + ε"
ROOTS = [  # of batch_norm and group_norm
    (BESIDE, "(variance + eps).sqrt()", "(variance.sqrt() + eps)"),
    ("ε is missing: divide by sqrt(variance + ε)", "(variance + eps)", "variance"),
    ("ε has a value of its own here: use the argument eps", "+ eps", "+ 1e-5"),
    ("you divided by the variance: divide by its square root", "eps).sqrt()", "eps)"),
]
LIBRARY = ("batch_norm", "group_norm", "layer_norm", "instance_norm", "native_batch_norm", "native_group_norm")

# ----------------------------------------------------------------------------------------------------------- BatchNorm

GAMMA, BETA, AXES = "gamma.view(1, -1, 1, 1)", "beta.view(1, -1, 1, 1)", "(0, 2, 3)"


def norm_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """Draw few numbers a channel, so that n and n − 1 differ, and ε of all sizes; the last has a constant channel."""
    cases = []
    for shape, eps in (((4, 3, 2, 5), 0.1), ((2, 5, 3, 4), 1.0), ((3, 4, 5, 2), 1e-3)):
        x = 2 * torch.randn(shape, generator=generator) + torch.randn((1, shape[1], 1, 1), generator=generator)
        cases.append((x, *torch.randn((2, shape[1]), generator=generator), eps))
    cases[-1][0][:, 1] = 2.0
    return cases


batch_norm = function(
    right=f"""
def batch_norm(x, gamma, beta, eps):
    mean = x.mean(dim=(0, 2, 3), keepdim=True)  # (1, C, 1, 1)
    variance = x.var(dim=(0, 2, 3), keepdim=True, correction=0)  # (1, C, 1, 1)
    normalized = (x - mean) / (variance + eps).sqrt()  # (B, C, H, W)
    return {GAMMA} * normalized + {BETA}
""",
    cases=norm_cases,
    forbid=LIBRARY,
    slips=[
        (f"the batch {BY_N}", "correction=0", "correction=1"),
        *ROOTS,
        (
            "this is averaged per pixel: a channel's mean runs over rows and columns too, dim=(0, 2, 3)",
            AXES,
            "(0,)",
        ),
        ("this is averaged per image: a channel's mean runs over all images too, dim=(0, 2, 3)", AXES, "(2, 3)"),
        ("this is LayerNorm, one mean for each image: one for each channel is dim=(0, 2, 3)", AXES, "(1, 2, 3)"),
        ("this is averaged over the channels: one mean for each channel is dim=(0, 2, 3)", AXES, "(1,)"),
        ("this is one mean for all channels: one for each channel is dim=(0, 2, 3)", AXES, "(0, 1, 2, 3)"),
        ("γ and β are not used: y = γ·x̂ + β", f"{GAMMA} * normalized + {BETA}", "normalized"),
        ("γ is not used: y = γ·x̂ + β", f"{GAMMA} * ", ""),
        ("β is not used: y = γ·x̂ + β", f" + {BETA}", ""),
        ("γ and β are swapped: γ multiplies, β is added", GAMMA, "B", BETA, GAMMA, "B *", f"{BETA} *"),
        ("β is multiplied by γ: add it after that, γ·x̂ + β", f"normalized + {BETA}", f"(normalized + {BETA})"),
        ("the mean is not subtracted: (x − mean) / sqrt(variance + ε)", "(x - mean)", "x"),
    ],
    laws=[keeps_its_inputs, same_gradients("x", "gamma", "beta")],
    praise="Equal to torch's own in value and in all three gradients.",
)

# -------------------------------------------------------------------------------------------------- running statistics


def running_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """Draw running statistics (C,), x (B, C, H, W) of another mean and variance, and a momentum."""
    cases = []
    for shape, momentum in (((3, 4, 2, 2), 0.1), ((2, 3, 2, 4), 0.3), ((4, 2, 1, 3), 0.02)):
        mean, variance = torch.randn(2, shape[1], generator=generator)
        cases.append((mean, 0.5 + variance.abs(), 2 + 3 * torch.randn(shape, generator=generator), momentum))
    return cases


def leaves_no_graph(answer: Callable, right: Callable, cases: Sequence[tuple]) -> str | None:
    """Law: the result requires no gradient where x does, as it does inside a network."""
    running_mean, running_var, x, momentum = copy.deepcopy(cases[0])
    got = attempt(answer, running_mean, running_var, x.requires_grad_(), momentum)
    if isinstance(got, Raised):
        return f"inside a network x has a graph, and your function raised {got.kind}: {got.text}"
    if any(statistic.requires_grad for statistic in got):
        return "the values are right, but a graph hangs on the result: x.detach() or torch.no_grad() cuts it"
    return None


MEAN, VAR = "(1 - momentum) * running_mean + momentum * mean", "(1 - momentum) * running_var + momentum * variance"
VARIANCE, BIASED, BACK = "x.var(dim=(0, 2, 3))", "x.var(dim=(0, 2, 3), correction=0)", "new_mean, new_var"
STEP = "(1 − m)·running + m·batch"

running_update = function(
    right=f"""
def running_update(running_mean, running_var, x, momentum):
    x = x.detach()
    mean, variance = x.mean(dim=(0, 2, 3)), {VARIANCE}
    new_mean = {MEAN}
    new_var = {VAR}
    return {BACK}
""",
    cases=running_cases,
    forbid=LIBRARY,
    slips=[
        ("the running variance takes the unbiased estimate, n − 1: var(…) without correction=0", VARIANCE, BIASED),
        (f"the shares are swapped: momentum is that of the new batch, {STEP}",
         "(1 - momentum) * running", "momentum * running", "+ momentum *", "+ (1 - momentum) *"),
        (f"the old value must lose what the new one adds: {STEP}", "(1 - momentum) * ", ""),
        ("n is not the number of images: each channel has B·H·W values, so the variance is over all of them",
         VARIANCE, f"{BIASED} * len(x) / (len(x) - 1)"),
        ("the running variance got a standard deviation: take var, not std", "x.var", "x.std"),
        (f"these are the batch's own statistics: mix them with the old ones, {STEP}", BACK, "mean, variance"),
        ("the two come back as they came in: move each toward the batch's", BACK, "running_mean, running_var"),
        ("keepdim makes the statistics (1, C, 1, 1): here they have the shape (C,)", AXES, f"{AXES}, keepdim=True"),
        ("one number for all channels: each has its own mean and variance, dim=(0, 2, 3)", AXES, "(0, 1, 2, 3)"),
        ("the two come back in the wrong order: the mean first", BACK, "new_var, new_mean"),
        ("the mean is right, the variance has not moved", VAR, "running_var"),
        ("the step is always 0.1: use `momentum`", "x = x.detach()", "x, momentum = x.detach(), 0.1"),
        ("only the mean comes back: return two, mean and variance", BACK, "new_mean"),
    ],
    laws=[keeps_its_inputs, leaves_no_graph],
    praise="Equal to what nn.BatchNorm2d keeps, and nothing hangs on it.",
)  # fmt: skip

spot_evaluate = choice(
    right='spot_evaluate = "b"',
    wrong={
        "a": "no_grad stops gradients, not batch statistics: each batch is still normalized by itself, shuffled or not",
        "c": "larger batches hide the mistake: an image's answer would still depend on its companions",
        "d": "no optimizer, no step: the weights stay. But the forward passes do move the running statistics: why?",
    },
    praise="Two switches, two jobs: no_grad for the graph, eval() for the layers. And train() again, or the next epoch "
    "trains in eval mode.",
)

# ------------------------------------------------------------------------------------------------------------- folding


def fold_cases(generator: torch.Generator) -> list[tuple[nn.Conv2d, nn.BatchNorm2d, Tensor]]:
    """Draw layers as a training leaves them, without those settings that any formula would pass."""
    cases = []
    for conv in (
        nn.Conv2d(4, 4, 3, padding=1),  # as many channels in as out: a wrong axis raises nothing here
        nn.Conv2d(3, 5, (3, 2), stride=2, bias=False),
        nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2),
    ):
        norm = nn.BatchNorm2d(conv.out_channels, eps=0.1)
        with torch.no_grad():
            for tensor in (*conv.parameters(), *norm.parameters(), norm.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            norm.running_var.copy_(0.3 + 2 * torch.rand(norm.running_var.shape, generator=generator))
        cases.append((conv, norm, torch.randn(2, conv.in_channels, 8, 9, generator=generator)))
    return cases


def run_fold(fold: Callable, conv: nn.Conv2d, norm: nn.BatchNorm2d, images: Tensor) -> object:
    """Return the type of what comes back, and what that makes of the images; nothing of it where torch folds."""
    code = getattr(inspect.unwrap(fold), "__code__", None)
    if any(name.startswith("fuse_conv_bn") for name in getattr(code, "co_names", ())):
        return "folded by torch"
    result = fold(conv, norm)
    if result is None or result is ...:
        return result
    return type(result).__name__, result(images) if isinstance(result, nn.Module) else "not a layer"


def leaves_layers_alone(answer: Callable, right: Callable, cases: Sequence[tuple]) -> str | None:
    """Law: neither numbers nor modes of the layers that come in have changed."""
    for conv, norm, _ in copy.deepcopy(cases):
        before = copy.deepcopy([*conv.state_dict().values(), *norm.state_dict().values()])
        attempt(answer, conv, norm)
        after = [*conv.state_dict().values(), *norm.state_dict().values()]
        if len(before) != len(after) or not all(map(torch.equal, before, after)):
            return "the layers that came in have changed: put the new numbers into a new nn.Conv2d"
        if not (conv.training and norm.training):
            return "the layers that came in are in eval mode now: leave their mode alone, or work on a deepcopy"
    return None


ROOT, BIAS = "(norm.running_var + norm.eps).sqrt()", "(bias - norm.running_mean) * scale + norm.bias"
SHIFTED, SCALE = "(bias − mean)·scale + β", "the scale is γ / sqrt(running_var + ε)"

fold = function(
    right=f"""
def fold(conv, norm):
    settings = conv.stride, conv.padding, conv.dilation, conv.groups
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, *settings)
    scale = norm.weight / {ROOT}  # (N,)
    bias = conv.bias if conv.bias is not None else torch.zeros_like(norm.running_mean)
    with torch.no_grad():
        folded.weight.copy_(conv.weight * scale.view(-1, 1, 1, 1))
        folded.bias.copy_({BIAS})
    return folded
""",
    cases=fold_cases,
    run=run_fold,
    slips=[
        ("by hand, please: torch's fuse_conv_bn_eval does this exercise's work",
         "return folded", "return nn.utils.fuse_conv_bn_eval(conv, norm)"),
        (f"the convolution's own bias is lost: {SHIFTED}", "(bias - norm.running_mean)", "-norm.running_mean"),
        ("the convolution's own bias goes through the norm too: multiply it by the scale",
         BIAS, "bias - norm.running_mean * scale + norm.bias"),
        (f"you divided by σ²: {SCALE}", "eps).sqrt()", "eps)"),
        (f"you divided by σ²: {SCALE}", ROOT, "norm.running_var"),
        (BESIDE, ROOT, "(norm.running_var.sqrt() + norm.eps)"),
        ("the norm's ε is missing or another one: γ / sqrt(running_var + norm.eps)", " + norm.eps", ""),
        ("you multiplied by σ: divide by it", "norm.weight /", "norm.weight *"),
        (f"γ is forgotten: {SCALE}", "norm.weight /", "1 /"),
        (f"β is forgotten: {SHIFTED}", " + norm.bias", ""),
        (f"the running mean is forgotten: {SHIFTED}", " - norm.running_mean", ""),
        (f"the running mean is multiplied by the scale too: {SHIFTED}",
         BIAS, "bias * scale - norm.running_mean + norm.bias"),
        (f"neither bias nor mean is multiplied by the scale: {SHIFTED}", BIAS, "bias - norm.running_mean + norm.bias"),
        (f"the mean has the wrong sign: it is subtracted, {SHIFTED}", "bias - norm", "bias + norm"),
        (f"the weights are scaled, the bias is not yet: {SHIFTED}", BIAS, "bias"),
        ("the scale is on the wrong axis of the weights: they are (out, in, K, K), and each output channel has its own "
         "scale, view(-1, 1, 1, 1)", "view(-1, 1, 1, 1)", "view(1, -1, 1, 1)"),
        ("a tensor cannot take a parameter's place: write into weights with copy_", "weight.copy_(", "weight = ("),
        ("this is the convolution as it was, or a copy: its weights and bias take in what the norm does",
         "return folded", "return copy.deepcopy(conv)"),
        *((f"the convolution's {name} not taken over", f"conv.{name.split()[0]}", usual)
          for name, usual in (("stride is", "1"), ("padding is", "0"), ("dilation is", "1"), ("groups are", "1"))),
        ("the new convolution has no bias: it needs one, for β and the running mean, also where the old had none",
         "*settings", "*settings, bias=False", f"folded.bias.copy_({BIAS})", "pass"),
    ],
    laws=[leaves_layers_alone],
    praise="One layer fewer, the same numbers: that is how networks are shipped.",
)  # fmt: skip

# -------------------------------------------------------------------------------------------------------------- groups


def group_cases(generator: torch.Generator) -> list[tuple[Tensor, int, float]]:
    """Draw one group, one channel a group, and what lies between; each image and channel has its own mean and sd."""
    settings = [(2, 0.1, 3, 4, 2, 5), (3, 1e-3, 2, 6, 3, 4), (2, 1.0, 2, 6, 4, 1), (1, 1e-5, 3, 4, 2, 2)]
    cases = []
    for groups, eps, *shape in [*settings, (3, 0.1, 2, 3, 3, 2)]:
        scale, shift = torch.rand(2, *shape[:2], 1, 1, generator=generator)
        cases.append(((0.5 + scale) * torch.randn(shape, generator=generator) + 2 * shift, groups, eps))
    cases[0][0][1, :2] = 2.0  # a constant group: without ε it divides by 0
    return cases


PARTS = "x.view(len(x), groups, -1)"

group_norm = function(
    right=f"""
def group_norm(x, groups, eps):
    parts = {PARTS}  # (B, G, C/G·H·W)
    mean = parts.mean(dim=2, keepdim=True)
    variance = parts.var(dim=2, keepdim=True, correction=0)
    return ((parts - mean) / (variance + eps).sqrt()).view_as(x)
""",
    cases=group_cases,
    forbid=LIBRARY,
    slips=[
        (f"the variance {BY_N}", "correction=0", "correction=1"),
        *ROOTS,
        ("the groups are not used: this is LayerNorm, one mean for each image", "groups, -1", "1, -1"),
        ("the groups are not used: this is InstanceNorm, one mean for each image and channel", PARTS, "x.flatten(2)"),
        ("this is BatchNorm: each image is normalized by itself, without the others", PARTS, "x.flatten(2)",
         "dim=2", "dim=(0, 2)"),
        ("the mean runs over the images too: each image has its own mean in each group", "dim=2", "dim=(0, 2)"),
        ("the groups are mixed: a group holds neighboring channels, so view(B, groups, C // groups, …)",
         PARTS, "x.view(len(x), -1, groups, x[0, 0].numel())", "dim=2", "dim=(1, 3)"),
        ("groups is the number of groups, not the number of channels in each", "groups, -1",
         "x.shape[1] // groups, -1"),
        ("the output is still in parts: give it the shape of x again, view_as(x)", ".view_as(x)", ""),
    ],
    laws=[keeps_its_inputs],
    praise="One view, and three layers are one: G = 1 is LayerNorm, G = C is InstanceNorm.",
)  # fmt: skip

c5_setting = choice(
    right='c5_setting = "c"',
    wrong={
        "a": "compare rows 1 and 2: with γ and β back, little changes; a later row gains far more",
        "b": "compare rows 1 and 3: it costs something here, but row 3 is still far from row 4",
        "d": "change one thing at a time: the last row differs from the first in one setting only",
    },
    praise="One change, one row. The batch size was not even a setting of the layer.",
)
