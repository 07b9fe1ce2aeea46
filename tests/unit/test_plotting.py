"""Every figure renders without warnings and without pyplot, over the range of its inputs, and shows what it says."""

import io
import math
import statistics
import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from course_utils import plotting
from course_utils.data import make_three_feature_rows
from course_utils.plotting import (
    COLORS,
    MARKERS,
    class_style,
    mean_and_sd,
    plot_confusion,
    plot_curves,
    plot_decision_regions,
    plot_history,
    plot_maps,
    plot_numbers,
    plot_rows,
    plot_runs,
    plot_shares,
    plot_sweep,
    show_images,
    use_course_style,
)

ROWS, LABELS = make_three_feature_rows(400, seed=1)
NAMES = [f"class {k}" for k in range(20)]


@pytest.fixture(autouse=True)
def no_warnings():
    """Let no warning pass, and keep a style that a test sets to that test."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pixels(figure):
    """Render a figure to an array (H, W, 3), and see that it belongs to nobody's window."""
    assert isinstance(figure, Figure)
    assert figure.canvas.manager is None and plt.get_fignums() == []
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    assert plt.get_fignums() == []
    picture = np.asarray(Image.open(buffer).convert("RGB"))
    assert picture.std() > 0
    return picture


def texts(figure):
    """Return every text that the figure shows."""
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_visible())


# ----------------------------------------------------------------------------------------------------------- style


def test_the_course_style_draws_everything():
    use_course_style()
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(COLORS)
    assert mpl.rcParams["image.cmap"] == "gray"
    history = [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.5}] * 2
    figures = [
        plot_rows(ROWS, LABELS, classes=NAMES[:3], title="title"),
        plot_decision_regions(by_sum, ROWS, LABELS, classes=NAMES[:3], title="title"),
        plot_curves({"a": [1.0, 2.0], "b": [2.0]}, xlabel="x", ylabel="y", title="title", baselines={"c": 1.5}),
        plot_history(history, title="title"),
        plot_runs({"a": [0.5, 0.6], "b": [0.5]}, xlabel="x", title="title", baselines={"c": 0.55}),
        plot_confusion(torch.eye(3).long(), classes=NAMES[:3], title="title"),
        show_images(torch.rand(3, 1, 4, 4), ["a", "b", "c"], title="title"),
    ]
    for figure in figures:
        pixels(figure)
        assert "title" in texts(figure)


def test_ten_classes_can_be_told_apart():
    assert len(set(COLORS)) == len(COLORS) == len(MARKERS)
    assert len({(class_style(k)["color"], class_style(k)["marker"]) for k in range(10)}) == 10
    assert class_style(25) == class_style(5)


# ------------------------------------------------------------------------------------------------ rows and classes


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("count", [1, 400])
def test_rows(count, classes):
    figure = plot_rows(ROWS[:count], LABELS[:count], classes=NAMES[:classes], title="The middle")
    pixels(figure)
    for text in ("The middle", "x1", "x2", "x3", *NAMES[:classes]):
        assert text in texts(figure)


@pytest.mark.parametrize(("most", "shown"), [(1500, 400), (100, 100), (1, 1)])
def test_rows_are_thinned_out(most, shown):
    (axes,) = plot_rows(ROWS, LABELS, classes=NAMES[:3], title="", most=most).axes
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == shown


def by_sum(rows):
    """Return the true class of each row, and see that slices of the cube are asked about."""
    assert rows.shape[1] == 3 and rows.min() >= 0 and rows.max() <= 1
    sums = rows.sum(dim=1)
    return (sums > 1).long() + (sums > 2).long()


@pytest.mark.parametrize(
    ("classes", "slices", "predict"),
    [(3, (0.2, 0.5, 0.8), by_sum), (3, (0.5,), None), (11, (0.5,), by_sum), (11, (0.0, 1.0), None)],
)
def test_decision_regions(classes, slices, predict):
    figure = plot_decision_regions(predict, ROWS, LABELS, classes=NAMES[:classes], slices=slices, title="Both planes")
    pixels(figure)
    panels = figure.axes
    assert len(panels) == len(slices)
    for axes, x3 in zip(panels, slices, strict=True):
        assert axes.get_title() == f"x3 ≈ {x3}"
        assert len(axes.images) == (predict is not None)
        near = int(((ROWS[:, 2] - x3).abs() < 0.05).sum())
        assert sum(len(dots.get_offsets()) for dots in axes.collections) == near
    for text in ("Both planes", "x1", "x2", *NAMES[:classes]):
        assert text in texts(figure)


def test_the_shade_is_what_predict_answers_at_each_point():
    figure = plot_decision_regions(by_sum, ROWS, LABELS, classes=NAMES[:3], slices=(0.3,), title="")
    (image,) = figure.axes[0].images
    answers, extent = np.asarray(image.get_array()), image.get_extent()
    assert tuple(extent) == (0, 1, 0, 1) and image.origin == "lower"
    for row, column in ((0, 0), (0, 100), (100, 0), (100, 100), (20, 60), (75, 30)):
        assert answers[row, column] == by_sum(torch.tensor([[column / 100, row / 100, 0.3]])).item()


def test_one_class_alone_is_drawn():
    pixels(plot_decision_regions(lambda rows: rows[:, 0].long() * 0, ROWS, LABELS * 0, classes=["all"], title=""))


# ------------------------------------------------------------------------------------------------ curves and runs


@pytest.mark.parametrize(
    ("count", "length", "options"),
    [
        (1, 1, {}), (2, 50, {}), (12, 50, {}), (1, 50, {"log": True}), (12, 1, {"log": True}),
        (2, 1, {"percent": True}), (12, 50, {"percent": True}), (1, 1, {"baselines": {"ln 10": math.log(10)}}),
        (2, 50, {"baselines": {"ln 10": math.log(10)}}),
    ],
)  # fmt: skip
def test_curves(count, length, options):
    curves = {f"curve {k}": [1.0 / (k + step) for step in range(1, length + 1)] for k in range(count)}
    figure = plot_curves(curves, xlabel="step", ylabel="loss", title="It falls", **options)
    pixels(figure)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")
    drawn = {line.get_label(): line for line in axes.lines}
    for name, values in curves.items():
        assert list(drawn[name].get_xdata()) == list(range(1, length + 1))
        assert list(drawn[name].get_ydata()) == values
    assert (axes.get_legend() is not None or len(figure.legends) == 1) == (count > 1)
    assert axes.get_yscale() == ("log" if "log" in options else "linear")
    for text in ("It falls", *options.get("baselines", {})):
        assert text in texts(figure)


def test_curves_with_gaps_and_of_unequal_length():
    curves = {"diverged": [2.0, math.inf, math.nan], "short": [1.0], "tensor": torch.ones(4)}
    pixels(plot_curves(curves, xlabel="step", ylabel="loss", title="One diverges"))


@pytest.mark.parametrize(
    ("epochs", "names"),
    [
        (2, ("train_loss",)),
        (30, ("train_loss", "val_loss")),
        (1, ("train_loss", "train_accuracy")),
        (1, ("train_loss", "train_accuracy", "val_loss", "val_accuracy")),
        (30, ("train_loss", "train_accuracy", "val_loss", "val_accuracy")),
    ],
)
def test_history(names, epochs):
    history = [
        {"epoch": epoch, **{name: 1 / (epoch + len(name)) for name in names}, "seconds": 1.0}
        for epoch in range(1, epochs + 1)
    ]
    figure = plot_history(history, title="Still improving")
    pixels(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == [n.split("_")[1] for n in names if n.startswith("train")]
    for axes in figure.axes:
        for line in axes.lines:
            key = {"training": "train_", "validation": "val_"}[line.get_label()] + axes.get_ylabel()
            assert list(line.get_xdata()) == list(range(1, epochs + 1))
            assert list(line.get_ydata()) == [row[key] for row in history]
        assert len(axes.lines) == sum(name.endswith(axes.get_ylabel()) for name in names)
    assert "Still improving" in texts(figure)


@pytest.mark.parametrize(
    ("count", "seeds", "options"),
    [
        (1, 1, {}), (3, 2, {}), (12, 5, {}), (3, 30, {}), (1, 2, {"percent": False}), (12, 30, {"percent": False}),
        (3, 1, {"baselines": {"always “middle”": 0.667, "chance": 0.333}}),
        (1, 5, {"baselines": {"always “middle”": 0.667, "chance": 0.333}}),
    ],
)  # fmt: skip
def test_runs(count, seeds, options):
    runs = {f"recipe {k}": [0.9 + 0.001 * (k + seed) for seed in range(seeds)] for k in range(count)}
    figure = plot_runs(runs, xlabel="test accuracy", title="No difference", **options)
    pixels(figure)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        f"{name}\n{mean_and_sd(values, options.get('percent', True))}" for name, values in runs.items()
    ]
    for dots, values in zip(axes.collections, runs.values(), strict=True):
        assert dots.get_offsets()[:, 0].tolist() == pytest.approx(values)
    for text in ("No difference", "test accuracy", *options.get("baselines", {})):
        assert text in texts(figure)


@pytest.mark.parametrize(
    ("values", "percent", "text"),
    [
        ([0.98], True, "98.00 % (1 run)"),
        ([0.97, 0.99], True, "98.00 ± 1.41 % (2 runs)"),
        ([1.0, 2.0, 3.0], False, "2.00 ± 1.00 (3 runs)"),
        ([2], False, "2.00 (1 run)"),
    ],
)
def test_mean_and_sd(values, percent, text):
    assert mean_and_sd(values, percent) == text
    if len(values) > 1:
        assert f"{statistics.stdev(values) * (100 if percent else 1):.2f}" in text


# --------------------------------------------------------------------------------------------- images and mistakes


@pytest.mark.parametrize("classes", [1, 2, 3, 12])
def test_confusion(classes):
    matrix = torch.arange(classes**2).view(classes, classes) * 50
    matrix[-1] = 0  # a class that never came
    figure = plot_confusion(matrix, classes=NAMES[:classes], title="One column")
    pixels(figure)
    (axes,) = figure.axes
    assert axes.get_xlabel().startswith("answer of the network") and axes.get_ylabel() == "true class"
    share = np.asarray(axes.images[0].get_array())
    assert np.isfinite(share).all() and (share[-1] == 0).all()
    written = {text.get_position(): text.get_text() for text in axes.texts}
    for row in range(classes):
        for column in range(classes):
            count = matrix[row, column].item()
            assert written[column, row] == (f"{count:,}" if count else "·")


def test_confusion_is_shaded_by_the_share_of_the_row():
    (axes,) = plot_confusion(torch.tensor([[30, 10], [0, 5]]), classes=["a", "b"], title="").axes
    assert np.asarray(axes.images[0].get_array()).tolist() == [[0.75, 0.25], [0, 1]]


@pytest.mark.parametrize(
    ("count", "channels", "titled", "dtype"),
    [
        (1, 1, False, torch.float32), (1, 3, True, torch.uint8), (10, 1, True, torch.float32),
        (10, 3, False, torch.uint8), (13, 1, False, torch.uint8), (13, 3, True, torch.float32),
    ],
)  # fmt: skip
def test_images(count, channels, titled, dtype):
    images = torch.randint(256, (count, channels, 6, 7)).to(dtype)
    titles = [f"no. {k}" for k in range(count)] if titled else ()
    figure = show_images(images, titles, title="Digits" if titled else "")
    pixels(figure)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == count
    assert [axes.get_title() for axes in shown] == (list(titles) or [""] * count)
    assert all(not axes.axison for axes in figure.axes)
    assert ("Digits" in texts(figure)) is titled
    assert np.asarray(shown[0].images[0].get_array()).shape == ((6, 7) if channels == 1 else (6, 7, 3))


@pytest.mark.parametrize(("count", "columns", "grid"), [(7, 3, (3, 3)), (2, 5, (1, 2)), (6, 6, (1, 6)), (6, 1, (6, 1))])
def test_images_stand_in_a_grid(count, columns, grid):
    figure = show_images(torch.rand(count, 1, 4, 4), columns=columns)
    assert figure.axes[0].get_gridspec().get_geometry() == grid


def shown_values(images):
    return [np.asarray(axes.images[0].get_array()) for axes in show_images(images).axes]


def test_float_images_are_stretched_over_their_common_range():
    images = torch.randn(3, 1, 4, 4) * 5
    expected = (images - images.min()) / (images.max() - images.min())
    for shown, image in zip(shown_values(images), expected[:, 0], strict=True):
        np.testing.assert_allclose(shown, image.numpy(), rtol=1e-6)


def test_uint8_images_are_shown_as_they_are():
    images = torch.tensor([[0, 64], [128, 192]]).byte().view(1, 1, 2, 2)
    (shown,) = shown_values(images)
    scale = 1 if shown.dtype != np.uint8 else 255
    np.testing.assert_allclose(shown / scale, images[0, 0].numpy() / 255, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_constant_images_are_shown(dtype):
    images = torch.full((2, 1, 4, 4), 7).to(dtype)
    pixels(show_images(images, ["a", "b"]))
    assert np.isfinite(shown_values(images)).all()


def test_one_channel_is_gray_and_three_are_colored():
    picture = pixels(show_images(torch.rand(4, 1, 8, 8)))
    assert (picture.max(axis=2) == picture.min(axis=2)).all()
    picture = pixels(show_images(torch.rand(4, 3, 8, 8)))
    assert (picture.max(axis=2) != picture.min(axis=2)).any()


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (5, 2, 8, 8), (5, 28, 28, 3), (1, 1, 1, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 1 or 3, H, W\), got \(") as error:
        show_images(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="there is no image"):
        show_images(torch.zeros(0, 1, 8, 8))


def test_too_few_titles_are_refused():
    with pytest.raises(ValueError, match="titles"):
        show_images(torch.zeros(3, 1, 8, 8), ["one", "two"])


# ------------------------------------------------------------------------------------- maps, numbers and shares


@pytest.mark.parametrize(
    ("shape", "titled"),
    [((1, 1, 1), True), ((1, 12, 30), False), ((3, 5, 5), True), ((9, 28, 28), False), ((11, 7, 3), True)],
)
def test_maps_share_one_scale_around_zero(shape, titled):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    figure = plot_maps(maps, NAMES[:1] * len(maps) if titled else (), title="title", columns=4)
    pixels(figure)
    largest = maps.abs().max().item()
    images = [image for axes in figure.axes for image in axes.images]
    assert len(images) == len(maps)
    for image, values in zip(images, maps, strict=True):
        assert image.get_clim() == pytest.approx((-largest, largest))
        np.testing.assert_array_equal(image.get_array(), values.numpy())


def test_maps_of_zeros_and_maps_with_gradients_are_drawn():
    pixels(plot_maps(torch.zeros(2, 3, 3)))
    pixels(plot_maps(torch.randn(2, 3, 3, requires_grad=True)))


@pytest.mark.parametrize("shape", [(3, 3), (0, 3, 3), (1, 1, 3, 3)])
def test_maps_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected maps of shape \(N, H, W\)") as error:
        plot_maps(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_maps_need_one_title_each():
    with pytest.raises(ValueError, match="got 1 titles and 2 pictures"):
        plot_maps(torch.zeros(2, 3, 3), ["one"])


@pytest.mark.parametrize("cell", [0.26, 0.36])
def test_every_number_of_a_grid_is_written_in_its_cell(cell):
    grids = {"a long name": torch.tensor([[1.0, -2.5], [0.0, 12.0]]), "b": torch.tensor([[7]])}
    figure = plot_numbers(grids, title="title", cell=cell)
    pixels(figure)
    written = {(text.get_position(), text.get_text()) for text in figure.axes[0].texts}
    assert written == {((0, 0), "1"), ((1, 0), "−2.5"), ((0, 1), "0"), ((1, 1), "12")}
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == list(grids)


def test_grids_share_a_scale_on_request():
    grids = {"a": torch.tensor([[0.0, 1.0]]), "b": torch.tensor([[9.0, 9.0]])}
    own, shared = (
        [axes.images[0].get_clim() for axes in plot_numbers(grids, one_scale=one_scale).axes]
        for one_scale in (False, True)
    )
    assert own[0] != own[1] and shared[0] == shared[1] == (0, pytest.approx(14.4))


def test_a_limit_cuts_the_scale_of_maps():
    figure = plot_maps(torch.tensor([[[-5.0, 1.0]]]), limit=2)
    assert figure.axes[0].images[0].get_clim() == (-2, 2)


def test_grids_with_one_value_everywhere_are_drawn_and_other_shapes_refused():
    pixels(plot_numbers({"nines": torch.full((3, 3), 9.0)}))
    with pytest.raises(ValueError, match=r"expected grids of shape \(H, W\), got \(2, 2\), \(3,\)"):
        plot_numbers({"a": torch.zeros(2, 2), "b": torch.zeros(3)})


def test_shares_add_up_and_a_part_keeps_its_color():
    figure = plot_shares({"one": {"a": 1, "b": 3}, "two": {"b": 1, "c": 0.01}}, title="title")
    pixels(figure)
    axes = figure.axes[0]
    widths = [patch.get_width() for patch in axes.patches]
    assert widths[:2] == [0.25, 0.75] and sum(widths[2:]) == pytest.approx(1)
    assert axes.patches[1].get_facecolor() == axes.patches[2].get_facecolor() != axes.patches[0].get_facecolor()
    assert "a\n25%" in texts(figure) and "c\n" not in texts(figure)  # too small to be labeled
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


@pytest.mark.parametrize("bar", [{"a": 0, "b": 0}, {"a": -1, "b": 3}])
def test_shares_of_nothing_are_refused(bar):
    with pytest.raises(ValueError, match="add up to more than 0"):
        plot_shares({"bar": bar}, title="title")


@pytest.mark.parametrize("percent", [False, True])
def test_a_sweep_shows_every_run_and_the_means(percent):
    curves = {"a": {0.01: [0.5, 0.7], 1.0: [0.9]}, "b": {1.0: [0.1], 10.0: [0.2, 0.4]}}
    figure = plot_sweep(curves, xlabel="rate", ylabel="accuracy", title="title", percent=percent)
    pixels(figure)
    axes = figure.axes[0]
    assert [line.get_ydata() for line in axes.lines] == [pytest.approx([0.6, 0.9]), pytest.approx([0.1, 0.3])]
    dots = sorted(float(y) for dots in axes.collections for _, y in dots.get_offsets())
    assert dots == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.7, 0.9])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "1", "10"]
    assert ("%" in texts(figure)) == percent


def test_a_sweep_without_runs_is_refused():
    with pytest.raises(ValueError, match="at least one run for each setting of 'a'"):
        plot_sweep({"a": {1: []}}, xlabel="x", ylabel="y", title="title")


# ------------------------------------------------------------------------------------------------------ everything


def test_every_drawing_function_is_tested_here():
    offered = {name for name in vars(plotting) if name.startswith(("plot_", "show_"))}
    assert offered <= set(globals())
