"""Chapter 03's control: paths of optimizers against the textbook's formulas, and what the text says of them."""

import itertools

import numpy as np
import pytest
import torch

from control_examples import emptied
from controls.mnist_dnn import OPTIMIZERS, RATES, START, descend, draw_valley, valley
from course_utils.plotting import new_figure

PLANE, CURVE = new_figure(columns=2)[1]
MOMENTA = [*np.arange(0, 0.99, 0.18).round(2).tolist(), 0.99]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_valley_over_its_range(optimizer):
    uses_momentum = optimizer not in ("SGD", "RMSProp")
    for rate, momentum in itertools.product(RATES, MOMENTA if uses_momentum else MOMENTA[::6]):
        axes = emptied(PLANE), emptied(CURVE)
        text = draw_valley(*axes, optimizer=optimizer, rate=rate, momentum=momentum)
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
