"""What can happen around the training loop: schedules, early stopping and checkpoints."""

import copy
import math
import os
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from course_utils.runtime import is_main_process
from course_utils.training import Callback, State


class Schedule(Callback):
    """Change the learning rate by a torch scheduler.

    OneCycleLR and CyclicLR step after each batch, the others after each epoch.
    ReduceLROnPlateau watches `monitor`, a name in the history.
    """

    def __init__(self, scheduler: LRScheduler, *, monitor: str = "val_loss") -> None:
        self.scheduler, self.monitor = scheduler, monitor
        self.every_batch = isinstance(scheduler, OneCycleLR | CyclicLR)

    def on_fit_start(self, state: State) -> None:
        if self.scheduler.optimizer is not state.optimizer:
            raise ValueError("the scheduler belongs to another optimizer: create it from the one that fit gets")
        total, needed = getattr(self.scheduler, "total_steps", None), state.epochs * state.batches
        if total is not None and total - self.scheduler.last_epoch < needed:
            raise ValueError(
                f"the schedule has {total - self.scheduler.last_epoch} steps, but {state.epochs} epochs of "
                f"{state.batches} batches need {needed}: pass epochs={state.epochs}, steps_per_epoch={state.batches}"
            )

    def on_batch_end(self, state: State) -> None:
        if self.every_batch:
            self.scheduler.step()

    def on_epoch_end(self, state: State) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(monitored(state, self.monitor))
        elif not self.every_batch:
            self.scheduler.step()


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs; keep the best weights.

    A loss improves downward, an accuracy upward. Raises ValueError for a patience below 1.
    """

    def __init__(self, patience: int = 3, *, monitor: str = "val_loss", min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"expected a patience of at least 1 epoch, got {patience}")
        self.patience, self.monitor, self.min_delta = patience, monitor, min_delta
        self.best_weights = None

    def on_fit_start(self, state: State) -> None:
        self.best, self.best_epoch, self.best_weights = -math.inf, -1, None

    def on_epoch_end(self, state: State) -> None:
        score = higher_is_better(monitored(state, self.monitor), self.monitor)
        if score > self.best + self.min_delta:
            self.best, self.best_epoch = score, state.epoch
            self.best_weights = copy.deepcopy(state.model.state_dict())
        elif state.epoch - self.best_epoch >= self.patience:
            state.stop = True

    def on_fit_end(self, state: State) -> None:
        if self.best_weights is not None:
            state.model.load_state_dict(self.best_weights)
            self.best_weights = None


class Checkpoint(Callback):
    """Save model, optimizer and history to `path` after each epoch in which `monitor` is the best so far.

    The file is written beside its place and then moved there, so it is never half written.
    """

    def __init__(self, path: str | Path, *, monitor: str = "val_loss") -> None:
        self.path, self.monitor = Path(path), monitor

    def on_fit_start(self, state: State) -> None:
        self.best = -math.inf

    def on_epoch_end(self, state: State) -> None:
        score = higher_is_better(monitored(state, self.monitor), self.monitor)
        if score > self.best and is_main_process():
            self.best = score
            save_checkpoint(self.path, state.model, state.optimizer, state.history)


def monitored(state: State, name: str) -> float:
    """Return the last value of `name`. Raises ValueError, listing what there is, when the history lacks it."""
    row = state.history[-1]
    if name not in row:
        raise ValueError(
            f"cannot watch {name!r}: the history holds {', '.join(row)}; pass val_loader or another monitor"
        )
    return row[name]


def higher_is_better(value: float, name: str) -> float:
    """Return a score that grows as `name` gets better: losses count negative."""
    return -value if "loss" in name else value


def save_checkpoint(path: str | Path, model: nn.Module, optimizer: Optimizer, history: list[dict[str, float]]) -> None:
    """Write the state of model and optimizer and the history to `path`, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    plain = getattr(model, "module", model)  # what DistributedDataParallel wraps
    content = {"model": plain.state_dict(), "optimizer": optimizer.state_dict(), "history": list(history)}
    try:
        torch.save(content, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: str | Path, model: nn.Module, optimizer: Optimizer | None = None) -> list[dict[str, float]]:
    """Put a checkpoint's state into model and optimizer and return its history.

    Raises FileNotFoundError when there is none and ValueError, naming the file, when it is damaged or of another model.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state, history, optimizer_state = content["model"], content["history"], content["optimizer"]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no checkpoint at {path}: train with Checkpoint({str(path)!r}) first"
        ) from None
    except Exception as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({type(error).__name__}): delete it and train again"
        ) from error
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path} belongs to another model: {error}") from error
    if optimizer is not None:
        try:
            optimizer.load_state_dict(optimizer_state)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} belongs to another optimizer: {error}") from error
    return history
