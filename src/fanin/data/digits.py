"""1,797 handwritten digits of 8×8 pixels, from the file that scikit-learn ships."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanin.data.images import Part, RawImages
from fanin.data.needs import Progress, Shipped
from fanin.errors import DataError

FILE = Shipped("sklearn", Path("datasets", "data", "digits.csv.gz"), "the 8×8 digits")
SIDE = 8
WHITE = 16
COUNT = 1797
TRAIN_SHARE = 0.8
_SOURCE = "Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998), test part, shipped by scikit-learn"


def digits(path: str | None, progress: Progress) -> RawImages:
    """The digits: of each, in the order of the file, the first 80 % to train on and the others to test on.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        DataError: its file is not the one known here.
    """
    file = FILE.path()
    try:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: scikit-learn's digits cannot be read ({error}): reinstall scikit-learn") from None
    if table.shape != (COUNT, SIDE * SIDE + 1) or table[:, :-1].max() > WHITE or table[:, -1].max() > 9:
        raise DataError(
            f"{file}: expected {COUNT} digits of {SIDE * SIDE} pixels from 0 to {WHITE}, found a table "
            f"{'×'.join(map(str, table.shape))}: install scikit-learn>=1.5"
        )
    progress(1.0, 1.0)
    train = _trains(table[:, -1])
    return RawImages(_part(table[train]), _part(table[~train]), white=WHITE, target=0.95, source=_SOURCE)


def _trains(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        chosen[places[: round(TRAIN_SHARE * len(places))]] = True
    return chosen


def _part(table: NDArray[np.uint8]) -> Part:
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)
