"""A training that is killed in the middle of an epoch and started again ends bit for bit like one never stopped."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.callbacks import Checkpoint, EarlyStopping, Record, Schedule
from course_utils.checkpoints import before, fingerprint, load_checkpoint, read_checkpoint, save_checkpoint
from course_utils.data import make_loader
from course_utils.training import Callback, State, fit

EPOCHS = 4
INPUTS = torch.randn(70, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(3, (70,), generator=torch.Generator().manual_seed(1))
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
SCHEDULES = {
    "none": None,
    "OneCycle": lambda o, steps: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=steps),
    "Cyclic": lambda o, steps: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=7),
    "Step": lambda o, steps: torch.optim.lr_scheduler.StepLR(o, 2),
    "Cosine": lambda o, steps: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS),
    "Plateau": lambda o, steps: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "Lambda": lambda o, steps: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "Sequential": lambda o, steps: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.LinearLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
}


class Killer(Callback):
    """Kill the process, as a power failure would, at one batch of one epoch."""

    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def on_backward(self, state):
        if (state.epoch, state.batch) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def train(
    path, *, kill=None, schedule="OneCycle", optimizer="SGD", seed=0, epochs=EPOCHS, lr=0.05, width=8, stop=False,
    activation=nn.ReLU, inputs=INPUTS,
):  # fmt: skip
    """Run the same program each time, with noise, dropout, BatchNorm, a schedule; return model, optimizer, history."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(6, width), nn.BatchNorm1d(width), activation(), nn.Dropout(0.5), nn.Linear(width, 3)
    )
    options = SGD | {"lr": lr} if optimizer == "SGD" else {"lr": lr}
    steps = getattr(torch.optim, optimizer)(model.parameters(), **options)
    noisy = lambda x: x + 0.1 * torch.randn(x.shape)  # noqa: E731
    loader = make_loader((inputs, LABELS), 16, shuffle=True, transform=noisy)
    made = SCHEDULES[schedule](steps, epochs * len(loader)) if SCHEDULES[schedule] else None
    callbacks = [Schedule(made)] if made else []
    callbacks += [EarlyStopping(1, min_delta=1.0)] if stop else []
    callbacks += [Record(), *([Killer(*kill)] if kill else []), Checkpoint(path, resume=True)]
    if not kill:
        callbacks.insert(-1, Killer(-1, -1))  # the same callbacks each time
    val = make_loader((INPUTS, LABELS), 32)
    history = fit(model, loader, val, optimizer=steps, epochs=epochs, callbacks=callbacks, progress=False)
    return model, steps, history


def killed(path, **arguments):
    """Run the program in a process of its own, which is killed."""
    code = f"from test_resume import *\ntorch.set_num_threads(1)\ntrain({str(path)!r}, **{arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def same(a, b):
    """Compare nested states bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def without_times(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_same_end(first, second):
    for a, b in zip(first[:2], second[:2], strict=True):
        assert same(a.state_dict(), b.state_dict())
    assert without_times(first[2]) == without_times(second[2])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("schedule", ["OneCycle", "Plateau"])
@pytest.mark.parametrize("at", [(0, 2), (2, 3)])
def test_a_killed_training_ends_as_if_never_stopped(at, schedule, tmp_path):
    whole = train(tmp_path / "whole.pt", schedule=schedule)
    killed(tmp_path / "killed.pt", kill=at, schedule=schedule)
    assert (tmp_path / "killed.pt").exists() == (at[0] > 0)
    resumed = train(tmp_path / "killed.pt", schedule=schedule)
    assert len(resumed[2]) == EPOCHS
    assert_same_end(whole, resumed)


class Stop(Callback):
    """Interrupt the training, as a reader does, at one epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_backward(self, state):
        if state.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_every_schedule_and_optimizer_resumes(schedule, optimizer, tmp_path, monkeypatch):
    whole = train(tmp_path / "whole.pt", schedule=schedule, optimizer=optimizer)
    with monkeypatch.context() as patch:
        patch.setattr(Killer, "on_backward", lambda self, state: Stop(2).on_backward(state))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "part.pt", schedule=schedule, optimizer=optimizer)
    assert_same_end(whole, train(tmp_path / "part.pt", schedule=schedule, optimizer=optimizer))


def test_a_finished_training_is_not_trained_again(tmp_path):
    whole = train(tmp_path / "a.pt")
    assert_same_end(whole, train(tmp_path / "a.pt", seed=0))


def test_an_early_stop_is_remembered(tmp_path):
    whole = train(tmp_path / "a.pt", stop=True, schedule="none")
    assert len(whole[2]) < EPOCHS
    again = train(tmp_path / "a.pt", stop=True, schedule="none")
    assert len(again[2]) == len(whole[2])
    assert same(whole[0].state_dict(), again[0].state_dict())


def test_the_best_model_survives_a_resume(tmp_path):
    """After the resume all epochs are worse than the best one before it."""
    best, last = tmp_path / "best.pt", tmp_path / "last.pt"

    def run(stop):
        model = nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = make_loader((INPUTS, LABELS), 16)
        callbacks = [Worse(), Stop(stop), Checkpoint(best, monitor="val_loss"), Checkpoint(last, resume=True)]
        fit(model, loader, loader, optimizer=optimizer, epochs=EPOCHS, callbacks=callbacks, progress=False)

    with pytest.raises(KeyboardInterrupt):
        run(2)
    first = best.read_bytes()
    run(-1)
    assert best.read_bytes() == first
    assert len(load_checkpoint(last, nn.Linear(6, 3))) == EPOCHS


class Worse(Callback):
    """Let the validation loss rise by epochs."""

    def on_epoch_end(self, state):
        state.history[-1]["val_loss"] = float(state.epoch)


def test_a_resume_says_what_is_done(tmp_path, capsys):
    train(tmp_path / "a.pt")
    assert capsys.readouterr().out == ""
    train(tmp_path / "a.pt")
    assert capsys.readouterr().out == f"going on from {tmp_path / 'a.pt'}: 4 of 4 epochs done\n"


def test_numpy_s_random_numbers_go_on(tmp_path):
    class Noise(Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, state):
            self.seen.append(float(np.random.rand()))  # noqa: NPY002

    def run(path, stop):
        np.random.seed(0)  # noqa: NPY002
        model, noise = nn.Linear(6, 3), Noise()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        callbacks = [noise, Stop(stop), Checkpoint(path, resume=True)]
        loader = make_loader((INPUTS, LABELS), 16)
        with suppress(KeyboardInterrupt):
            fit(model, loader, optimizer=optimizer, epochs=EPOCHS, callbacks=callbacks, progress=False)
        return noise.seen

    whole = run(tmp_path / "a.pt", -1)
    assert run(tmp_path / "b.pt", 2) + run(tmp_path / "b.pt", -1) == whole


def noisy_loader(generator):
    return make_loader((INPUTS, LABELS), 16, transform=lambda x: x + torch.randn(x.shape, generator=generator))


def sampling_loader(generator):
    data = torch.utils.data.TensorDataset(INPUTS, LABELS)
    return torch.utils.data.DataLoader(data, 16, sampler=torch.utils.data.RandomSampler(data, generator=generator))


@pytest.mark.parametrize(("make", "given"), [(noisy_loader, True), (sampling_loader, False)])
def test_generators_of_one_s_own_go_on(make, given, tmp_path):
    def run(path, stop):
        torch.manual_seed(0)
        model, generator = nn.Linear(6, 3), torch.Generator().manual_seed(7)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        checkpoint = Checkpoint(path, resume=True, generators=[generator] if given else [])
        callbacks = [Stop(stop), checkpoint]
        with suppress(KeyboardInterrupt):
            fit(model, make(generator), optimizer=optimizer, epochs=EPOCHS, callbacks=callbacks, progress=False)
        return model.weight

    whole = run(tmp_path / "a.pt", -1)
    run(tmp_path / "b.pt", 2)
    assert torch.equal(run(tmp_path / "b.pt", -1), whole)


@pytest.mark.parametrize(
    "loader",
    [
        make_loader((INPUTS, LABELS), 16),
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(INPUTS, LABELS), 16),
        make_loader((INPUTS.bfloat16(), LABELS), 16),
    ],
)
def test_a_fingerprint_is_of_every_bit(loader):
    first = fingerprint(loader)
    assert first.startswith("crc32 ") and fingerprint(loader) == first
    data = loader.dataset.tensors[1] if hasattr(loader, "dataset") else loader.labels
    data[-1] ^= 1
    assert fingerprint(loader) != first
    data[-1] ^= 1
    assert fingerprint(loader) == first


def test_a_loader_without_tensors_has_no_fingerprint():
    assert fingerprint([(INPUTS, LABELS)]) == "unknown"
    assert fingerprint(torch.utils.data.DataLoader([1, 2, 3])) == "unknown"


# ---- damaged files


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    else:
        content[content.index(b"data.pkl") + 200] ^= 1  # inside the first part of the archive
    path.write_bytes(content)


def test_one_wrong_bit_is_noticed_or_changes_nothing(tmp_path):
    """Between the parts of the archive there are bytes that nobody reads."""
    path = tmp_path / "a.pt"
    train(path)
    whole, content = path.read_bytes(), read_checkpoint(path)
    noticed = 0
    for k in range(0, len(whole), len(whole) // 97):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
        try:
            assert same(read_checkpoint(path), content)
        except ValueError:
            noticed += 1
    assert noticed > 30


@pytest.mark.parametrize("how", ["cut", "one bit"])
def test_a_damaged_file_is_named_and_the_one_before_is_used(how, tmp_path):
    path = tmp_path / "a.pt"
    whole = train(path)
    damage(path, how)
    with pytest.warns(UserWarning, match=r"a\.pt is no readable checkpoint .*Going on from .*a\.pt\.before"):
        resumed = train(path)
    assert_same_end(whole, resumed)


def test_a_damaged_file_never_replaces_the_one_before(tmp_path, monkeypatch):
    """The newest file is damaged, and the training that went on from the one before is killed in its first save."""
    path = tmp_path / "a.pt"
    whole = train(path)
    damage(path, "cut")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning):
        patch.setattr(os, "fsync", lambda file: Stop(0).on_backward(State(None, None, [], 1, 1, [], [])))
        train(path)
    with pytest.warns(UserWarning, match="Going on from"):
        assert_same_end(whole, train(path))


def test_when_both_are_damaged_nothing_is_trained(tmp_path):
    path = tmp_path / "a.pt"
    train(path)
    damage(path, "cut")
    damage(before(path), "one bit")
    with (
        pytest.warns(UserWarning, match=r"a\.pt is no readable"),
        pytest.raises(ValueError, match=r"a\.pt\.before is no"),
    ):
        train(path)


# ---- other programs


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 0.01, "schedule": "Step"}, "optimizer: initial_lr: 0.05 there, initial_lr: 0.01 now"),
        ({"optimizer": "AdamW", "schedule": "Step"}, "optimizer: SGD there, AdamW now"),
        ({"epochs": 7, "schedule": "Step"}, "epochs: 4 there, 7 now"),
        ({"stop": True, "schedule": "Step"}, "callbacks: "),
        ({"width": 9, "schedule": "Step"}, "model: (0): Linear(in_features=6, out_features=8, bias=True) there, (0): "),
        ({"seed": 1, "schedule": "Step"}, "seed: 0 there, 1 now"),
        ({"schedule": "Cosine"}, "callbacks: StepLR, Record, Killer, Checkpoint there, CosineAnnealingLR, "),
        ({"activation": nn.Tanh, "schedule": "Step"}, "model: (2): ReLU() there, (2): Tanh() now"),
        ({"inputs": INPUTS + 1, "schedule": "Step"}, "data: crc32 "),
    ],
)
def test_a_resume_with_other_settings_is_refused(changes, named, tmp_path):
    train(tmp_path / "a.pt", schedule="Step")
    with pytest.raises(ValueError, match=r"a\.pt belongs to") as error:
        train(tmp_path / "a.pt", **changes)
    assert named in str(error.value)


def test_a_file_without_settings_cannot_be_resumed(tmp_path):
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = make_loader((INPUTS, LABELS), 16)
    save_checkpoint(tmp_path / "a.pt", model, optimizer, [])
    with pytest.raises(ValueError, match="other settings"):
        fit(
            model, loader, optimizer=optimizer, epochs=2, progress=False,
            callbacks=[Checkpoint(tmp_path / "a.pt", resume=True)],
        )  # fmt: skip


def test_the_checkpoint_comes_last(tmp_path):
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="put the Checkpoint last"):
        fit(
            model, make_loader((INPUTS, LABELS), 16), optimizer=optimizer, epochs=1, progress=False,
            callbacks=[Checkpoint(tmp_path / "a.pt", resume=True), Record()],
        )  # fmt: skip


def test_best_and_resume_are_two_checkpoints():
    with pytest.raises(ValueError, match="use two checkpoints"):
        Checkpoint("a.pt", monitor="val_loss", resume=True)
