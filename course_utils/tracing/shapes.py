"""The table of a forward pass: each layer's input, output, size formula, parameters and multiply-adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from torch import Tensor, nn

from course_utils.tracing.diagnosis import explain
from course_utils.tracing.functions import FLATTENING, Function, Shape, formula, multiply_adds, shape_text, shapes_of
from course_utils.tracing.recorder import OpenModule, Recorder, check_model, recording

COLUMNS = ("layer", "kind", "input", "how the size comes about", "output", "parameters", "multiply-adds")
ALWAYS_SHOWN = ("relu", "tanh", "sigmoid", "softmax", "log_softmax", "add", "cat", "dropout")  # of functions


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Return how many numbers the model holds as parameters; a shared parameter counts once.

    >>> count_parameters(nn.Linear(3, 5))
    20
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


@dataclass(frozen=True)
class Call:
    """One row: a layer's call, or a torch function that runs between layers (its kind ends with "()")."""

    layer: str  # for a function: the module in whose forward it stands
    kind: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    formula: str
    parameters: int  # each counts once: 0 where a layer is called again or has another layer's weights
    multiply_adds: int  # for the whole batch
    again: bool = False


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
                " + ".join(map(shape_text, call.inputs)),
                call.formula,
                " + ".join(map(shape_text, call.outputs)),
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
        widths = [max(len(row[k]) for row in table) for k in range(len(COLUMNS))]
        lines = [
            "  ".join(
                cell.rjust(w) if k > 4 else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        return "\n".join([*lines, self.totals(), *(f"Note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def cells(row: Sequence[str], tag: str) -> str:
            return "".join(
                f"<{tag} style='text-align:{'right' if k > 4 else 'left'}'>{escape(cell)}</{tag}>"
                for k, cell in enumerate(row)
            )

        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in self.rows())
        notes = "".join(f"<p role='alert'><b>Note:</b> {escape(note)}</p>" for note in self.notes)
        return f"<table><tr>{cells(COLUMNS, 'th')}</tr>{body}</table><p>{escape(self.totals())}</p>{notes}"


def trace_shapes(model: nn.Module, *inputs: Tensor, **named: Tensor) -> ShapeTrace:
    """Run the inputs through the model once and return a row for each layer that is called.

    What runs between layers gets a row too when it changes the shape or is a well-known function. The pass runs in
    eval mode without gradients; afterwards no hook is left and every module is in its mode, also after an error.
    Raises TypeError for arguments of the wrong kind, and ValueError when shapes do not fit: for each such layer it
    says what came, what the layer expects and which number to change.
    """
    check_model(model, (*inputs, *named.values()))
    tracer = Tracer()
    try:
        with recording(model, tracer):
            model(*inputs, **named)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ValueError(tracer.report(error)) from error
    if tracer.problems:
        raise ValueError(tracer.report())
    total = sum(call.multiply_adds for call in tracer.calls)
    notes = (*batch_notes(tracer.calls), *idle_notes(model, tracer.used))
    return ShapeTrace(tuple(tracer.calls), count_parameters(model), total, notes)


class Tracer(Recorder):
    """Turn what runs into rows, and what fails into explanations."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.problems: list[str] = []
        self.raised: dict[Exception, str] = {}  # explanations of errors that the model may still catch
        self.counted: set[nn.Parameter] = set()
        self.used: set[int] = set()  # the ids of all tensors that took part
        self.right: int | None = None  # how many calls came before the first problem

    def layer_ends(self, layer: OpenModule, outputs: tuple[Tensor, ...]) -> None:
        module, parameters = layer.module, set(layer.module.parameters())
        new = parameters - self.counted
        self.counted |= new
        texts = [formula(function) for function in layer.functions]
        self.calls.append(
            Call(
                layer.name or type(module).__name__,
                type(module).__name__,
                layer.inputs,
                shapes_of(outputs),
                "; ".join(text for text in texts if text),
                sum(p.numel() for p in new),
                sum(map(multiply_adds, layer.functions)),
                bool(parameters) and not new,
            )
        )

    def function_ends(self, function: Function, inside: OpenModule) -> None:
        self.used.update(map(id, function.inputs))
        if inside.is_layer:
            inside.functions.append(function)
            return
        name, work = function.name, multiply_adds(function)
        before, after = shapes_of(function.inputs), shapes_of(function.outputs)
        if work or after[0] != before[0] or name.strip("_") in ALWAYS_SHOWN:
            kind = "[…]" if name == "__getitem__" else f"{name}()"
            self.calls.append(Call(inside.name, kind, before, after, formula(function), 0, work))

    def function_fails(self, function: Function, error: Exception) -> object:
        message = explain(function, self.open[-1], self.calls, error)
        if function.name != "linear" or function.inputs[0].dim() != 2:
            self.raised[error] = message
            raise error
        self.right = self.right if self.problems else len(self.calls)
        self.problems.append(message)
        # go on with zeros, as if the layer had the right size: one pass then finds all layers that do not fit
        weight = function.arguments["weight"]
        return weight.new_zeros(len(function.inputs[0]), len(weight))

    def report(self, error: Exception | None = None) -> str:
        """Return the problems, or else where `error` came from, and the last rows that were still right."""
        cause = error
        while cause is not None and cause not in self.raised:
            cause = cause.__context__
        if cause is not None:
            self.problems.append(self.raised[cause])
        if not self.problems:
            inside = self.open[-1] if self.open and self.open[-1].name else None
            where = f' in {type(inside.module).__name__} "{inside.name}"' if inside else ""
            came = f", which receives {' and '.join(map(shape_text, inside.inputs))}" if inside else ""
            self.problems.append(f"the model's forward fails{where}{came}: {error}")
        count = len(self.problems)
        head = self.problems[0] if count == 1 else "\n".join([f"{count} layers do not fit:", *self.problems])
        rows = [f"  {c.layer or c.kind}: {shape_text(c.outputs[0])}" for c in self.calls[: self.right] if c.outputs]
        return "\n".join([head, *(["Before it, these went well:"] if rows else []), *rows[-4:]])


def batch_notes(calls: Sequence[Call]) -> list[str]:
    """Return a warning when a flattening also cuts or joins samples: nothing fails, but the rows are no samples."""
    for call in calls:
        name = call.kind.rstrip("()").lower()
        before, after = call.inputs[0] if call.inputs else (), call.outputs[0] if call.outputs else ()
        if name in FLATTENING and before and len(after) in (1, 2) and before[0] != after[0]:
            keep = "flatten(start_dim=1) and x.flatten(1) keep each sample in its row"
            return [f"{call.kind} turns {before[0]} samples into {after[0]} rows, {shape_text(after)}: {keep}"]
    return []


def idle_notes(model: nn.Module, used: set[int]) -> list[str]:
    """Return a warning when some of the model's parameters took part in nothing."""
    idle = dict.fromkeys(name.rpartition(".")[0] or name for name, p in model.named_parameters() if id(p) not in used)
    if not idle:
        return []
    names = ", ".join(map(repr, list(idle)[:3])) + (f" and {len(idle) - 3} more" if len(idle) > 3 else "")
    return [f"not used in this pass: {names}"]


def capture_activations(model: nn.Module, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Return what the named modules put out for the input `x`, by name; without names, of every layer.

    A module that is called several times gives its last output. Runs like `trace_shapes`: eval mode, no gradients,
    nothing left behind. The tensors are copies, so that later layers that work in place cannot change them.
    Raises ValueError for a name that the model does not have, or that is not called.
    """
    check_model(model, (x,))
    known = dict(model.named_modules())
    if names is None:
        wanted = [name for name, module in known.items() if next(module.children(), None) is None]
    else:
        wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            have = ", ".join(repr(other) for other in known if other)
            raise ValueError(f"the model has no module {name!r}: choose from {have}")
    captured: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            if isinstance(output, Tensor):
                captured[name] = output.detach().clone()

        return hook

    handles = [known[name].register_forward_hook(keep(name)) for name in wanted]
    try:
        with recording(model, Recorder()):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    missing = [name for name in wanted if name not in captured]
    if names is not None and missing:
        raise ValueError(f"{', '.join(map(repr, missing))} was not called, or gave no tensor, for this input")
    return {name: captured[name] for name in wanted if name in captured}
