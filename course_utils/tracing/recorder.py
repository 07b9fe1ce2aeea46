"""Watch a forward pass: every module that is called and every torch function that runs, and leave no trace of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from course_utils.tracing.functions import Function, Shape, argument_names, shapes_of, tensors_in


@dataclass
class OpenModule:
    """A module whose call has begun: where it stands in the model, what came in, and what it has computed so far."""

    name: str
    module: nn.Module
    is_layer: bool  # it is shown as one row, whatever runs inside
    inputs: tuple[Shape, ...]
    functions: list[Function] = field(default_factory=list)


class Recorder(TorchFunctionMode):
    """Follow a forward pass. Subclasses say what to do when a layer ends, a function has run, or one fails."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[OpenModule] = []  # outermost first; after an error the last one is where it happened

    def layer_ends(self, layer: OpenModule, outputs: tuple[Tensor, ...]) -> None:
        """Run after each call of a layer."""

    def function_ends(self, function: Function, inside: OpenModule) -> None:
        """Run after each torch function that returns tensors; `inside` is the innermost module."""

    def function_fails(self, function: Function, error: Exception) -> object:
        """Run when a torch function raises: raise, or return what to go on with."""
        raise error

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":  # a property is read: w.T is a function too, x.shape gives no tensor
            name = getattr(func.__self__, "__name__", name)
        inputs = tuple(tensors_in([args, kwargs]))
        if not self.open or not inputs or any(map(is_lazy, inputs)):  # a lazy parameter has no shape yet
            return func(*args, **kwargs)
        try:
            result = func(*args, **kwargs)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            result = self.function_fails(Function(name, argument_names(name, args, kwargs), inputs), error)
        outputs = tuple(tensors_in(result))
        if outputs:
            self.function_ends(Function(name, argument_names(name, args, kwargs), inputs, outputs), self.open[-1])
        return result


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode for a while; each module gets its own mode back, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def recording(model: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Let the recorder watch what runs inside; afterwards hooks, modes and the random state are as they were.

    The model runs in eval mode and without gradients, so that nothing in it changes.
    """
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        own_kind = type(module).__module__.startswith("torch.nn")
        is_layer = next(module.children(), None) is None and (own_kind or module is not model)

        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            recorder.open.append(OpenModule(name, module, is_layer, shapes_of(tensors_in([args, kwargs]))))

        def after(module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
            ended = recorder.open.pop()
            while ended.module is not module:  # modules inside that failed, and whose error the model caught
                ended = recorder.open.pop()
            if is_layer:
                recorder.layer_ends(ended, tuple(tensors_in(output)))

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))

    try:
        for name, module in model.named_modules():
            watch(name, module)
        with eval_mode(model), torch.random.fork_rng(devices=[]), torch.no_grad(), recorder:
            yield
    finally:
        for handle in handles:
            handle.remove()


def check_model(model: object, inputs: tuple) -> None:
    """Raise TypeError or ValueError unless there is a model and at least one tensor with numbers in it."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"expected a model (nn.Module), got {type(model).__name__}: pass the model first, then its input"
        )
    tensors = tensors_in(list(inputs))
    if not tensors:
        came = type(inputs[0]).__name__ if inputs else "nothing"
        raise TypeError(f"expected a tensor as input, got {came}: try torch.zeros(2, 1, 28, 28)")
    for tensor in tensors:
        if tensor.numel() == 0:
            raise ValueError(f"expected an input with at least one sample, got shape {tuple(tensor.shape)}")
