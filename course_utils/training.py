"""The shared training loop: `fit`, `evaluate`, and the two seams that carry all variation, steps and callbacks."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from tqdm.auto import tqdm

from course_utils.runtime import is_main_process, mean_over_ranks
from course_utils.tracing import eval_mode

Batch = Sequence[Tensor]
Step = Callable[[nn.Module, Batch], Mapping[str, Tensor]]


def classification_step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the loss and accuracy of one batch, ready for `loss.backward()`.

    `batch` is (inputs float (B, …), labels int64 (B,)); the model returns logits (B, classes). Raises ValueError or
    TypeError when logits and labels do not fit together.
    """
    inputs, labels = batch
    logits = model(inputs)  # (B, classes)
    check_logits(logits, labels)
    try:
        loss = F.cross_entropy(logits, labels)
    except IndexError:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, but the model has {logits.shape[1]} outputs: "
            "count classes from 0 and give the last layer one output a class"
        ) from None
    return {"loss": loss, "accuracy": (logits.argmax(dim=1) == labels).float().mean()}


def bfloat16_step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Do `classification_step` with the model in bfloat16: 16 bits, with float32's range and fewer digits.

    Convolutions and matrix products run up to twice as fast where `runtime.has_bfloat16`; the weights, the loss and
    the optimizer stay in float32, so nothing else changes (Kalamkar et al. 2019, arXiv:1905.12322).
    """

    def logits(inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return model(inputs).float()

    return classification_step(logits, batch)


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError or TypeError unless logits are (B, classes) and labels int64 (B,)."""
    if labels.dtype != torch.int64:
        raise TypeError(f"expected int64 labels (class indices), got {labels.dtype}: convert them with labels.long()")
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits of shape (B, classes) and labels of shape (B,), got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}: flatten before the last layer, and pass labels as class indices"
        )


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

    def on_fit_start(self, state: State) -> None:
        """Run before the first batch."""

    def state_dict(self) -> dict:
        """Return what a checkpoint must keep of this callback, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Take back what `state_dict` returned."""

    def on_backward(self, state: State) -> None:
        """Run between `loss.backward()` and `optimizer.step()`: the gradients are there."""

    def on_batch_end(self, state: State) -> None:
        """Run after the optimizer's step."""

    def on_epoch_end(self, state: State) -> None:
        """Run after validation: `state.history[-1]` is this epoch's row."""

    def on_fit_end(self, state: State) -> None:
        """Run once at the end, also when training was interrupted or failed."""


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

    Rows go into `history` as epochs end: pass a list of your own to keep them when you
    interrupt the training. The model stays usable then, as the last finished step left it.
    Raises ValueError for a loss that is not finite, for empty data, and for a model and a
    batch on different devices.
    """
    check_fit(model, train_loader, optimizer, epochs)
    history = [] if history is None else history
    state = State(model, optimizer, train_loader, epochs, len(train_loader), callbacks, history)
    callbacks = [*callbacks, ProgressBar()] if progress else callbacks
    try:
        for callback in callbacks:
            callback.on_fit_start(state)
        first_epoch = state.first_epoch
        for state.epoch in range(first_epoch, epochs):
            start, mean = time.perf_counter(), RunningMean()
            model.train()
            for state.batch, batch in enumerate(train_loader):
                check_batch(model, batch, first=state.batch == 0)
                state.metrics = step(model, batch)
                check_loss(state.metrics["loss"], state)
                optimizer.zero_grad()
                state.metrics["loss"].backward()
                for callback in callbacks:
                    callback.on_backward(state)
                optimizer.step()
                mean.update(state.metrics, weight=len(batch[0]))
                for callback in callbacks:
                    callback.on_batch_end(state)
            check_epoch(mean, state)
            row = {"epoch": state.epoch + 1, **mean.compute("train_")}
            if val_loader is not None:
                row |= evaluate(model, val_loader, step, prefix="val_")
            state.history.append(row | {"seconds": time.perf_counter() - start})
            for callback in callbacks:
                callback.on_epoch_end(state)
            if state.stop:
                break
    finally:
        for callback in callbacks:
            callback.on_fit_end(state)
    return state.history


def evaluate(
    model: nn.Module, loader: Iterable[Batch], step: Step = classification_step, *, prefix: str = ""
) -> dict[str, float]:
    """Return the means of `step`'s metrics over all of `loader`, each batch weighted by its size.

    Runs in eval mode and without gradients, and puts every module back into the mode it was in. Raises ValueError for
    an empty loader or a model on another device.
    """
    mean = RunningMean()
    with eval_mode(model), torch.no_grad():
        for number, batch in enumerate(loader):
            check_batch(model, batch, first=number == 0)
            mean.update(step(model, batch), weight=len(batch[0]))
    return mean.compute(prefix)


class RunningMean:
    """The mean of each metric over many batches, each weighted by its size: what one big batch would give.

    Nothing is copied off the device until `compute`, so a GPU never has to wait.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = {}
        self.weights: list[float] = []

    def update(self, metrics: Mapping[str, Tensor], weight: float) -> None:
        """Add one batch of `weight` samples."""
        self.weights.append(weight)
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value.detach())

    def compute(self, prefix: str = "") -> dict[str, float]:
        """Return each mean under `prefix` + its name. Raises ValueError when no batch came."""
        if not self.weights:
            raise ValueError(
                "the loader gave no batch: expected at least one; is the data set empty, or drop_last set?"
            )
        means = {}
        for name, values in self.values.items():
            stacked = torch.stack(values).double() if values[0].device.type != "mps" else torch.stack(values)
            weights = torch.tensor(self.weights, dtype=stacked.dtype, device=stacked.device)
            total, count = mean_over_ranks(torch.stack([(stacked * weights).sum(), weights.sum()])).tolist()
            means[prefix + name] = total / count
        return means


class ProgressBar(Callback):
    """One bar for the whole training, and a printed row for each epoch."""

    def on_fit_start(self, state: State) -> None:
        self.bar = tqdm(
            initial=state.first_epoch * state.batches,
            total=state.epochs * state.batches,
            unit="batch",
            leave=False,
            mininterval=0.2,
            disable=not is_main_process(),
        )

    def on_batch_end(self, state: State) -> None:
        self.bar.update()

    def on_epoch_end(self, state: State) -> None:
        row = state.history[-1]
        if is_main_process():
            if state.epoch == state.first_epoch:
                print("  ".join(f"{name.replace('_', ' '):>{width(name)}}" for name in row))
            print("  ".join(f"{shown(name, value):>{width(name)}}" for name, value in row.items()))

    def on_fit_end(self, state: State) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


def width(name: str) -> int:
    """Return the width of a column of the epoch table."""
    return max(len(name), 7)


def shown(name: str, value: float) -> str:
    """Format one entry of a history row: accuracies in %, epochs whole, the rest to four digits."""
    if name == "epoch":
        return str(value)
    if "accuracy" in name:
        return f"{100 * value:.2f} %"
    return f"{value:.1f}" if name == "seconds" else f"{value:.4f}"


# ------------------------------------------------------------------------------------------------ what can go wrong


def check_fit(model: nn.Module, train_loader: Iterable[Batch], optimizer: Optimizer, epochs: int) -> None:
    """Raise ValueError or TypeError for arguments that `fit` cannot work with."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"expected a model (nn.Module), got {type(model).__name__}: create it first, as in model = Net()"
        )
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"expected a whole number of epochs ≥ 1, got {epochs!r}")
    if not hasattr(train_loader, "__len__"):
        raise TypeError(
            f"expected a loader with a length, got {type(train_loader).__name__}: make one with make_loader"
        )
    if len(train_loader) == 0:
        raise ValueError("the training loader is empty: expected at least one batch")
    mine = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in mine for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            "the optimizer holds no parameter of this model: create it after the model, from model.parameters()"
        )


def check_batch(model: nn.Module, batch: Batch, *, first: bool) -> None:
    """Raise ValueError for one sample alone in front of BatchNorm, and when the `first` batch is empty or elsewhere."""
    if len(batch[0]) == 1 and model.training:
        check_batch_norm(model)
    if not first:
        return
    if len(batch[0]) == 0:
        raise ValueError("the first batch is empty: expected at least one sample")
    there = next((parameter.device for parameter in model.parameters()), None)
    for tensor in batch:
        if isinstance(tensor, Tensor) and there is not None and tensor.device.type != there.type:
            raise ValueError(
                f"the model is on {there}, but the batch is on {tensor.device}: move one of them, for example with "
                f"make_loader(…, device={str(there)!r}) or model.to({str(tensor.device)!r})"
            )


def check_batch_norm(model: nn.Module) -> None:
    """Raise ValueError when a BatchNorm layer is in training mode: it cannot learn from one sample."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ValueError(
                f"a batch of 1 sample came, but the layer {name!r} is a {type(module).__name__}, which normalizes by "
                "mean and variance over the batch: use batches of 8 or more, or nn.GroupNorm, which needs none. Where "
                "only the last batch is so small, make_loader(…, shuffle=True) joins it, DataLoader has drop_last=True"
            )


def check_loss(loss: Tensor, state: State) -> None:
    """Raise ValueError when a loss on the CPU is not finite, before it can reach the weights.

    On a GPU the answer would cost a wait in every batch: there `check_epoch` asks once an epoch.
    """
    if loss.dim() != 0:
        raise ValueError(f"expected a loss that is one number, got shape {tuple(loss.shape)}: take its mean")
    if loss.device.type == "cpu" and not math.isfinite(loss.item()):
        raise ValueError(loss_message(loss.item(), state.batch, state.epoch))


def check_epoch(mean: "RunningMean", state: State) -> None:
    """Raise ValueError for the first loss of this epoch that is not finite."""
    losses = torch.stack(mean.values["loss"]).float().cpu() if mean.weights else torch.zeros(0)
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        batch = int(bad[0])
        raise ValueError(loss_message(losses[batch].item(), batch, state.epoch))


def loss_message(loss: float, batch: int, epoch: int) -> str:
    """Say where the loss stopped being a number and what to try."""
    return (
        f"the loss is {loss} at batch {batch + 1} of epoch {epoch + 1}, so training stopped. Try a learning rate ten "
        "times smaller, look for a logarithm or division of zero, and check that the inputs are finite and "
        "standardized. The weights may be damaged already: build the model anew"
    )
