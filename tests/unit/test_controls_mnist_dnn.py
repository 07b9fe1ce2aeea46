"""Chapter 03's controls: softmax against autograd, paths of optimizers against the textbook's formulas, their texts."""

import itertools

import numpy as np
import pytest
import torch

from control_examples import emptied
from controls.mnist_dnn import (
    OPTIMIZERS,
    RATES,
    START,
    descend,
    draw_softmax,
    draw_valley,
    paired_counts,
    softmax_explorer,
    softmax_numbers,
    valley,
)
from course_utils.plotting import new_figure

PLANE, CURVE = new_figure(columns=2)[1]
THREE = new_figure(columns=3)[1]
MOMENTA = [*np.arange(0, 0.99, 0.18).round(2).tolist(), 0.99]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_valley_over_its_range(optimizer):
    uses_momentum = optimizer not in ("SGD", "RMSProp")
    for rate, momentum in itertools.product(RATES, MOMENTA if uses_momentum else MOMENTA[::6]):
        axes = emptied(PLANE), emptied(CURVE)
        text = draw_valley(*axes, optimizer=optimizer, rate=rate, momentum=momentum, arrows_at=49)
        path, losses = (np.array(one.lines[0].get_data()).T for one in axes)
        losses = losses[:, 1]
        assert np.isfinite(path).all() and np.isfinite(losses).all() and (losses > 0).all()
        assert tuple(path[0]) == START and losses[0] == pytest.approx(81 / 20 + 8)
        inside = np.abs(path).max(axis=1) < 700  # beyond, path and loss are cut off
        np.testing.assert_allclose(losses[inside], np.maximum(path**2 @ [1 / 20, 2], 1e-6)[inside], rtol=1e-4)
        assert f" {len(path) - 1} steps" in text and f"{losses[-1]:.2g}" in text
        assert ("is still" in text) == (losses[0] / 10 < losses[-1] <= losses[0])
        assert ("diverges" in text) == (losses[-1] > losses[0])
        assert ("Target reached" in text) == (losses[-1] < 0.001)
        assert (f"{optimizer} uses no momentum" in text) == (not uses_momentum)
        assert ("Adam takes β as its β1" in text) == (optimizer == "Adam")


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_paths_equal_the_textbook_s_formulas(rate, momentum):
    """Follow x²/20 + 2y² by hand: gradient (x/10, 4y)."""
    slope = torch.tensor([0.1, 4.0], dtype=torch.float64)
    for name in ("SGD", "momentum", "Nesterov"):
        point, speed = torch.tensor(START, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        beta = 0.0 if name == "SGD" else momentum
        expected = [point]
        for _ in range(50):
            gradient = slope * point
            speed = beta * speed + gradient
            point = point - rate * (gradient + beta * speed if name == "Nesterov" else speed)
            expected.append(point)
        path = descend(name, rate, momentum).double()
        torch.testing.assert_close(path, torch.stack(expected)[: len(path)], rtol=1e-3, atol=1e-4)


def test_a_path_ends_where_it_leaves_the_plane():
    path = descend("SGD", 1.0, 0.0)
    assert len(path) < 51 and path[:-1].abs().max() <= 1e4 < path[-1].abs().max()
    assert len(descend("SGD", 0.1, 0.0)) == 51


def test_the_valley_is_forty_times_steeper_across():
    x, y = (torch.tensor(1.0, requires_grad=True) for _ in range(2))
    valley(x, y).backward()
    assert y.grad / x.grad == pytest.approx(40)


@pytest.mark.parametrize(("optimizer", "share"), [("SGD", 1.0), ("momentum", 1.9)])
def test_the_arrows_show_the_step_and_the_gradient(optimizer, share):
    """At the second point momentum adds 0.9 of the step before: along x, where little changes, nearly 1.9 gradients."""
    axes = emptied(PLANE), emptied(CURVE)
    draw_valley(*axes, optimizer=optimizer, rate=0.01, momentum=0.9, arrows_at=1)
    step, gradient = axes[0].collections
    path = descend(optimizer, 0.01, 0.9)
    for arrow in (step, gradient):
        np.testing.assert_allclose((arrow.X[0], arrow.Y[0]), path[1])
    np.testing.assert_allclose((step.U[0], step.V[0]), path[2] - path[1], rtol=1e-5)
    np.testing.assert_allclose((gradient.U[0], gradient.V[0]), -0.01 * path[1] * torch.tensor([0.1, 4]), rtol=1e-5)
    assert step.U[0] / gradient.U[0] == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("right", [0, 1, 2])
@pytest.mark.parametrize("logits", [(2, 0, 1), (0, 0, 0), (-5, 5, 10), (1000, 0, -1000)])
def test_softmax_loss_and_gradient_equal_autograd_s(logits, right):
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(z, torch.tensor(right))
    loss.backward()
    probabilities, mine, gradient = softmax_numbers(np.array(logits, dtype=float), right)
    np.testing.assert_allclose(probabilities, z.softmax(0).detach(), atol=1e-12)
    assert mine == pytest.approx(loss.item())
    np.testing.assert_allclose(gradient, z.grad, atol=1e-12)


def test_softmax_says_what_it_draws():
    text = draw_softmax(*map(emptied, THREE), a=0.0, b=np.log(3), c=0.0, add=2.0, right="a")
    assert "probabilities 0.200, 0.600, 0.200" in text and "= 1.609" in text and "−0.800, 0.600, 0.200" in text
    assert "Target" not in text and "-" not in text
    heights = [axes.collections[0].get_paths()[1].vertices[:4, 1].max() for axes in THREE]
    assert heights == pytest.approx([2 + np.log(3), 0.6, 0.6])


def test_adding_to_all_logits_changes_their_bars_alone():
    control = softmax_explorer()
    before = control.plain_text.partition(": ")[2]
    control.knobs["add"].value = 3.0
    assert control.plain_text.partition(": ")[2] == before and "added to all = 3.0" in control.plain_text
    for name, value in (("a", -5.0), ("b", 5.0), ("c", -5.0)):
        control.knobs[name].value = value
    assert "Target reached" in control.plain_text


def test_pairs_are_counted_where_one_alone_is_right():
    answers_a, answers_b, labels = torch.randint(3, (3, 500), generator=torch.Generator().manual_seed(0))
    pairs = list(zip((answers_a == labels).tolist(), (answers_b == labels).tolist(), strict=True))
    assert paired_counts(answers_a, answers_b, labels) == (pairs.count((True, False)), pairs.count((False, True)))
