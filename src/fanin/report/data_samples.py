"""The first samples of a set, in characters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.data import Dataset
from fanin.report import text

_SHADES = " .:-=+*#%@"
_BARS = "▁▂▃▄▅▆▇█"
_ROWS, _GAP = 4, 2

Values = NDArray[Any]


def sample_lines(data: Dataset, width: int) -> list[str]:
    """A few training samples for a terminal of `width` columns: images in shades, series as bars, text as it reads."""
    if "shape" in data.sizes:
        return _images(data, width)
    if "horizon" in data.sizes:
        return _series(data, width)
    if data.task == "tokens":
        return [_tokens(data, row, width) for row in range(min(_ROWS, len(data.train)))]
    return [_row(data, row, width) for row in range(min(_ROWS, len(data.train)))]


def _images(data: Dataset, width: int) -> list[str]:
    """As many images beside each other as fit; a line is two rows of pixels, because characters are twice as high."""
    rows, columns = data.sizes["shape"][1:]
    count = max(1, min(len(data.train), data.sizes["classes"], (width + _GAP) // (columns + _GAP)))
    pictures = data.train.inputs[:count].reshape(count, -1, rows, columns).mean(axis=1)
    even = pictures[:, : rows - rows % 2].reshape(count, rows // 2, 2, columns).mean(axis=2)
    low, high = float(pictures.min()), float(pictures.max())
    shades = np.clip((even - low) / ((high - low) or 1) * len(_SHADES), 0, len(_SHADES) - 1).astype(int)
    lines = [(" " * _GAP).join("".join(_SHADES[s] for s in row) for row in beside) for beside in shades.swapaxes(0, 1)]
    labels = [f"class {label}".ljust(columns) for label in data.train.targets[:count]]
    return [line.rstrip() for line in [*lines, (" " * _GAP).join(labels)]]


def _series(data: Dataset, width: int) -> list[str]:
    """The first windows: what is seen, a bar, what is to be foretold."""
    lines: list[str] = []
    for row in np.linspace(0, len(data.train) - 1, min(_ROWS, len(data.train))).astype(int):
        seen, wanted = data.train.inputs[row, :, 0], data.train.targets[row, :, 0]
        low, high = min(seen.min(), wanted.min()), max(seen.max(), wanted.max())
        seen = seen[-max(1, width - len(wanted) - 1) :]
        lines.append(f"{_bars(seen, low, high)}│{_bars(wanted, low, high)}"[:width])
    return lines


def _bars(values: Values, low: float, high: float) -> str:
    places = np.clip((values - low) / ((high - low) or 1) * len(_BARS), 0, len(_BARS) - 1).astype(int)
    return "".join(_BARS[place] for place in places)


def _tokens(data: Dataset, row: int, width: int) -> str:
    tokens = data.train.inputs[row]
    if data.decode is not None:
        return _cut(text.printable(data.decode(tokens)), width)
    return _cut("".join(map(str, tokens)) if data.sizes["vocabulary"] <= 10 else " ".join(map(str, tokens)), width)


def _row(data: Dataset, row: int, width: int) -> str:
    inputs, targets = (
        " ".join(f"{value:.3g}" for value in values[row].reshape(-1)[:width])
        for values in (data.train.inputs, data.train.targets)
    )
    return f"{_cut(inputs, max(8, width - len(targets) - 3))} → {targets}"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
