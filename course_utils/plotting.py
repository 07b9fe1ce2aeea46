"""Tensors and rows in, a Figure out. Nothing here calls plt.show() or keeps pyplot state."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

# The first colors of petroff10, a cycle chosen to be told apart by color-blind readers (arXiv:2107.02270)
COLORS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", "-.", ":")
Curves = Mapping[str, Sequence[float]]
Numbers = Mapping[str, float]


def use_course_style() -> None:
    """Set the look of all figures: color-blind-safe colors, quiet axes, sharp pictures in the notebook."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": mpl.cycler(color=COLORS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "font.size": 10,
            "image.cmap": "gray",
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
        }
    )
    with suppress(ImportError, AttributeError):  # a plain Python without a notebook around it
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def new_figure(
    width: float = 6.0, height: float = 3.5, columns: int = 1, rows: int = 1, *, title: str = "", **subplots
) -> tuple:
    """Return (figure, axes) without pyplot; `axes` is one Axes, or an array of them; `title` stands above all."""
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure, figure.subplots(rows, columns, **subplots)


def class_style(k: int) -> dict:
    """Return color and marker of class k."""
    return {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k % len(MARKERS)]}


def plot_rows(rows: Tensor, labels: Tensor, *, classes: Sequence[str], title: str, most: int = 1500) -> Figure:
    """Scatter rows (N, 3) in three dimensions, colored by class; at most `most` of them, so that they can be seen."""
    figure = Figure(figsize=(6, 4.5))
    axes = figure.add_subplot(projection="3d")
    rows, labels = rows[:most], labels[:most]
    for k, name in enumerate(classes):
        axes.scatter(*rows[labels == k].T.numpy(), s=8, alpha=0.6, label=name, **class_style(k))
    axes.set(xlabel="x1", ylabel="x2", zlabel="x3", title=title)
    axes.view_init(elev=20, azim=-40)
    axes.legend(loc="upper left", markerscale=2)
    return figure


def plot_decision_regions(
    predict: Callable[[Tensor], Tensor] | None,
    rows: Tensor,
    labels: Tensor,
    *,
    classes: Sequence[str],
    slices: Sequence[float] = (0.2, 0.5, 0.8),
    thickness: float = 0.05,
    title: str,
) -> Figure:
    """Draw slices x3 = constant through the cube: shaded, what `predict` answers; dots, the rows near the slice.

    `predict` takes float rows (N, 3) and returns int64 classes (N,); None draws the rows alone. The dashed lines are
    where the sum x1 + x2 + x3 is 1 and 2.
    """
    figure, all_axes = new_figure(8, 3.7, columns=len(slices), title=title, sharey=True)
    for axes, x3 in zip(np.atleast_1d(all_axes), slices, strict=True):
        if predict is not None:
            shade_regions(axes, predict, x3, len(classes))
        near = (rows[:, 2] - x3).abs() < thickness
        for k, name in enumerate(classes):
            points = rows[near & (labels == k)]
            axes.scatter(*points[:, :2].T.numpy(), s=9, label=name, linewidths=0, **class_style(k))
        for total in (1, 2):
            axes.axline((total - x3, 0), slope=-1, color="black", linestyle="--", linewidth=0.8)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="x1", aspect="equal")
        axes.set_title(f"x3 ≈ {x3}", fontsize=10)
    np.atleast_1d(all_axes)[0].set_ylabel("x2")
    handles = [mpl.lines.Line2D([], [], linestyle="", label=name, **class_style(k)) for k, name in enumerate(classes)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(classes))
    return figure


def shade_regions(axes: Axes, predict: Callable[[Tensor], Tensor], x3: float, classes: int, steps: int = 101) -> None:
    """Shade the square of one slice by the class that `predict` answers at each of its points."""
    ticks = torch.linspace(0, 1, steps)
    x2, x1 = torch.meshgrid(ticks, ticks, indexing="ij")
    points = torch.stack([x1, x2, torch.full_like(x1, x3)], dim=-1).view(-1, 3)
    answers = predict(points).view(steps, steps).numpy()
    cmap = ListedColormap([COLORS[k % len(COLORS)] for k in range(classes)])
    axes.imshow(answers, origin="lower", extent=(0, 1, 0, 1), cmap=cmap, vmin=0, vmax=classes - 1, alpha=0.28)


def plot_curves(
    curves: Curves,
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    baselines: Numbers | None = None,
    percent: bool = False,
    log: bool = False,
    every: int = 1,
) -> Figure:
    """Draw named curves, one value `every` so many steps, with dotted horizontal baselines; the y axis starts at 0."""
    figure, axes = new_figure(6.5, 3.4)
    for k, (name, values) in enumerate(curves.items()):
        steps = range(1, every * len(values) + 1, every)
        axes.plot(steps, values, label=name, linestyle=LINES[k % len(LINES)], linewidth=1.6)
    add_baselines(axes, baselines or {})
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if log:
        axes.set_yscale("log")
    elif axes.get_ylim()[1] > 0:
        axes.set_ylim(bottom=min(0, *(min(values) for values in curves.values())))
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if len(curves) > 3:
        figure.legend(loc="outside right upper", fontsize=9)
    elif len(curves) > 1:
        axes.legend()
    return figure


def add_baselines(axes: Axes, baselines: Numbers) -> None:
    """Draw dotted horizontal lines with their names written on them."""
    beside = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points", "ha": "right"}
    for name, value in baselines.items():
        axes.axhline(value, color="black", linestyle=":", linewidth=1)
        axes.annotate(name, (1, value), **beside, bbox={"color": "white", "pad": 1})  # curves may cross it


def plot_history(history: Sequence[Mapping[str, float]], *, title: str) -> Figure:
    """Draw loss and accuracy of a training history by epoch, training and validation together."""
    names = [name for name in ("loss", "accuracy") if f"train_{name}" in history[0]]
    figure, all_axes = new_figure(8, 3.2, columns=len(names), title=title)
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(np.atleast_1d(all_axes), names, strict=True):
        for k, (split, label) in enumerate({"train": "training", "val": "validation"}.items()):
            if f"{split}_{name}" in history[0]:
                values = [row[f"{split}_{name}"] for row in history]
                axes.plot(epochs, values, linestyle=LINES[k], marker=MARKERS[k], markersize=4, label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend()
    return figure


def plot_runs(
    runs: Curves, *, xlabel: str, title: str, baselines: Numbers | None = None, percent: bool = True
) -> Figure:
    """Draw one dot a run (seed) and, beside each name, mean ± sd: the way this course compares two choices."""
    figure, axes = new_figure(7.5, 0.9 + 0.42 * len(runs))
    labels = []
    for k, (name, values) in enumerate(runs.items()):
        values = np.asarray(values, dtype=float)
        jitter = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else 0
        axes.scatter(values, np.full(len(values), k) + jitter, s=22, alpha=0.75, **class_style(k))
        axes.plot([values.mean()] * 2, [k - 0.3, k + 0.3], color="black", linewidth=1.5)
        labels.append(f"{name}\n{mean_and_sd(values, percent)}")
    above = {"xycoords": ("data", "axes fraction"), "xytext": (3, 2), "textcoords": "offset points"}
    for name, value in (baselines or {}).items():
        axes.axvline(value, color="black", linestyle=":", linewidth=1)
        axes.annotate(name, (value, 1), **above, fontsize=8)
    axes.set_yticks(range(len(runs)), labels, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(f"{xlabel} (one dot a run; bar: mean)")
    axes.set_title(title, pad=16 if baselines else 8)
    if percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def mean_and_sd(values: Sequence[float], percent: bool = False) -> str:
    """Write mean ± standard deviation of several runs (the sample's, n − 1); one run has no spread."""
    values = np.asarray(values, dtype=float) * (100 if percent else 1)
    unit = " %" if percent else ""
    if len(values) < 2:
        return f"{values.mean():.2f}{unit} (1 run)"
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}{unit} ({len(values)} runs)"


def plot_confusion(matrix: Tensor, *, classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix (K, K) of counts: row = true class, column = answer; shaded by the share of its row."""
    figure, axes = new_figure(*((4.2, 3.4) if len(classes) <= 4 else (6.2, 5.2)))
    share = matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    # the square root of the share, so that rare mistakes show some color
    axes.imshow(share.numpy(), cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    for (row, column), count in np.ndenumerate(matrix.numpy()):
        color = "white" if share[row, column] > 0.3 else "black"
        axes.text(column, row, f"{count:,}" if count else "·", ha="center", va="center", color=color, fontsize=9)
    slope = {"rotation": 40, "ha": "right"} if len(classes) > 4 and max(map(len, classes)) > 5 else {}
    axes.set_xticks(range(len(classes)), classes, **slope)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="answer of the network (shade: share of its row)", ylabel="true class", title=title)
    return figure


def picture_grid(
    pictures: Tensor, titles: Sequence[str], *, columns: int, title: str, width: float, height: float, **colors
) -> tuple[Figure, np.ndarray]:
    """Show pictures (N, H, W) or (N, H, W, 3) in a grid, each `width` × `height` inches; return figure and axes."""
    count, columns = len(pictures), min(columns, len(pictures))
    if titles and len(titles) != count:
        raise ValueError(f"expected one title a picture, got {len(titles)} titles and {count} pictures")
    rows = -(-count // columns)
    figure, grid = new_figure(width * columns, height * rows + (0.4 if title else 0), columns, rows, title=title)
    all_axes = np.atleast_1d(grid).ravel()
    for k, axes in enumerate(all_axes):
        axes.axis("off")
        if k < count:
            axes.imshow(pictures[k].numpy(), **colors)
            axes.set_title(titles[k] if titles else "", fontsize=8, loc="center", pad=2)
    return figure, all_axes


def show_images(
    images: Tensor, titles: Sequence[str] = (), *, columns: int = 10, title: str = "", size: float = 0.8
) -> Figure:
    """Show images (N, C, H, W), uint8 or float, in a grid; gray for one channel, colored for three.

    Float images are stretched over their own common range, so standardized ones can be seen too.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        none = ": there is no image" if images.numel() == 0 else ""
        raise ValueError(f"expected images of shape (N, 1 or 3, H, W), got {tuple(images.shape)}{none}")
    low, high = (0, 255) if images.dtype == torch.uint8 else (images.min(), images.max())
    pixels = (images - low) / max(high - low, 1e-12)
    height = size * (images.shape[2] / images.shape[3] + (0.3 if titles else 0))
    pictures = pixels.permute(0, 2, 3, 1).squeeze(-1)
    grid = {"columns": columns, "title": title, "width": size, "height": height}
    return picture_grid(pictures, titles, **grid, cmap="gray", vmin=0, vmax=1)[0]


def plot_maps(
    maps: Tensor,
    titles: Sequence[str] = (),
    *,
    columns: int = 8,
    title: str = "",
    size: float = 0.95,
    limit: float | None = None,
) -> Figure:
    """Show feature maps or filters (N, H, W) of any sign in a grid on one color scale: white 0, red above, blue below.

    `size` is a map's width in inches; the scale ends at ± `limit`, or at the largest value. Raises ValueError for
    another shape, or for titles that are not one a map.
    """
    if maps.dim() != 3 or len(maps) == 0:
        raise ValueError(f"expected maps of shape (N, H, W) with at least one map, got {tuple(maps.shape)}")
    maps = maps.detach().float().cpu()
    largest = limit or maps.abs().max().clamp(min=1e-12).item()
    lines = max((text.count("\n") + 1 for text in titles), default=0)
    height = size * maps.shape[1] / maps.shape[2] + 0.17 * lines + 0.08
    grid = {"columns": columns, "title": title, "width": size, "height": height}
    figure, all_axes = picture_grid(maps, titles, **grid, cmap="RdBu_r", vmin=-largest, vmax=largest)
    figure.set_figwidth(figure.get_figwidth() + 0.8)
    shrink, aspect = (0.9, 12) if len(maps) <= columns else (0.6, 20)
    bar = figure.colorbar(all_axes[0].images[0], ax=list(all_axes), shrink=shrink, aspect=aspect)
    if maps.min() >= 0:
        bar.ax.set_ylim(0, largest)  # no blue where nothing is negative
    return figure


def plot_numbers(
    grids: Mapping[str, Tensor], *, title: str = "", cell: float = 0.36, one_scale: bool = False
) -> Figure:
    """Draw small grids (H, W) side by side, each number in its cell, shaded from white (the smallest) to blue.

    Each grid has a scale of its own, unless `one_scale`. `cell` is a cell's width in inches. Raises ValueError for
    another shape.
    """
    shapes = [tuple(grid.shape) for grid in grids.values()]
    if any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"expected grids of shape (H, W), got {', '.join(map(str, shapes))}")
    widths = [max(w + 0.5, 0.085 * len(name) / cell) for name, (_, w) in zip(grids, shapes, strict=True)]
    height = cell * max(h for h, _ in shapes) + (0.8 if title else 0.4)
    width = max(cell * sum(widths) + 0.3, 0.08 * len(title))
    figure, all_axes = new_figure(width, height, columns=len(grids), title=title, width_ratios=widths)
    arrays = {name: grid.detach().double().cpu().numpy() for name, grid in grids.items()}
    everything = np.concatenate([values.ravel() for values in arrays.values()])
    for axes, (name, values) in zip(np.atleast_1d(all_axes), arrays.items(), strict=True):
        low, high = (everything.min(), everything.max()) if one_scale else (values.min(), values.max())
        axes.imshow(values, cmap="Blues", vmin=low, vmax=high + 0.6 * max(high - low, 1e-12))
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, f"{value:.4g}".replace("-", "−"), ha="center", va="center", fontsize=8)
        axes.set(xticks=[], yticks=[], anchor="NW")
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=9)
    return figure


def plot_shares(bars: Mapping[str, Mapping[str, float]], *, title: str) -> Figure:
    """Draw a bar for each name, cut into its parts in proportion: the same part has the same color in every bar.

    Raises ValueError for a bar whose parts are negative or add up to 0.
    """
    figure, axes = new_figure(8, 1.3 + 0.62 * len(bars))
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    colors = {part: COLORS[k % len(COLORS)] for k, part in enumerate(parts)}
    for row, bar in enumerate(bars.values()):
        total, left = sum(bar.values()), 0.0
        if total <= 0 or min(bar.values()) < 0:
            raise ValueError(f"expected parts that are not negative and add up to more than 0, got {dict(bar)}")
        for part, value in bar.items():
            share = value / total
            axes.barh(row, share, left=left, color=colors[part], edgecolor="white", height=0.62)
            if share > 0.04:
                axes.text(left + share / 2, row, f"{part}\n{share:.0%}", ha="center", va="center", fontsize=8)
            left += share
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share", title=title)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    handles = [mpl.patches.Patch(color=color, label=part) for part, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(parts)))
    return figure


def plot_sweep(
    curves: Mapping[str, Mapping[float, Sequence[float]]], *, xlabel: str, ylabel: str, title: str, percent: bool = True
) -> Figure:
    """Draw runs over a range of settings: a dot a run (seed), a line through the means, the settings equally spaced.

    `curves` maps a name to {setting: one value a run}. Raises ValueError when a setting has no run.
    """
    figure, axes = new_figure(7, 3.4)
    settings = list(dict.fromkeys(setting for runs in curves.values() for setting in runs))
    for k, (name, runs) in enumerate(curves.items()):
        if not all(len(values) for values in runs.values()):
            raise ValueError(f"expected at least one run for each setting of {name!r}, got {dict(runs)}")
        places = [settings.index(setting) + 0.08 * (k - (len(curves) - 1) / 2) for setting in runs]
        means = [float(np.mean(values)) for values in runs.values()]
        axes.plot(places, means, linestyle=LINES[k % len(LINES)], label=name, **class_style(k))
        for place, values in zip(places, runs.values(), strict=True):
            axes.scatter([place] * len(values), values, s=14, alpha=0.5, linewidths=0, **class_style(k))
    axes.set_xticks(range(len(settings)), [f"{setting:g}" for setting in settings])
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} (a dot a run)", title=title)
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend()
    return figure
