"""What can happen around the training loop: schedules, early stopping, records and checkpoints."""

import copy
import io
import math
import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from course_utils.runtime import is_main_process
from course_utils.training import Callback, State


class Schedule(Callback):
    """Change the learning rate by a torch scheduler, after each "batch" or each "epoch".

    Without `every`, OneCycleLR and CyclicLR step after each batch, the others after each epoch.
    ReduceLROnPlateau watches `monitor`, a name in the history.
    """

    def __init__(self, scheduler: LRScheduler, *, every: str | None = None, monitor: str = "val_loss") -> None:
        if every not in (None, "batch", "epoch"):
            raise ValueError(f'expected every="batch" or every="epoch", got {every!r}')
        self.scheduler, self.monitor = scheduler, monitor
        self.every = every or ("batch" if isinstance(scheduler, OneCycleLR | CyclicLR) else "epoch")

    def on_fit_start(self, state: State) -> None:
        if self.scheduler.optimizer is not state.optimizer:
            raise ValueError("the scheduler belongs to another optimizer: create it from the one that fit gets")
        needed = state.epochs * (state.batches if self.every == "batch" else 1)
        left = getattr(self.scheduler, "total_steps", math.inf) - self.scheduler.last_epoch
        if left < needed:
            raise ValueError(
                f"the schedule has {left} steps, but {state.epochs} epochs of {state.batches} batches need {needed}, "
                f"one each {self.every}: create it anew with total_steps={needed}"
            )

    def state_dict(self) -> dict:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.scheduler.load_state_dict(state)

    def on_batch_end(self, state: State) -> None:
        if self.every == "batch":
            self.scheduler.step()

    def on_epoch_end(self, state: State) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(monitored(state, self.monitor))
        elif self.every == "epoch":
            self.scheduler.step()


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs; keep the best weights.

    A loss improves downward, an accuracy upward.
    """

    def __init__(self, patience: int = 3, *, monitor: str = "val_loss", min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"expected a patience of at least 1 epoch, got {patience}")
        self.patience, self.monitor, self.min_delta, self.best_weights = patience, monitor, min_delta, None

    def on_fit_start(self, state: State) -> None:
        self.best, self.best_epoch, self.best_weights = -math.inf, -1, None

    def state_dict(self) -> dict:
        return {"best": self.best, "best_epoch": self.best_epoch, "best_weights": self.best_weights}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.best_epoch, self.best_weights = state["best"], state["best_epoch"], state["best_weights"]

    def on_epoch_end(self, state: State) -> None:
        score = score_of(state, self.monitor)
        if score > self.best + self.min_delta:
            self.best, self.best_epoch = score, state.epoch
            self.best_weights = copy.deepcopy(state.model.state_dict())
        elif state.epoch - self.best_epoch >= self.patience:
            state.stop = True

    def on_fit_end(self, state: State) -> None:
        if self.best_weights is not None:
            state.model.load_state_dict(self.best_weights)
            self.best_weights = None


class Record(Callback):
    """Write the learning rate and the norm of the gradient, the mean over an epoch's batches, into each history row."""

    def on_fit_start(self, state: State) -> None:
        self.norms: list[Tensor] = []

    def on_backward(self, state: State) -> None:
        gradients = [p.grad for p in state.model.parameters() if p.grad is not None]
        self.norms.append(nn.utils.get_total_norm(gradients))  # it stays on the device until the epoch ends
        self.rate = state.optimizer.param_groups[0]["lr"]

    def on_epoch_end(self, state: State) -> None:
        mean = torch.stack(self.norms).mean().item()
        state.history[-1] |= {"learning_rate": self.rate, "gradient_norm": mean}
        self.norms.clear()


class Checkpoint(Callback):
    """Save the training to `path` after each epoch, or with `monitor` only after the best so far: the model to use.

    With `resume`, a training that was stopped, in whatever way, goes on from the file when the same program is run
    again, and ends bit for bit like one that was never stopped: weights, optimizer, callbacks, history and the random
    numbers of torch, NumPy, Python and the loader are kept, and in `path` + ".before" the file before the last one.
    Put it last in `callbacks`, since it keeps what the others know.
    """

    def __init__(self, path: str | Path, *, monitor: str | None = None, resume: bool = False) -> None:
        if monitor is not None and resume:
            raise ValueError("a training resumes from its last epoch, not from its best: use two checkpoints")
        self.path, self.monitor, self.resume = Path(path), monitor, resume

    def state_dict(self) -> dict:
        return {"best": self.best}

    def load_state_dict(self, state: dict) -> None:
        self.best = state["best"]

    def on_fit_start(self, state: State) -> None:
        self.best, self.last_file = -math.inf, None
        if self.resume and state.callbacks[-1] is not self:
            raise ValueError("put the Checkpoint last in the list of callbacks: it keeps what the others know")
        if self.resume and self.path.exists():
            self.restore(read_latest(self.path), state)

    def restore(self, content: dict, state: State) -> None:
        """Bring everything back to where it was when `content` was saved. Raises ValueError for other settings."""
        saved, now = content.get("settings", {}), settings(state)
        other = [
            f"{name}: {saved.get(name)!r} there, {now[name]!r} now" for name in now if saved.get(name) != now[name]
        ]
        if other:
            fault = f"{self.path} belongs to a training with other settings ({'; '.join(other)})"
            raise ValueError(f"{fault}: put them back, or choose another path to begin anew")
        load_parts(self.path, content, state.model, state.optimizer)
        for callback, kept in zip(state.callbacks, content["callbacks"], strict=True):
            callback.load_state_dict(kept)
        for name, (_, put) in random_sources(state.train_loader).items():
            if name in content["random"]:
                put(content["random"][name])
        state.history[:] = content["history"]
        state.first_epoch = state.epochs if content["stop"] else len(state.history)
        if is_main_process():
            print(f"going on from {self.path}: {len(state.history)} of {state.epochs} epochs done")

    def on_epoch_end(self, state: State) -> None:
        if self.monitor is not None:
            score = score_of(state, self.monitor)
            if not score > self.best:
                return
            self.best = score
        if not is_main_process():
            return
        more = {
            "settings": settings(state),
            "callbacks": [callback.state_dict() for callback in state.callbacks],
            "random": {name: get() for name, (get, _) in random_sources(state.train_loader).items()},
            "stop": state.stop,
        }
        if self.resume and self.last_file is not None:  # what this training wrote itself is whole
            write_whole(before(self.path), self.last_file)
        self.last_file = save_checkpoint(self.path, state.model, state.optimizer, state.history, **more)


def monitored(state: State, name: str) -> float:
    """Return the last value of `name`. Raises ValueError, listing what there is, when the history lacks it."""
    row = state.history[-1]
    if name not in row:
        held = ", ".join(row)
        raise ValueError(f"cannot watch {name!r}: the history holds {held}; pass val_loader or another monitor")
    return row[name]


def score_of(state: State, name: str) -> float:
    """Return a score that grows as `name` gets better: losses count negative."""
    return -monitored(state, name) if "loss" in name else monitored(state, name)


def settings(state: State) -> dict[str, object]:
    """Return what must not change between the parts of one training, by name."""
    return {
        "optimizer": type(state.optimizer).__name__,
        "epochs": state.epochs,
        "batches": state.batches,
        "batch size": getattr(state.train_loader, "batch_size", None),
        "callbacks": [type(getattr(callback, "scheduler", callback)).__name__ for callback in state.callbacks],
        "seed": torch.initial_seed(),
        **state.optimizer.defaults,
    }


def random_sources(loader: object) -> dict[str, tuple[Callable, Callable]]:
    """Return, by name, how to read and how to set the state of each generator of random numbers."""
    sources = {
        "torch": (torch.get_rng_state, torch.set_rng_state),
        "numpy": (lambda: [np.asarray(part).tolist() for part in np.random.get_state()], np.random.set_state),  # noqa: NPY002
        "python": (random.getstate, random.setstate),
    }
    if torch.cuda.is_available():
        sources["cuda"] = (torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)
    if getattr(loader, "generator", None) is not None:
        sources["loader"] = (loader.generator.get_state, loader.generator.set_state)
    return sources


def save_checkpoint(
    path: str | Path, model: nn.Module, optimizer: Optimizer, history: list[dict[str, float]], **more: object
) -> bytes:
    """Write the state of model and optimizer, the history and whatever else, whole or not at all; return the bytes.

    Raises ValueError for weights that are not finite, and for what could not be read back.
    """
    weights, file = unwrapped(model).state_dict(), io.BytesIO()
    if not all(value.isfinite().all() for value in weights.values() if isinstance(value, Tensor)):
        raise ValueError(f"the weights are no longer finite, so {path} was not written: try a lower learning rate")
    torch.save({"model": weights, "optimizer": optimizer.state_dict(), "history": list(history), **more}, file)
    try:
        torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    except pickle.UnpicklingError as error:
        kind = str(error).partition("GLOBAL ")[2].split(" ")[0]  # the rest of torch's text advises to run any code
        advice = "history and callbacks may hold plain numbers, texts, lists and tensors: try float(…) or str(…)"
        raise ValueError(f"{path} could not be read again, so it was not written ({kind}): {advice}") from None
    write_whole(Path(path), file.getvalue())
    return file.getvalue()


def load_checkpoint(path: str | Path, model: nn.Module, optimizer: Optimizer | None = None) -> list[dict[str, float]]:
    """Put a checkpoint's state into model and optimizer and return its history.

    Raises ValueError, naming the file, when it is damaged or of another model: then nothing has been changed.
    """
    content = read_checkpoint(path)
    load_parts(path, content, model, optimizer)
    return content["history"]


def load_parts(path: str | Path, content: dict, model: nn.Module, optimizer: Optimizer | None) -> None:
    """Put weights and optimizer state in place, or neither and raise ValueError, naming the file."""
    model = unwrapped(model)
    kept = copy.deepcopy(model.state_dict())
    try:
        model.load_state_dict(content["model"])
        if optimizer is not None:
            optimizer.load_state_dict(content["optimizer"])
    except Exception as error:
        model.load_state_dict(kept)  # torch has replaced the layers that fit
        raise ValueError(f"{path} belongs to another model or optimizer: {error}") from error


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model that DataParallel or DistributedDataParallel wraps, or the model itself."""
    return model.module if isinstance(model, DataParallel | DistributedDataParallel) else model


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all, also when the process is killed or the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def before(path: Path) -> Path:
    """Return where the file before the last one is kept."""
    return path.with_name(path.name + ".before")


def read_latest(path: Path) -> dict:
    """Return what `path` holds, or the file before it when that is damaged."""
    try:
        return read_checkpoint(path)
    except ValueError as error:
        if not before(path).exists():
            raise
        warnings.warn(f"{error}. Going on from {before(path)}, one epoch earlier", stacklevel=4)
        return read_checkpoint(before(path))


def read_checkpoint(path: str | Path) -> dict:
    """Return what a file holds. Raises FileNotFoundError, or ValueError when any of it is damaged."""
    file = io.BytesIO(Path(path).read_bytes())
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        damaged = zipfile.ZipFile(file).testzip()  # torch writes a checksum for each part, but does not look at it
        if damaged or not content.keys() >= {"model", "optimizer", "history"}:
            raise ValueError
    except Exception as error:
        fault = f"{path} is no readable checkpoint ({type(error).__name__})"
        raise ValueError(f"{fault}: delete it and train again") from error
    return content
