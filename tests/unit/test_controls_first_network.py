"""Chapter 01's controls: a neuron's line, a backward pass, a shore by step, the curves of finished trainings."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from control_examples import EXAMPLES, emptied, lake_photos, some_lake, trainings
from controls import first_network as chapter
from controls.first_network import backward_steps, descent_explorer, draw_descent, draw_neuron, draw_shore, smoothed
from course_utils.plotting import new_figure

POINTS, LABELS = some_lake()
AXES = new_figure()[1]
VALUES = [(1.0, 0.0, -0.5), (1.0, 1.0, -1.0), (-2.0, 0.5, 0.25), (0.0,) * 3, (0.0, 2.0, -1.0)]


@pytest.mark.parametrize("values", VALUES)
def test_neuron_shows_and_counts_its_outputs(values):
    axes, (w1, w2, bias) = emptied(AXES), values
    text = draw_neuron(POINTS, LABELS, axes, w1=w1, w2=w2, bias=bias)
    on = [w1 * a + w2 * b + bias > 0 for a, b in POINTS.tolist()]
    right = [is_on == (label == 1) for is_on, label in zip(on, LABELS.tolist(), strict=True)]
    assert f"for {np.mean(on):.1%} of the points" in text
    assert f"{np.mean(right):.1%} of the points are right" in text
    (shade,) = axes.images
    assert shade.get_extent() == [-1, 1, -1, 1] and shade.origin == "lower"
    for row, column in ((0, 0), (0, 80), (80, 0), (20, 60)):
        expected = max(0, w1 * (column / 40 - 1) + w2 * (row / 40 - 1) + bias)
        assert shade.get_array()[row, column] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("w1", [-2.0, 0.0, 0.25, 2.0])
@pytest.mark.parametrize("w2", [-2.0, 0.0, 0.25, 2.0])
@pytest.mark.parametrize("bias", [-3.0, 0.0, 0.5])
def test_the_line_lies_where_the_sum_is_zero(w1, w2, bias):
    axes = emptied(AXES)
    draw_neuron(POINTS, LABELS, axes, w1=w1, w2=w2, bias=bias)
    assert len(axes.lines) == (0 if w1 == w2 == 0 else 1)
    for line in axes.lines:
        points = line.get_xy1(), line.get_xy2()
        assert math.dist(*points) > 0.2  # two points that tell a direction
        for x, y in points:
            assert w1 * x + w2 * y + bias == pytest.approx(0, abs=1e-9)


def test_the_dots_are_the_points_and_lie_above_the_shade():
    axes = EXAMPLES["neuron"]().axes[0]
    for label, dots in enumerate(axes.collections):
        mine = [point for point, wet in zip(POINTS.tolist(), LABELS.tolist(), strict=True) if wet == label]
        np.testing.assert_allclose(dots.get_offsets(), mine)
        assert dots.get_zorder() > axes.images[0].get_zorder() and len(mine) > 5


def test_the_backward_pass_is_autograds():
    parameters = chapter.W, chapter.B, chapter.V, chapter.C
    w, b, v, c = (torch.tensor(values, dtype=torch.float, requires_grad=True) for values in parameters)
    sums = w * chapter.X + b
    hidden = sums.relu()
    hidden.retain_grad(), sums.retain_grad()
    output = (v * hidden).sum() + c
    ((output - chapter.TARGET) ** 2).backward()
    texts = [[text for *_, text, _ in written] for _, written in backward_steps()]
    assert texts[1:4] == [
        [f"sum {z:g}" for z in sums.tolist()],
        [f"→ {h:g}" for h in hidden.tolist()],
        [f"{output:g}", f"{(output - chapter.TARGET) ** 2:g}"],
    ]
    assert texts[5:] == [
        [*(f"v: {g:g}" for g in v.grad.tolist()), f"c: {c.grad:g}"],
        [f"{g:g}" for g in hidden.grad.tolist()],
        [f"{g:g} ←" for g in sums.grad.tolist()],
        [f"w: {g:g}, b: {h:g}" for g, h in zip(w.grad.tolist(), b.grad.tolist(), strict=True)],
    ]


def test_each_step_writes_more_and_what_is_new_is_bold():
    written = 0
    for step in range(len(backward_steps())):
        axes = emptied(AXES)
        chapter.draw_backward(axes, step=step)
        assert len(axes.texts) > written
        assert [text.get_weight() == "bold" for text in axes.texts].count(True) == len(axes.texts) - written
        written = len(axes.texts)
    assert chapter.backward_explorer().knobs["step"].max == step


def test_the_shore_lies_where_the_probability_is_a_half():
    axes, photos = emptied(AXES), lake_photos()
    for step, photo in photos.items():
        emptied(axes)
        text = draw_shore(photos, POINTS, LABELS, axes, step=step, neurons=True)
        right = (photo(POINTS).argmax(dim=1) == LABELS).float().mean()
        assert f"after {step:,} training steps {right:.1%} " in text
        assert len(axes.lines) == photo[0].out_features
        for contour in axes.collections:
            for x, y in contour.get_paths()[0].vertices:
                wet = photo(torch.tensor([[x, y]], dtype=torch.float)).softmax(dim=1)[0, 1]
                assert wet.item() == pytest.approx(0.5, abs=0.02)
        draw_shore(photos, POINTS, LABELS, emptied(axes), step=step, neurons=False)
        assert not axes.lines


def test_a_map_for_each_model_also_for_one_that_always_says_the_same():
    constant = nn.Sequential(nn.Linear(2, 2))
    constant[0].weight.data.zero_()
    later = lake_photos()[1000]
    models = {"alone": None, "constant": constant, "later": later, "again": later}
    figure = chapter.plot_lake(models, POINTS, LABELS, title="Maps")
    assert [axes.get_title(loc="left") for axes in figure.axes[:4]] == list(models)
    assert [len(axes.images) for axes in figure.axes] == [0, 1, 1, 1, 0, 0]
    assert sum(len(dots.get_offsets()) for dots in figure.axes[0].collections) == len(POINTS)


LOSSES, ACCURACY = trainings()


@pytest.mark.parametrize("pair", LOSSES)
def test_descent_shows_its_training(pair):
    axes, curve = emptied(AXES), LOSSES[pair]
    text = draw_descent(LOSSES, ACCURACY, axes, rate=pair[0], batch_size=pair[1])
    assert text.startswith(f"after {len(curve)} steps the loss is ")
    assert f"validation accuracy {ACCURACY[pair]:.1%}" in text
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
