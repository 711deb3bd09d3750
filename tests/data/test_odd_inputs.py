"""Inputs that are odd, yet come up: extreme numbers, deep greys, images that are not square, paths that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fanin import ArgumentError, DataError
from fanin.data import load
from fanin.data.series import RawSeries, series

WAVE = np.sin(np.arange(100.0))


def forecast(*channels):
    return series(lambda: RawSeries(np.stack(channels, axis=1), "a test"), lookback=5, horizon=2)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (
            np.where(np.arange(100) < 80, 0.1, 0.2),
            "channel 1 of the series is 0.1 all through the training part: leave it out",
        ),
        (1e200 * WAVE, "in the training part, and its standard deviation comes out as inf in float64: rescale the"),
        (1.7e308 * np.sign(WAVE + 0.9), "channel 1 of the series goes from -1.7e+308 to 1.7e+308 in the training part"),
        (1e-200 * WAVE, "in the training part, and its standard deviation comes out as 0 in float64: rescale the"),
        (
            np.where(np.arange(100) == 90, 1e300, np.arange(100.0) % 2),
            "channel 1 of the series is 1e+300 at step 91 of 100, which normalised by the training part (mean 0.5, std "
            "0.5) is too large for float32: correct it or leave it out",
        ),
    ],
    ids=["constant", "overflow", "mean overflows", "underflow", "outlier in the test"],
)
def test_channels_that_cannot_be_normalised(channel, message):
    with pytest.raises(DataError) as caught:
        forecast(WAVE, channel)
    assert message in str(caught.value)


@pytest.mark.parametrize("factor", [1e-100, 1e100])
def test_large_and_small_channels_are_normalised_alike(factor):
    assert np.allclose(forecast(factor * WAVE).test.targets, forecast(WAVE).test.targets, atol=1e-6)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_of_16_bits_has_the_shades_of_8(tmp_path, order, channels):
    image = pytest.importorskip("PIL.Image")
    shades = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = (shades * np.uint16(257)).astype(order)
    mode = "I;16" if order == "<u2" else "I;16B"
    image.fromarray(shades).save(tmp_path / "8.tif")
    image.frombytes(mode, (16, 16), deep.tobytes()).save(tmp_path / "16.tif")
    with image.open(tmp_path / "16.tif") as saved:
        assert saved.mode == mode
    eight, sixteen = (load(f"picture,path={tmp_path / f'{bits}.tif'},size=8,channels={channels}") for bits in (8, 16))
    assert np.array_equal(sixteen.train.targets, eight.train.targets)


@pytest.mark.parametrize(("mode", "kind"), [("I", np.int32), ("F", np.float32)])
def test_pictures_without_a_known_white(tmp_path, mode, kind):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "a.tif"
    image.fromarray(np.ones((4, 4), kind)).save(path)
    with pytest.raises(DataError) as caught:
        load(f"picture,path={path},size=2")
    assert str(caught.value) == (
        f"{path}: a picture of Pillow's mode {mode}, 32-bit numbers whose black and white are not known: save it as "
        "8-bit grey (mode L)"
    )


def images_of(folder_of, rows, columns):
    pixels = np.random.default_rng(0).integers(0, 256, (6, rows, columns))
    part = pixels, np.arange(6) % 3
    return pixels, folder_of((part, part))


@pytest.mark.parametrize(
    ("rows", "columns", "size", "block"), [(4, 6, 2, 2), (6, 4, 3, 2), (2, 6, 1, 2), (5, 7, 5, 1), (4, 4, 1, 4)]
)
def test_images_that_are_not_square_are_averaged(folder_of, rows, columns, size, block):
    pixels, folder = images_of(folder_of, rows, columns)
    data = load(f"idx,path={folder},size={size}")
    means = pixels.reshape(6, size, block, columns // block, block).mean(axis=(2, 4)) / 255
    assert data.scale is not None
    assert data.sizes["shape"] == (1, size, columns // block)
    assert np.allclose(data.scale.raw(data.train.inputs[:, 0]), means, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "columns", "size", "message"),
    [
        (4, 6, 1, "size must divide the images' 4×6 pixels, as 2 do, got 1"),
        (6, 12, 4, "size must divide the images' 6×12 pixels, as 1, 2, 3 do, got 4"),
        (4, 6, 0, "size must divide the images' 4×6 pixels, as 2 do, got 0"),
        (5, 7, 1, "size must divide the images' 5×7 pixels, which none below 5 does, got 1"),
    ],
)
def test_sizes_that_do_not_fit(folder_of, rows, columns, size, message):
    with pytest.raises(ArgumentError) as caught:
        load(f"idx,path={images_of(folder_of, rows, columns)[1]},size={size}")
    assert str(caught.value) == message


def test_a_folder_that_may_not_be_looked_into(monkeypatch, tmp_path):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)  # root may look everywhere
    with pytest.raises(DataError) as caught:
        load(f"idx,path={tmp_path}")
    assert str(caught.value) == f"{tmp_path}: cannot be read (Permission denied)"


@pytest.mark.parametrize("path", ["a" * 5000, "a\0b"], ids=["too long", "NUL"])
@pytest.mark.parametrize("name", ["idx", "csv", "text", "picture"])
def test_paths_that_cannot_be(name, path):
    if name == "picture":
        pytest.importorskip("PIL.Image")
    with pytest.raises(DataError) as caught:
        load(f"{name},path={path}")
    assert str(caught.value).startswith(f"{path}: ")
