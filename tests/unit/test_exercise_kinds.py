"""The engine of the exercises, on small exercises of its own."""

import random
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.exercises import (
    attempt,
    check,
    checking,
    choice,
    draws,
    edited,
    function,
    keeps_its_inputs,
    module,
    same,
    same_gradients,
    table,
    value,
    variants,
)


def ask(exercise, answer, monkeypatch):
    """Check an answer to an exercise that no chapter asks."""
    monkeypatch.setattr(checking, "find", lambda name: exercise)
    return check("99/test", answer)


@pytest.fixture
def message(monkeypatch):
    """Return a function that gives what is said of an answer, or "passed", or "not attempted"."""

    def say(exercise, answer):
        verdict = ask(exercise, answer, monkeypatch)
        return {"passed": "passed", "not attempted yet": "not attempted"}.get(verdict.status, verdict.message)

    return say


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"did you mean .*01/parameter_count"):
        check("01/parameter_counts", 98)
    with pytest.raises(ValueError, match=r"there is no exercise 'parameter_count': did you mean .*parameter_count"):
        check("parameter_count", 98)


def test_a_verdict_shows_itself_and_escapes_what_came(message, monkeypatch):
    verdict = ask(value(right="n = 3", slips=[], praise="yes"), "<b>3</b>", monkeypatch)
    assert str(verdict) == "✗ 99/test: not yet. expected a number, got '<b>3</b>'"
    assert "&lt;b&gt;3" in verdict._repr_html_() and "<b>3" not in verdict._repr_html_()


def test_nothing_is_disturbed(monkeypatch):
    """Random states, gradient mode and default dtype are as before, whatever an answer does to them."""

    def answer(x):
        torch.manual_seed(7), random.seed(7), np.random.seed(7)  # noqa: NPY002
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return x

    exercise = function(right="def f(x):\n    return x", cases=[(1.0,)], slips=[], praise="yes")
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert ask(exercise, answer, monkeypatch).passed
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


# ------------------------------------------------------------------------------------------------------ single answers


def endless(x, scale):
    while True:
        pass


def stubborn(x, scale):
    while True:
        try:
            x = x + 1
        except Exception:
            return None


@pytest.mark.parametrize("answer", [endless, stubborn, lambda x, scale: next(k for k in iter(int, 1) if k)])
def test_an_endless_loop_ends_and_the_next_check_is_right(answer, message, center, monkeypatch):
    monkeypatch.setattr(checking, "LIMIT", 0.3)
    start = time.perf_counter()
    assert message(center, answer).startswith("your answer was still running after 0.3 seconds, so it was stopped")
    assert time.perf_counter() - start < 3
    for _ in range(3):
        assert message(center, lambda x, scale: (x - x.mean(0)) * scale) == "passed"


def test_an_interrupt_by_the_reader_goes_on(message, center):
    def interrupted(x, scale):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        message(center, interrupted)


def test_an_interrupt_at_the_last_moment_stays_inside(monkeypatch):
    """Whenever the limit comes, before, at, or behind the end: nothing arrives later."""
    for k in range(200):
        with suppress(TimeoutError), checking.time_limit(0.001):
            time.sleep(0.0005 + 0.00001 * (k % 100))
    time.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, scale: (x - x.mean()).to(torch.complex64), "complex64"),
        (lambda x, scale: (x - x.mean()).to("meta"), "got meta float32"),
        (lambda x, scale: (x - x.mean()).to_sparse(), "got sparse_coo float32"),
        (lambda x, scale: 1j, "got 1j"),
        (lambda x, scale: exit(), "SystemExit"),
        (lambda x, scale: Odd(), "odd"),
    ],
)
def test_whatever_comes_back_check_says_something(answer, words, message, center):
    assert words in message(center, answer)


class Odd:
    def __eq__(self, other):
        raise SystemExit("odd")

    def __repr__(self):
        raise SystemExit("odd")


def test_an_answer_that_changes_torch_is_compared_as_ever(message, center, monkeypatch):
    monkeypatch.setattr(torch, "allclose", lambda *args, **options: True)
    assert message(center, lambda x, scale: x) != "passed"


def test_choice(message):
    one = choice(right='x = "b"', wrong={"a": "not a", "c": "not c"}, praise="yes")
    assert message(one, " B ") == "passed" and message(one, "c") == "not c" and message(one, ...) == "not attempted"
    assert message(one, "d") == "expected one of a, b, c, got 'd'" == message(one, "d")
    assert message(one, "bc").startswith("expected one of") and message(one, 3).startswith("expected one of")
    some = choice(right='x = "ac"', wrong={"a": "a is right", "b": "b is wrong", "c": "c is right"}, praise="yes")
    assert message(some, "c, a") == message(some, ["C", "A"]) == message(some, {"a", "c"}) == "passed"
    assert message(some, "abc") == "b is wrong" and message(some, "a") == "c is right"
    assert message(some, "ax").startswith("expected some of a, b, c")


def test_value(message):
    exercise = value(right="n = 2 * (3 + 1)", slips=[("no 1", "(3 + 1)", "3"), ("ten", 10)], praise="yes")
    assert message(exercise, 8.0) == message(exercise, torch.tensor([8])) == message(exercise, np.int64(8)) == "passed"
    assert message(exercise, 6) == "no 1" and message(exercise, 10) == "ten"
    assert message(exercise, 7) == "7 is not it; the hints are folded under the exercise"
    for answer in (True, "8", [8], 8j, torch.ones(2)):
        assert message(exercise, answer).startswith("expected a number, got ")


def test_table(message):
    right = 't = {\n    "a": (1, 2),\n    "b": (3,),\n}'
    exercise = table(right=right, slips=[("turned round", "(1, 2)", "(2, 1)")], praise="yes")
    assert message(exercise, {"a": [1, 2], "b": torch.Size([3])}) == "passed"
    assert message(exercise, {"a": (2, 1), "b": (9,)}) == "a: turned round"
    assert message(exercise, {"a": (1, 2), "b": (9,)}) == "b: (9,) is not it"
    assert message(exercise, {"a": (1, 2)}) == "b is missing: the table has a, b"
    assert message(exercise, [1]) == "expected a dict with the entries a, b, got list"
    assert message(exercise, {"a": (1, ...), "b": 1}) == "not attempted"


# ----------------------------------------------------------------------------------------------------------- functions

MEAN = "def center(x, scale):\n    return (x - x.mean(dim=0)) * scale\n"


def cases(generator):
    return [(torch.randn(4, 3, generator=generator), scale) for scale in (2.0, 3.0)]


@pytest.fixture
def center():
    slips = [("over the rows, dim=0", "dim=0", "dim=1, keepdim=True"), ("scale is not used", " * scale", "")]
    return function(right=MEAN, cases=cases, slips=slips, praise="yes", laws=[keeps_its_inputs, same_gradients("x")])


def test_function_compares_with_the_right_answer_then_slips_then_pairs(message, center):
    assert message(center, lambda x, scale: scale * (x - x.sum(0) / len(x))) == "passed"
    assert message(center, lambda x, scale: x - x.mean(0)) == "scale is not used"
    assert message(center, lambda x, scale: x - x.mean(1)[:, None]) == "over the rows, dim=0; and scale is not used"
    assert message(center, lambda x, scale: ...) == "not attempted"
    assert message(center, 3) == "expected a function, got int: pass its name without brackets"


def test_the_fallback_names_arguments_and_the_first_place(message, center):
    said = message(center, lambda x, scale: torch.where(torch.arange(3) == 2, 9.0, (x - x.mean(0)) * scale))
    assert said.startswith("for x = float32 (4, 3), scale = 2: the shape (4, 3) is right; at [0, 2] expected ")
    assert said.endswith("got 9 (33% of the numbers differ)")
    assert ": expected float32 (4, 3), got tensor([" in message(center, lambda x, scale: x[0])
    assert "your function raised ZeroDivisionError: division by zero" in message(center, lambda x, scale: 1 / 0)
    assert "raised SystemExit" in message(center, lambda x, scale: exit())
    assert message(center, lambda x, scale: None) == "your function returned None: is the return missing?"
    numpy = message(center, lambda x, scale: ((x - x.mean(0)) * scale).numpy())
    assert numpy.endswith("the numbers are right, but they come as ndarray: return a tensor")


def test_advice_behind_torchs_words_speaks_of_images_only_where_there_are_some(message):
    for shape, images in (((4, 3), False), ((4, 3, 2, 2), True)):
        exercise = function(right="def f(x):\n    return x", cases=[(torch.zeros(shape),)], slips=[], praise="yes")
        said = message(exercise, lambda x: x + torch.zeros(7))
        assert "two shapes do not line up" in said and ("(B, C, H, W)" in said) == images


def test_laws(message, center):
    def in_place(x, scale):
        x -= x.mean(dim=0)
        return x * scale

    def detached(x, scale):
        return (x - x.detach().mean(dim=0)) * scale

    assert "x itself has changed" in message(center, in_place)
    assert "the gradient with respect to x is not" in message(center, detached)


def test_forbidden_functions(message):
    right = "def f(x):\n    return x.clamp(min=0)"
    exercise = function(right=right, cases=[(torch.randn(5),)], slips=[], praise="yes", forbid=("relu", "conv2d"))
    assert message(exercise, lambda x: x * (x > 0)) == "passed"
    for answer in (F.relu, torch.relu, lambda x: x.relu(), nn.ReLU()):
        assert message(exercise, answer) == "relu does this exercise's work: write it without"


# ------------------------------------------------------------------------------------------------------------- modules

BLOCK = """
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 4)

    def forward(self, x):
        return self.last(self.norm(self.first(x)).relu())
"""


@pytest.fixture
def block():
    slips = [("the ReLU is missing", ".relu()", ""), ("no norm", "self.norm(self.first(x))", "self.first(x)")]
    return module(right=BLOCK, cases=[((4,), (8, 4)), ((6,), (8, 4))], slips=slips, praise="yes")


def layers(width, *between, last=nn.Linear):
    return nn.Sequential(nn.Linear(4, width), *between, last(width, 4))


def test_modules_are_compared_whatever_their_names_and_style(message, block):
    assert message(block, lambda width: layers(width, nn.BatchNorm1d(width), nn.ReLU())) == "passed"
    assert message(block, lambda width: layers(width, nn.LazyBatchNorm1d(), nn.ReLU()).double().eval()) == "passed"
    assert message(block, lambda width: layers(width, nn.BatchNorm1d(width))) == "for width = 4: the ReLU is missing"
    always_eval = layers(4, nn.BatchNorm1d(4), nn.ReLU())
    always_eval[1].train = lambda mode=True: always_eval[1]
    assert "the numbers are not" in message(block, lambda width: always_eval.eval())


def test_the_fallback_says_what_is_known_of_a_module(message, block):
    assert (
        message(block, nn.Linear(4, 4))
        == "expected the class or function itself, got Linear: pass its name without brackets"
    )
    said = message(block, lambda width: layers(width, nn.ReLU()))
    assert said == "for width = 4: missing: BatchNorm1d with weight (4,) and bias (4,)"
    assert "raised TypeError" in message(block, lambda: 0)
    assert "the module raised RuntimeError for x of shape (8, 4)" in message(block, lambda width: nn.Linear(5, width))
    assert "expected float32 (8, 4), got float32 (8, 9)" in message(block, lambda width: nn.Linear(4, 9))
    dropout = lambda width: layers(width, nn.BatchNorm1d(width), nn.ReLU(), nn.AlphaDropout(0.5))  # noqa: E731
    assert "not" in message(block, dropout) and message(block, lambda width: ...) == "not attempted"


# --------------------------------------------------------------------------------------------------------------- draws

FLIP = """
def flip(images, p):
    chosen = torch.rand(len(images)) < p
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
"""
ONE, SHARE = ("one draw for all", "torch.rand(len(images))", "torch.rand(1)"), ("1 − p", "< p", "> p")


@pytest.fixture
def flip():
    picture = torch.arange(12.0).view(1, 3, 4)
    upside = ("upside down", "flip(3)", "flip(2)")
    return draws(
        right=FLIP, picture=picture, arguments=[(0.5,), (0.2,), (0.0,)], slips=[ONE, SHARE, upside], praise="yes"
    )


def test_draws_are_judged_by_what_comes_how_often(message, flip):
    def by_numpy(images, p):
        return torch.stack([image.flip(2) if np.random.random() < p else image for image in images])  # noqa: NPY002

    def by_count(images, p):
        order = torch.randperm(len(images))[: int(p * len(images))]
        return images.index_copy(0, order, images[order].flip(3))

    assert message(flip, by_numpy) == "passed"
    assert message(flip, lambda images, p: by_numpy(images, 1 - p)) == "1 − p"
    assert message(flip, lambda images, p: images.flip(3) if random.random() < p else images) == "one draw for all"
    assert message(flip, lambda images, p: images.flip(2) if random.random() < p else images) == (
        "one draw for all; and upside down"
    )
    assert "not drawn for each image alone" in message(flip, by_count)
    assert "not as often" in message(flip, lambda images, p: by_numpy(images, 0.5 * p))
    assert "image 0 comes out as no right answer makes it" in message(flip, lambda images, p: images + 1)
    assert (
        "(1, 3, 4)" in message(flip, lambda images, p: images[0]) and message(flip, lambda i, p: ...) == "not attempted"
    )


# -------------------------------------------------------------------------------------------------- slips and sameness


def test_edited_and_variants():
    assert edited("a + b", ("a", "c", "c +", "d −")) == "d − b" and edited("a + b", ("x", "y")) == ""
    found = list(variants("def f():\n    return 1, 2", [("one", "1", "0"), ("two", "2", "3"), ("no", "9", "8")]))
    assert [(message, answer()) for message, answer in found] == [
        ("", (1, 2)),
        ("one", (0, 2)),
        ("two", (1, 3)),
        ("one; and two", (0, 3)),
    ]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0 + 1e-7, float("nan")]), True),
        (torch.tensor([1, 2]), torch.tensor([1.0, 2.0]), False),
        (torch.ones(1), torch.ones(1, 1), False),
        ((1, torch.ones(2)), [1, torch.ones(2)], True),
        (1, torch.tensor(1.0), True),
        (np.float64(0.5), 0.5, True),
        ("a", "a", True),
        ("1", 1, False),
        (None, None, True),
        (None, 0, False),
    ],
)
def test_same(a, b, equal):
    assert same(a, b) == same(b, a) == equal


def test_errors_are_the_same_when_kind_and_sizes_are():
    errors = [attempt(torch.add, torch.ones(a), torch.ones(b)) for a, b in ((3, 4), (4, 3), (3, 5))]
    assert same(errors[0], errors[1]) and not same(errors[0], errors[2]) and not same(errors[0], 1)
