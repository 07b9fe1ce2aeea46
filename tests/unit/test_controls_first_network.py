"""Chapter 01's controls: one neuron's boundary and its count of right answers, and the curves of finished trainings."""

import math

import numpy as np
import pytest

from control_examples import EXAMPLES, emptied, trainings
from controls.first_network import descent_explorer, draw_descent, draw_neuron, smoothed
from course_utils.data import make_three_feature_rows
from course_utils.plotting import new_figure

ROWS, LABELS = make_three_feature_rows(1000, seed=1)
AXES = new_figure()[1]
VALUES = [(1.0, 0.0, 0.0, -0.5), (1.0, 1.0, 1.0, -1.0), (-2.0, 0.5, 1.0, 0.25), (0.0,) * 4, (0.0, 0.0, 2.0, -1.0)]


def on_the_slice(x1, x2, w1, w2, w3, bias):
    """Return the sum w·x + b at x3 = 0.5."""
    return w1 * x1 + w2 * x2 + w3 * 0.5 + bias


@pytest.mark.parametrize("values", VALUES)
def test_neuron_shows_and_counts_its_outputs(values):
    axes, (w1, w2, w3, bias) = emptied(AXES), values
    text = draw_neuron(ROWS, LABELS > 0, axes, w1=w1, w2=w2, w3=w3, bias=bias)
    on = [w1 * a + w2 * b + w3 * c + bias > 0 for a, b, c in ROWS.tolist()]
    right = [is_on == (label > 0) for is_on, label in zip(on, LABELS.tolist(), strict=True)]
    assert f"for {np.mean(on):.1%} of all rows" in text
    assert f"{np.mean(right):.1%} of the rows agree" in text
    (shade,) = axes.images
    assert shade.get_extent() == [0, 1, 0, 1] and shade.origin == "lower"
    for row, column in ((0, 0), (0, 40), (40, 0), (10, 30)):
        expected = max(0, on_the_slice(column / 40, row / 40, *values))
        assert shade.get_array()[row, column] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("w1", [-2.0, 0.0, 0.25, 2.0])
@pytest.mark.parametrize("w2", [-2.0, 0.0, 0.25, 2.0])
@pytest.mark.parametrize("bias", [-3.0, 0.0, 0.5])
def test_the_boundary_lies_where_the_sum_is_zero(w1, w2, bias):
    axes = emptied(AXES)
    draw_neuron(ROWS, LABELS > 0, axes, w1=w1, w2=w2, w3=0.25, bias=bias)
    assert len(axes.lines) == (0 if w1 == w2 == 0 else 1)
    for line in axes.lines:
        points = line.get_xy1(), line.get_xy2()
        assert math.dist(*points) > 0.2  # two points that tell a direction
        for x, y in points:
            assert on_the_slice(x, y, w1, w2, 0.25, bias) == pytest.approx(0, abs=1e-9)


def test_the_dots_are_the_rows_near_the_slice_and_lie_above_the_shade():
    axes = EXAMPLES["neuron"]().axes[0]
    for above, dots in enumerate(axes.collections):
        near = [row[:2] for row, label in zip(ROWS.tolist(), LABELS.tolist(), strict=True)
                if abs(row[2] - 0.5) < 0.05 and (label > 0) == above]  # fmt: skip
        np.testing.assert_allclose(dots.get_offsets(), near)
        assert dots.get_zorder() > axes.images[0].get_zorder() and len(near) > 5


LOSSES, ACCURACY = trainings()


@pytest.mark.parametrize("pair", LOSSES)
def test_descent_shows_its_training(pair):
    axes, curve = emptied(AXES), LOSSES[pair]
    text = draw_descent(LOSSES, ACCURACY, axes, rate=pair[0], batch_size=pair[1])
    assert text.startswith(f"after {len(curve)} steps the loss is ")
    assert f"test accuracy {ACCURACY[pair]:.1%}" in text
    x, y = axes.lines[0].get_data()
    assert list(x) == list(range(1, len(curve) + 1))
    assert np.isfinite(y).all() and max(y) <= 2.2
    if max(curve) < 2.2:
        assert list(y) == curve
    if all(map(math.isfinite, curve)):
        assert f"the loss is {np.mean(curve[-20:]):.3f} " in text


@pytest.mark.parametrize("length", [1, 2, 20, 21, 22, 200])
def test_smoothing_keeps_straight_lines_where_they_are(length):
    curve = [1 + 0.01 * step for step in range(1, length + 1)]
    steps, means = smoothed(curve)
    np.testing.assert_allclose(means, 1 + 0.01 * steps)
    assert len(means) == max(1, length - 20)
    assert steps[0] >= 1 and steps[-1] <= length


def test_smoothing_survives_what_is_no_number():
    _, means = smoothed([1.0, math.nan, math.inf, -math.inf, 1e30] * 10)
    assert np.isfinite(means).all()


@pytest.mark.parametrize(
    ("losses", "accuracy"),
    [
        ({}, {}),
        ({(0.1, 64): [1.0]}, {}),
        ({(0.1, 64): [1.0]}, {(0.1, 32): 0.5}),
        ({(0.1, 64): [1.0], (0.1, 32): [1.0]}, {(0.1, 64): 0.5}),
        ({(0.1, 64): [1.0], (0.2, 32): [1.0]}, {(0.1, 64): 0.5, (0.2, 32): 0.5}),
    ],
)
def test_trainings_that_do_not_belong_together_are_refused(losses, accuracy):
    with pytest.raises(ValueError, match="learning rate, batch size"):
        descent_explorer(losses, accuracy, 0.6)


def test_one_training_alone_is_shown():
    control = descent_explorer({(0.1, 64): [1.0, 0.5]}, {(0.1, 64): 0.5}, 0.6)
    assert control.plain_text.startswith("learning rate = 0.1, batch size = 64: after 2 steps the loss is 0.750 ")
