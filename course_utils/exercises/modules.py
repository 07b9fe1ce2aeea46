"""Exercises whose answer makes a module: with its own parameters, the right one must compute the same."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from course_utils.exercises.comparing import (
    Raised,
    argument_names,
    attempt,
    describe,
    difference,
    named,
    same,
    untouched,
)
from course_utils.exercises.slips import Exercise, NotAttempted, Slip, variants, written


def module(*, right: str, cases: Sequence[tuple], slips: Sequence[Slip], praise: str) -> Exercise:
    """Return an exercise whose answer is a class or function that makes modules.

    With the answer's own parameters, whatever their names and order, the right module must compute the same in training
    and eval mode. `cases` are pairs: the arguments it is called with, and the shape of an input.
    """

    def judge(answer: object) -> str | None:
        if isinstance(answer, nn.Module) or not callable(answer):
            return f"expected the class or function itself, got {type(answer).__name__}: pass its name without brackets"
        with torch.no_grad():
            return next(filter(None, (judge_module(answer, right, slips, *case) for case in cases)), None)

    return Exercise(judge, praise, right, slips)


def judge_module(answer: Callable, right: str, slips: Sequence[Slip], arguments: tuple, shape: tuple) -> str | None:
    """Make one module and look for the variant of the right answer that computes the same, or return None."""
    where = f"for {named(argument_names(written(right)), arguments)}: " if arguments else ""
    model, x = attempt(answer, *arguments), torch.randn(*shape)
    if untouched(model):
        raise NotAttempted
    if not isinstance(model, nn.Module):
        missing = ": is the return missing?" if model is None else ""
        raised = f"it raised {model.kind}: {model.text}" if isinstance(model, Raised) else ""
        return where + (raised or f"expected an nn.Module back, got {describe(model)}{missing}")
    first = attempt(model.cpu().float().eval(), x.clone())  # lazy layers learn their sizes here
    if untouched(first):
        raise NotAttempted
    if not isinstance(first, Raised):
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))  # fresh norms would all be alike
    got = list(results(model, x))
    if not same(got[-2], attempt(model, x.clone())):
        return f"{where}the same x gives another output each time: make layers once, in __init__, and without dropout"
    most = 1 if isinstance(got[0], Raised) or got[0] is None else 2
    for message, other in variants(right, slips, most):
        made = attempt(other, *arguments)
        twins = dressed(made, model) if isinstance(made, nn.Module) else ()
        if any(all(map(same, got, results(twin, x))) for twin in twins):
            return where + message if message else None
    return where + unlike(model, got[0], x, written(right)(*arguments))


def results(model: nn.Module, x: Tensor) -> Iterator:
    """Yield the output in training mode, which moves running statistics, then in eval mode; and x afterwards."""
    given = x.clone()
    out = attempt(model.train(), given)
    yield out
    if isinstance(out, Raised):  # then it matters which layer has which stride
        yield sorted(layer.extra_repr() for found in layers(model).values() for layer in found)
    yield attempt(model.eval(), x.clone())
    yield given


def dressed(twin: nn.Module, model: nn.Module) -> Iterator[nn.Module]:
    """Yield the twin with the model's parameters, in each order that shapes allow: the names of layers are free.

    It is one twin, made like new before each yield: a copy each time would take most of a check.
    """
    mine, its = layers(model), layers(twin)
    if {sizes: len(found) for sizes, found in mine.items()} != {sizes: len(found) for sizes, found in its.items()}:
        return
    for orders in itertools.product(*(itertools.permutations(mine[sizes]) for sizes in its)):
        for layer in twin.modules():
            if hasattr(layer, "reset_running_stats"):
                layer.reset_running_stats()
        for target, layer in zip(itertools.chain(*its.values()), itertools.chain(*orders), strict=True):
            for theirs, ours in zip(target.parameters(recurse=False), layer.parameters(recurse=False), strict=True):
                theirs.copy_(ours.view_as(theirs))
        yield twin


def layers(model: nn.Module) -> dict[tuple, list[nn.Module]]:
    """Return the layers with parameters, by the sizes of these: a 5×5 from 16 to 120 is like a dense 400 → 120."""
    groups: dict[tuple, list[nn.Module]] = {}
    for layer in model.modules():
        sizes = tuple((len(p), p.numel()) for p in layer.parameters(recurse=False))
        if sizes:
            groups.setdefault(sizes, []).append(layer)
    return groups


def unlike(model: nn.Module, got: object, x: Tensor, right: nn.Module) -> str:
    """Say what is known of a module that equals no variant: it raised, its output's shape, its parameters."""
    expected, shape = right(x), tuple(x.shape)
    mine, its = (Counter({sizes: len(found) for sizes, found in layers(m).items()}) for m in (model, right))
    if isinstance(got, Raised):
        return f"the module raised {got.kind} for x of shape {shape}: {got.text}; trace_shapes shows where"
    if not isinstance(got, Tensor) or got.shape != expected.shape:
        where = "" if got is None else "; trace_shapes shows where"
        return f"for x of shape {shape} {difference(got, expected)}{where}"
    if mine == its:
        return "shapes and parameters are right, the numbers are not: compare the order of the steps line by line"
    if not mine:
        return (
            "the module has no parameters: make its layers in __init__ (self.… = …, a list of them as nn.ModuleList), "
            "so that they can be trained"
        )
    parts = [("missing", right, its - mine), ("too much", model, mine - its)]
    return "; ".join(f"{word}: {in_words(layers(of), counts)}" for word, of, counts in parts if counts)


def in_words(found: Mapping[tuple, list[nn.Module]], counts: Counter) -> str:
    """Name so many of these layers with their parameters: Conv2d with weight (6, 1, 5, 5) and bias (6,)."""
    chosen = [layer for sizes, count in counts.items() for layer in found[sizes][:count]]
    shapes = [" and ".join(f"{n} {tuple(p.shape)}" for n, p in m.named_parameters(recurse=False)) for m in chosen]
    return ", ".join(f"{type(layer).__name__} with {text}" for layer, text in zip(chosen, shapes, strict=True))
