"""`check`: what is said of an answer, and where exercises are found."""

import _thread
import difflib
import importlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch

from course_utils.exercises.comparing import untouched
from course_utils.exercises.slips import Exercise, NotAttempted

PASSED, WRONG, NOT_ATTEMPTED = "passed", "not yet", "not attempted yet"
LOOKS = {PASSED: ("✓", "#2a9d4a"), WRONG: ("✗", "#bd1f01"), NOT_ATTEMPTED: ("…", "#94a4a2")}
LIMIT = 10  # seconds for a check: the slowest takes two
UNTOUCHED = "Replace the line with the dots (...) in the cell above, then run both cells."


@dataclass(frozen=True)
class Verdict:
    """What `check` found: passed, not yet (with the reason), or not attempted yet."""

    name: str
    status: str
    message: str

    @property
    def passed(self) -> bool:
        return self.status == PASSED

    def __repr__(self) -> str:
        return f"{LOOKS[self.status][0]} {self.name}: {self.status}. {self.message}"

    def _repr_html_(self) -> str:
        sign, color = LOOKS[self.status]
        return (
            f"<div style='border-left: 4px solid {color}; padding: 0.2em 0.8em; white-space: pre-line'>"
            f"<b>{sign} {escape(self.name)}: {self.status}.</b> {escape(self.message)}</div>"
        )


def check(name: str, answer: object) -> Verdict:
    """Judge an answer to the exercise `name`, for example check("01/parameter_count", 98), and say what is wrong.

    Never raises for a wrong answer, so a whole notebook can run; random states, gradient mode and default dtype stay as
    they are, and an endless loop ends after LIMIT seconds. Raises ValueError, with the nearest names, for a name that
    does not exist.
    """
    exercise = find(name)
    try:
        with undisturbed(), time_limit(LIMIT):
            if untouched(answer):
                raise NotAttempted
            message = exercise.judge(answer)
    except NotAttempted:
        return Verdict(name, NOT_ATTEMPTED, UNTOUCHED)
    except TimeoutError as error:
        message = str(error)
    except (Exception, SystemExit) as error:
        message = f"the answer cannot be compared: {type(error).__name__}: {error}"
    return Verdict(name, PASSED, exercise.praise) if message is None else Verdict(name, WRONG, message)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block when it takes longer than that, and raise TimeoutError.

    Works where signals do not, such as in a kernel on Windows; but what one call of torch or sleep() does, it lets end.
    """
    if threading.current_thread() is not threading.main_thread():  # no other one can be interrupted
        yield
        return
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    try:
        try:
            timer.start()
            yield
        finally:
            timer.cancel()
            timer.join()
            if late.is_set():
                time.sleep(0.01)  # an interrupt on its way is to arrive here, not in the cells that follow
    except KeyboardInterrupt:
        if not late.is_set():
            raise  # the reader's own
        fault = f"your answer was still running after {seconds} seconds, so it was stopped"
        raise TimeoutError(f"{fault}: is there a loop that never ends, or one over every number of a tensor?") from None


def find(name: str) -> Exercise:
    """Return the exercise "chapter/exercise". Raises ValueError, with the nearest names, when there is none."""
    known = exercises(str(name).split("/")[0])
    if name not in known:
        everything = known or {other: None for chapter in topics() for other in exercises(chapter)}
        near = difflib.get_close_matches(str(name), everything, n=3, cutoff=0.3) or everything
        raise ValueError(f"there is no exercise {name!r}: did you mean {' or '.join(near)}?")
    return known[name]


def exercises(chapter: str) -> dict[str, Exercise]:
    """Return a chapter's exercises by name: what its file defines; {} for a chapter without any."""
    topic = topics().get(chapter)
    defined = vars(importlib.import_module(f"exercises.{topic}")) if topic else {}
    return {f"{chapter}/{name}": exercise for name, exercise in defined.items() if isinstance(exercise, Exercise)}


def topics() -> dict[str, str]:
    """Return each chapter's topic by its number: {"07": "batchnorm", …}, from the files beside `exercises/`."""
    folder = Path(importlib.import_module("exercises").__file__).parent
    names = [path.stem for path in folder.parent.glob("[0-9][0-9]_*.ipynb")]
    return {name[:2]: name[3:] for name in sorted(names) if (folder / f"{name[3:]}.py").exists()}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Seed all random states inside the block; afterwards these, gradient mode and default dtype are as before."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_grad_enabled(gradients)
            torch.set_default_dtype(dtype)
