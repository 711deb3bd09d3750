"""IDX files as they should be, to be damaged."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def idx_bytes(values: np.ndarray) -> bytes:
    """The IDX form of an array of bytes, written down here from LeCun's description."""
    header = bytes((0, 0, 8, values.ndim)) + b"".join(int(side).to_bytes(4, "big") for side in values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_folder(folder: Path, train: tuple, test: tuple, packed: bool = False, joint: str = "-") -> Path:
    """The four files of a set like MNIST."""
    folder.mkdir(exist_ok=True)
    for part, (images, labels) in (("train", train), ("t10k", test)):
        for kind, values in ((f"images{joint}idx3", images), (f"labels{joint}idx1", labels)):
            content = idx_bytes(values)
            name = f"{part}-{kind}-ubyte" + (".gz" if packed else "")
            (folder / name).write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.fixture
def small_set() -> tuple:
    """(train, test) of 24 and 9 images of 4×4 random pixels, three classes."""
    rng = np.random.default_rng(0)
    return tuple((rng.integers(0, 256, (n, 4, 4)), rng.permutation(np.arange(n) % 3)) for n in (24, 9))


@pytest.fixture
def folder_of(tmp_path) -> Callable[..., Path]:
    """Writes (train, test) into a folder."""
    return lambda parts, **options: write_folder(tmp_path / "set", *parts, **options)
