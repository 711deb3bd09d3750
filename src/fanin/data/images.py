"""Images with classes: a fixed, balanced order, averaged down and normalised by what is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.data.dataset import Dataset, Samples, Scale
from fanin.data.needs import Progress, silent
from fanin.errors import ArgumentError, DataError

Pixels = NDArray[Any]
Part = tuple[Pixels, NDArray[Any]]
_CHUNK = 1000


@dataclass(frozen=True, slots=True, eq=False)
class RawImages:
    """Images as they are stored.

    Attributes:
        train, test: pixels, unsigned integers [n, rows, columns], and labels, unsigned integers [n].
        white: the largest value that a pixel can have.
        target: the accuracy to reach.
        source: where they come from.
    """

    train: Part
    test: Part
    white: int
    target: float
    source: str


def images(
    read: Callable[[str | None, Progress], RawImages],
    path: str | None = None,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    flat: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """A data set of images [n, 1, rows, columns], normalised by mean and std of all pixels of the training part.

    Both parts go through the classes in turn: the first image of each class in the order of the file, then the second
    of each, and so on; so the first N of them are balanced.

    Args:
        path: folder of the files.
        train: how many images to train on, the first, classes in turn.
        test: how many images to test on, the first, classes in turn.
        size: rows; averaged over square blocks of pixels, which must divide the images.
        flat: one row of numbers for each image.

    Raises:
        ArgumentError: a number that cannot be meant, or more images than there are.
        DataError: files that hold no such images.
    """
    raw = read(path, progress)
    classes = 1 + int(max(raw.train[1].max(), raw.test[1].max()))
    chosen = [
        _balanced(part, count, word) for part, count, word in ((raw.train, train, "train"), (raw.test, test, "test"))
    ]
    block = _block(raw.train[0].shape[1:], size)
    sums = [_summed(pixels, block) for pixels, _ in chosen]
    brightest = raw.white * block * block
    scale = _scale(sums[0], brightest)
    shades = scale.normalised(np.arange(brightest + 1) / brightest)
    inputs = [shades[part].reshape(len(part), -1) if flat else shades[part][:, None] for part in sums]
    rows, columns = sums[0].shape[1:]
    return Dataset(
        "images",
        *(Samples(values, labels.astype(np.int64)) for values, (_, labels) in zip(inputs, chosen, strict=True)),
        task="classification",
        sizes={"shape": (1, rows, columns), "classes": classes, "inputs": columns},
        target=raw.target,
        source=raw.source,
        scale=scale,
    )


def _balanced(part: Part, count: int | None, word: str) -> Part:
    """The first `count` samples of the order that takes the classes in turn."""
    pixels, labels = part
    if count is not None and not 1 <= count <= len(labels):
        raise ArgumentError(f"{word} must be from 1 to {len(labels)}, the images that there are, got {count}")
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        rank[places] = np.arange(len(places))
    order = np.lexsort((labels, rank))[:count]
    return pixels[order], labels[order]


def _block(sides: tuple[int, ...], size: int | None) -> int:
    """Rows and columns of the blocks of pixels that are averaged."""
    if size is None:
        return 1
    rows, columns = sides
    fitting = [each for each in range(1, rows + 1) if rows % each == 0 and columns % (rows // each) == 0]
    if size not in fitting:
        smaller = ", ".join(map(str, fitting[:-1]))  # the last one, all rows, averages nothing
        hint = f"as {smaller} do" if smaller else f"which none below {rows} does"
        raise ArgumentError(f"size must divide the images' {rows}×{columns} pixels, {hint}, got {size}")
    return rows // size


def _summed(pixels: Pixels, block: int) -> Pixels:
    if block == 1:
        return pixels
    count, rows, columns = pixels.shape
    return pixels.reshape(count, rows // block, block, columns // block, block).sum(axis=(2, 4), dtype=np.uint32)


def _scale(sums: Pixels, brightest: int) -> Scale:
    """Mean and std of the shades from 0 to 1, exactly: from how often each occurs."""
    counts = np.zeros(brightest + 1, np.int64)
    for part in np.array_split(sums, -(-len(sums) // _CHUNK)):  # bincount makes a copy of eight bytes a pixel
        counts += np.bincount(part.reshape(-1), minlength=brightest + 1)
    often = counts / sums.size
    shades = np.arange(brightest + 1) / brightest
    mean = float(often @ shades)
    std = float(often @ (shades - mean) ** 2) ** 0.5
    if not std:
        raise DataError("all pixels of the training images are the same: there is nothing to learn from them")
    return Scale(np.array(mean), np.array(std))
