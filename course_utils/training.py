"""The shared training loop: `fit`, `evaluate`, and the two seams that carry all variation, steps and callbacks."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from tqdm.auto import tqdm

from course_utils.runtime import is_main_process, label, mean_over_ranks, shown

Batch = Sequence[Tensor]
Step = Callable[[nn.Module, Batch], Mapping[str, Tensor]]


def classification_step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the loss and accuracy of a batch: inputs float (B, …), labels int64 (B,); logits are (B, classes)."""
    inputs, labels = batch
    logits = model(inputs)  # (B, classes)
    check_logits(logits, labels)
    try:
        loss = F.cross_entropy(logits, labels)
    except IndexError:
        fault = f"labels run from {labels.min()} to {labels.max()}, but the model has {logits.shape[1]} outputs"
        raise ValueError(f"{fault}: count classes from 0, and give the last layer one output a class") from None
    return {"loss": loss, "accuracy": (logits.argmax(dim=1) == labels).float().mean()}


def bfloat16_step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Do `classification_step` with the model in bfloat16: 16 bits, with float32's range and fewer digits.

    It is faster where `runtime.has_bfloat16`. Weights, loss and optimizer stay in float32 (arXiv:1905.12322).
    """

    def logits(inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return model(inputs).float()

    return classification_step(logits, batch)


@dataclass
class State:
    """What callbacks may read of a running `fit`. They may write `stop`, and at the start `first_epoch`."""

    model: nn.Module
    optimizer: Optimizer
    train_loader: Iterable[Batch]
    epochs: int
    batches: int  # in one epoch
    callbacks: Sequence["Callback"]  # those that were passed to `fit`
    history: list[dict[str, float]]  # one row a finished epoch
    first_epoch: int = 0  # set by a checkpoint from which the training goes on
    epoch: int = 0  # the epoch now running, from 0
    batch: int = 0  # the batch now running, from 0
    metrics: Mapping[str, Tensor] = field(default_factory=dict)  # what `step` returned for this batch
    stop: bool = False  # set it to end the training after this epoch


class Callback:
    """Something that happens around the training loop. Override what you need; the rest does nothing."""

    def on_fit_start(self, state: State) -> None: ...  # before the first batch
    def on_backward(self, state: State) -> None: ...  # after loss.backward(), before optimizer.step()
    def on_batch_end(self, state: State) -> None: ...  # after optimizer.step()
    def on_epoch_end(self, state: State) -> None: ...  # after validation: state.history[-1] is this epoch's row
    def on_fit_end(self, state: State) -> None: ...  # once at the end, also when training was interrupted or failed
    def state_dict(self) -> dict | None: ...  # what a checkpoint must keep of it: plain values and tensors
    def load_state_dict(self, state: dict | None) -> None: ...  # take that back


def fit(
    model: nn.Module,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch] | None = None,
    *,
    optimizer: Optimizer,
    epochs: int,
    step: Step = classification_step,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    history: list[dict[str, float]] | None = None,
) -> list[dict[str, float]]:
    """Train `model` and return the history: a row an epoch with means and seconds.

    Pass a list of your own as `history` to keep its rows if you interrupt the training.
    """
    check_fit(model, optimizer, epochs)
    history = [] if history is None else history
    state = State(model, optimizer, train_loader, epochs, len(train_loader), callbacks, history)
    callbacks = [*callbacks, ProgressBar()] if progress else callbacks
    try:
        for callback in callbacks:
            callback.on_fit_start(state)
        for epoch in range(state.first_epoch, epochs):
            start, mean = time.perf_counter(), RunningMean()
            model.train()
            for number, batch in enumerate(train_loader):
                check_batch(model, batch)
                metrics = step(model, batch)
                loss = metrics["loss"]
                if loss.device.type == "cpu":  # on a GPU, asking would stall it
                    check_losses([loss], epoch, first=number)
                optimizer.zero_grad()
                loss.backward()
                state.epoch, state.batch, state.metrics = epoch, number, metrics
                for callback in callbacks:
                    callback.on_backward(state)
                optimizer.step()
                mean.update(metrics, weight=len(batch[0]))
                for callback in callbacks:
                    callback.on_batch_end(state)
            row = {"epoch": epoch + 1, **mean.compute("train_")}
            check_losses(mean.values["loss"], epoch)
            check_weights(model, epoch)
            if val_loader is not None:
                row.update(evaluate(model, val_loader, step, prefix="val_"))
            row["seconds"] = time.perf_counter() - start
            history.append(row)
            for callback in callbacks:
                callback.on_epoch_end(state)
            if state.stop:
                break
    finally:
        for callback in callbacks:
            callback.on_fit_end(state)
    return history


def evaluate(
    model: nn.Module, loader: Iterable[Batch], step: Step = classification_step, *, prefix: str = ""
) -> dict[str, float]:
    """Return the means of `step`'s metrics over all of `loader`, in eval mode and without gradients."""
    mean = RunningMean()
    with eval_mode(model), torch.no_grad():
        for batch in loader:
            check_batch(model, batch)
            mean.update(step(model, batch), weight=len(batch[0]))
    return mean.compute(prefix)


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


class RunningMean:
    """The mean of each metric over many batches, each weighted by its size: what one big batch would give."""

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = {}  # they stay on the device until `compute`: a GPU never has to wait
        self.weights: list[float] = []

    def update(self, metrics: Mapping[str, Tensor], weight: float) -> None:
        """Add one batch of `weight` samples."""
        self.weights.append(weight)
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value.detach())

    def compute(self, prefix: str = "") -> dict[str, float]:
        """Return each mean under `prefix` + its name. Raises ValueError when no sample came."""
        if not sum(self.weights):
            raise ValueError("the loader gave no batch, expected at least one: is the data empty, or drop_last set?")
        table = torch.stack([torch.stack(values) for values in self.values.values()])  # (metrics, batches)
        table = table.float() if table.device.type == "mps" else table.double()  # Apple's GPUs have no float64
        weights = torch.tensor(self.weights).to(table)  # (batches,)
        *totals, count = mean_over_ranks(torch.stack([*(table @ weights), weights.sum()])).tolist()
        return {prefix + name: total / count for name, total in zip(self.values, totals, strict=True)}


class ProgressBar(Callback):
    """One bar for the whole training, and a printed row for each epoch."""

    def on_fit_start(self, state: State) -> None:
        begin, end = state.first_epoch * state.batches, state.epochs * state.batches
        quiet = not is_main_process()
        self.bar = tqdm(initial=begin, total=end, unit="batch", leave=False, mininterval=0.2, disable=quiet)

    def on_batch_end(self, state: State) -> None:
        self.bar.update()

    def on_epoch_end(self, state: State) -> None:
        row = state.history[-1]
        texts = [f"{value:.4f}" if "loss" in name else shown(name, value) for name, value in row.items()]
        lines = [map(label, row), texts] if state.epoch == state.first_epoch else [texts]
        for line in lines if is_main_process() else []:
            print("  ".join(f"{text:>{max(len(name), 7)}}" for name, text in zip(row, line, strict=True)))

    def on_fit_end(self, state: State) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


# ------------------------------------------------------------------------- where torch's own message would mislead


def check_fit(model: nn.Module, optimizer: Optimizer, epochs: int) -> None:
    """Raise ValueError for no epochs, and for an optimizer of another model; warn of weights that it leaves out."""
    if epochs < 1:
        raise ValueError(f"expected a number of epochs ≥ 1, got {epochs}")
    optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not optimized <= {id(parameter) for parameter in model.parameters()}:
        raise ValueError("the optimizer holds parameters that this model lacks: create it after the complete model")
    left_out = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in optimized]
    if left_out:
        advice = "give them to the optimizer, or freeze them with requires_grad_(False)"
        warnings.warn(f"the optimizer lacks {', '.join(left_out)}: they will not be trained; {advice}", stacklevel=3)


def check_batch(model: nn.Module, batch: Batch) -> None:
    """Raise ValueError for an empty batch, one on another device, and one sample alone before a training BatchNorm."""
    if len(batch[0]) == 0:
        raise ValueError("the loader gave an empty batch, expected at least one sample: is the data empty?")
    here, there = batch[0].device, next(model.parameters(), batch[0]).device
    if here.type != there.type:
        advice = f"make_loader(…, device={str(there)!r}) or model.to({str(here)!r})"
        raise ValueError(f"the model is on {there}, but the batch is on {here}: move one of them, with {advice}")
    alone = model.training and len(batch[0]) == 1
    if alone and any(isinstance(module, _BatchNorm) and module.training for module in model.modules()):
        raise ValueError(
            "a batch of 1 sample came, but BatchNorm takes means over a batch: use batches of 8 or more, or GroupNorm. "
            "If only the last is so small, make_loader(…, shuffle=True) joins it, and DataLoader has drop_last=True"
        )


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError or TypeError unless logits are (B, classes) and labels int64 (B,)."""
    if labels.dtype != torch.int64:
        came = f"{labels.dtype}" if isinstance(labels, Tensor) else f"{type(labels).__name__} of {labels.dtype}"
        raise TypeError(f"expected int64 labels (class indices), got {came}: use torch.as_tensor(labels).long()")
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits of shape (B, classes) and labels of shape (B,), got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}: flatten before the last layer, and pass labels as class indices"
        )


def check_losses(losses: Sequence[Tensor], epoch: int, first: int = 0) -> None:
    """Raise ValueError for the first loss that is not finite, in the batches of an epoch from `first` on."""
    for batch, loss in enumerate(torch.stack(losses).flatten().tolist(), start=first):
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} at batch {batch + 1} of epoch {epoch + 1}, so training stopped. Try a learning "
                "rate ten times smaller, look for a logarithm or division of zero, and check that the inputs are "
                "finite and standardized. The weights may be damaged already: build the model anew"
            )


def check_weights(model: nn.Module, epoch: int) -> None:
    """Raise ValueError when the last step of an epoch left weights that are not finite: no loss would show it."""
    if broken := not_finite(model):
        raise ValueError(
            f"{broken[0]} is no longer finite after epoch {epoch + 1}, so training stopped. Try a learning rate ten "
            "times smaller, and build the model anew"
        )


def not_finite(model: nn.Module) -> list[str]:
    """Return the names of weights and buffers that hold an infinity or no number."""
    values = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    return [name for name, value in values.items() if not value.isfinite().all()]
