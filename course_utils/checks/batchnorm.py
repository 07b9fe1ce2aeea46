"""Chapter 07's exercises: batch normalization, running statistics, groups, folding, two bugs."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks.engine import (
    Exercise,
    Mistake,
    NotAttempted,
    Raised,
    attempt,
    choice_exercise,
    describe,
    function_exercise,
    same,
    untouched,
)

Judge = Callable[[object], str | None]


def followed_by(exercise: Exercise, *judges: Judge) -> Exercise:
    """Return the exercise with more judges, asked one after another once the exercise's own finds nothing."""

    def judge(answer: object) -> str | None:
        return next(filter(None, (ask(answer) for ask in (exercise.judge, *judges))), None)

    return replace(exercise, judge=judge)


def keeps_its_inputs(cases: Callable, names: Sequence[str]) -> Judge:
    """Return a judge of a function that gives right values: does it leave the tensors alone that come in?"""

    def judge(answer: Callable) -> str | None:
        for case in cases(torch.Generator().manual_seed(0)):
            given = copy.deepcopy(case)
            attempt(answer, *given)
            for name, before, after in zip(names, case, given, strict=True):
                if isinstance(before, Tensor) and not torch.equal(before, after):
                    return (
                        f"the values are right, but {name} itself has changed: a = a − b makes a new tensor, "
                        "a -= b and methods with a final _ work in place"
                    )
        return None

    return judge


# -------------------------------------------------------------------------------------------------------- batch norm


def under_root(variance: Tensor, eps: float) -> Tensor:
    return (variance + eps).sqrt()


def beside_root(variance: Tensor, eps: float) -> Tensor:
    return variance.sqrt() + eps


def no_root(variance: Tensor, eps: float) -> Tensor:
    return variance + eps


def no_eps(variance: Tensor, eps: float) -> Tensor:
    return variance.sqrt()


def normalized(
    x: Tensor, dims: tuple[int, ...], eps: float, *, correction: int = 0, divisor: Callable = under_root
) -> Tensor:
    """Return x with mean 0 and sd 1 over `dims`; the switches after the star make the typical mistakes."""
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, correction=correction)
    return (x - mean) / divisor(variance, eps)


def per_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def normed(x: Tensor, gamma: Tensor, beta: Tensor, eps: float, dims: tuple[int, ...] = (0, 2, 3), **slips) -> Tensor:
    return per_channel(gamma) * normalized(x, dims, eps, **slips) + per_channel(beta)


def norm_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """Draw few numbers a channel, so that n and n − 1 differ, and ε of all sizes; the last has a constant channel."""
    cases = []
    for shape, eps in (((4, 3, 2, 5), 0.1), ((2, 5, 3, 4), 1.0), ((3, 4, 5, 2), 1e-3)):
        scale = 0.5 + 2 * torch.rand(1, shape[1], 1, 1, generator=generator)
        x = scale * (torch.randn(shape, generator=generator) + torch.randn(1, shape[1], 1, 1, generator=generator))
        gamma, beta = torch.randn(2, shape[1], generator=generator)
        cases.append((x, gamma, beta, eps))
    cases[-1][0][:, 1] = 2.0
    return cases


def torch_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def gradients(function: Callable, case: tuple, weight: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of the weighted sum of a function's output with respect to x, gamma and beta."""
    inputs = [tensor.clone().requires_grad_() for tensor in case[:3]]
    out = function(*inputs, case[3])
    if not out.requires_grad:
        return None, None, None
    return torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True)


def gradient_message(answer: Callable) -> str | None:
    """Say which gradient of a function with right values is wrong, or return None."""
    generator = torch.Generator().manual_seed(0)
    case = norm_cases(generator)[0]
    weight = torch.randn(case[0].shape, generator=generator)
    got = attempt(gradients, answer, case, weight)
    if isinstance(got, Raised):
        return f"the value is right, the gradient is not: it raised {got.kind}: {got.text}"
    for name, mine, right in zip(("x", "gamma", "beta"), got, gradients(torch_norm, case, weight), strict=True):
        if mine is None or not same(mine, right):
            return (
                f"the value is right, the gradient with respect to {name} is not: it must flow through mean, variance, "
                "gamma and beta, so no detach, no .data, no .item(), no no_grad"
            )
    return None


DIVIDE_BY_N = "the batch divides by n, not n − 1: var(…, correction=0)"
EPS_BESIDE = "ε stands under the root: divide by sqrt(variance + ε), not by sqrt(variance) + ε"
NO_ROOT = "you divided by the variance: divide by its square root"
NO_EPS = "ε is missing: a channel that is constant divides by 0"
AXES = {
    (0,): "this is averaged per pixel: one mean for each channel runs over images, rows and columns, dim=(0, 2, 3)",
    (2, 3): "this is averaged per image: the mean of a channel runs over all images too, dim=(0, 2, 3)",
    (1, 2, 3): "this is LayerNorm, one mean for each image: one for each channel is dim=(0, 2, 3)",
    (1,): "this is averaged over the channels: one mean for each channel is dim=(0, 2, 3)",
    (0, 1, 2, 3): "this is one mean for all channels: one for each channel is dim=(0, 2, 3)",
}

batch_norm = followed_by(
    function_exercise(
        torch_norm,
        norm_cases,
        [
            Mistake(DIVIDE_BY_N, partial(normed, correction=1)),
            Mistake(EPS_BESIDE, partial(normed, divisor=beside_root)),
            Mistake(f"{EPS_BESIDE}; and {DIVIDE_BY_N}", partial(normed, divisor=beside_root, correction=1)),
            Mistake(NO_EPS, partial(normed, divisor=no_eps)),
            Mistake(f"{NO_EPS}; and {DIVIDE_BY_N}", partial(normed, divisor=no_eps, correction=1)),
            Mistake(NO_ROOT, partial(normed, divisor=no_root)),
            Mistake(f"{NO_ROOT}; and {DIVIDE_BY_N}", partial(normed, divisor=no_root, correction=1)),
            *(
                Mistake(message, partial(normed, dims=dims, correction=correction))
                for dims, message in AXES.items()
                for correction in (0, 1)
            ),
            Mistake(
                "γ and β are not used: y = γ·x̂ + β", lambda x, gamma, beta, eps: torch_norm(x, gamma**0, 0 * beta, eps)
            ),
            Mistake("γ is not used: y = γ·x̂ + β", lambda x, gamma, beta, eps: torch_norm(x, gamma**0, beta, eps)),
            Mistake("β is not used: y = γ·x̂ + β", lambda x, gamma, beta, eps: torch_norm(x, gamma, 0 * beta, eps)),
            Mistake(
                "γ and β are swapped: γ multiplies, β is added",
                lambda x, gamma, beta, eps: torch_norm(x, beta, gamma, eps),
            ),
            Mistake(
                "β is multiplied by γ: add it after the multiplication, γ·x̂ + β",
                lambda x, gamma, beta, eps: torch_norm(x, gamma, gamma * beta, eps),
            ),
            Mistake(
                "the mean is not subtracted: (x − mean) / sqrt(variance + ε)",
                lambda x, gamma, beta, eps: (
                    per_channel(gamma) * x / under_root(x.var((0, 2, 3), keepdim=True, correction=0), eps)
                    + per_channel(beta)
                ),
            ),
        ],
        praise="Equal to torch's own in value and in all three gradients.",
        hints=(
            "Which axes disappear when each channel has one mean? mean and var take several at once, as dim=(…).",
            "keepdim=True leaves (1, C, 1, 1), which fits (B, C, H, W). gamma.view(1, -1, 1, 1) gives γ that shape.",
            "var divides by n − 1 unless you say correction=0. ε is added before the root is taken.",
        ),
    ),
    keeps_its_inputs(norm_cases, ("x", "gamma", "beta", "eps")),
    gradient_message,
)

# ----------------------------------------------------------------------------------------------------- running update


def running_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    cases = []
    for shape, momentum in (((3, 4, 2, 2), 0.1), ((2, 3, 2, 4), 0.3), ((4, 2, 1, 3), 0.02)):
        x = 2 + 3 * torch.randn(shape, generator=generator)
        running_mean = torch.randn(shape[1], generator=generator)
        cases.append((running_mean, 0.5 + torch.rand(shape[1], generator=generator), x, momentum))
    return cases


def torch_update(running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    F.batch_norm(x, running_mean, running_var, training=True, momentum=momentum)  # moves both in place
    return running_mean, running_var


def blend(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    return (1 - momentum) * old + momentum * new


def swapped(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    return momentum * old + (1 - momentum) * new


def added(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    return old + momentum * new


def update(
    running_mean: Tensor,
    running_var: Tensor,
    x: Tensor,
    momentum: float,
    *,
    mix: Callable = blend,
    dims: tuple[int, ...] = (0, 2, 3),
    keepdim: bool = False,
    spread: Callable = torch.var,
) -> tuple[Tensor, Tensor]:
    """Return the running statistics after x; the switches after the star make the typical mistakes."""
    mean, variance = x.mean(dims, keepdim=keepdim), spread(x, dims, keepdim=keepdim)
    return mix(running_mean, mean, momentum), mix(running_var, variance, momentum)


def images_only(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """Return a variance that takes the number of images for the number of values."""
    return x.var(dims, keepdim=keepdim, correction=0) * len(x) / (len(x) - 1)


def holds_a_graph(function: Callable) -> bool:
    """Say whether a result of the function requires a gradient when x does, as it does inside a network."""
    running_mean, running_var, x, momentum = running_cases(torch.Generator().manual_seed(0))[0]
    return any(result.requires_grad for result in function(running_mean, running_var, x.requires_grad_(), momentum))


def graph_message(answer: Callable) -> str | None:
    """Say that a function with right values keeps the graph, or return None."""
    found = attempt(holds_a_graph, answer)
    if isinstance(found, Raised):
        return f"inside a network x has a graph, and your function raised {found.kind}: {found.text}"
    if found:
        return (
            "the values are right, but a graph hangs on the result: each step keeps all steps before it in memory; "
            "x.detach() or torch.no_grad() cuts it"
        )
    return None


def always_a_tenth(running_mean: Tensor, running_var: Tensor, x: Tensor, momentum: float, **slips) -> tuple:
    return update(running_mean, running_var, x, 0.1, **slips)


biased = partial(torch.var, correction=0)
UNBIASED = "the running variance takes the unbiased estimate, n − 1: var(…) without correction=0"
SHARES = "the shares are swapped: momentum is that of the new batch, (1 − m)·running + m·batch"
BOTH_SUM = "the old value must lose what the new one adds: (1 − m)·running + m·batch"

running_update = followed_by(
    function_exercise(
        torch_update,
        running_cases,
        [
            Mistake(UNBIASED, partial(update, spread=biased)),
            Mistake(SHARES, partial(update, mix=swapped)),
            Mistake(f"{SHARES}; and {UNBIASED}", partial(update, mix=swapped, spread=biased)),
            Mistake(BOTH_SUM, partial(update, mix=added)),
            Mistake(f"{BOTH_SUM}; and {UNBIASED}", partial(update, mix=added, spread=biased)),
            Mistake(
                "n is not the number of images: each channel has B·H·W values, so the variance is over all of them",
                partial(update, spread=images_only),
            ),
            Mistake(
                "the running variance got a standard deviation: take var, not std", partial(update, spread=torch.std)
            ),
            Mistake(
                "these are the batch's own statistics: mix them with the old ones, (1 − m)·running + m·batch",
                partial(update, mix=lambda old, new, momentum: new),
            ),
            Mistake(
                "the two come back as they came in: move each a little toward the batch's",
                partial(update, mix=lambda old, new, momentum: old),
            ),
            *(
                Mistake(
                    "keepdim makes the statistics (1, C, 1, 1): here they have the shape (C,)",
                    partial(update, keepdim=True, spread=spread),
                )
                for spread in (torch.var, biased)
            ),
            *(
                Mistake(
                    "one number for all channels: each channel has its own mean and variance, dim=(0, 2, 3)",
                    partial(update, dims=(0, 1, 2, 3), spread=spread),
                )
                for spread in (torch.var, biased)
            ),
            Mistake(
                "the two come back in the wrong order: the mean first", lambda *case: tuple(reversed(update(*case)))
            ),
            Mistake("the mean is right, the variance has not moved", lambda *case: (update(*case)[0], case[1])),
            *(
                Mistake("the step is always 0.1: use `momentum`", partial(always_a_tenth, spread=spread))
                for spread in (torch.var, biased)
            ),
            Mistake("only the mean comes back: return two, mean and variance", lambda *case: update(*case)[0]),
        ],
        praise="Equal to what nn.BatchNorm2d keeps, and nothing hangs on it.",
        hints=(
            "Mean and variance of x for each channel have the shape (C,), like the running ones.",
            "m = 0.1 means: nine tenths stay, one tenth is new.",
            "x.var divides by n − 1 by itself. x.detach() is x without its graph.",
        ),
    ),
    keeps_its_inputs(running_cases, ("running_mean", "running_var", "x", "momentum")),
    graph_message,
)

# ------------------------------------------------------------------------------------------------------------ groups


def group_cases(generator: torch.Generator) -> list[tuple[Tensor, int, float]]:
    """Draw one group, one channel a group, and what lies between; each image and channel has its own mean and sd."""
    cases = []
    for shape, groups, eps in (
        ((3, 4, 2, 5), 2, 0.1),
        ((2, 6, 3, 4), 3, 1e-3),
        ((2, 6, 4, 1), 2, 1.0),
        ((3, 4, 2, 2), 1, 1e-5),
        ((2, 3, 3, 2), 3, 0.1),
    ):
        scale, shift = torch.rand(2, *shape[:2], 1, 1, generator=generator)
        cases.append(((0.5 + scale) * torch.randn(shape, generator=generator) + 2 * shift, groups, eps))
    return cases


def in_groups(x: Tensor, groups: int, eps: float, dims: tuple[int, ...] = (2, 3), **slips) -> Tensor:
    parts = x.view(len(x), groups, x.shape[1] // groups, -1)  # (B, G, C/G, H·W)
    return normalized(parts, dims, eps, **slips).view_as(x)


def mixed_groups(x: Tensor, groups: int, eps: float, **slips) -> Tensor:
    """Put channels c, c + G, c + 2G, … into one group."""
    parts = x.view(len(x), x.shape[1] // groups, groups, -1)
    return normalized(parts, (1, 3), eps, **slips).view_as(x)


def left_in_parts(x: Tensor, groups: int, eps: float) -> Tensor:
    return in_groups(x, groups, eps).view(len(x), groups, -1)


GROUP_AXES = {
    (1, 2, 3): "the groups are not used: this is LayerNorm, one mean for each image",
    (3,): "the groups are not used: this is InstanceNorm, one mean for each image and channel",
    (0, 3): "this is BatchNorm: each image is normalized by itself, without the others",
    (0, 2, 3): "the mean runs over the images too: each image has its own mean in each group",
}
GROUP_N = "the variance divides by n, not n − 1: var(…, correction=0)"

group_norm = followed_by(
    function_exercise(
        lambda x, groups, eps: F.group_norm(x, groups, eps=eps),
        group_cases,
        [
            Mistake(GROUP_N, partial(in_groups, correction=1)),
            Mistake(EPS_BESIDE, partial(in_groups, divisor=beside_root)),
            Mistake(f"{EPS_BESIDE}; and {GROUP_N}", partial(in_groups, divisor=beside_root, correction=1)),
            Mistake("ε is missing: divide by sqrt(variance + ε)", partial(in_groups, divisor=no_eps)),
            Mistake(NO_ROOT, partial(in_groups, divisor=no_root)),
            *(
                Mistake(message, partial(in_groups, dims=dims, correction=correction))
                for dims, message in GROUP_AXES.items()
                for correction in (0, 1)
            ),
            *(
                Mistake(
                    "the groups are mixed: a group holds neighboring channels, so view(B, groups, C // groups, …)",
                    partial(mixed_groups, correction=correction),
                )
                for correction in (0, 1)
            ),
            Mistake(
                "groups is the number of groups, not the number of channels in each",
                lambda x, groups, eps: in_groups(x, x.shape[1] // groups, eps),
            ),
            Mistake("the output is still in parts: give it the shape of x again, view_as(x)", left_in_parts),
        ],
        praise="One view, and three layers are one: G = 1 is LayerNorm, G = C is InstanceNorm.",
        hints=(
            "The values of one group of one image lie side by side in memory: a view can put them on one axis.",
            "x.view(B, groups, -1) has the shape (B, G, C/G·H·W). Over which axis does the mean run?",
            "At the end, view_as(x).",
        ),
    ),
    keeps_its_inputs(group_cases, ("x", "groups", "eps")),
)

# -------------------------------------------------------------------------------------------------------------- fold


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


def run_fold(function: Callable, case: tuple) -> object:
    """Return what the folded layer makes of the images."""
    conv, norm, images = case
    result = function(conv, norm)
    return result(images) if isinstance(result, nn.Module) else result


def folding(
    divisor: Callable = under_root,
    bias: Callable = lambda bias, scale, norm: (bias - norm.running_mean) * scale + norm.bias,
    shape: tuple[int, ...] = (-1, 1, 1, 1),
    gamma: bool = True,
) -> Callable:
    """Return a function that folds; its arguments make the typical mistakes."""

    def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
        folded = copy.deepcopy(conv)
        scale = (norm.weight if gamma else 1.0) / divisor(norm.running_var, norm.eps)
        old = torch.zeros_like(norm.bias) if conv.bias is None else conv.bias
        folded.weight = nn.Parameter(conv.weight * scale.view(shape))
        folded.bias = nn.Parameter(bias(old, scale, norm))
        return folded

    return fold


fold_outputs = function_exercise(
    lambda conv, norm: nn.Sequential(conv, norm).eval(),
    fold_cases,
    [
        Mistake(
            "the convolution's own bias is lost: (bias − mean)·scale + β",
            folding(bias=lambda bias, scale, norm: norm.bias - norm.running_mean * scale),
        ),
        Mistake(
            "the convolution's own bias goes through the norm too: multiply it by the scale",
            folding(bias=lambda bias, scale, norm: bias - norm.running_mean * scale + norm.bias),
        ),
        Mistake("you divided by σ²: the scale is γ / sqrt(running_var + ε)", folding(no_root)),
        Mistake("you divided by σ²: the scale is γ / sqrt(running_var + ε)", folding(lambda variance, eps: variance)),
        Mistake(EPS_BESIDE, folding(beside_root)),
        Mistake("the norm's ε is missing or another one: γ / sqrt(running_var + norm.eps)", folding(no_eps)),
        Mistake("you multiplied by σ: divide by it", folding(lambda variance, eps: 1 / under_root(variance, eps))),
        Mistake("γ is forgotten: the scale is γ / sqrt(running_var + ε)", folding(gamma=False)),
        Mistake(
            "β is forgotten: (bias − mean)·scale + β",
            folding(bias=lambda bias, scale, norm: (bias - norm.running_mean) * scale),
        ),
        Mistake(
            "the running mean is forgotten: (bias − mean)·scale + β",
            folding(bias=lambda bias, scale, norm: bias * scale + norm.bias),
        ),
        Mistake(
            "the running mean is multiplied by the scale too: (bias − mean)·scale + β",
            folding(bias=lambda bias, scale, norm: bias * scale - norm.running_mean + norm.bias),
        ),
        Mistake(
            "neither bias nor mean is multiplied by the scale: (bias − mean)·scale + β",
            folding(bias=lambda bias, scale, norm: bias - norm.running_mean + norm.bias),
        ),
        Mistake(
            "the mean has the wrong sign: it is subtracted, (bias − mean)·scale + β",
            folding(bias=lambda bias, scale, norm: (bias + norm.running_mean) * scale + norm.bias),
        ),
        Mistake(
            "the weights are scaled, the bias is not yet: (bias − mean)·scale + β",
            folding(bias=lambda bias, scale, norm: bias),
        ),
        Mistake(
            "the scale is on the wrong axis of the weights: they are (out, in, K, K), and each output channel has its "
            "own scale, view(-1, 1, 1, 1)",
            folding(shape=(1, -1, 1, 1)),
        ),
    ],
    praise="One layer fewer, the same numbers: that is how networks are shipped.",
    hints=(
        "In eval: y = γ·(conv(x) − mean)/sqrt(var + ε) + β. Which number multiplies each channel? Which is added?",
        "Make a new nn.Conv2d with the settings of the old one. Its weights are (out, in, K, K): scale the first axis.",
        "Write into the new weights inside torch.no_grad(), with copy_. conv.bias may be None: then it is 0.",
    ),
    run=run_fold,
    otherwise="the new layer's output differs from norm(conv(x)) with norm in eval: compare the two on a random x",
)

SETTINGS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")


def layer_message(answer: object) -> str | None:
    """Say that the answer returns no convolution, one with other settings, or changes the layers; else None."""
    for conv, norm, _ in fold_cases(torch.Generator().manual_seed(0)):
        given = nn.ModuleList([conv, norm])
        before = copy.deepcopy(given)
        result = attempt(answer, conv, norm)
        if untouched(result):
            raise NotAttempted
        if isinstance(result, Raised):
            return None  # fold_outputs names it
        if result is None:
            return "your function returned None: is the return missing?"
        if not isinstance(result, nn.Conv2d):
            got = type(result).__name__ if isinstance(result, nn.Module) else describe(result)
            return f"expected one nn.Conv2d that does the work of both, got {got}"
        if changed(before, given):
            return "the layers that came in have changed: put the new numbers into a new nn.Conv2d"
        for name in SETTINGS:
            mine, right = getattr(result, name), getattr(conv, name)
            if mine != right:
                return f"the convolution's {name} is {right}, yours has {mine}: take it over"
        if result.bias is None:
            return (
                "the new convolution has no bias: it needs one, for β and the running mean, also where the old had none"
            )
    return None


def changed(before: nn.Module, after: nn.Module) -> bool:
    """Say whether numbers or modes differ."""
    mine, others = before.state_dict(), after.state_dict()
    modes = [[module.training for module in model.modules()] for model in (before, after)]
    return (
        mine.keys() != others.keys()
        or not all(map(torch.equal, mine.values(), others.values()))
        or modes[0] != modes[1]
    )


def judge_fold(answer: object) -> str | None:
    """Judge the layer that comes back, then its output."""
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}: pass its name without brackets"
    with torch.random.fork_rng(devices=[]):  # new layers draw their weights
        return layer_message(answer) or fold_outputs.judge(answer)


fold = replace(fold_outputs, judge=judge_fold)

# ----------------------------------------------------------------------------------------------------- spot the bugs

spot_evaluate = choice_exercise(
    "b",
    {
        "a": "no_grad stops gradients, not batch statistics: each batch is still normalized by itself, shuffled or not",
        "c": "larger batches hide the mistake: an image's answer would still depend on its companions",
        "d": "no optimizer, no step: the weights stay. But the forward passes do move the running statistics: why?",
    },
    praise="Two switches, two jobs: no_grad for the graph, eval() for the layers. And train() again, or the next epoch "
    "trains in eval mode.",
    hints=("Which line puts the model into another mode?", "What do the layers normalize by in training mode?"),
)

c5_setting = choice_exercise(
    "c",
    {
        "a": "compare rows 1 and 2: with γ and β back, little changes; a later row gains far more",
        "b": "compare rows 1 and 3: it costs something here, but row 3 is still far from row 4",
        "d": "change one thing at a time: the last row differs from the first in one setting only",
    },
    praise="One change, one row. The batch size was not even a setting of the layer.",
    hints=("Each row but the first repairs one setting. Which row gains most?",),
)

EXERCISES = {
    "batch_norm": batch_norm,
    "running_update": running_update,
    "spot_evaluate": spot_evaluate,
    "group_norm": group_norm,
    "c5_setting": c5_setting,
    "fold": fold,
}
