"""Real time series that ship with packages, and any other in a CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fanin.data.csv_file import filled, read_columns
from fanin.data.dataset import Dataset
from fanin.data.needs import Progress, Shipped, silent
from fanin.data.series import RawSeries, series
from fanin.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """A series in the CSV file of a package.

    Attributes:
        file: where it stands.
        columns: those that hold it.
        source: who measured it.
        by_row: whether a row holds several steps in a row, one in each of the columns.
    """

    file: Shipped
    columns: tuple[str, ...]
    source: str
    by_row: bool = False

    def read(self) -> RawSeries:
        """The values; where one is missing, the last before it.

        Raises:
            MissingExtraError: the package is not installed.
            DataError: its file is not the one known here.
        """
        path = self.file.path()
        values = filled(path, read_columns(path, self.columns))
        return RawSeries(values.reshape(-1, 1) if self.by_row else values, self.source)


def _statsmodels(name: str, purpose: str) -> Shipped:
    return Shipped("statsmodels", Path("datasets", name, f"{name}.csv"), purpose)


def _sktime(name: str, purpose: str) -> Shipped:
    return Shipped("sktime", Path("datasets", "data", name, f"{name}.csv"), purpose)


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

SUNSPOTS = KnownSeries(
    _statsmodels("sunspots", "the sunspot numbers"),
    ("SUNACTIVITY",),
    "yearly sunspot numbers 1700–2008 (NOAA), shipped by statsmodels",
)
CO2 = KnownSeries(
    _statsmodels("co2", "the measurements of CO₂"),
    ("co2",),
    "weekly atmospheric CO₂ at Mauna Loa 1958–2001, ppm (Keeling, Whorf), shipped by statsmodels",
)
ELNINO = KnownSeries(
    _statsmodels("elnino", "the sea temperatures"),
    _MONTHS,
    "monthly sea surface temperature 1950–2010, °C, Niño 1+2 region (NOAA), shipped by statsmodels",
    by_row=True,
)
AIRLINE = KnownSeries(
    _sktime("Airline", "the airline passengers"),
    ("Passengers",),
    "monthly international airline passengers 1949–1960, thousands (Box, Jenkins), shipped by sktime",
)


def csv(
    path: str | None = None,
    columns: str | None = None,
    fill: bool = False,
    lookback: int = 32,
    horizon: int = 8,
    split: float = 0.8,
    train: int | None = None,
    test: int | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Windows of the columns of a CSV file, one row a step; see `series`.

    Args:
        path: the file.
        columns: names of columns joined by +; all that hold numbers alone where none is given.
        fill: give an empty cell the last value before it.
        lookback: steps that a window shows.
        horizon: steps to forecast.
        split: share of the time that is trained on, above 0 and below 1.
        train: how many windows to train on, the latest.
        test: how many windows to test on, the earliest.

    Raises:
        ArgumentError: no path, an empty cell without `fill`, or as `series`.
        DataError, UnknownNameError: as `read_columns` and `series`.
    """
    if path is None:
        raise ArgumentError("csv reads a file with one row a step: csv,path=FILE")

    def read() -> RawSeries:
        found = read_columns(Path(path), tuple(columns.split("+")) if columns else ())
        gaps = [
            (name, int(row) + 1)
            for name, column in zip(found.names, found.values.T, strict=True)
            for row in (column != column).nonzero()[0][:1]
        ]
        if gaps and not fill:
            name, row = gaps[0]
            raise ArgumentError(
                f"{path}: row {row} of column {name!r} is empty: give fill=true to take the last value before it"
            )
        return RawSeries(filled(Path(path), found), f"{path}: {', '.join(found.names)}")

    return series(read, lookback, horizon, split, train, test, progress)
