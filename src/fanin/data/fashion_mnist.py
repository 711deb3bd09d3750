"""Fashion-MNIST, MNIST and whatever else stands in IDX files under MNIST's names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from fanin.data.idx import read_idx
from fanin.data.images import Part, RawImages
from fanin.data.needs import Progress
from fanin.errors import ArgumentError, DataError, MissingExtraError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PARTS = ("train", "t10k")
_SOURCE = "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747)"


def fashion_mnist(path: str | None, progress: Progress) -> RawImages:
    """Fashion-MNIST from Debian's package, or from its four files in `path`.

    Raises:
        MissingExtraError: the package is not installed, and no path given.
        DataError: a file is missing, damaged or another's.
    """
    if path is None and (words := missing()):
        raise MissingExtraError(words)
    return read_folder(DEBIAN if path is None else Path(path), 0.85, _SOURCE, progress)


def missing() -> str | None:
    """What to install; None where the package is there."""
    if DEBIAN.is_dir():
        return None
    return (
        f"Fashion-MNIST is not in {DEBIAN}: install Debian's package (apt install dataset-fashion-mnist), or name a "
        "folder with its four IDX files: fashion-mnist,path=FOLDER"
    )


def idx(path: str | None, progress: Progress) -> RawImages:
    """Images and labels from four IDX files in the folder `path`.

    Raises:
        ArgumentError: no path.
        DataError: a file is missing, damaged or another's.
    """
    if path is None:
        raise ArgumentError("idx reads a folder of four IDX files under MNIST's names: idx,path=FOLDER")
    return read_folder(Path(path), 0.9, f"IDX files in {path}", progress)


def read_folder(folder: Path, target: float, source: str, progress: Progress) -> RawImages:
    """`train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two of `t10k`, each gzipped (.gz) or not."""
    train, test = (
        _part(folder, name, partial(_shared, progress, place / len(_PARTS))) for place, name in enumerate(_PARTS)
    )
    if train[0].shape[1:] != test[0].shape[1:]:
        seen = "×".join(map(str, test[0].shape[1:]))
        wanted = "×".join(map(str, train[0].shape[1:]))
        raise DataError(f"{folder}: the test images have {seen} pixels and the training images {wanted}")
    return RawImages(train, test, white=255, target=target, source=source)


def _shared(progress: Progress, start: float, done: float, total: float) -> None:
    progress(start + done / total / len(_PARTS), 1.0)


def _part(folder: Path, name: str, progress: Progress) -> Part:
    pixels = read_idx(_file(folder, f"{name}-images", "idx3-ubyte"), 3, progress)
    labels_file = _file(folder, f"{name}-labels", "idx1-ubyte")
    labels = read_idx(labels_file, 1)
    if len(labels) != len(pixels):
        raise DataError(f"{labels_file}: {len(labels):,} labels for {len(pixels):,} images")
    return pixels, labels.astype(np.int64)


def _file(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{joint}{kind}{end}" for joint in "-." for end in (".gz", "")]
    try:
        found = next((folder / name for name in names if (folder / name).is_file()), None)
    except OSError as error:  # no permission to look, or a path too long
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from None
    if found is None:
        raise DataError(f"{folder}: there is no file {names[0]} or {names[1]}")
    return found
