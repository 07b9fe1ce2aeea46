"""The engine behind the controls, and what every control of every chapter keeps."""

import base64
import html
import io
import statistics
import threading
import time
import warnings

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection
from PIL import Image

from control_examples import EXAMPLES, NEEDS, UNSEEN
from course_utils.controls import (
    Control,
    add_boxes,
    choice,
    draw_logits,
    menu,
    readout,
    set_up_logits,
    slider,
    text_writer,
    toggle,
)  # fmt: skip
from course_utils.plotting import new_figure


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


@pytest.fixture(params=EXAMPLES)
def name(request):
    return request.param


# ------------------------------------------------------------------------------------------- all controls, one by one


def pixels(png):
    """Return a PNG as an int array (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def full_drawing(control):
    """Return the pixels of the whole figure, drawn from scratch by Matplotlib."""
    animated = [artist for artist in control.artists() if artist.get_animated()]
    control.axes[0].figure.set_layout_engine("none")  # else the full drawing lays the figure out anew
    for artist in animated:
        artist.set_animated(False)
    control.canvas.draw()
    full = np.asarray(control.canvas.buffer_rgba())[..., :3].astype(int)
    for artist in animated:
        artist.set_animated(True)
    return full


def another_value(knob):
    """Return a value of the knob that it has not now."""
    if isinstance(knob, ipywidgets.Checkbox):
        return not knob.value
    if hasattr(knob, "options"):
        option = knob.options[(knob.index + 1) % len(knob.options)]
        return option[1] if isinstance(option, tuple) else option
    if hasattr(knob, "presets"):
        return next(tuple(texts) for texts in knob.presets.values() if tuple(texts) != knob.value)
    return knob.value + knob.step if knob.value < knob.max else knob.min


def set_values(control, values):
    """Set knobs by name."""
    for knob, value in values.items():
        control.knobs[knob].value = value


def test_each_knob_changes_text_and_picture_and_back(name):
    """On the way: a quick redraw equals a full drawing, and equal values give equal pictures whatever came between."""
    control = EXAMPLES[name]()
    begin = control.values()
    for key, knob in control.knobs.items():
        if not hasattr(knob, "description"):
            continue  # the drawing pad: it has tests of its own
        set_values(control, NEEDS.get((name, key), {}))
        value, text, picture = knob.value, control.plain_text, control.png()
        knob.value = another_value(knob)
        assert "role='alert'" not in control.text.value, control.plain_text
        assert f"{knob.description} = {readout(knob)}" in control.plain_text
        assert control.plain_text.partition(": ")[2] and control.plain_text != text
        assert (control.png() == picture) == ((name, key) in UNSEEN), key
        difference = np.abs(pixels(control.image.value) - full_drawing(control)).max(axis=2)
        assert (difference > 40).mean() < 0.0005  # the frame of the axes lies below what is drawn anew
        knob.value = value
        assert (control.plain_text, control.png()) == (text, picture), key
        set_values(control, begin)


def test_a_control_is_seen_and_read_everywhere(name):
    control = EXAMPLES[name]()
    assert {*control.knobs.values(), control.text, control.image} <= set(descendants(control))
    assert control.axes[0].figure.get_figwidth() <= 9
    assert html.unescape(control.text.value) == f"<p>{control.plain_text}</p>"
    data = control._repr_mimebundle_()
    assert data["text/plain"] == control.plain_text
    assert base64.b64decode(data["image/png"], validate=True) == control.image.value
    assert "application/vnd.jupyter.widget-view+json" in data


def descendants(box):
    """Return all widgets in a box and in its boxes."""
    inside = getattr(box, "children", ())
    return [*inside, *(widget for child in inside for widget in descendants(child))]


def test_drawing_is_quick_and_draws_no_random_numbers(name):
    control, state, times = EXAMPLES[name](), torch.get_rng_state(), []
    artists = len(control.artists())
    for _ in range(5):
        begin = time.process_time()
        control.redraw()
        times.append(time.process_time() - begin)
    assert statistics.median(times) < 0.2  # 5 to 30 ms on a free core: the bound only catches a drawing gone wrong
    assert len(control.artists()) == artists
    assert torch.get_rng_state().equal(state)


# ---------------------------------------------------------------------------------------------------------- the engine


def draw_fussy(axes, size, other=0):
    """Draw a line and bars; refuse some sizes, with a text that HTML must not take for its own."""
    axes.bar([0, 1], [size / 9, 0.1], color="gray", label="bars")
    if size < 0:
        raise ValueError(f"<b>{size}</b> is below 0: choose a larger one")
    if size > 9:
        raise KeyError("a mistake in the drawing itself")
    axes.plot([0, 1], [0, size], color="black", label="line")
    return f"it is {size} & <i>"


def fussy(size=1, **options):
    """Return a control around `draw_fussy`."""
    _, axes = new_figure(2, 2)
    axes.set_xlim(-1, 2)
    axes.axhspan(0, 1, color="0.9")  # gives the other limits
    return Control(draw_fussy, axes, size=slider("size", size, -10, 10, 1), **options)


def test_unfit_values_are_explained_in_the_text_and_hide_the_picture():
    control = fussy()
    size, picture = control.knobs["size"], control.image.value
    size.value = -3
    assert control.text.value.count("Not possible") == 1 and "role='alert'" in control.text.value
    assert "&lt;b&gt;-3&lt;/b&gt; is below 0: choose a larger one" in control.text.value
    assert control.image.layout.visibility == "hidden"
    size.value = 5
    assert control.text.value == "<p>size = 5: it is 5 &amp; &lt;i&gt;</p>"
    assert control.image.layout.visibility == "visible" and control.image.value != picture
    size.value = 1
    assert control.image.value == picture  # nothing is left of the drawing that was refused half-way


def test_a_still_of_unfit_values_explains_them_too():
    data = fussy(-3)._repr_mimebundle_()
    assert "is below 0: choose a larger one" in data["text/plain"]
    assert "image/png" not in data  # left out rather than empty: there is no picture yet


def test_mistakes_in_the_drawing_itself_are_not_hidden():
    """JupyterLab swallows what a callback raises: only the text can tell."""
    control = fussy()
    control.knobs["size"].value = 10
    assert "KeyError" in control.text.value and "a mistake in the drawing itself" in control.text.value


def test_a_drawing_leaves_frame_and_limits_and_no_trace():
    control = fussy()
    (axes,) = control.axes
    children = len(axes.get_children())
    for size in (9, 3, 9, 1):
        control.knobs["size"].value = size
    assert len(axes.get_children()) == children and len(axes.containers) == 1
    assert (*axes.get_xlim(), *axes.get_ylim()) == pytest.approx((-1, 2, -0.05, 1.05))
    axes.set_title("never seen")  # the background was drawn once
    before = control.image.value
    control.redraw()
    assert control.image.value == before


def test_redraws_in_two_threads_do_not_mix():
    """JupyterLab may send the messages of one control to the main thread and to a subshell of the kernel."""

    def draw(axes, count):
        for k in range(20):
            axes.plot([0, 1], [k, count])
            time.sleep(0.0002)  # lets the other thread in
        return "drawn"

    _, axes = new_figure()
    control = Control(draw, axes, count=slider("count", 1, 1, 9, 1))
    seen = []

    def redraw():
        for _ in range(8):
            control.redraw()
            seen.append(control.plain_text)

    threads = [threading.Thread(target=redraw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {"count = 1: drawn"} and len(axes.lines) == 20


def test_an_animated_part_may_change_and_lies_above():
    def draw(axes, top):
        axes.set_ylim(0, top)
        axes.set_title(f"up to {top}")
        axes.add_patch(plt.Rectangle((0.3, 0.1 * top), 0.4, 0.8 * top, color="red", zorder=2))
        return "drawn"

    _, axes = new_figure(2, 2)
    axes.set(xlim=(0, 1), title="up to")
    axes.plot([0.5], [0.5], "o", color="blue", zorder=3, animated=True)
    for artist in (axes.yaxis, axes.title):
        artist.set_animated(True)
    control = Control(draw, axes, top=slider("top", 1, 1, 500, 1))
    assert (pixels(control.image.value) == (0, 0, 255)).all(axis=2).any()
    for top in (500, 1):
        control.knobs["top"].value = top
        difference = np.abs(pixels(control.image.value) - full_drawing(control)).max(axis=2)
        assert (difference > 40).mean() < 0.002


def test_legends_are_made_once_from_the_first_drawing():
    figure, axes = new_figure(4, 3)
    axes.set(xlim=(-1, 2), ylim=(0, 1))
    legends = [(axes, {"loc": "upper left"}), (figure, {"loc": "outside upper center"})]
    control = Control(draw_fussy, axes, legends=legends, size=slider("size", 1, 0, 9, 1))
    for legend in (axes.get_legend(), *figure.legends):
        assert sorted(text.get_text() for text in legend.get_texts()) == ["bars", "line"]
    first = axes.get_legend()
    control.knobs["size"].value = 4
    assert axes.get_legend() is first


def test_the_settings_name_every_knob_as_it_shows_itself():
    _, axes = new_figure(2, 2)
    control = Control(
        lambda axes, **values: f"values are {values}",
        axes,
        gamma=slider("γ (scale)", -0.5, -3, 3, 0.25),
        size=slider("size", 1, 0, 10, 1),
        batch=choice("batch size", [("1,024", 1024), ("64", 64)], 1024),
        mode=choice("mode", ["train", "eval"], "train"),
        init=menu("initial values", [("He", "he"), ("PyTorch's default", "default")], "default"),
        skip=toggle("shortcut"),
        norm=toggle("BatchNorm", True),
    )
    values = {"gamma": -0.5, "size": 1, "batch": 1024, "mode": "train", "init": "default", "skip": False, "norm": True}
    assert control.plain_text == (
        "γ (scale) = −0.50, size = 1, batch size = 1,024, mode = train, initial values = PyTorch's default, "
        f"shortcut = off, BatchNorm = on: values are {values}"
    )
    assert isinstance(control.values()["size"], int)
    control.knobs["mode"].value = "eval"
    assert "mode = eval" in control.plain_text


def test_knobs_say_what_they_are():
    knob = slider("learning rate", 0.5, 0, 1, 0.25)
    assert (knob.value, knob.min, knob.max, knob.step) == (0.5, 0, 1, 0.25)
    assert knob.description == "learning rate" and knob.readout_format == ".2f"
    knob = choice("batch size", [("1,024", 1024), ("64", 64)], 64)
    assert knob.value == 64 and knob.description == "batch size"


# ----------------------------------------------------------------------------------------------------- shared drawings


def boxes_of(axes):
    """Return left, top, right, bottom of each box in the axes' collections, (N, 4)."""
    corners = np.array([path.vertices[:4] for one in axes.collections for path in one.get_paths()])
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_boxes_stand_where_they_are_said_to_stand():
    axes = new_figure(2, 2)[1]
    add_boxes(axes, [0, 2], 1, [1, 3], -0.5, facecolor=["red", "blue"])
    assert isinstance(axes.collections[0], PolyCollection)
    np.testing.assert_allclose(boxes_of(axes), [[0, 0.5, 1, 1], [2, 0.5, 5, 1]])
    add_boxes(axes, [], [])
    assert len(axes.collections[1].get_paths()) == 0


def test_logits_stand_side_by_side_within_their_frame():
    axes = new_figure(3, 2)[1]
    set_up_logits(axes, np.array([[-2.0, 6.0], [1.0, 0.5]]), title="logits")
    assert axes.get_ylim() == (-4, 8) and list(axes.get_xticks()) == [0, 1]
    draw_logits(axes, np.array([-2.0, 6.0]), np.array([1.0, 5.0]))
    np.testing.assert_allclose(boxes_of(axes), [[-0.4, -2, 0, 0], [0.6, 0, 1, 6], [0, 0, 0.4, 1], [1, 0, 1.4, 5]])
    axes.collections[0].remove()
    draw_logits(axes, np.array([-2.0, 6.0]), None)
    assert len(axes.collections) == 2


def test_texts_are_written_where_they_are_said_to_stand():
    axes, write = new_figure(2, 2)[1], text_writer()
    for text, x, y, width in (("0", 1, 2, 0.25), ("888888", 3, 4, 0.5)):
        write(axes, [x], [y], [text], size=0.4, width=0.5, color="red")
        extent = axes.patches[-1].get_path().get_extents()
        assert (extent.x0 + extent.width / 2, extent.y0 + extent.height / 2) == pytest.approx((x, y), abs=0.01)
        assert extent.width == pytest.approx(width, abs=0.05)
    write(axes, [1, 3], [2, 4], ["0", "888888"], size=0.4)
    both = axes.patches[-1].get_path().get_extents()
    assert both.x0 == pytest.approx(0.88, abs=0.03) and both.x1 > 3.5  # without a width nothing is squeezed
    write(axes, [], [], [], size=0.4)
    assert len(axes.patches) == 4
