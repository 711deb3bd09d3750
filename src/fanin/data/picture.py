"""A picture as a function: from where a pixel is to what it shows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.data.dataset import Dataset, Samples
from fanin.data.needs import Progress, Shipped, silent
from fanin.errors import ArgumentError, DataError, MissingExtraError

FILE = Shipped("sklearn", Path("datasets", "images", "china.jpg"), "the sample pictures")
_MODES = {1: "L", 3: "RGB"}
_MOST_PIXELS = 80_000_000


def picture(
    path: str | None = None,
    size: int = 64,
    channels: int = 1,
    held_out: bool = True,
    progress: Progress = silent,
) -> Dataset:
    """Pixels by their places: inputs [n, 2], the pixel's (x, y) from −1 to 1; targets [n, channels] from −1 to 1.

    The largest square in the middle of the picture, averaged down to size × size. Pixels whose row and column add up to
    an even number are trained on and the others tested on, as the fields of a chessboard.

    Args:
        path: a picture that Pillow reads; china.jpg of scikit-learn where none is given.
        size: rows and columns.
        channels: 1 for the luma of ITU-R 601, 3 for red, green and blue.
        held_out: false: all pixels are trained on, and tested on; how well the picture is fitted.

    Raises:
        MissingExtraError: Pillow, or scikit-learn without `path`, is not installed.
        ArgumentError: a number that cannot be meant.
        DataError: the file is no picture, smaller than size, or of numbers without a known black and white.

    Source of the task: Sitzmann et al. 2020, "Implicit neural representations with periodic activation functions",
    arXiv 2006.09661, section 3.
    """
    if size < 2:
        raise ArgumentError(f"size must be at least 2, got {size}")
    if channels not in _MODES:
        raise ArgumentError(f"channels must be 1 (grey) or 3 (red, green, blue), got {channels}")
    file = FILE.path() if path is None else Path(path)
    values = _square(file, size, _MODES[channels]).reshape(size * size, channels)
    progress(1.0, 1.0)
    ends = np.linspace(-1, 1, size, dtype=np.float32)
    places = np.stack(np.meshgrid(ends, ends, indexing="xy"), axis=-1).reshape(-1, 2)
    rows, columns = np.divmod(np.arange(size * size), size)
    light = (rows + columns) % 2 == 0
    parts = (light, ~light) if held_out else (slice(None), slice(None))
    samples = [Samples(places[part], values[part]) for part in parts]
    sizes = {"inputs": 2, "outputs": channels}
    source = "china.jpg, a sample picture of scikit-learn" if path is None else f"{file}"
    return Dataset("picture", *samples, task="regression", sizes=sizes, target=None, source=source)


def missing() -> str | None:
    """What to install; None where everything is there."""
    return FILE.missing or PILLOW.missing


PILLOW = Shipped("PIL", Path("Image.py"), "pictures")


def _square(path: Path, size: int, mode: str) -> NDArray[np.float32]:
    """The middle of the picture, [size, size, …], from −1 to 1."""
    try:
        pillow: Any = import_module("PIL.Image")
    except ImportError:
        raise MissingExtraError.of("pillow", "data", "pictures") from None
    try:
        with pillow.open(path) as image:
            width, height = image.size
            if width * height > _MOST_PIXELS:
                raise DataError(f"{path}: {width}×{height} pixels are more than the {_MOST_PIXELS:,} that are read")
            side = min(width, height)
            if side < size:
                raise DataError(f"{path}: {width}×{height} pixels, and size asks for {size}: make size smaller")
            left, top = (width - side) // 2, (height - side) // 2
            middle = (
                _eight_bits(path, image, pillow)
                .convert(mode)
                .resize((size, size), pillow.Resampling.BOX, (left, top, left + side, top + side))
            )
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise DataError(f"{path}: cannot be read as a picture ({getattr(error, 'strerror', None) or error})") from None
    return np.asarray(middle, np.float32) / np.float32(127.5) - 1


def _eight_bits(path: Path, image: Any, pillow: Any) -> Any:
    """The picture with shades from 0 to 255; Pillow's own conversion of deeper grey clips instead."""
    if image.mode.startswith("I;16"):
        return pillow.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError(
            f"{path}: a picture of Pillow's mode {image.mode}, 32-bit numbers whose black and white are not known: "
            "save it as 8-bit grey (mode L)"
        )
    return image
