"""Watch a forward pass: a row for every layer and function that runs, and an explanation for what fails."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from course_utils.tracing.diagnosis import explain
from course_utils.tracing.functions import Function, Shape, formula, multiply_adds, shapes_of, tensors_in
from course_utils.training import eval_mode

ERRORS = (RuntimeError, ValueError, IndexError, TypeError)  # what a wrong shape can raise
# Functions that only copy, convert, look at or fill in numbers: they have a row only where they change the shape
BOOKKEEPING = (
    "clone", "contiguous", "detach", "data", "requires_grad", "to", "type", "type_as", "float", "double", "half",
    "bfloat16", "long", "int", "bool", "cpu", "cuda", "view", "reshape", "flatten", "squeeze", "expand", "getitem",
    "fill", "zero", "uniform", "kaiming_uniform",
)  # fmt: skip


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


@dataclass
class OpenModule:
    """A module whose call has begun: where it stands in the model, what came in, and what it has computed so far."""

    name: str
    module: nn.Module
    is_layer: bool  # it is shown as one row, whatever runs inside
    inputs: tuple[Shape, ...]
    functions: list[Function] = field(default_factory=list)

    def name_of(self, function: Function) -> str:
        """Return the name by which a reader knows a function that runs inside: linear "out", or add() in "block1"."""
        if not self.is_layer:
            return f"{function.name}() in " + (f'"{self.name}"' if self.name else "the model's forward")
        kind = type(self.module).__name__
        return f'{kind.lower()} "{self.name}"' if self.name else kind


class Tracer(TorchFunctionMode):
    """Follow one forward pass; `calls` are its rows, `used` the ids of all tensors that took part."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[OpenModule] = []  # outermost first; after an error the last one is where it happened
        self.calls: list[Call] = []
        self.used: set[int] = set()
        self.counted: set[nn.Parameter] = set()
        self.problems: list[str] = []
        self.raised: dict[Exception, str] = {}  # explanations of errors that the model may still catch
        self.right: int | None = None  # how many calls came before the first problem

    def watch(self, model: nn.Module, *inputs: Tensor, **named: Tensor) -> object:
        """Run the model in eval mode without gradients and return its output; leave hooks, modes and seed as they were.

        Raises ValueError with an explanation of what does not fit.
        """
        check_model(model, [*inputs, *named.values()])
        names, handles = {module: name for name, module in model.named_modules()}, []

        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            own_kind = type(module).__module__.startswith("torch.nn")
            is_layer = next(module.children(), None) is None and (own_kind or module is not model)
            self.open.append(OpenModule(names[module], module, is_layer, shapes_of(tensors_in([args, kwargs]))))

        try:
            for module in names:
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                handles.append(module.register_forward_hook(self.after))
            with eval_mode(model), torch.random.fork_rng(devices=[]), torch.no_grad(), self:
                output = model(*inputs, **named)
        except ERRORS as error:
            raise ValueError(self.report(error)) from error
        finally:
            for handle in handles:
                handle.remove()
        if self.problems:
            raise ValueError(self.report())
        return output

    def after(self, module: nn.Module, args: tuple, output: object) -> None:
        """Close a module, with those inside it that failed and whose error the model caught."""
        while (ended := self.open.pop()).module is not module:
            pass
        self.module_ends(ended, output)

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":  # a property is read: w.T is a function too, x.shape gives no tensor
            name = getattr(func.__self__, "__name__", name)
        inputs = tensors_in([args, kwargs])
        if not self.open or not inputs or any(map(is_lazy, inputs)):  # a lazy parameter has no shape yet
            return func(*args, **kwargs)
        function = Function(name, args, kwargs)
        try:
            result = func(*args, **kwargs)
        except ERRORS as error:
            result = self.function_fails(function, error)
        if outputs := tensors_in(result):
            function.outputs, function.after = outputs, shapes_of(outputs)
            self.function_ends(function, self.open[-1])
        return result

    def module_ends(self, ended: OpenModule, output: object) -> None:
        """Add the row of a layer."""
        if not ended.is_layer:
            return
        kind, parameters = type(ended.module).__name__, set(ended.module.parameters())
        new = parameters - self.counted
        self.counted |= new
        outputs, text = shapes_of(tensors_in(output)), "; ".join(filter(None, map(formula, ended.functions)))
        numbers, work = sum(p.numel() for p in new), sum(map(multiply_adds, ended.functions))
        again = bool(parameters) and not new
        self.calls.append(Call(ended.name or kind, kind, ended.inputs, outputs, text, numbers, work, again))

    def function_ends(self, function: Function, inside: OpenModule) -> None:
        """Add the row of a function that runs between layers; `inside` is the innermost module."""
        self.used.update(map(id, function.inputs))
        if inside.is_layer:
            inside.functions.append(function)
        elif function.kind not in BOOKKEEPING or function.after[0] != function.before[0]:
            kind = "[…]" if function.kind == "getitem" else f"{function.name}()"
            text, work = formula(function), multiply_adds(function)
            self.calls.append(Call(inside.name, kind, function.before, function.after, text, 0, work))

    def function_fails(self, function: Function, error: Exception) -> Tensor:
        """Explain the error; after a linear layer go on with zeros, so that one pass finds all that do not fit."""
        message = f"{self.open[-1].name_of(function)} {explain(function, self.calls, error)}"
        if function.name != "linear" or len(function.before[0]) != 2:
            self.raised[error] = message
            raise error
        self.right = self.right if self.problems else len(self.calls)
        self.problems.append(message)
        weight = function.arguments["weight"]
        return weight.new_zeros(function.before[0][0], len(weight))

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
            came = f", which receives {' and '.join(map(str, inside.inputs))}" if inside else ""
            self.problems.append(f"the model's forward fails{where}{came}: {error}")
        count = len(self.problems)
        head = self.problems if count == 1 else [f"{count} layers do not fit:", *self.problems]
        rows = [f"  {call.layer or call.kind}: {call.outputs[0]}" for call in self.calls[: self.right] if call.outputs]
        return "\n".join([*head, *(["Before it, these went well:"] if rows else []), *rows[-4:]])


def check_model(model: object, inputs: list) -> None:
    """Raise TypeError or ValueError unless there is a model and at least one tensor with numbers in it."""
    if not isinstance(model, nn.Module):
        came = type(model).__name__
        raise TypeError(f"expected a model (nn.Module), got {came}: pass the model first, then its input")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise TypeError("a module that torch.jit has compiled hides its steps: trace the model that it was made from")
    tensors = tensors_in(inputs)
    if not tensors:
        came = type(inputs[0]).__name__ if inputs else "nothing"
        raise TypeError(f"expected a tensor as input, got {came}: try torch.zeros(2, 1, 28, 28)")
    for tensor in tensors:
        if tensor.numel() == 0:
            raise ValueError(f"expected an input with at least one sample, got shape {tuple(tensor.shape)}")
