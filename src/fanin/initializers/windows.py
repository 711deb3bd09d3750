"""What a region has of one matrix, to be written a few columns at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.initializers.storage import store, working_dtype

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Window:
    """Rows and columns of a matrix, ascending, and the array [rows, columns] of any stored dtype that takes them."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    values: Array

    @property
    def transposed(self) -> Window:
        """The window of the transposed matrix."""
        return Window(self.columns, self.rows, self.values.T)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the values are computed in."""
        return working_dtype(self.values)

    def write(self, start: int, panel: Array, factors: Array) -> None:
        """Take what it has of `panel`, the columns from `start` on, times a factor for each."""
        first, last = np.searchsorted(self.columns, (start, start + panel.shape[1]))
        if first == last:
            return
        taken = _slice(self.columns[first:last] - start)
        part = panel[_slice(self.rows)][:, taken]
        target = self.values[:, first:last]
        if target.dtype == panel.dtype:
            np.multiply(part, factors[taken], out=target)
        else:
            store(target, part * factors[taken])


def _slice(places: NDArray[np.intp]) -> Any:
    """Ascending indices as a slice where they run on."""
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first + 1 == len(places) else places
