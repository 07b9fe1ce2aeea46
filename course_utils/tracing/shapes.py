"""The table of a forward pass: each layer's input, output, size formula, parameters and multiply-adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from torch import Tensor, nn

from course_utils.tracing.functions import FLATTENING
from course_utils.tracing.tracer import Call, OpenModule, Tracer

COLUMNS = ("layer", "kind", "input", "how the size comes about", "output", "parameters", "multiply-adds")
UNCOUNTED = ("LSTM", "GRU", "RNN", "multi_head_attention_forward", "MultiheadAttention")
SIDES = "<<<<<>>"  # texts stand on the left, numbers on the right


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Return how many numbers the model holds as parameters; a shared parameter counts once.

    >>> count_parameters(nn.Linear(3, 5))
    20
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


@dataclass(frozen=True)
class ShapeTrace:
    """The calls of one forward pass, in order, as a table with totals."""

    calls: tuple[Call, ...]
    parameters: int  # of the whole model, each counted once
    multiply_adds: int  # of the whole batch
    notes: tuple[str, ...] = ()  # what looks wrong although nothing failed

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows as text, in the order of COLUMNS."""
        return [
            (
                call.layer,
                call.kind,
                " + ".join(map(str, call.inputs)),
                call.formula,
                " + ".join(map(str, call.outputs)),
                "(again)" if call.again else f"{call.parameters:,}",
                f"{call.multiply_adds:,}",
            )
            for call in self.calls
        ]

    def totals(self) -> str:
        """Return the sums in words."""
        rows = sum(call.parameters for call in self.calls)
        elsewhere = f" ({self.parameters - rows:,} of them in no row)" if rows != self.parameters else ""
        return f"{self.parameters:,} parameters{elsewhere}, {self.multiply_adds:,} multiply-adds in all"

    def __str__(self) -> str:
        table = [COLUMNS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map("{:{}{}}".format, row, SIDES, widths)) for row in table]
        return "\n".join([*lines, self.totals(), *(f"Note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def html_row(cells: Sequence[str], tag: str) -> str:
            sides = ("left" if side == "<" else "right" for side in SIDES)
            parts = (f"<{tag} style='text-align:{s}'>{escape(c)}</{tag}>" for c, s in zip(cells, sides, strict=True))
            return f"<tr>{''.join(parts)}</tr>"

        rows = html_row(COLUMNS, "th") + "".join(html_row(row, "td") for row in self.rows())
        notes = "".join(f"<p role='alert'><b>Note:</b> {escape(note)}</p>" for note in self.notes)
        return f"<table>{rows}</table><p>{escape(self.totals())}</p>{notes}"


def trace_shapes(model: nn.Module, *inputs: Tensor, **named: Tensor) -> ShapeTrace:
    """Run the inputs through the model once and return a row for each layer that is called.

    What runs between layers gets a row too, unless it only copies or converts. The pass runs in eval mode without
    gradients; afterwards no hook is left and every module is in its mode, also after an error.
    Raises TypeError for arguments of the wrong kind, and ValueError when shapes do not fit: for each such layer it
    says what came, what the layer expects and which number to change.
    """
    tracer = Tracer()
    tracer.watch(model, *inputs, **named)
    total = sum(call.multiply_adds for call in tracer.calls)
    notes = (*batch_notes(tracer.calls), *idle_notes(model, tracer.used), *uncounted_notes(tracer.calls))
    return ShapeTrace(tuple(tracer.calls), count_parameters(model), total, notes)


def batch_notes(calls: Sequence[Call]) -> list[str]:
    """Return a warning when a flattening also cuts or joins samples: nothing fails, but the rows are no samples."""
    for call in calls:
        name = call.kind.rstrip("()").lower()
        before, after = call.inputs[0] if call.inputs else (), call.outputs[0] if call.outputs else ()
        if name in FLATTENING and before and len(after) in (1, 2) and before[0] != after[0]:
            keep = "flatten(start_dim=1) and x.flatten(1) keep each sample in its row"
            return [f"{call.kind} turns {before[0]} samples into {after[0]} rows, {after}: {keep}"]
    return []


def idle_notes(model: nn.Module, used: set[int]) -> list[str]:
    """Return a warning when some of the model's parameters took part in nothing."""
    idle = dict.fromkeys(name.rpartition(".")[0] or name for name, p in model.named_parameters() if id(p) not in used)
    if not idle:
        return []
    names = ", ".join(map(repr, list(idle)[:3])) + (f" and {len(idle) - 3} more" if len(idle) > 3 else "")
    return [f"not used in this pass: {names}"]


def uncounted_notes(calls: Sequence[Call]) -> list[str]:
    """Return a warning for layers that multiply much, though their multiply-adds are not counted."""
    kinds = sorted({call.kind for call in calls if call.kind.startswith(UNCOUNTED) and not call.multiply_adds})
    return [f"not among the multiply-adds: those of {', '.join(kinds)}"] if kinds else []


def capture_activations(model: nn.Module, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Return what the named modules put out for the input `x`, by name; without names, of every layer.

    A module that is called several times gives its last output. Runs like `trace_shapes`, with its errors. The
    tensors are copies, so that later layers that work in place cannot change them.
    Raises ValueError for a name that the model does not have, or that is not called.
    """
    names = [names] if isinstance(names, str) else names
    keeper = Keeper(names)
    keeper.watch(model, x)
    known = [name for name, _ in model.named_modules()]
    for name in names or ():
        if name not in known:
            raise ValueError(f"the model has no module {name!r}: choose from {', '.join(map(repr, known[1:]))}")
    missing = [name for name in names or () if name not in keeper.kept]
    if missing:
        raise ValueError(f"{', '.join(map(repr, missing))} was not called, or gave no tensor, for this input")
    return {name: keeper.kept[name] for name in (known if names is None else names) if name in keeper.kept}


class Keeper(Tracer):
    """Keep what the named modules put out; without names, every module that holds no others."""

    def __init__(self, names: Sequence[str] | None) -> None:
        super().__init__()
        self.names, self.kept = names, {}

    def module_ends(self, ended: OpenModule, output: object) -> None:
        super().module_ends(ended, output)
        wanted = next(ended.module.children(), None) is None if self.names is None else ended.name in self.names
        if wanted and isinstance(output, Tensor):
            self.kept[ended.name] = output.clone()
