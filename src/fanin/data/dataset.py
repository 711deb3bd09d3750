"""What a data set is: samples to train on, samples to test on, and what a model must know of their sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Task = Literal["classification", "tokens", "regression"]
IGNORED = -100
"""A target that neither loss nor score counts, as in torch's cross entropy."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs with what is wanted for each.

    Attributes:
        inputs: [n, …], float32, or int64 tokens.
        targets: [n, …]: int64 class [n] or next tokens [n, T] (−100 = not counted), or float32 values.

    >>> len(Samples(np.zeros((3, 1, 28, 28)), np.arange(3)))
    3
    """

    inputs: Array
    targets: Array

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """How values were normalised, (value − mean) / std, with statistics of the training part alone.

    Attributes:
        mean: of the raw training values; one number, or one for each channel (the last axis).
        std: their standard deviation (over n, not n − 1).

    >>> Scale(np.array(2.0), np.array(4.0)).normalised(np.array([6.0])).tolist()
    [1.0]
    """

    mean: Array
    std: Array

    def normalised(self, values: Array) -> Array:
        """(values − mean) / std, float32.

        >>> Scale(np.array(2.0), np.array(4.0)).normalised(np.array([2.0, 10.0])).tolist()
        [0.0, 2.0]
        """
        return ((values - self.mean) / self.std).astype(np.float32)

    def raw(self, values: Array) -> Array:
        """The values before `normalised`, float64.

        >>> Scale(np.array(2.0), np.array(4.0)).raw(np.array([0.0, 2.0])).tolist()
        [2.0, 10.0]
        """
        return np.asarray(values, dtype=np.float64) * self.std + self.mean


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A task: samples to train on and samples to test on.

    Attributes:
        name: the set's.
        train: samples to train on.
        test: samples to judge by.
        task: "classification" (one class per sample), "tokens" (one class per position) or "regression" (values).
        sizes: what a model is built from: shape, classes and inputs of images; vocabulary and context of tokens;
            channels, lookback and horizon of series; inputs and outputs of coordinates.
        target: score to reach (accuracy from 0 to 1; RMSE for regression), None where there is no usual one.
        source: where the data comes from.
        scale: how inputs were normalised, None where they were not.
        decode: from tokens [n] to their text, None where they are not of a text.

    >>> part = Samples(np.zeros((3, 4), np.float32), np.arange(3))
    >>> data = Dataset("mine", part, part, "classification", {"shape": (1, 2, 2), "classes": 3}, None, "my desk")
    >>> len(data.train), data.sizes["classes"]
    (3, 3)
    """

    name: str
    train: Samples
    test: Samples
    task: Task
    sizes: Mapping[str, Any]
    target: float | None
    source: str
    scale: Scale | None = None
    decode: Callable[[Array], str] | None = None
