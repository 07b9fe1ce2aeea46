"""The pictures behind the controls, over the whole range of every control, and the controls around them."""

import base64
import io
import itertools
import math
import warnings

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from explorer_pictures import redraw_difference, shown_text
from PIL import Image

from course_utils.data import make_three_feature_rows
from course_utils.plotting import new_figure
from course_utils.widgets.canvas import Renderer, choice, explore, slider
from course_utils.widgets.first_network import (
    DescentPicture,
    NeuronPicture,
    boundary,
    descent_explorer,
    neuron_explorer,
    smoothed,
)
from course_utils.widgets.mnist_dnn import OPTIMIZERS, RATES, START, ValleyPicture, descend, valley, valley_explorer
from course_utils.widgets.start_here import WavePicture, wave_explorer

ROWS, LABELS = make_three_feature_rows(1000, seed=1)
RATES_01, SIZES_01 = (0.001, 0.1, 1.0), (1, 64, 1024)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


def curves():
    """Return losses and accuracies as chapter 01 measures them: falling, flat, diverging, not a number."""
    pairs = list(itertools.product(RATES_01, SIZES_01))
    losses = {pair: [2.0 / (1 + k * step) for step in range(200)] for k, pair in enumerate(pairs)}
    losses[1.0, 1] = [1.0, 1e30, math.inf] + [math.nan] * 197
    losses[1.0, 64] = [5.0 + step for step in range(200)]
    losses[0.001, 1] = [1.0]  # one step only
    return losses, {pair: 0.1 * k for k, pair in enumerate(pairs)}


def make_explorers():
    losses, accuracy = curves()
    return {
        "wave": wave_explorer(),
        "neuron": neuron_explorer(ROWS, LABELS),
        "descent": descent_explorer(losses, accuracy, 0.6),
        "valley": valley_explorer(),
    }


EXPLORERS = ("wave", "neuron", "descent", "valley")


# ----------------------------------------------------------------------------------------------------- the pictures


def test_wave_over_its_range():
    picture = WavePicture()
    for frequency in range(1, 11):
        assert f"frequency = {frequency} Hz" in picture.update(frequency=float(frequency))
        x, y = picture.line.get_data()
        crossings = int((np.diff(np.sign(y[1:-1])) != 0).sum())
        assert crossings == 2 * frequency - 1
        np.testing.assert_allclose(y, np.sin(2 * np.pi * frequency * x))


def test_neuron_over_its_range():
    picture = NeuronPicture(ROWS, LABELS > 0)
    grid = np.arange(-2, 2.01, 0.5).tolist()
    for w1, w2, w3, bias in itertools.product(grid, repeat=4):
        text = picture.update(w1=w1, w2=w2, w3=w3, bias=bias)
        assert text.startswith(f"w1 = {w1:g}, w2 = {w2:g}, w3 = {w3:g}, bias = {bias:g}: ")
        assert "nan" not in text


@pytest.mark.parametrize("values", [(1, 0, 0, -0.5), (1, 1, 1, -1), (-2, 0.5, 1, 0.25), (0, 0, 0, 0), (0, 0, 2, -1)])
def test_neuron_shows_and_counts_its_outputs(values):
    picture = NeuronPicture(ROWS, LABELS > 0)
    w1, w2, w3, bias = values
    text = picture.update(w1=w1, w2=w2, w3=w3, bias=bias)
    on = [w1 * a + w2 * b + w3 * c + bias > 0 for a, b, c in ROWS.tolist()]
    right = [is_on == (label > 0) for is_on, label in zip(on, LABELS.tolist(), strict=True)]
    assert f"for {np.mean(on):.1%} of all rows" in text
    assert f"{np.mean(right):.1%} of the rows agree" in text
    xs, ys = picture.line.get_data()
    assert len(xs) == (0 if w1 == w2 == 0 else 2)
    for x, y in zip(xs, ys, strict=True):
        assert w1 * x + w2 * y + w3 / 2 + bias == pytest.approx(0, abs=1e-9)
    shade = np.asarray(picture.shade.get_array())
    for row, column in ((0, 0), (0, 40), (40, 0), (10, 30)):
        expected = max(0, w1 * column / 40 + w2 * row / 40 + w3 / 2 + bias)
        assert shade[row, column] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("w1", [-2.0, 0.0, 0.25, 2.0])
@pytest.mark.parametrize("w2", [-2.0, 0.0, 0.25, 2.0])
@pytest.mark.parametrize("offset", [-3.0, 0.0, 0.5])
def test_the_boundary_lies_where_the_sum_is_zero(w1, w2, offset):
    xs, ys = boundary(w1, w2, offset)
    assert len(xs) == len(ys) == (0 if w1 == w2 == 0 else 2)
    for x, y in zip(xs, ys, strict=True):
        assert w1 * x + w2 * y + offset == pytest.approx(0, abs=1e-9)
    if xs:
        assert math.dist(*zip(xs, ys, strict=True)) == pytest.approx(18)


def test_descent_over_its_range():
    losses, accuracy = curves()
    picture = DescentPicture(losses, accuracy, 0.6)
    for rate, size in itertools.product(RATES_01, SIZES_01):
        text = picture.update(rate=rate, batch_size=size)
        curve = losses[rate, size]
        assert text.startswith(f"learning rate = {rate:g}, batch size = {size:,}: after {len(curve)} steps")
        assert f"test accuracy {accuracy[rate, size]:.1%}" in text
        x, y = picture.line.get_data()
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


MOMENTA = [*np.arange(0, 0.99, 0.09).round(2).tolist(), 0.99]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_valley_over_its_range(optimizer):
    picture = ValleyPicture()
    used = optimizer not in ("SGD", "RMSProp")
    for rate, momentum in itertools.product(RATES, MOMENTA if used else MOMENTA[::11]):
        text = picture.update(optimizer=optimizer, rate=rate, momentum=momentum)
        assert text.startswith(f"{optimizer}, learning rate = {rate:g}, momentum ")
        assert (f"= {momentum:g}:" if used else "momentum not used:") in text
        path, losses = np.array(picture.path.get_data()).T, picture.loss.get_ydata()
        assert np.isfinite(path).all() and np.isfinite(losses).all() and (np.asarray(losses) > 0).all()
        assert tuple(path[0]) == START
        assert f" {len(path) - 1} steps" in text
        assert ("is still" in text) == (losses[0] / 10 < losses[-1] <= losses[0])
        assert ("diverges" in text) == (losses[-1] > losses[0])


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
        path = descend(name, rate, momentum)
        np.testing.assert_allclose(path, torch.stack(expected)[: len(path)].numpy(), rtol=1e-3, atol=1e-4)


def test_the_valley_is_forty_times_steeper_across():
    x, y = (torch.tensor(1.0, requires_grad=True) for _ in range(2))
    valley(x, y).backward()
    assert y.grad / x.grad == pytest.approx(40)


# -------------------------------------------------------------------------------------------------------- rendering


def settings_of(explorer, many=5):
    """Return up to `many` values for each control, over its whole range, as {name: value} for each combination."""
    ranges = []
    for control in explorer.controls.values():
        if isinstance(control, ipywidgets.SelectionSlider):
            values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        else:
            values = np.linspace(control.min, control.max, many).round(2).tolist()
        ranges.append(values[:: max(1, len(values) // many)])
    return [dict(zip(explorer.controls, values, strict=True)) for values in itertools.product(*ranges)]


@pytest.mark.parametrize("name", EXPLORERS)
def test_equal_values_give_equal_pictures_whatever_came_between(name):
    explorer = make_explorers()[name]
    choices = settings_of(explorer, many=3)
    choices = choices[:: max(1, len(choices) // 6)][:7]
    first = {}
    for k in [*range(len(choices)), *reversed(range(len(choices)))]:
        explorer.picture.update(**choices[k])
        picture = explorer.renderer.png()
        assert first.setdefault(k, picture) == picture
    assert len(set(first.values())) > 1


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_redraw_equals_a_full_draw(name):
    """The kept background and the moved artists together give what matplotlib draws from scratch."""
    explorer = make_explorers()[name]
    explorer.picture.figure.set_layout_engine("none")  # else the full draw lays the figure out anew
    for values in settings_of(explorer, many=3)[:: 4 if name != "wave" else 1][:4]:
        explorer.picture.update(**values)
        assert redraw_difference(explorer) < 0.0005


# --------------------------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_moved_control_redraws_text_and_picture(name):
    explorer = make_explorers()[name]
    assert isinstance(explorer, ipywidgets.VBox)
    assert explorer.children == (*explorer.controls.values(), explorer.text, explorer.image)
    for control in explorer.controls.values():
        text, picture = explorer.text.value, explorer.image.value
        if isinstance(control, ipywidgets.SelectionSlider):
            control.index = (control.index + 1) % len(control.options)
        else:
            control.value = control.max if control.value != control.max else control.min
        moved = explorer.text.value != text
        used = name != "valley" or "momentum not used" not in explorer.text.value or control.description != "momentum"
        assert moved == used
        assert (explorer.image.value != picture) == used
        assert explorer.picture.update(**explorer.values()) in shown_text(explorer)


@pytest.mark.parametrize("name", EXPLORERS)
def test_without_a_front_end_a_still_picture_and_its_text_are_shown(name):
    explorer = make_explorers()[name]
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"], validate=True))).format == "PNG"
    assert isinstance(data["image/png"], str)
    assert "VBox(" not in data["text/plain"]
    assert data["text/plain"] in shown_text(explorer)
    assert "application/vnd.jupyter.widget-view+json" in data


class Fussy:
    """A picture that refuses negative values with a text that HTML must not take for its own."""

    def __init__(self):
        self.figure, axes = new_figure(2, 2)
        (self.line,) = axes.plot([0, 1], [0, 1])
        self.moving = [self.line]

    def update(self, size, other=0):
        if size < 0:
            raise ValueError(f"<b>{size}</b> is below 0: choose a larger one")
        if size > 9:
            raise KeyError("a mistake in the drawing itself")
        self.line.set_ydata([0, size / 9])
        return f"size = {size:g} & other = {other:g} <i>"


def test_unfit_values_are_explained_in_the_text():
    size = slider("size", 1, -10, 10, 1)
    explorer = explore(Fussy(), size=size)
    picture = explorer.image.value
    size.value = -3
    assert explorer.text.value.count("Not possible") == 1
    assert "&lt;b&gt;-3.0&lt;/b&gt; is below 0: choose a larger one" in explorer.text.value
    assert explorer.image.value == picture
    size.value = 5
    assert "size = 5 &amp; other = 0 &lt;i&gt;" in explorer.text.value
    assert explorer.image.value != picture


def test_a_still_of_unfit_values_explains_them_too():
    explorer = explore(Fussy(), size=slider("size", -3, -10, 10, 1))
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "is below 0: choose a larger one" in data["text/plain"]
    assert data.get("image/png") != ""  # left out rather than empty: there is no picture yet


def test_mistakes_in_the_drawing_itself_are_not_hidden():
    """JupyterLab swallows what a callback raises: only the text can tell."""
    explorer = explore(Fussy(), size=slider("size", 1, -10, 10, 1))
    explorer.controls["size"].value = 10
    assert "role='alert'" in explorer.text.value
    assert "KeyError" in explorer.text.value and "a mistake in the drawing itself" in explorer.text.value


def test_controls_say_what_they_are():
    control = slider("learning rate", 0.5, 0, 1, 0.25)
    assert (control.value, control.min, control.max, control.step) == (0.5, 0, 1, 0.25)
    assert control.description == "learning rate" and control.readout_format == ".2f"
    assert slider("size", 1, 0, 10, 1).readout_format == ".0f"
    control = choice("batch size", [("1,024", 1024), ("64", 64)], 64)
    assert control.value == 64 and control.description == "batch size"
    for explorer in make_explorers().values():
        for control in explorer.controls.values():
            assert control.description


def test_a_renderer_draws_what_does_not_move_once():
    picture = Fussy()
    renderer = Renderer(picture)
    before = renderer.png()
    picture.figure.axes[0].set_title("never seen")
    assert renderer.png() == before
    picture.update(size=0)
    assert renderer.png() != before


# ------------------------------------------------------------------------------------- what the explorers are given


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
    explorer = descent_explorer({(0.1, 64): [1.0, 0.5]}, {(0.1, 64): 0.5}, 0.6)
    assert "learning rate = 0.1, batch size = 64" in explorer.text.value
