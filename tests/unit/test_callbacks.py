"""Schedules against torch's own, early stopping on scripted curves, and checkpoints that are whole or not there."""

import copy
import math
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from course_utils import callbacks
from course_utils.callbacks import Checkpoint, EarlyStopping, Record, Schedule
from course_utils.checkpoints import before, load_checkpoint, save_checkpoint
from course_utils.data import make_loader, make_three_feature_rows
from course_utils.training import Callback, fit

ROWS, LABELS = make_three_feature_rows(64, seed=1)


class Counter(nn.Module):
    """A model of one weight, which scripted training lowers by one a batch: it tells how many steps were taken."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def run_script(values, callbacks, *, name="loss", epochs=None, model=None, batches=1):
    """Train a Counter with learning rate 1 while validation returns `values`, one an epoch; return it and its rows."""
    model, script = model or Counter(), iter(values)

    def step(model, batch):
        metrics = {"loss": model.weight * 1.0}
        if not model.training:
            metrics = {"loss": torch.tensor(0.0), name: torch.tensor(next(script))}
        return metrics

    loader = [(torch.zeros(1), torch.zeros(1))] * batches
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    epochs = epochs or len(values)
    history = fit(
        model, loader, loader[:1], optimizer=optimizer, epochs=epochs, step=step, callbacks=callbacks, progress=False
    )
    return model, history


def make_net(seed=0, width=8, classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, classes))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -------------------------------------------------------------------------------------------------------- Schedule


class Rates(Callback):
    """Note the learning rate that each optimizer step uses."""

    def __init__(self):
        self.rates = []

    def on_backward(self, state):
        self.rates.append(state.optimizer.param_groups[0]["lr"])


EPOCHS, BATCHES = 4, 4


@pytest.mark.parametrize(
    ("make", "every_batch", "every"),
    [
        (lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, epochs=EPOCHS, steps_per_epoch=BATCHES), True, None),
        (lambda o: lr_scheduler.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=3), True, None),
        (lambda o: lr_scheduler.StepLR(o, step_size=2, gamma=0.5), False, None),
        (lambda o: lr_scheduler.ExponentialLR(o, gamma=0.5), False, None),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=EPOCHS), False, "epoch"),
        (lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=EPOCHS * BATCHES), True, "batch"),
        (lambda o: lr_scheduler.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=3), False, "epoch"),
    ],
)
def test_rates_are_those_of_the_scheduler_stepped_by_hand(make, every_batch, every):
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.01)
    scheduler, expected = make(optimizer), []
    for step in range(EPOCHS * BATCHES):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if every_batch or step % BATCHES == BATCHES - 1:
            scheduler.step()

    model, rates = make_net(), Rates()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    schedule = Schedule(make(optimizer), every=every)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(
            model, make_loader((ROWS, LABELS), 16), optimizer=optimizer, epochs=EPOCHS, callbacks=[rates, schedule],
            progress=False,
        )  # fmt: skip
    assert rates.rates == pytest.approx(expected)
    assert len(set(rates.rates)) > 1


def test_schedules_step_by_batch_or_epoch_and_nothing_else():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    with pytest.raises(ValueError, match=r"expected every=\"batch\" or every=\"epoch\", got 'step'"):
        Schedule(lr_scheduler.StepLR(optimizer, 1), every="step")


def test_record_writes_rate_and_gradient_norm_into_the_history():
    model, norms = make_net(), []

    class ByHand(Callback):
        def on_backward(self, state):
            norms.append(math.sqrt(sum(p.grad.square().sum().item() for p in state.model.parameters())))

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    callbacks = [Schedule(lr_scheduler.StepLR(optimizer, 1, gamma=0.5)), ByHand(), Record()]
    history = fit(
        model, make_loader((ROWS, LABELS), 16), optimizer=optimizer, epochs=3, callbacks=callbacks, progress=False
    )
    assert [row["learning_rate"] for row in history] == pytest.approx([0.1, 0.05, 0.025])
    means = [sum(norms[4 * k : 4 * k + 4]) / 4 for k in range(3)]
    assert [row["gradient_norm"] for row in history] == pytest.approx(means)


def plateau(values, **options):
    """Return the rates of one-batch epochs while `monitor` follows `values`."""
    model, rates = Counter(), Rates()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0, mode=options.pop("mode", "min"))
    script = iter(values)

    def step(model, batch):
        value = torch.tensor(0.0) if model.training else torch.tensor(next(script))
        return {"loss": model.weight * 0.0 + value, "accuracy": value}

    loader = [(torch.zeros(1), torch.zeros(1))]
    fit(
        model, loader, loader, optimizer=optimizer, epochs=len(values), step=step,
        callbacks=[rates, Schedule(scheduler, **options)], progress=False,
    )  # fmt: skip
    return rates.rates


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3.0, 2.0, 2.5, 1.0], {}, [1, 1, 1, 0.1]),
        ([3.0, 2.0, 1.0, 0.5], {}, [1, 1, 1, 1]),
        ([0.5, 0.4, 0.6, 0.7], {"monitor": "val_accuracy", "mode": "max"}, [1, 1, 0.1, 0.1]),
    ],
)
def test_a_plateau_lowers_the_rate(values, options, expected):
    assert plateau(values, **options) == pytest.approx(expected)


def test_an_unknown_monitor_is_named_with_what_there_is():
    with pytest.raises(ValueError, match=r"cannot watch 'val_f1': the history holds epoch, train_loss.*val_loss"):
        plateau([1.0], monitor="val_f1")


def test_a_schedule_of_another_optimizer_is_refused():
    model = make_net()
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    schedule = Schedule(lr_scheduler.StepLR(other, step_size=1))
    with pytest.raises(ValueError, match="another optimizer: create it from the one that fit gets"):
        fit(model, [(ROWS, LABELS)], optimizer=optimizer, epochs=1, callbacks=[schedule], progress=False)


def test_a_schedule_that_is_too_short_is_refused_before_the_first_step():
    model = make_net()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = Schedule(lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, epochs=2, steps_per_epoch=4))
    with pytest.raises(
        ValueError, match=r"8 steps, but 3 epochs of 4 batches need 12, one each batch: .* total_steps=12"
    ):
        fit(
            model, make_loader((ROWS, LABELS), 16), optimizer=optimizer, epochs=3, callbacks=[schedule], progress=False
        )  # fmt: skip
    assert same(model.state_dict(), before)


@pytest.mark.filterwarnings("ignore:the schedule has 3 steps")
def test_steps_are_counted_by_epochs_where_the_schedule_steps_by_epochs():
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = Schedule(lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=3), every="epoch")
    options = {"optimizer": optimizer, "callbacks": [schedule], "progress": False}
    fit(model, make_loader((ROWS, LABELS), 16), epochs=2, **options)
    with pytest.raises(ValueError, match=r"has 1 steps, but 2 epochs of 4 batches need 2, one each epoch"):
        fit(model, make_loader((ROWS, LABELS), 16), epochs=2, **options)


def test_a_schedule_that_would_not_come_down_is_named():
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = Schedule(lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=12), every="epoch")
    options = {"optimizer": optimizer, "callbacks": [schedule], "progress": False}
    with pytest.warns(UserWarning, match=r"12 steps, but 3 .* need 3, one each epoch: .*before the rate"):
        fit(model, make_loader((ROWS, LABELS), 16), epochs=3, **options)


def test_a_used_up_schedule_is_refused_before_the_first_step():
    """A second call of fit with the scheduler of the first would fail in mid-training."""
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = Schedule(lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, epochs=2, steps_per_epoch=4))
    options = {"optimizer": optimizer, "epochs": 2, "callbacks": [schedule], "progress": False}
    fit(model, make_loader((ROWS, LABELS), 16), **options)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="steps"):
        fit(model, make_loader((ROWS, LABELS), 16), **options)
    assert same(model.state_dict(), before)


def test_the_error_of_one_callback_is_not_hidden_by_the_next():
    """EarlyStopping has not started when the schedule before it refuses."""
    model = make_net()
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    both = [Schedule(lr_scheduler.StepLR(other, step_size=1)), EarlyStopping()]
    with pytest.raises(ValueError, match="another optimizer"):
        fit(model, [(ROWS, LABELS)], optimizer=optimizer, epochs=1, callbacks=both, progress=False)


# --------------------------------------------------------------------------------------------------- EarlyStopping

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([3.0, 2.0, 1.0, 1.5, 1.2, 1.1, 0.5], {"patience": 2}, 5, 3),
        ([3.0, 2.0, 1.0, 1.5, 1.2, 1.1, 0.5], {"patience": 3}, 6, 3),
        ([3.0, 2.0, 1.0, 1.5, 1.2, 1.1, 0.5], {"patience": 4}, 7, 7),
        ([1.0, 2.0, 0.5], {"patience": 1}, 2, 1),
        ([2.0, 3.0, 1.0, 3.0, 0.5, 3.0, 3.0], {"patience": 2}, 7, 5),
        ([4.0, 3.0, 2.0, 1.0], {}, 4, 4),
        ([1.0, 2.0, 2.0, 2.0, 2.0], {}, 4, 1),
        ([1.0, 1.0, 1.0, 1.0], {"patience": 2}, 3, 1),
        ([1.0, 0.95, 0.91, 0.5], {"patience": 2, "min_delta": 0.1}, 3, 1),
        ([1.0, 0.95, 0.85, 0.84, 0.84], {"patience": 2, "min_delta": 0.1}, 5, 3),
        ([0.5, 0.7, 0.6, 0.65, 0.9], {"patience": 2, "monitor": "val_accuracy"}, 4, 2),
        ([1.0, NAN, NAN, 0.5], {"patience": 2}, 3, 1),
        ([NAN, NAN, NAN, NAN], {"patience": 2}, 2, 2),
    ],
)
def test_early_stopping_keeps_the_best_weights(values, options, epochs, best):
    name = options.get("monitor", "val_loss").removeprefix("val_")
    model, history = run_script(values, [EarlyStopping(**options)], name=name)
    assert len(history) == epochs
    assert model.weight.item() == -best


def test_early_stopping_starts_anew_with_each_fit():
    stopping, model = EarlyStopping(patience=1), Counter()
    run_script([0.1, 0.2, 0.3], [stopping], model=model)
    assert model.weight.item() == -1
    _, history = run_script([3.0, 2.0, 1.0], [stopping], model=model)
    assert len(history) == 3
    assert model.weight.item() == -4


def test_early_stopping_keeps_the_best_weights_also_when_interrupted():
    class Interrupt(Callback):
        def on_batch_end(self, state):
            if state.epoch == 2:
                raise KeyboardInterrupt

    model = Counter()
    with pytest.raises(KeyboardInterrupt):
        run_script([1.0, 2.0, 3.0], [EarlyStopping(patience=5), Interrupt()], model=model)
    assert model.weight.item() == -1


def test_the_best_weights_include_batch_norm_s_statistics():
    model, seen = make_net(), []

    class Keep(Callback):
        def on_epoch_end(self, state):
            seen.append(copy.deepcopy(state.model.state_dict()))

    def worse_each_epoch(model, batch):
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return {"loss": loss if model.training else torch.tensor(float(len(seen)))}

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = make_loader((ROWS, LABELS), 16)
    options = {"step": worse_each_epoch, "callbacks": [Keep(), EarlyStopping(patience=2)], "progress": False}
    fit(model, loader, loader, optimizer=optimizer, epochs=5, **options)
    assert len(seen) == 3
    assert same(model.state_dict(), seen[0]) and not same(seen[0], seen[1])


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_is_at_least_one_epoch(patience):
    with pytest.raises(ValueError, match=f"patience of at least 1 epoch, got {patience}"):
        EarlyStopping(patience)


def test_early_stopping_needs_what_it_watches():
    with pytest.raises(ValueError, match="cannot watch 'val_accuracy': the history holds"):
        run_script([1.0], [EarlyStopping(monitor="val_accuracy")])


# ------------------------------------------------------------------------------------------------------ Checkpoint


@pytest.mark.parametrize(
    ("values", "name", "best"),
    [
        ([3.0, 1.0, 2.0], "loss", 2),
        ([3.0, 2.0, 1.0], "loss", 3),
        ([0.1, 0.5, 0.5], "accuracy", 2),
        ([1.0, NAN, 2.0], "loss", 1),
    ],
)
def test_the_best_epoch_is_saved(values, name, best, tmp_path):
    path = tmp_path / "runs" / "best.pt"
    _, history = run_script(values, [Checkpoint(path, monitor=f"val_{name}")], name=name)
    model = Counter()
    assert load_checkpoint(path, model) == history[:best]
    assert model.weight.item() == -best
    assert [file.name for file in path.parent.iterdir()] == ["best.pt"]


def test_a_watched_value_that_is_no_number_is_named(tmp_path):
    checkpoint = Checkpoint(tmp_path / "a.pt", monitor="val_loss")
    with pytest.warns(UserWarning, match="val_loss is nan after epoch 1: this epoch cannot be the best"):
        run_script([NAN, 1.0], [checkpoint])
    assert load_checkpoint(tmp_path / "a.pt", Counter())[-1]["val_loss"] == 1.0


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_place_of_the_file_is_named_before_training(resume, tmp_path):
    with pytest.raises(ValueError, match=r"is a folder: name a file, for example .*run\.pt"):
        run_script([1.0], [Checkpoint(tmp_path, resume=resume)])


def test_a_full_disk_is_met_before_training(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(callbacks, "write_whole", full)
    trained = []

    class Trained(Callback):
        def on_batch_end(self, state):
            trained.append(state.batch)

    with pytest.raises(OSError, match="No space left"):
        run_script([1.0], [Trained(), Checkpoint(tmp_path / "a.pt")])
    assert not trained


def test_the_rehearsal_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_script([1.0], [Checkpoint(tmp_path / "a.pt"), Interrupt()])
    assert list(tmp_path.iterdir()) == []


class Interrupt(Callback):
    def on_fit_start(self, state):
        raise KeyboardInterrupt


def test_other_ranks_save_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "is_main_process", lambda: False)
    run_script([1.0], [Checkpoint(tmp_path / "best.pt")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, torch.optim.SGD])
def test_a_training_goes_on_from_a_checkpoint_as_if_never_stopped(optimizer_class, tmp_path):
    def prepare(seed):
        model = make_net(seed)
        options = {"momentum": 0.9} if optimizer_class is torch.optim.SGD else {}
        return model, optimizer_class(model.parameters(), lr=0.01, **options)

    loader = make_loader((ROWS, LABELS), 16)
    whole, optimizer = prepare(seed=0)
    fit(whole, loader, optimizer=optimizer, epochs=4, progress=False)

    first, optimizer = prepare(seed=0)
    saving = Checkpoint(tmp_path / "a.pt", monitor="epoch")  # grows: each epoch is saved
    history = fit(first, loader, optimizer=optimizer, epochs=2, callbacks=[saving], progress=False)

    second, optimizer = prepare(seed=1)
    assert load_checkpoint(str(tmp_path / "a.pt"), second, optimizer) == history
    assert same(second.state_dict(), first.state_dict())
    fit(second, loader, optimizer=optimizer, epochs=2, progress=False)
    assert same(second.state_dict(), whole.state_dict())


@pytest.fixture
def saved(tmp_path):
    """Return a folder holding one good checkpoint, its path, and what went into it."""
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "best.pt"
    save_checkpoint(path, model, optimizer, [{"epoch": 1, "val_loss": 0.5}])
    return path, model, optimizer


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")])
def test_an_interrupted_write_leaves_the_file_before_it(error, saved, monkeypatch):
    path, model, optimizer = saved
    before = path.read_bytes()

    def half(file):
        (part,) = [file for file in path.parent.iterdir() if file != path]
        part.write_bytes(before[: len(before) // 2])
        raise error

    monkeypatch.setattr(os, "fsync", half)
    with pytest.raises(type(error)):
        save_checkpoint(path, model, optimizer, [])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_path_is_there_whenever_a_file_is_written(tmp_path, monkeypatch):
    path, there, fsync = tmp_path / "a.pt", [], os.fsync

    def look(file):
        fsync(file)
        there.append(path.exists() and load_checkpoint(path, Counter())[-1]["epoch"])

    monkeypatch.setattr(os, "fsync", look)
    run_script([1.0, 2.0, 3.0], [Checkpoint(path, resume=True)])
    assert there == [False, False, 1, 1, 2, 2]  # a rehearsal; from the second epoch on the file before comes first
    assert load_checkpoint(before(path), Counter())[-1]["epoch"] == 2


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"best\.pt"):
        load_checkpoint(tmp_path / "best.pt", make_net())


@pytest.mark.parametrize(("odd", "kind"), [(np.float64(0.5), "numpy"), (Path("a.png"), "pathlib")])
def test_what_could_not_be_read_again_is_refused_before_it_replaces_anything(odd, kind, saved):
    path, model, optimizer = saved
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=rf"best\.pt could not be read again.*{kind}.*plain numbers, texts, lists and tensors"
    ):
        save_checkpoint(path, model, optimizer, [{"epoch": 1, "f1": odd}])
    assert path.read_bytes() == before


def test_weights_that_are_not_finite_replace_nothing(saved):
    path, model, optimizer = saved
    before = path.read_bytes()
    with torch.no_grad():
        model[0].weight[0, 0] = NAN
    with pytest.raises(ValueError, match=r"no longer finite .*, so .*best\.pt was not written"):
        save_checkpoint(path, model, optimizer, [])
    assert path.read_bytes() == before


class Wrapper(nn.Module):
    """A model with a part that is called `module`, as DistributedDataParallel calls what it wraps."""

    def __init__(self):
        super().__init__()
        self.module, self.head = nn.Linear(3, 8), nn.Linear(8, 3)


def test_only_parallel_wrappers_are_taken_off(tmp_path):
    model, again = Wrapper(), Wrapper()
    path, optimizer = tmp_path / "a.pt", torch.optim.SGD(model.parameters(), lr=0.1)
    save_checkpoint(path, model, optimizer, [])
    load_checkpoint(path, again)
    assert same(model.state_dict(), again.state_dict())
    save_checkpoint(path, nn.DataParallel(model), optimizer, [])
    load_checkpoint(path, again)
    load_checkpoint(path, nn.DataParallel(again))
    assert same(model.state_dict(), again.state_dict())


class Bomb:
    """What an attacker puts into a pickle: code that runs when it is read."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_a_checkpoint_cut_short_is_named(share, saved):
    path, model, optimizer = saved
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"(?s)is no readable checkpoint .*: delete it and train again") as error:
        load_checkpoint(path, model, optimizer)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "content",
    [b"not a checkpoint", b"PK\3\4", bytes(1000), pickle.dumps({"model": {}}, 2)],
    ids=["text", "zip", "zeros", "pickle"],
)
def test_another_kind_of_file_is_named(content, tmp_path):
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"(?s)best\.pt is no readable checkpoint .*: delete it and train again"):
        load_checkpoint(path, make_net())


WEIGHTS = make_net().state_dict()


@pytest.mark.parametrize(
    "content",
    [
        3,
        [1, 2],
        {},
        WEIGHTS,
        {"model": WEIGHTS, "optimizer": {}},
        {"history": [], "optimizer": {}},
        {"model": 3, "history": [], "optimizer": {}},
        {"model": WEIGHTS, "history": []},
        {"model": WEIGHTS, "history": [], "optimizer": {}},
    ],
    ids=["number", "list", "empty", "weights alone", "no history", "no model", "odd model", "no optimizer", "odd one"],
)
def test_a_file_without_what_a_checkpoint_holds_is_named(content, tmp_path):
    torch.save(content, tmp_path / "best.pt")
    model = make_net(seed=1)
    with pytest.raises(ValueError, match=r"best\.pt"):
        load_checkpoint(tmp_path / "best.pt", model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_checkpoint_cannot_run_code(tmp_path):
    torch.save({"model": Bomb(tmp_path / "ran"), "history": []}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match="no readable checkpoint") as error:
        load_checkpoint(tmp_path / "best.pt", make_net())
    assert "arbitrary code" not in str(error.value)  # torch's own text advises to switch the protection off
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "other", [make_net(width=9), nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 8)), make_net(seed=2, classes=5)]
)
def test_the_checkpoint_of_another_model_is_named(other, saved):
    kept = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=r"best\.pt belongs to another model"):
        load_checkpoint(saved[0], other)
    assert same(other.state_dict(), kept)


def test_the_checkpoint_of_another_optimizer_is_named(saved):
    model = make_net(seed=1)
    kept = copy.deepcopy(model.state_dict())
    two_groups = [{"params": model[0].parameters()}, {"params": model[3].parameters()}]
    with pytest.raises(ValueError, match=r"best\.pt belongs to another model or optimizer: .*parameter group"):
        load_checkpoint(saved[0], model, torch.optim.SGD(two_groups, lr=0.1))
    assert same(model.state_dict(), kept)
