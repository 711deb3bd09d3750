"""Sets of images: known facts of the real ones, order, averages, and numbers of the training part alone."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from fanin import ArgumentError, DataError, MissingExtraError
from fanin.data import fashion_mnist as fashion
from fanin.data import load
from fanin.data.fashion_mnist import fashion_mnist, idx
from fanin.data.needs import silent

needs_fashion_mnist = pytest.mark.skipif(bool(fashion.missing()), reason="dataset-fashion-mnist is not installed")


def digest(values: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def clothes():
    return fashion_mnist(None, silent)


@needs_fashion_mnist
def test_fashion_mnist_as_published(clothes):
    """Sizes, first labels and the mean and std that everybody normalises by (0.2860, 0.3530)."""
    assert clothes.train[0].shape == (60_000, 28, 28)
    assert clothes.test[0].shape == (10_000, 28, 28)
    assert clothes.train[1][:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert clothes.test[1][:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert np.bincount(clothes.train[1]).tolist() == [6000] * 10
    assert np.bincount(clothes.test[1]).tolist() == [1000] * 10
    assert (digest(clothes.train[0]), digest(clothes.test[0])) == ("2e487a6c89124f78", "c867c93ff9536059")


@needs_fashion_mnist
def test_fashion_mnist_in_full():
    told = []
    data = load("fashion-mnist", lambda done, total: told.append(done / total))
    assert data.scale is not None
    assert (round(float(data.scale.mean), 4), round(float(data.scale.std), 4)) == (0.2860, 0.3530)
    assert data.train.inputs.shape == (60_000, 1, 28, 28)
    assert data.train.inputs.dtype == np.float32
    assert data.train.targets[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert abs(data.train.inputs.mean(dtype=np.float64)) < 1e-6
    assert abs(data.train.inputs.std(dtype=np.float64) - 1) < 1e-6
    assert told == sorted(told)
    assert told[-1] == 1


@needs_fashion_mnist
def test_fashion_mnist_small(clothes):
    """The first ten of each class in the order of the file, averaged over 2×2."""
    data = load("fashion-mnist,train=100,test=10,size=14")
    shoes = clothes.train[0][clothes.train[1] == 9][:10].astype(float)
    averaged = shoes.reshape(10, 14, 2, 14, 2).mean(axis=(2, 4)) / 255
    assert data.scale is not None
    assert np.allclose(data.scale.raw(data.train.inputs[9::10, 0]), averaged, atol=1e-6)
    assert np.bincount(data.train.targets).tolist() == [10] * 10
    assert (data.sizes["shape"], data.sizes["inputs"], data.target) == ((1, 14, 14), 14, 0.85)


def test_digits_as_scikit_learn_has_them():
    sklearn = pytest.importorskip("sklearn.datasets")
    theirs = sklearn.load_digits()
    data = load("digits")
    assert data.scale is not None
    assert (len(data.train), len(data.test)) == (1438, 359)
    counts = np.bincount(np.r_[data.train.targets, data.test.targets])
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    for digit in range(10):
        mine = np.concatenate([part.inputs[part.targets == digit] for part in (data.train, data.test)])
        assert np.allclose(data.scale.raw(mine[:, 0]), theirs.images[theirs.target == digit] / 16, atol=1e-6)


def test_mnist_is_the_demos_digits_normalised():
    from fanin.data import mnist

    raw, data = mnist(), load("mnist")
    assert data.scale is not None
    assert np.array_equal(data.train.targets, raw.train.targets)
    assert np.allclose(data.scale.raw(data.test.inputs), raw.test.inputs, atol=1e-6)
    pixels = raw.train.inputs.astype(np.float64)
    assert float(data.scale.mean) == pytest.approx(pixels.mean(), rel=1e-6)
    assert float(data.scale.std) == pytest.approx(pixels.std(), rel=1e-6)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("joint", ["-", "."])
def test_idx_by_path(folder_of, small_set, packed, joint):
    folder = folder_of(small_set, packed=packed, joint=joint)
    raw = idx(str(folder), silent)
    assert np.array_equal(raw.train[0], small_set[0][0])
    assert np.array_equal(raw.test[1], small_set[1][1])
    data = load(f"idx,path={folder},flat=true")
    assert data.train.inputs.shape == (24, 16)
    assert data.sizes == {"shape": (1, 4, 4), "classes": 3, "inputs": 4}
    assert data.source == f"IDX files in {folder}"


def test_classes_in_turn_each_in_the_order_of_the_file(folder_of, small_set):
    images, labels = small_set[0]
    data = load(f"idx,path={folder_of(small_set)},train=6")
    assert data.train.targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.scale is not None
    expected = [images[labels == label][turn] for turn in (0, 1) for label in (0, 1, 2)]
    assert np.allclose(data.scale.raw(data.train.inputs[:, 0]) * 255, expected, atol=1e-3)


def test_numbers_come_from_the_training_part_alone(folder_of, small_set):
    train, (images, labels) = small_set
    first = load(f"idx,path={folder_of(small_set)}")
    second = load(f"idx,path={folder_of((train, (255 - images, labels)))}")
    assert first.scale is not None
    assert second.scale is not None
    assert np.array_equal(first.train.inputs, second.train.inputs)
    assert (first.scale.mean, first.scale.std) == (second.scale.mean, second.scale.std)
    assert np.allclose(first.scale.mean, (train[0] / 255).mean())
    assert np.allclose(first.scale.std, (train[0] / 255).std())
    assert not np.array_equal(first.test.inputs, second.test.inputs)


def test_numbers_of_fewer_images_are_theirs(folder_of, small_set):
    data = load(f"idx,path={folder_of(small_set)},train=6,size=2")
    assert abs(data.train.inputs.mean(dtype=np.float64)) < 1e-6
    assert abs(data.train.inputs.std(dtype=np.float64) - 1) < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("train=25", "train must be from 1 to 24, the images that there are, got 25"),
        ("test=0", "test must be from 1 to 9, the images that there are, got 0"),
        ("size=3", "size must divide the images' 4×4 pixels, as 1, 2 do, got 3"),
        ("size=-2", "size must divide the images' 4×4 pixels, as 1, 2 do, got -2"),
    ],
)
def test_numbers_that_cannot_be_meant(folder_of, small_set, options, message):
    with pytest.raises(ArgumentError) as caught:
        load(f"idx,path={folder_of(small_set)},{options}")
    assert str(caught.value) == message


def test_files_that_do_not_belong_together(folder_of, small_set):
    train, (images, labels) = small_set
    with pytest.raises(DataError, match="8 labels for 9 images"):
        load(f"idx,path={folder_of((train, (images, labels[:8])))}")
    with pytest.raises(DataError, match="the test images have 2×4 pixels and the training images 4×4"):
        load(f"idx,path={folder_of((train, (images[:, :2], labels)))}")
    with pytest.raises(DataError, match="all pixels of the training images are the same"):
        load(f"idx,path={folder_of(((np.full_like(train[0], 7), train[1]), (images, labels)))}")


def test_a_file_that_is_not_there(folder_of, small_set):
    folder = folder_of(small_set)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError) as caught:
        load(f"idx,path={folder}")
    assert str(caught.value) == f"{folder}: there is no file t10k-labels-idx1-ubyte.gz or t10k-labels-idx1-ubyte"


def test_fashion_mnist_that_is_not_installed(monkeypatch, tmp_path, folder_of, small_set):
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "none")
    with pytest.raises(MissingExtraError) as caught:
        load("fashion-mnist")
    assert str(caught.value) == (
        f"Fashion-MNIST is not in {tmp_path / 'none'}: install Debian's package (apt install dataset-fashion-mnist), "
        "or name a folder with its four IDX files: fashion-mnist,path=FOLDER"
    )
    assert len(load(f"fashion-mnist,path={folder_of(small_set)}").train) == 24


def test_digits_that_are_not_installed_or_another(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError) as caught:
        load("digits")
    assert str(caught.value) == (
        "the 8×8 digits need the package 'scikit-learn', which is not installed: pip install 'fanin[data]'"
    )
    package = tmp_path / "sklearn" / "datasets" / "data"
    package.mkdir(parents=True)
    (tmp_path / "sklearn" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "sklearn")
    monkeypatch.syspath_prepend(tmp_path)
    (package / "digits.csv.gz").write_bytes(b"1,2,3\n")
    with pytest.raises(DataError, match="scikit-learn's digits cannot be read"):
        load("digits")
