"""Many rounds of what can happen to a training and its file: whatever it is, nothing is lost and all ends the same.

A child process trains, and is killed at random moments, finds its file cut, a bit turned or the disk full, or meets
another process that writes to the same path. CHECKPOINT_ROUNDS=100 runs so many rounds of each of the five tests.
"""

import io
import os
import random
import signal
import time
import traceback
from contextlib import redirect_stdout

import pytest
import torch
from torch import nn

from course_utils import callbacks
from course_utils.callbacks import Checkpoint, EarlyStopping, Schedule
from course_utils.checkpoints import before, read_checkpoint
from course_utils.data import make_loader
from course_utils.training import Callback, fit

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork a process")

ROUNDS = int(os.environ.get("CHECKPOINT_ROUNDS", "20"))
EPOCHS = 5
ROWS = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(3, (24,), generator=torch.Generator().manual_seed(1))


class Stop(Callback):
    """Interrupt the training in the middle of this epoch, or the first one behind it."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, state):
        if state.epoch >= self.epoch:
            raise KeyboardInterrupt


def train(path, stop=EPOCHS):
    """Run the program whose end must not depend on what happens on the way; return the weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    loader = make_loader((ROWS, LABELS), 8, shuffle=True, transform=lambda x: x + 0.1 * torch.randn(x.shape))
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=EPOCHS * len(loader))
    callbacks = [Schedule(cycle), EarlyStopping(EPOCHS), Stop(stop), Checkpoint(path, resume=True)]
    fit(model, loader, loader, optimizer=optimizer, epochs=EPOCHS, callbacks=callbacks, progress=False)
    return model.state_dict()


def in_a_child(function, *arguments):
    """Start function(*arguments) in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        function(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ends_well(child):
    """Wait for a child and return whether it came to its end."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """The weights and the history of a training that nothing happens to."""
    path = tmp_path_factory.mktemp("right") / "run.pt"
    return train(path), [row["train_loss"] for row in read_checkpoint(path)["history"]]


def assert_right_end(path, right):
    weights, losses = right
    resumed = train(path)  # what is finished is not trained again
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())
    assert [row["train_loss"] for row in read_checkpoint(path)["history"]] == losses


def epochs_in(path):
    return len(read_checkpoint(path)["history"]) if path.exists() else 0


def test_killed_at_any_moment(right, tmp_path):
    chance, kills = random.Random(0), 0
    for k in range(ROUNDS):
        path, done = tmp_path / f"{k}.pt", 0
        for _ in range(3):
            child = in_a_child(train, path)
            time.sleep(chance.uniform(0.0, 0.08))
            os.kill(child, signal.SIGKILL)
            kills += not ends_well(child)
            assert epochs_in(path) >= done, "an epoch that was saved is lost"
            done = epochs_in(path)
        assert_right_end(path, right)
    assert kills > ROUNDS, "most rounds should meet the training alive"


def interrupted(*arguments, **more):
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:.*is no readable checkpoint")
@pytest.mark.parametrize("harm", ["cut", "bit"])
def test_a_damaged_file_costs_one_epoch_at_most(harm, right, tmp_path, monkeypatch):
    chance = random.Random(1)
    for k in range(ROUNDS):
        path = tmp_path / f"{k}.pt"
        with pytest.raises(KeyboardInterrupt):
            train(path, stop=3)
        content = bytearray(path.read_bytes())
        place = chance.randrange(len(content))
        if harm == "cut":
            del content[place:]
        else:
            content[place] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        with monkeypatch.context() as patch:  # and killed in the first save, when the file before is already replaced
            patch.setattr(callbacks, "save_checkpoint", interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(path)
        assert epochs_in(before(path)) >= 2
        assert_right_end(path, right)


def full_disk(path, room):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    fault = r"could not be written \(File too large\): what stood there stays as it was"
    with redirect_stdout(io.StringIO()), pytest.raises(OSError, match=fault):  # pytest keeps what is printed in a file
        train(path)


def test_a_full_disk_leaves_what_is_there(right, tmp_path):
    chance = random.Random(2)
    for k in range(ROUNDS):
        path = tmp_path / f"{k}.pt"
        with pytest.raises(KeyboardInterrupt):
            train(path, stop=2)
        content = path.read_bytes()
        assert ends_well(in_a_child(full_disk, path, chance.randrange(len(content) - 2000)))
        assert path.read_bytes() == content
        assert [file.name for file in tmp_path.glob(f"{k}.pt.*")] == [before(path).name]
        assert_right_end(path, right)


def test_two_processes_on_one_path(right, tmp_path):
    for k in range(ROUNDS):
        path = tmp_path / f"{k}.pt"
        children = [in_a_child(train, path), in_a_child(train, path)]
        while epochs_in(path) < EPOCHS:  # whoever reads in between finds a whole file
            time.sleep(0.005)
        assert all([ends_well(child) for child in children])
        assert_right_end(path, right)
