"""What happens to a tensor on its way through a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Return how many numbers the model holds as parameters; a shared parameter counts once.

    >>> count_parameters(nn.Linear(3, 5))
    20
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


@dataclass(frozen=True)
class Call:
    """One layer's call: its name and kind, the shapes that went in and came out, and its own parameters."""

    layer: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class ShapeTrace:
    """The calls of one forward pass, in order, as a table."""

    calls: tuple[Call, ...]
    parameters: int  # of the whole model, each counted once

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return the table's rows as text: layer, kind, input, output, parameters."""
        return [
            (call.layer, call.kind, shape_text(call.input_shape), shape_text(call.output_shape), f"{call.parameters:,}")
            for call in self.calls
        ]

    def __str__(self) -> str:
        table = [("layer", "kind", "input", "output", "parameters"), *self.rows()]
        widths = [max(len(row[k]) for row in table) for k in range(5)]
        lines = [
            "  ".join([*(cell.ljust(w) for cell, w in zip(row[:4], widths, strict=False)), row[4].rjust(widths[4])])
            for row in table
        ]
        return "\n".join([*lines, f"{self.parameters:,} parameters in all"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("layer", "kind", "input", "output"))
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row[:4])
            + f"<td>{row[4]}</td></tr>"
            for row in self.rows()
        )
        total = f"<tr><td colspan='4' style='text-align:left'><b>total</b></td><td><b>{self.parameters:,}</b></td></tr>"
        return f"<table><tr>{head}<th>parameters</th></tr>{body}{total}</table>"


def shape_text(shape: tuple[int, ...]) -> str:
    """Write a shape as people do: (64, 1, 28, 28)."""
    return f"({', '.join(map(str, shape))})" if len(shape) != 1 else f"({shape[0]},)"


def trace_shapes(model: nn.Module, x: Tensor) -> ShapeTrace:
    """Run `x` (B, …) through the model once and return a row for each layer that was called.

    Runs in eval mode without gradients; leaves no hook behind and every module in its mode, also after an error.
    Raises TypeError for arguments of the wrong kind, ValueError when shapes do not fit: it names the layer, what came
    and what the layer expects.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a model (nn.Module), got {type(model).__name__}")
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor as input, got {type(x).__name__}: try torch.zeros(1, 1, 28, 28)")
    if x.numel() == 0:
        raise ValueError(f"expected an input with at least one sample, got shape {shape_text(tuple(x.shape))}")
    calls: list[Call] = []
    entered: list[tuple[str, nn.Module, Tensor]] = []
    with watched(model, calls, entered), torch.no_grad():
        try:
            model(x)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ValueError(mismatch_message(entered, error, calls)) from error
    return ShapeTrace(tuple(calls), count_parameters(model))


@contextmanager
def watched(model: nn.Module, calls: list[Call], entered: list[tuple[str, nn.Module, Tensor]]) -> Iterator[None]:
    """Note each call of a layer without children while the model runs; put hooks and modes back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    handles = []

    def watch(name: str, layer: nn.Module) -> None:
        def before(layer: nn.Module, inputs: tuple, named: dict) -> None:
            entered.append((name, layer, [*inputs, *named.values()][0]))

        def after(layer: nn.Module, inputs: tuple, named: dict, output: Tensor) -> None:
            _, _, x = entered.pop()
            calls.append(Call(name, type(layer).__name__, tuple(x.shape), tuple(output.shape), count_parameters(layer)))

        handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(layer.register_forward_hook(after, with_kwargs=True))

    try:
        model.eval()
        for name, layer in model.named_modules():
            if not any(layer.children()):
                watch(name or type(layer).__name__, layer)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode


def mismatch_message(entered: list[tuple[str, nn.Module, Tensor]], error: Exception, calls: list[Call]) -> str:
    """Say at which layer the pass stopped, what came and what the layer expects."""
    if not entered:
        return f"the model's forward failed outside its layers: {error}"
    name, layer, x = entered[-1]
    came = f'{type(layer).__name__} "{name}" received an input of shape {shape_text(tuple(x.shape))}'
    if not x.is_floating_point():
        return f"{came} and dtype {x.dtype}: expected floating point, convert it with x.float()"
    if any(call.kind == "Conv2d" and len(call.input_shape) == 3 for call in calls):
        return f"{came}, and a convolution before it no batch axis: pass (B, C, H, W), for example x[None]"
    if isinstance(layer, nn.Linear) and x.shape[-1] != layer.in_features:
        return (
            f"{came}, but expects {layer.in_features} features in the last axis: "
            f"set in_features={x.shape[-1]}, or change what comes before (is a flatten missing?)"
        )
    if isinstance(layer, nn.Conv2d) and x.dim() not in (3, 4):
        return f"{came}, but expects (B, C, H, W): add the missing axes, for example x[None, None]"
    if isinstance(layer, nn.Conv2d) and x.shape[-3] != layer.in_channels:
        return f"{came}, but expects {layer.in_channels} channels: set in_channels={x.shape[-3]}"
    return f"{came} and failed: {error}"
