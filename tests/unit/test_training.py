"""The training loop against loops written out by hand, and what it says when something does not fit."""

import copy
import json
import math
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils import training
from course_utils.data import make_loader, make_three_feature_rows
from course_utils.training import (
    Callback,
    RunningMean,
    State,
    bfloat16_step,
    check_losses,
    classification_step,
    eval_mode,
    evaluate,
    fit,
)

ROWS, LABELS = make_three_feature_rows(90, seed=1)
OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


def make_net(seed=0):
    """Return a small network whose batch norm and dropout behave differently in training and evaluation."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def train_loader(shuffle=True):
    return make_loader((ROWS, LABELS), 16, shuffle=shuffle, generator=torch.Generator().manual_seed(3))


def val_loader():
    return make_loader((ROWS[:37], LABELS[:37]), 8)


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr)


def weights(model):
    return copy.deepcopy(model.state_dict())


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Recorder(Callback):
    """Note the name of each hook that runs, and call `then` with the hook's name and the state."""

    def __init__(self, name="", log=None, then=lambda hook, state: None):
        self.name, self.log, self.then = name, log if log is not None else [], then

    def note(self, hook, state):
        self.log.append(f"{self.name}{hook}")
        self.then(hook, state)

    def on_fit_start(self, state):
        self.note("start", state)

    def on_backward(self, state):
        self.note("backward", state)

    def on_batch_end(self, state):
        self.note("batch", state)

    def on_epoch_end(self, state):
        self.note("epoch", state)

    def on_fit_end(self, state):
        self.note("end", state)


# ---------------------------------------------------------------------------------------- fit against plain loops


def loop_by_hand(model, loader, optimizer, epochs, most=math.inf):
    """Train as chapter 01 does, for `most` batches at most."""
    for _ in range(epochs):
        model.train()
        for inputs, labels in loader:
            if most == 0:
                return
            most -= 1
            loss = F.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("validate", [False, True])
def test_fit_equals_a_loop_by_hand_bit_for_bit(name, validate):
    ours, theirs = make_net(), make_net()
    torch.manual_seed(7)  # dropout draws from the global random state
    loop_by_hand(theirs, train_loader(), OPTIMIZERS[name](theirs.parameters()), 3)
    torch.manual_seed(7)
    optimizer = OPTIMIZERS[name](ours.parameters())
    fit(ours, train_loader(), val_loader() if validate else None, optimizer=optimizer, epochs=3, progress=False)
    assert same(ours.state_dict(), theirs.state_dict())
    assert not same(ours.state_dict(), make_net().state_dict())


def test_training_runs_in_training_mode_and_validation_in_eval_mode():
    modes = []

    def step(model, batch):
        modes.append((model.training, torch.is_grad_enabled()))
        return classification_step(model, batch)

    model = make_net().eval()
    fit(model, train_loader(), val_loader(), optimizer=sgd(model), epochs=2, step=step, progress=False)
    assert modes == ([(True, True)] * 6 + [(False, False)] * 5) * 2
    assert all(module.training for module in model.modules())


def test_gradients_do_not_pile_up_over_batches():
    model = nn.Linear(3, 3)
    gradients = []

    class Keep(Callback):
        def on_backward(self, state):
            gradients.append(model.weight.grad.clone())

    batch = (ROWS[:8], LABELS[:8])
    fit(model, [batch, batch], optimizer=sgd(model, lr=0.0), epochs=2, callbacks=[Keep()], progress=False)
    for gradient in gradients[1:]:
        assert torch.equal(gradient, gradients[0])


# -------------------------------------------------------------------------------------------------------- evaluate


@pytest.mark.parametrize("batch_size", [1, 7, 16, 89, 90, 200])
def test_evaluate_equals_one_big_batch(batch_size):
    model = make_net().eval()
    with torch.no_grad():
        expected = classification_step(model, (ROWS, LABELS))
    result = evaluate(model.train(), make_loader((ROWS, LABELS), batch_size))
    assert list(result) == ["loss", "accuracy"]
    assert result["loss"] == pytest.approx(expected["loss"].item(), rel=1e-6)
    assert result["accuracy"] == pytest.approx(expected["accuracy"].item(), abs=1e-7)
    assert evaluate(model, make_loader((ROWS, LABELS), batch_size), prefix="test_") == {
        f"test_{name}": value for name, value in result.items()
    }


def test_evaluate_leaves_weights_statistics_and_gradients_alone():
    model = make_net()
    before, tracked = weights(model), []

    def step(model, batch):
        result = classification_step(model, batch)
        tracked.append(result["loss"].requires_grad)
        return result

    evaluate(model, val_loader(), step)
    assert same(model.state_dict(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert tracked == [False] * 5
    assert torch.is_grad_enabled()


def modes(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("frozen", [(), (1,), (1, 3), (0, 1, 2, 3, 4)])
def test_every_module_gets_its_own_mode_back(frozen):
    model = make_net().train()
    for k in frozen:
        model[k].eval()
    before = modes(model)
    with eval_mode(model):
        assert not any(modes(model))
    assert modes(model) == before
    with pytest.raises(ZeroDivisionError), eval_mode(model):
        raise ZeroDivisionError
    assert modes(model) == before
    evaluate(model, val_loader())
    assert modes(model) == before

    def broken(model, batch):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate(model, val_loader(), broken)
    assert modes(model) == before


# --------------------------------------------------------------------------------------------------------- history


def test_history_holds_one_row_an_epoch():
    model = make_net()
    history = fit(model, train_loader(), val_loader(), optimizer=sgd(model), epochs=3, progress=False)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    for row in history:
        assert list(row) == ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"]
        assert all(type(value) is float for name, value in row.items() if name != "epoch")
        assert 0 < row["seconds"] < 60
    result = evaluate(model, val_loader(), prefix="val_")
    assert {name: history[-1][name] for name in result} == result


def test_without_validation_the_rows_hold_training_alone():
    model = make_net()
    (row,) = fit(model, train_loader(), optimizer=sgd(model), epochs=1, progress=False)
    assert list(row) == ["epoch", "train_loss", "train_accuracy", "seconds"]


def test_training_means_are_weighted_by_the_size_of_ragged_batches():
    seen = []

    def step(model, batch):
        result = classification_step(model, batch)
        seen.append((len(batch[1]), result["loss"].item(), result["accuracy"].item()))
        return result

    model = make_net()
    loader = make_loader((ROWS, LABELS), 88)  # batches of 88 and 2
    (row,) = fit(model, loader, optimizer=sgd(model), epochs=1, step=step, progress=False)
    assert [size for size, _, _ in seen] == [88, 2]
    assert row["train_loss"] == pytest.approx(sum(size * loss for size, loss, _ in seen) / 90, rel=1e-7)
    assert row["train_accuracy"] == pytest.approx(sum(size * right for size, _, right in seen) / 90, rel=1e-7)


def test_a_list_of_one_s_own_gets_the_rows_and_keeps_its_earlier_ones():
    model, history = make_net(), []
    assert fit(model, train_loader(), optimizer=sgd(model), epochs=2, progress=False, history=history) is history
    assert len(history) == 2
    first = dict(history[0])
    fit(model, train_loader(), optimizer=sgd(model), epochs=1, progress=False, history=history)
    assert len(history) == 3 and history[0] == first
    assert fit(model, train_loader(), optimizer=sgd(model), epochs=1, progress=False) is not history


@pytest.mark.parametrize("hook", ["backward", "batch"])
def test_an_interrupt_in_mid_epoch_keeps_rows_and_a_usable_model(hook):
    def interrupt(name, state):
        if name == hook and (state.epoch, state.batch) == (1, 2):
            raise KeyboardInterrupt

    before, after = Recorder(), Recorder()
    model, history = make_net(), []
    torch.manual_seed(7)
    with pytest.raises(KeyboardInterrupt):
        fit(
            model, train_loader(), val_loader(), optimizer=sgd(model), epochs=3, history=history,
            callbacks=[before, Recorder(then=interrupt), after], progress=False,
        )  # fmt: skip
    assert [row["epoch"] for row in history] == [1]
    assert before.log.count("end") == after.log.count("end") == 1
    theirs = make_net()
    torch.manual_seed(7)
    loop_by_hand(theirs, train_loader(), sgd(theirs), 2, most=6 + 2 + (hook == "batch"))  # finished steps
    if hook == "batch":
        assert same(model.state_dict(), theirs.state_dict())
    else:  # the interrupted batch went through batch norm's statistics, but not into the weights
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), theirs.parameters(), strict=True))
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert all(modes(model))
    evaluate(model, val_loader())
    fit(model, train_loader(), optimizer=sgd(model), epochs=1, progress=False, history=history)
    assert len(history) == 2


def test_an_interrupt_during_validation_puts_the_modes_back():
    def step(model, batch):
        if not model.training:
            raise KeyboardInterrupt
        return classification_step(model, batch)

    model, history, recorder = make_net(), [], Recorder()
    with pytest.raises(KeyboardInterrupt):
        fit(
            model, train_loader(), val_loader(), optimizer=sgd(model), epochs=1, step=step, callbacks=[recorder],
            history=history, progress=False,
        )  # fmt: skip
    assert all(modes(model))
    assert history == []
    assert recorder.log[-1] == "end" and "epoch" not in recorder.log


# -------------------------------------------------------------------------------------------------- steps, callbacks


def test_callbacks_run_in_list_order_around_the_loop():
    log, model = [], make_net()
    batches = [(ROWS[:8], LABELS[:8]), (ROWS[8:16], LABELS[8:16])]
    callbacks = [Recorder("a.", log), Recorder("b.", log)]
    fit(model, batches, optimizer=sgd(model), epochs=2, callbacks=callbacks, progress=False)
    hooks = ["start", *(["backward", "batch"] * 2 + ["epoch"]) * 2, "end"]
    assert log == [f"{name}.{hook}" for hook in hooks for name in "ab"]


def test_what_callbacks_see_at_each_moment():
    seen = []

    def look(hook, state):
        unchanged = torch.equal(state.model.weight, before[-1])
        seen.append((hook, state.epoch, state.batch, unchanged, len(state.history)))
        if hook != "start":
            assert state.model.weight.grad is not None
            assert set(state.metrics) == {"loss", "accuracy"}
        assert (state.epochs, state.batches) == (2, 1)
        assert state.optimizer is optimizer
        before.append(state.model.weight.detach().clone())

    model = nn.Linear(3, 3)
    before, optimizer = [model.weight.detach().clone()], sgd(model)
    fit(model, [(ROWS, LABELS)], optimizer=optimizer, epochs=2, callbacks=[Recorder(then=look)], progress=False)
    assert seen == [
        ("start", 0, 0, True, 0),
        ("backward", 0, 0, True, 0),
        ("batch", 0, 0, False, 0),
        ("epoch", 0, 0, True, 1),
        ("backward", 1, 0, True, 1),
        ("batch", 1, 0, False, 1),
        ("epoch", 1, 0, True, 2),
        ("end", 1, 0, True, 2),
    ]


def test_a_callback_may_change_the_gradients_before_the_step():
    class NoStep(Callback):
        def on_backward(self, state):
            for parameter in state.model.parameters():
                parameter.grad.zero_()

    model = nn.Linear(3, 3)
    before = weights(model)
    fit(model, train_loader(), optimizer=sgd(model), epochs=1, callbacks=[NoStep()], progress=False)
    assert same(model.state_dict(), before)


@pytest.mark.parametrize(("hook", "epoch", "rows"), [("epoch", 0, 1), ("batch", 0, 1), ("backward", 1, 2), ("", 0, 5)])
def test_stop_ends_the_training_after_the_epoch(hook, epoch, rows):
    def stop(name, state):
        if (name, state.epoch) == (hook, epoch):
            state.stop = True

    model, recorder = make_net(), Recorder(then=stop)
    history = fit(model, train_loader(), optimizer=sgd(model), epochs=5, callbacks=[recorder], progress=False)
    assert len(history) == rows
    assert recorder.log.count("batch") == 6 * rows
    assert recorder.log[-1] == "end"


def test_the_base_callback_does_nothing():
    state = State(nn.Linear(1, 1), None, [], 1, 1, [], [])
    for hook in ("on_fit_start", "on_backward", "on_batch_end", "on_epoch_end", "on_fit_end"):
        assert getattr(Callback(), hook)(state) is None


def test_an_error_in_the_loop_still_ends_the_callbacks_and_goes_on():
    def fail(hook, state):
        if hook == "batch":
            raise ZeroDivisionError

    recorder, model = Recorder(then=fail), make_net()
    with pytest.raises(ZeroDivisionError):
        fit(model, train_loader(), optimizer=sgd(model), epochs=1, callbacks=[recorder], progress=True)
    assert recorder.log == ["start", "backward", "batch", "end"]


def test_another_step_trains_a_regression():
    def step(model, batch):
        rows, sums = batch
        error = model(rows).squeeze(1) - sums
        return {"loss": error.square().mean(), "off_by": error.abs().mean()}

    model = nn.Linear(3, 1)
    sums = ROWS.sum(dim=1)
    batches = [(ROWS[k : k + 16], sums[k : k + 16]) for k in range(0, 90, 16)]
    history = fit(model, batches, batches, optimizer=sgd(model), epochs=60, step=step, progress=False)
    assert list(history[0]) == ["epoch", "train_loss", "train_off_by", "val_loss", "val_off_by", "seconds"]
    assert history[-1]["val_off_by"] < 0.05
    torch.testing.assert_close(model.weight, torch.ones(1, 3), atol=0.2, rtol=0)


def test_one_sample_alone_in_front_of_batch_norm_is_refused():
    model = make_net()
    loader = make_loader((ROWS, LABELS), 1)
    with pytest.raises(ValueError, match=r"a batch of 1 sample came, but BatchNorm takes means.*GroupNorm"):
        fit(model, loader, optimizer=sgd(model), epochs=1, progress=False)
    ragged = make_loader((ROWS[:9], LABELS[:9]), 8)  # not shuffled, so the last batch is not joined
    with pytest.raises(ValueError, match="a batch of 1 sample came"):
        fit(model, ragged, optimizer=sgd(model), epochs=1, progress=False)
    assert evaluate(model, ragged)["loss"] > 0  # in eval mode each sample stands for itself
    model[1] = nn.GroupNorm(2, 8)
    fit(model, loader, optimizer=sgd(model), epochs=1, progress=False)


def test_bfloat16_changes_the_digits_and_nothing_else():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
    batch = torch.randn(32, 3, 8, 8), torch.randint(5, (32,))
    results = {}
    for step in (classification_step, bfloat16_step):
        metrics = step(copy.deepcopy(model), batch)
        mine = copy.deepcopy(model)
        step(mine, batch)["loss"].backward()
        results[step] = metrics["loss"], [parameter.grad for parameter in mine.parameters()]
        assert metrics["loss"].dtype == torch.float32 and 0 <= metrics["accuracy"] <= 1
    (exact, gradients), (rounded, others) = results.values()
    assert exact != rounded  # it did compute in another precision
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)
    for one, other in zip(gradients, others, strict=True):
        assert other.dtype == torch.float32
        assert (one - other).norm() <= 0.1 * one.norm()


def test_progress_prints_a_row_an_epoch(capsys):
    model = make_net()
    history = fit(model, train_loader(), val_loader(), optimizer=sgd(model), epochs=3)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["epoch", "train", "loss", "train", "accuracy", "val", "loss", "val", "accuracy", "seconds"]
    assert len(rows) == 3
    for printed, row in zip(rows, history, strict=True):
        assert len(printed) == len(head)
        assert printed.split()[:4] == [
            str(row["epoch"]), f"{row['train_loss']:.4f}", f"{100 * row['train_accuracy']:.2f}", "%",
        ]  # fmt: skip


def test_each_call_prints_its_own_head(capsys):
    model, history = make_net(), []
    for _ in range(2):
        fit(model, train_loader(), optimizer=sgd(model), epochs=2, history=history)
    lines = capsys.readouterr().out.splitlines()
    assert ["train loss" in line for line in lines] == [True, False, False] * 2


def test_without_progress_nothing_is_printed(capsys):
    model = make_net()
    fit(model, train_loader(), val_loader(), optimizer=sgd(model), epochs=2, progress=False)
    assert tuple(capsys.readouterr()) == ("", "")


def test_other_ranks_print_nothing(capsys, monkeypatch):
    monkeypatch.setattr(training, "is_main_process", lambda: False)
    model = make_net()
    fit(model, train_loader(), optimizer=sgd(model), epochs=2)
    assert tuple(capsys.readouterr()) == ("", "")


# ----------------------------------------------------------------------------------------------------- RunningMean


def test_the_running_mean_weights_each_batch_by_its_size():
    mean = RunningMean()
    mean.update({"accuracy": torch.tensor(0.6), "loss": torch.tensor(2.0)}, weight=32)
    mean.update({"accuracy": torch.tensor(0.9), "loss": torch.tensor(1.0)}, weight=2)
    result = mean.compute("val_")
    assert list(result) == ["val_accuracy", "val_loss"]
    assert result["val_accuracy"] == pytest.approx((0.6 * 32 + 0.9 * 2) / 34, rel=1e-6)
    assert result["val_loss"] == pytest.approx(66 / 34, rel=1e-6)


def test_the_running_mean_of_many_batches_does_not_drift():
    mean = RunningMean()
    for _ in range(20_000):
        mean.update({"loss": torch.tensor(0.1)}, weight=64)
    assert mean.compute()["loss"] == pytest.approx(torch.tensor(0.1).item(), rel=1e-12)


def test_the_running_mean_keeps_no_graph():
    mean, weight = RunningMean(), torch.ones(1, requires_grad=True)
    mean.update({"loss": weight.sum()}, weight=1)
    assert not any(value.requires_grad for values in mean.values.values() for value in values)


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"gave no batch, expected at least one: is the data empty"):
        RunningMean().compute()


# ---------------------------------------------------------------------------------------------- what can go wrong


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("epoch", "batch"), [(0, 2), (1, 0)])
def test_a_loss_that_is_no_number_stops_before_the_weights(bad, epoch, batch):
    steps = []

    def step(model, inputs_and_labels):
        result = classification_step(model, inputs_and_labels)
        steps.append(1)
        return result | {"loss": result["loss"] * bad} if len(steps) == 6 * epoch + batch + 1 else result

    model, theirs, recorder = nn.Linear(3, 3), nn.Linear(3, 3), Recorder()
    theirs.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="learning rate ten times smaller") as error:
        fit(
            model, train_loader(), optimizer=sgd(model), epochs=3, step=step, callbacks=[recorder], progress=False
        )  # fmt: skip
    assert f"at batch {batch + 1} of epoch {epoch + 1}" in str(error.value)
    assert str(bad) in str(error.value)
    loop_by_hand(theirs, train_loader(), sgd(theirs), 2, most=6 * epoch + batch)
    assert same(model.state_dict(), theirs.state_dict())
    assert recorder.log[-1] == "end"


def test_the_first_bad_loss_of_an_epoch_is_named():
    good, bad = [torch.tensor(0.5), torch.tensor(0.4)], [torch.tensor(math.inf), torch.tensor(math.nan)]
    check_losses(good, epoch=1)
    with pytest.raises(ValueError, match=r"the loss is inf at batch 3 of epoch 2"):
        check_losses(good + bad, epoch=1)


def test_a_gpu_is_asked_for_its_losses_once_an_epoch(monkeypatch):
    """No batch may wait for its loss; the check at the end of the epoch still stops the training."""
    asked = []

    def only_at_the_end(losses, epoch, first=None):
        asked.append(len(losses))
        if first is None:  # as on a GPU, where the loop does not ask
            check_losses(losses, epoch)

    monkeypatch.setattr(training, "check_losses", only_at_the_end)
    rows = ROWS.clone()
    rows[20] = math.nan  # in the second batch of 16
    model, history = nn.Linear(3, 3), []
    with pytest.raises(ValueError, match=r"the loss is nan at batch 2 of epoch 1"):
        fit(
            model, make_loader((rows, LABELS), 16), optimizer=sgd(model), epochs=3, history=history, progress=False
        )  # fmt: skip
    assert asked == [1] * 6 + [6]
    assert history == []


ONE_HOT = F.one_hot(LABELS, 3)


@pytest.mark.parametrize(
    ("model", "labels", "error", "parts"),
    [
        (nn.Linear(3, 2), LABELS, ValueError, ["labels run from 0 to 2", "the model has 2 outputs", "last layer"]),
        (nn.Linear(3, 3), LABELS + 1, ValueError, ["labels run from 1 to 3", "3 outputs", "count classes from 0"]),
        (nn.Linear(3, 3), LABELS - 1, ValueError, ["labels run from -1 to 1", "3 outputs", "count classes from 0"]),
        (
            nn.Linear(3, 3),
            LABELS.float(),
            TypeError,
            ["int64 labels", "got torch.float32", "labels).long()"],
        ),
        (
            nn.Linear(3, 3),
            LABELS.int(),
            TypeError,
            ["int64 labels", "got torch.int32", "labels).long()"],
        ),
        (nn.Linear(3, 3), ONE_HOT, ValueError, ["labels of shape (B,)", "(90, 3) and (90, 3)", "class indices"]),
        (nn.Linear(3, 3), LABELS[:, None], ValueError, ["labels of shape (B,)", "(90, 3) and (90, 1)"]),
        (nn.Linear(3, 3), LABELS[:50], ValueError, ["(90, 3) and (50,)"]),
        (nn.Unflatten(1, (3, 1, 1)), LABELS, ValueError, ["logits of shape (B, classes)", "(90, 3, 1, 1)", "flatten"]),
        (nn.Flatten(0), LABELS, ValueError, ["logits of shape (B, classes)", "(270,)", "flatten"]),
    ],
)
def test_logits_and_labels_that_do_not_fit(model, labels, error, parts):
    model = nn.Sequential(model, nn.Identity())
    with pytest.raises(error) as caught:
        classification_step(model, (ROWS, labels))
    for part in parts:
        assert part in str(caught.value)
    with pytest.raises(error):
        evaluate(model, [(ROWS, labels)])


class Spent:
    """A loader that promises two batches and gives none."""

    def __len__(self):
        return 2

    def __iter__(self):
        return iter(())


META = (ROWS.to("meta"), LABELS.to("meta"))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"epochs": 0}, ["epochs ≥ 1", "got 0"]),
        ({"epochs": -1}, ["epochs ≥ 1", "got -1"]),
        ({"loader": []}, ["gave no batch", "at least one"]),
        ({"loader": Spent()}, ["gave no batch", "at least one"]),
        ({"val": []}, ["gave no batch", "at least one"]),
        ({"val": [(ROWS[:0], LABELS[:0])]}, ["gave an empty batch"]),
        ({"optimizer": sgd(nn.Linear(3, 3))}, ["parameters that this model lacks", "after the complete model"]),
        ({"loader": [META]}, ["model is on cpu", "batch is on meta", "model.to('meta')", "device='cpu'"]),
        ({"val": [META]}, ["model is on cpu", "batch is on meta"]),
        (
            {"model": nn.Linear(3, 3, device="meta")},
            ["model is on meta", "batch is on cpu", "make_loader(…, device='meta')", "model.to('cpu')"],
        ),
    ],
)
def test_fit_says_what_it_cannot_work_with(changes, parts):
    model = changes.get("model", nn.Linear(3, 3))
    with pytest.raises(ValueError) as caught:
        fit(
            model,
            changes.get("loader", [(ROWS, LABELS)]),
            changes.get("val"),
            optimizer=changes.get("optimizer", sgd(model)),
            epochs=changes.get("epochs", 1),
            progress=False,
        )
    for part in parts:
        assert part in str(caught.value)


def test_a_layer_replaced_after_the_optimizer_was_made_is_refused():
    """The new layer would never be trained."""
    model = make_net()
    optimizer = sgd(model)
    model[4] = nn.Linear(8, 3)
    with pytest.raises(ValueError, match="parameters that this model lacks: create it after the complete model"):
        fit(model, train_loader(), optimizer=optimizer, epochs=1, progress=False)


def test_trainable_weights_that_the_optimizer_lacks_are_named_once():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"the optimizer lacks 0\.weight, 0\.bias: .*freeze them") as caught:
        fit(model, train_loader(), optimizer=optimizer, epochs=2, progress=False)
    assert len(caught) == 1
    model[0].requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, train_loader(), optimizer=optimizer, epochs=1, progress=False)


@pytest.mark.parametrize("progress", [True, False])
def test_weights_that_the_last_step_breaks_are_named(progress):
    """No later loss shows them, so without a look they would be validated and saved."""

    class Breaks(Callback):
        def on_backward(self, state):
            if state.batch == state.batches - 1:
                state.model[0].bias.grad[0] = math.nan

    model, history = nn.Sequential(nn.Linear(3, 3)), []
    options = {"optimizer": sgd(model), "epochs": 2, "callbacks": [Breaks()], "progress": progress}
    with pytest.raises(ValueError, match=r"0\.bias is no longer finite after epoch 1, so training stopped"):
        fit(model, train_loader(), val_loader(), history=history, **options)
    assert history == []


def test_labels_in_an_array_are_told_to_become_a_tensor():
    with pytest.raises(TypeError, match=r"int64 labels .*, got ndarray of int64: use torch\.as_tensor"):
        evaluate(nn.Linear(3, 3), [(ROWS, LABELS.numpy())])


@pytest.mark.parametrize(
    ("model", "loader", "message"),
    [
        (nn.Linear(3, 3), [], "gave no batch"),
        (nn.Linear(3, 3), [(ROWS[:0], LABELS[:0])], "gave an empty batch"),
        (nn.Linear(3, 3), [META], "the model is on cpu, but the batch is on meta"),
        (nn.Linear(3, 3, device="meta"), [(ROWS, LABELS)], "the model is on meta, but the batch is on cpu"),
    ],
)
def test_evaluate_says_what_it_cannot_work_with(model, loader, message):
    with pytest.raises(ValueError, match=message):
        evaluate(model, loader)


# ------------------------------------------------------------------------------------------------------- two ranks

RANKS = """
import json
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from course_utils.data import make_loader, make_three_feature_rows
from course_utils.training import evaluate, fit

rows, labels = make_three_feature_rows(90, seed=1)
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3)))
mine = slice(0, 64) if rank == 0 else slice(64, 90)  # two validation batches on each rank, but of different sizes
train = make_loader((rows[rank:64:2], labels[rank:64:2]), 8)
val = make_loader((rows[mine], labels[mine]), 32 if rank == 0 else 13)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
history = fit(model, train, val, optimizer=optimizer, epochs=2)
values = torch.cat([value.flatten() for value in model.state_dict().values()]).tolist()
print("JSON", json.dumps({"history": history, "weights": values, "result": evaluate(model, val)}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a shared file")
def test_fit_and_evaluate_on_two_ranks(run_on_two_ranks):
    printed = run_on_two_ranks(RANKS)
    tables = [text.split("JSON")[0].splitlines() for text in printed]
    assert [len(table) for table in tables] == [3, 0]  # rank 0 prints head and rows, rank 1 nothing
    first, second = [json.loads(text.split("JSON")[1]) for text in printed]
    assert first["weights"] == second["weights"]
    assert first["result"] == second["result"]
    for one, other in zip(first["history"], second["history"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}

    torch.manual_seed(0)  # one process with the batches of both ranks joined takes the same steps
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
    halves = [make_loader((ROWS[rank:64:2], LABELS[rank:64:2]), 8) for rank in (0, 1)]
    joined = [(torch.cat([x0, x1]), torch.cat([y0, y1])) for (x0, y0), (x1, y1) in zip(*halves, strict=True)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    history = fit(model, joined, [(ROWS, LABELS)], optimizer=optimizer, epochs=2, progress=False)
    expected = torch.cat([value.flatten() for value in model.state_dict().values()]).tolist()
    assert first["weights"] == pytest.approx(expected, abs=1e-5)
    for one, other in zip(first["history"], history, strict=True):
        assert {**one, "seconds": 0} == pytest.approx({**other, "seconds": 0}, abs=1e-5)
    assert first["result"] == pytest.approx(evaluate(model, [(ROWS, LABELS)]), abs=1e-5)
