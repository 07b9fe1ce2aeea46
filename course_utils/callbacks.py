"""What can happen around the training loop: schedules, early stopping, records and checkpoints."""

import copy
import math
import os
import random
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from course_utils.runtime import is_main_process
from course_utils.training import Callback, State


class Schedule(Callback):
    """Change the learning rate by a torch scheduler, after each "batch" or each "epoch".

    Without `every`, OneCycleLR and CyclicLR step after each batch, the others after each epoch.
    ReduceLROnPlateau watches `monitor`, a name in the history. Raises ValueError for another word as `every`.
    """

    def __init__(self, scheduler: LRScheduler, *, every: str | None = None, monitor: str = "val_loss") -> None:
        if every not in (None, "batch", "epoch"):
            raise ValueError(f'expected every="batch" or every="epoch", got {every!r}')
        self.scheduler, self.monitor = scheduler, monitor
        by_batch = isinstance(scheduler, OneCycleLR | CyclicLR)
        self.every_batch = every == "batch" if every else by_batch
        if isinstance(scheduler, ReduceLROnPlateau) and self.every_batch:
            raise ValueError('ReduceLROnPlateau watches the history, which grows by epochs: leave every="batch" out')

    def on_fit_start(self, state: State) -> None:
        if self.scheduler.optimizer is not state.optimizer:
            raise ValueError("the scheduler belongs to another optimizer: create it from the one that fit gets")
        total, needed = getattr(self.scheduler, "total_steps", None), state.epochs * state.batches
        if total is not None and total - self.scheduler.last_epoch < needed:
            raise ValueError(
                f"the schedule has {total - self.scheduler.last_epoch} steps, but {state.epochs} epochs of "
                f"{state.batches} batches need {needed}: pass epochs={state.epochs}, steps_per_epoch={state.batches}"
            )

    def state_dict(self) -> dict:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.scheduler.load_state_dict(state)

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

    def state_dict(self) -> dict:
        return {"best": self.best, "best_epoch": self.best_epoch, "best_weights": self.best_weights}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.best_epoch, self.best_weights = state["best"], state["best_epoch"], state["best_weights"]

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
    """Save the training to `path` after each epoch. The file is never half written.

    With `monitor`, only in the epochs in which that is the best so far: the file then holds the model to use.
    With `resume`, a training that was stopped, in whatever way, goes on from the file when the same program is run
    again, and ends bit for bit like one that was never stopped: weights, optimizer, schedule, history and random
    numbers are kept. The file before the last one is kept too, as `path` + ".before". Put it last in `callbacks`, since
    it keeps what the others know. Raises ValueError when `path` belongs to another model or to other settings.
    """

    def __init__(self, path: str | Path, *, monitor: str | None = None, resume: bool = False) -> None:
        if monitor is not None and resume:
            raise ValueError("a training resumes from its last epoch, not from its best: use two checkpoints")
        self.path, self.monitor, self.resume = Path(path), monitor, resume

    def on_fit_start(self, state: State) -> None:
        self.best = -math.inf
        if not self.resume:
            return
        if state.callbacks[-1] is not self:
            raise ValueError("put the Checkpoint last in the list of callbacks: it keeps what the others know")
        self.settings = settings(state)  # before the first step, as they were asked for
        content = read_latest(self.path)
        if content is not None:
            self.restore(content, state)

    def restore(self, content: dict, state: State) -> None:
        """Bring everything back to where it was when `content` was saved."""
        check_settings(self.path, content["settings"], self.settings)
        load_parts(self.path, content, state.model, state.optimizer)
        for callback, saved in zip(state.callbacks, content["callbacks"], strict=True):
            callback.load_state_dict(saved)
        restore_random(content["random"], state.train_loader)
        state.history[:] = content["history"]
        state.first_epoch = state.epochs if content["stop"] else len(state.history)

    def on_epoch_end(self, state: State) -> None:
        if self.monitor is not None:
            score = higher_is_better(monitored(state, self.monitor), self.monitor)
            if not score > self.best:
                return
            self.best = score
        if not is_main_process():
            return
        more = {}
        if self.resume:
            more = {
                "settings": self.settings,
                "callbacks": [callback.state_dict() for callback in state.callbacks],
                "random": random_state(state.train_loader),
                "stop": state.stop,
            }
            if self.path.exists():
                os.replace(self.path, before(self.path))
        save_checkpoint(self.path, state.model, state.optimizer, state.history, **more)


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


# ------------------------------------------------------------------------------------------------ what a file holds


def save_checkpoint(
    path: str | Path, model: nn.Module, optimizer: Optimizer, history: list[dict[str, float]], **more: object
) -> None:
    """Write the state of model and optimizer, the history and whatever else, to `path`, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    plain = getattr(model, "module", model)  # what DistributedDataParallel wraps
    content = {"model": plain.state_dict(), "optimizer": optimizer.state_dict(), "history": list(history), **more}
    try:
        torch.save(content, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())  # on the disk before it takes the other's place, also when the power fails
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: str | Path, model: nn.Module, optimizer: Optimizer | None = None) -> list[dict[str, float]]:
    """Put a checkpoint's state into model and optimizer and return its history.

    Raises FileNotFoundError when there is none and ValueError, naming the file, when it is damaged or of another model.
    """
    content = read_checkpoint(path)
    load_parts(path, content, model, optimizer)
    return content["history"]


def read_checkpoint(path: str | Path) -> dict:
    """Return what a file holds. Raises FileNotFoundError, or ValueError when any of its bytes is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch writes a checksum for each part, but does not look at it when reading
        if damaged:
            raise ValueError(f"its part {damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        content["model"], content["history"], content["optimizer"]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no checkpoint at {path}: train with Checkpoint({str(path)!r}) first"
        ) from None
    except Exception as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({type(error).__name__}): delete it and train again"
        ) from error
    return content


def read_latest(path: Path) -> dict | None:
    """Return what `path` holds, or the file before it when that is damaged; None when there is neither.

    Raises ValueError when both are damaged.
    """
    problems = []
    for file in (path, before(path)):
        try:
            content = read_checkpoint(file)
            content["settings"], content["callbacks"], content["random"], content["stop"]
        except FileNotFoundError:
            continue
        except KeyError as error:
            raise ValueError(f"{file} was saved without resume=True: choose another path, or delete it") from error
        except ValueError as error:
            problems.append(str(error))
            continue
        if problems:
            warnings.warn(f"{problems[0]}. Going on from {file}, one epoch earlier", stacklevel=4)
        return content
    if problems:
        raise ValueError("; ".join(problems))
    return None


def before(path: Path) -> Path:
    """Return where the file before the last one is kept."""
    return path.with_name(path.name + ".before")


def load_parts(path: str | Path, content: dict, model: nn.Module, optimizer: Optimizer | None) -> None:
    """Put weights and optimizer state in place. Raises ValueError, naming the file, when they do not fit."""
    try:
        getattr(model, "module", model).load_state_dict(content["model"])
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path} belongs to another model: {error}") from error
    if optimizer is not None:
        try:
            optimizer.load_state_dict(content["optimizer"])
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} belongs to another optimizer: {error}") from error


def settings(state: State) -> dict[str, object]:
    """Return what must not change between the parts of one training, by name."""
    numbers = {
        f"{name} of parameter group {k}": group.get("initial_lr", value) if name == "lr" else value
        for k, group in enumerate(state.optimizer.param_groups)
        for name, value in group.items()
        if isinstance(value, bool | int | float | tuple) and name != "initial_lr"
    }
    return {
        "optimizer": type(state.optimizer).__name__,
        "epochs": state.epochs,
        "batches": state.batches,
        "batch size": getattr(state.train_loader, "batch_size", None),
        "callbacks": [type(callback).__name__ for callback in state.callbacks],
        **numbers,
    }


def check_settings(path: Path, saved: dict[str, object], now: dict[str, object]) -> None:
    """Raise ValueError, listing what differs, when a training is resumed with other settings."""
    names = dict.fromkeys([*saved, *now])
    other = [f"{k}: {saved.get(k)!r} there, {now.get(k)!r} now" for k in names if saved.get(k) != now.get(k)]
    if other:
        raise ValueError(
            f"{path} belongs to a training with other settings ({'; '.join(other)}): put them back, or choose another "
            "path to begin anew"
        )


def random_state(loader: object) -> dict:
    """Return where all random numbers stand: torch's on each device, the loader's own, Python's."""
    generator = getattr(loader, "generator", None)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "loader": None if generator is None else generator.get_state(),
        "python": random.getstate(),
    }


def restore_random(saved: dict, loader: object) -> None:
    """Put all random numbers back to where `random_state` found them."""
    torch.set_rng_state(saved["torch"])
    if torch.cuda.is_available() and saved["cuda"]:
        torch.cuda.set_rng_state_all(saved["cuda"])
    if saved["loader"] is not None:
        loader.generator.set_state(saved["loader"])
    random.setstate(saved["python"])
