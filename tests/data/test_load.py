"""Sets by name: options, errors, what every set promises."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fanin import ArgumentError, DataError, MissingExtraError, UnknownNameError
from fanin.data import Scale, known, load, names

HERE = [name for name in names() if known(name).needs is None and known(name).missing() is None]
SMALL = {"fashion-mnist": ",train=50,test=20", "picture": ",size=16"}


@pytest.mark.parametrize("name", HERE)
def test_every_set_keeps_the_contract(name):
    data = load(name + SMALL.get(name, ""))
    assert data.name == name
    assert data.task == known(name).task
    assert data.source
    for part in (data.train, data.test):
        assert len(part) == len(part.inputs) == len(part.targets) > 0
        assert part.inputs.flags.c_contiguous
        assert part.targets.flags.c_contiguous
        assert part.inputs.dtype == (np.int64 if data.task == "tokens" else np.float32)
        assert part.targets.dtype == (np.float32 if data.task == "regression" else np.int64)
        assert np.isfinite(part.inputs).all()
        assert np.isfinite(part.targets).all()
    if data.task == "classification":
        assert data.train.targets.ndim == 1
        assert set(np.unique(data.train.targets)) == set(range(data.sizes["classes"]))
        assert data.train.inputs.shape[1:] == data.sizes["shape"]
    if data.task == "tokens":
        assert data.train.inputs.shape == data.train.targets.shape
        assert data.train.inputs.shape[1] == data.sizes["context"]
        assert 0 <= data.train.inputs.min() <= data.train.inputs.max() < data.sizes["vocabulary"]
    if "horizon" in data.sizes:
        assert data.train.inputs.shape[1:] == (data.sizes["lookback"], data.sizes["channels"])
        assert data.train.targets.shape[1:] == (data.sizes["horizon"], data.sizes["channels"])


@pytest.mark.parametrize("name", HERE)
def test_the_same_every_time(name):
    first, second = (load(name + SMALL.get(name, "")) for _ in range(2))
    for part in ("train", "test"):
        assert np.array_equal(getattr(first, part).inputs, getattr(second, part).inputs)
        assert np.array_equal(getattr(first, part).targets, getattr(second, part).targets)


@pytest.mark.parametrize("name", names())
def test_every_option_says_what_it_means(name):
    assert known(name).title
    assert all(option.meaning for option in known(name).options)
    assert not {"read", "progress"} & {option.name for option in known(name).options}


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("fashon", UnknownNameError, "unknown data set 'fashon'; did you mean 'fashion-mnist'?"),
        ("", UnknownNameError, "unknown data set ''"),
        ("mnist,siz=3", UnknownNameError, "unknown option of mnist 'siz'; did you mean 'size'?"),
        ("mnist,path=a", UnknownNameError, "unknown option of mnist 'path'"),
        ("mnist,progress=3", UnknownNameError, "unknown option of mnist 'progress'"),
        ("mnist,train", ArgumentError, "data 'mnist,train': options are written key=value, each once, got 'train'"),
        ("mnist,size=7,size=7", ArgumentError, "options are written key=value, each once, got 'size=7'"),
        ("mnist,train=many", ArgumentError, "option train of mnist must be none or a whole number, got 'many'"),
        ("mnist,flat=maybe", ArgumentError, "option flat of mnist must be true or false, got 'maybe'"),
        ("text,level=word", ArgumentError, "option level of text must be char or byte, got 'word'"),
        ("idx", ArgumentError, "idx reads a folder of four IDX files under MNIST's names: idx,path=FOLDER"),
    ],
)
def test_specs_that_cannot_be_meant(spec, error, message):
    with pytest.raises(error) as caught:
        load(spec)
    assert message in str(caught.value)


def test_every_set_tells_progress_to_its_end():
    for name in HERE:
        told = []
        load(name + SMALL.get(name, ""), lambda done, total, told=told: told.append(done / total))
        assert told[-1] == 1, name


def test_scale_there_and_back():
    scale = Scale(np.array([1.0, -2.0]), np.array([0.5, 3.0]))
    values = np.array([[0.0, 1.0], [2.0, -5.0]])
    assert np.allclose(scale.normalised(values), [[-2, 1], [2, -1]])
    assert np.allclose(scale.raw(scale.normalised(values)), values)


def test_picture_is_the_picture():
    image = pytest.importorskip("PIL.Image")
    from fanin.data.picture import FILE

    data = load("picture,size=32,channels=3,held_out=false")
    with image.open(FILE.path()) as whole:
        side = min(whole.size)
        left, top = ((extent - side) // 2 for extent in whole.size)
        pixels = np.asarray(whole.crop((left, top, left + side, top + side)), np.float64)
    block = side // 32
    coarse = pixels[: 32 * block, : 32 * block].reshape(32, block, 32, block, 3).mean(axis=(1, 3)) / 127.5 - 1
    assert np.corrcoef(coarse.reshape(-1), data.train.targets.reshape(-1))[0, 1] > 0.97
    assert np.array_equal(data.train.inputs, data.test.inputs)
    assert data.train.inputs[0].tolist() == [-1, -1]
    assert data.train.inputs[31].tolist() == [1, -1]
    assert data.sizes == {"inputs": 2, "outputs": 3}


def test_held_out_pixels_are_the_other_fields_of_a_chessboard():
    whole, halves = load("picture,size=9,held_out=false"), load("picture,size=9")
    assert (len(halves.train), len(halves.test)) == (41, 40)
    assert np.array_equal(halves.train.targets[:5], whole.train.targets[[0, 2, 4, 6, 8]])
    assert np.array_equal(halves.train.inputs[5], whole.train.inputs[10])
    trained = {tuple(place) for place in halves.train.inputs}
    assert not any(tuple(place) in trained for place in halves.test.inputs)


def test_pictures_of_ones_own(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "a.png"
    image.fromarray(np.tile(np.uint8([0, 255]), (4, 2))).save(path)
    data = load(f"picture,path={path},size=4,held_out=false")
    assert data.train.targets[:4, 0].tolist() == [-1, 1, -1, 1]
    assert data.source == str(path)
    with pytest.raises(DataError, match="4×4 pixels, and size asks for 5: make size smaller"):
        load(f"picture,path={path},size=5")
    wide = tmp_path / "wide.png"
    image.new("1", (9000, 9000)).save(wide)
    with pytest.raises(DataError, match="9000×9000 pixels are more than the 80,000,000 that are read"):
        load(f"picture,path={wide}")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read as a picture"):
        load(f"picture,path={path},size=4")
    with pytest.raises(ArgumentError, match="channels must be 1"):
        load("picture,channels=2")
    with pytest.raises(ArgumentError, match="size must be at least 2, got 1"):
        load("picture,size=1")


def test_a_picture_without_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError) as caught:
        load("picture")
    assert str(caught.value) == known("picture").missing()
    assert str(caught.value) == (
        "pictures need the package 'pillow', which is not installed: pip install 'fanin[data]'"
    )
