"""Samples of a set as a PNG, by matplotlib."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.data import Dataset
from fanin.errors import MissingExtraError
from fanin.weights.atomic import atomic_file

_MOST_CLASSES, _EACH = 20, 8
_WINDOWS = 6
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def save_samples(data: Dataset, path: str | Path) -> Path:
    """Write a few samples as a PNG: images by class, windows of a series, tokens as a grid, pixels as a picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
        WeightsError: the file cannot be written.
    """
    try:
        figure_class: Any = import_module("matplotlib.figure").Figure
    except ImportError:
        raise MissingExtraError.of("matplotlib", "plots", "pictures of samples") from None
    if "shape" in data.sizes:
        figure = _images(figure_class, data)
    elif "horizon" in data.sizes:
        figure = _series(figure_class, data)
    elif data.task == "tokens":
        figure = _tokens(figure_class, data)
    elif data.train.inputs.ndim == 2:
        figure = _places(figure_class, data)
    else:
        figure = _lines(figure_class, data)
    figure.suptitle(data.name, fontsize=10)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    with atomic_file(path) as file:
        file.write(picture.getvalue())
    return Path(path)


def _images(figure_class: Any, data: Dataset) -> Any:
    """One contact sheet: a column for each class, its first images below each other."""
    rows, columns = data.sizes["shape"][1:]
    pixels = data.train.inputs.reshape(len(data.train), -1, rows, columns).mean(axis=1)
    labels = [int(label) for label in np.unique(data.train.targets)][:_MOST_CLASSES]
    sheet = np.full((_EACH * (rows + 1), len(labels) * (columns + 1)), np.nan)
    for place, label in enumerate(labels):
        for row, image in enumerate(pixels[data.train.targets == label][:_EACH]):
            at = row * (rows + 1), place * (columns + 1)
            sheet[at[0] : at[0] + rows, at[1] : at[1] + columns] = image
    figure = figure_class(figsize=(0.9 * len(labels) + 0.4, 0.9 * _EACH + 0.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray_r", interpolation="nearest")
    axes.set_xticks([place * (columns + 1) + columns / 2 for place in range(len(labels))], labels)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return figure


def _series(figure_class: Any, data: Dataset) -> Any:
    """Windows of the test part in the units of the series: what is seen, and what is to be foretold."""
    figure = figure_class(figsize=(9, 6), dpi=150, layout="constrained")
    chosen = np.linspace(0, len(data.test) - 1, min(_WINDOWS, len(data.test))).astype(int)
    lookback, horizon = data.sizes["lookback"], data.sizes["horizon"]
    for axes, row in zip(figure.subplots(3, 2).flat, chosen, strict=False):
        seen, wanted = _raw(data, data.test.inputs[row]), _raw(data, data.test.targets[row])
        axes.plot(np.arange(lookback), seen, color="0.45", linewidth=1)
        axes.plot(np.arange(lookback, lookback + horizon), wanted, color=_ORANGE, linewidth=1.4)
        axes.axvline(lookback - 0.5, color="0.7", linewidth=0.7, linestyle=":")
        axes.set_title(f"test window {row}", fontsize=8)
    return figure


def _raw(data: Dataset, values: NDArray[Any]) -> NDArray[Any]:
    return values if data.scale is None else data.scale.raw(values)


def _tokens(figure_class: Any, data: Dataset) -> Any:
    figure = figure_class(figsize=(9, 4), dpi=150, layout="constrained")
    for axes, (part, values) in zip(
        figure.subplots(2, 1), (("inputs", data.train.inputs), ("targets", data.train.targets)), strict=True
    ):
        axes.imshow(values[:_EACH], aspect="auto", interpolation="nearest", vmin=-1, vmax=data.sizes["vocabulary"] - 1)
        axes.set_title(part, fontsize=8)
        axes.set_yticks([])
    return figure


def _places(figure_class: Any, data: Dataset) -> Any:
    """Values at places (x, y), with y downwards: the training samples, and those of the test."""
    figure = figure_class(figsize=(9, 4.6), dpi=150, layout="constrained")
    for axes, (part, samples) in zip(figure.subplots(1, 2), (("train", data.train), ("test", data.test)), strict=True):
        colours = np.clip((samples.targets + 1) / 2, 0, 1)
        shown = np.broadcast_to(colours, (len(colours), 3))
        axes.scatter(*samples.inputs.T, c=shown, s=40_000 / len(samples), marker="s", linewidths=0)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_title(part, fontsize=8)
    return figure


def _lines(figure_class: Any, data: Dataset) -> Any:
    """Sequences of several features, a line for each."""
    figure = figure_class(figsize=(9, 6), dpi=150, layout="constrained")
    count = min(3, len(data.train))
    for axes, row in zip(figure.subplots(count, 1, squeeze=False).flat, range(count), strict=True):
        for feature, colour in zip(data.train.inputs[row].T, (_BLUE, _ORANGE), strict=False):
            axes.plot(feature, color=colour, linewidth=1)
        wanted = ", ".join(f"{value:.4g}" for value in data.train.targets[row].reshape(-1))
        axes.set_title(f"target {wanted}", fontsize=8)
    return figure
