"""The marked rows of some columns of a stack of matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fanin.initializers.matrices import Matrices
from fanin.initializers.sparse_kernel import GROUP, PADDING
from fanin.random.stream import Region

Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of groups of 16 columns, in the form of `sparse_kernel`.

    Attributes:
        words: [matrices · groups, 2·rows + PADDING].
        matrices: which matrices of the stack, ascending.
        groups: which groups of the columns of each of them, ascending.
    """

    words: NDArray[np.uint64]
    matrices: Numbers
    groups: Numbers

    @classmethod
    def empty(cls, view: Matrices, box: Region) -> Marks:
        """Room for the marks of a box of whole columns."""
        matrices, groups = view.numbers(box), np.unique(view.places(box, view.columns) // GROUP)
        words = np.empty((len(matrices) * len(groups), 2 * view.stack[1] + PADDING), np.uint64)
        return cls(words, matrices, groups)

    def begins(self, matrices: Numbers) -> Numbers:
        """Where in `words` the groups of each of these matrices begin."""
        return np.searchsorted(self.matrices, matrices) * len(self.groups)

    def slots(self, columns: Numbers) -> Numbers:
        """The place of each of these columns among all columns of the groups."""
        return np.searchsorted(self.groups, columns // GROUP) * GROUP + columns % GROUP
