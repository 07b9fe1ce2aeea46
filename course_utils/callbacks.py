"""What can happen around the training loop: schedules, early stopping, records and checkpoints."""

import copy
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from course_utils.checkpoints import (
    before,
    differences,
    load_parts,
    random_sources,
    read_latest,
    save_checkpoint,
    serialized,
    settings,
)
from course_utils.checkpoints import (
    load_checkpoint as load_checkpoint,  # whoever saves by Checkpoint, loads by it
)
from course_utils.runtime import is_main_process, write_whole
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
        fault = (
            f"the schedule has {left} steps, but {state.epochs} epochs of {state.batches} batches need {needed}, one "
            f"each {self.every}: create it anew with total_steps={needed}"
        )
        if left < needed:
            raise ValueError(fault)
        if needed < left < math.inf:
            warnings.warn(f"{fault}, or the training ends before the rate has come down", stacklevel=3)

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
    numbers of torch, NumPy, Python, the loader and its sampler, and of `generators`, are kept, and in `path` +
    ".before" the file before the last one. Put it last in `callbacks`, since it keeps what the others know.

    Raises ValueError, naming what differs, for the file of a training with another seed, model (as it prints itself),
    optimizer, scheduler class, number of epochs or batches, or other data in memory. What is not kept: the random
    numbers of a DataLoader's persistent workers. What is not compared: data in files, and code.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        monitor: str | None = None,
        resume: bool = False,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        if monitor is not None and resume:
            raise ValueError("a training resumes from its last epoch, not from its best: use two checkpoints")
        self.path, self.monitor, self.resume, self.generators = Path(path), monitor, resume, generators

    def state_dict(self) -> dict:
        return {"best": self.best}

    def load_state_dict(self, state: dict) -> None:
        self.best = state["best"]

    def on_fit_start(self, state: State) -> None:
        self.best, self.last_file = -math.inf, None
        self.settings = settings(state)
        self.sources = random_sources(state.train_loader, self.generators)
        if self.resume and state.callbacks[-1] is not self:
            raise ValueError("put the Checkpoint last in the list of callbacks: it keeps what the others know")
        if self.path.is_dir():
            raise ValueError(f"{self.path} is a folder: name a file, for example {self.path / 'run.pt'}")
        if self.resume and self.path.exists():
            content, self.last_file = read_latest(self.path)
            self.restore(content, state)
        if is_main_process():  # a full disk is better met now than after the first epoch
            rehearsal = self.path.with_name(self.path.name + ".rehearsal")
            write_whole(rehearsal, serialized(rehearsal, state.model, state.optimizer, state.history))
            rehearsal.unlink(missing_ok=True)

    def restore(self, content: dict, state: State) -> None:
        """Bring everything back to where it was when `content` was saved. Raises ValueError for other settings."""
        if other := differences(content.get("settings", {}), self.settings):
            fault = f"{self.path} belongs to a training with other settings ({'; '.join(other)})"
            raise ValueError(f"{fault}: put them back, or choose another path to begin anew")
        load_parts(self.path, content, state.model, state.optimizer)
        for callback, kept in zip(state.callbacks, content["callbacks"], strict=True):
            callback.load_state_dict(kept)
        for name, (_, put) in self.sources.items():
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
            "settings": self.settings,
            "callbacks": [callback.state_dict() for callback in state.callbacks],
            "random": {name: get() for name, (get, _) in self.sources.items()},
            "stop": state.stop,
        }
        if self.resume and self.last_file is not None:  # known to be whole: written or read by this training
            write_whole(before(self.path), self.last_file)
        self.last_file = save_checkpoint(self.path, state.model, state.optimizer, state.history, **more)


def monitored(state: State, name: str) -> float:
    """Return the last value of `name`, with a warning when it is no number. Raises ValueError for an unknown name."""
    row = state.history[-1]
    if name not in row:
        held = ", ".join(row)
        raise ValueError(f"cannot watch {name!r}: the history holds {held}; pass val_loader or another monitor")
    if not math.isfinite(row[name]):
        warnings.warn(
            f"{name} is {row[name]} after epoch {state.epoch + 1}: this epoch cannot be the best", stacklevel=4
        )
    return row[name]


def score_of(state: State, name: str) -> float:
    """Return a score that grows as `name` gets better: losses count negative."""
    return -monitored(state, name) if "loss" in name else monitored(state, name)
