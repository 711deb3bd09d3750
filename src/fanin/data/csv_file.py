"""Columns of numbers from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanin.errors import DataError, UnknownNameError


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of a file.

    Attributes:
        names: from the first line where that has words, else "1", "2", ….
        values: float64 [rows, columns]; NaN where a cell is empty.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]


def read_columns(path: Path, chosen: Sequence[str] = ()) -> Columns:
    """The chosen columns of a CSV file, or all that hold nothing but numbers and empty cells.

    Args:
        path: the file, UTF-8, cells separated by commas; its first line may name the columns.
        chosen: names of columns.

    Raises:
        UnknownNameError: no column of that name.
        DataError: the file cannot be read, its rows differ in length, a chosen cell is no number, or no column is.
    """
    header, rows = _table(path)
    wanted = [_place(name, header) for name in chosen] or [
        place for place in range(len(header)) if all(_is_number(row[place]) for row in rows)
    ]
    if not wanted:
        raise DataError(f"{path}: no column holds numbers alone; the columns are {', '.join(header)}")
    for number, row in enumerate(rows, start=1):
        for place in wanted:
            if not _is_number(row[place]):
                raise DataError(f"{path}: row {number} of column {header[place]!r} is {row[place]!r}, not a number")
    values = np.array([[_value(row[place]) for place in wanted] for row in rows])
    if np.isnan(values).all(axis=0).any():
        raise DataError(f"{path}: a column is empty")
    return Columns(tuple(header[place] for place in wanted), values)


def filled(path: Path, columns: Columns) -> NDArray[np.float64]:
    """The values with each empty cell holding the last value before it, so that nothing of the future is told.

    Raises:
        DataError: a column starts with an empty cell.
    """
    values = columns.values
    for name, column in zip(columns.names, values.T, strict=True):
        if np.isnan(column[0]):
            raise DataError(
                f"{path}: column {name!r} starts with an empty cell: remove the rows before its first value"
            )
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))[:, None]), axis=0)
    return np.take_along_axis(values, last, axis=0)


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:  # ValueError: no UTF-8, or a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as a CSV file ({reason})") from None
    if not rows:
        raise DataError(f"{path}: the file is empty")
    named = not any(_is_number(cell) for cell in rows[0] if cell)
    header = rows.pop(0) if named else [str(place) for place in range(1, len(rows[0]) + 1)]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} cells where there are {len(header)} columns")
    if not rows:
        raise DataError(f"{path}: the file has no row of numbers")
    return header, rows


def _place(name: str, header: list[str]) -> int:
    if name not in header:
        raise UnknownNameError.among("column", name, header)
    return header.index(name)


def _is_number(cell: str) -> bool:
    try:
        return not cell or isfinite(float(cell))
    except ValueError:
        return False


def _value(cell: str) -> float:
    return float(cell) if cell else nan
