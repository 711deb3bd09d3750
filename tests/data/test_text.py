"""Text: tokens there and back, windows by hand, nothing of the test part in the vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin import ArgumentError, DataError
from fanin.data import load
from fanin.data.text import Vocabulary, help_text


def file(tmp_path, text: str):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    return path


@given(st.text(min_size=1), st.text())
def test_there_and_back(known, other):
    vocabulary = Vocabulary.of(known)
    assert len(vocabulary) == len(set(known)) + 1
    assert vocabulary.decode(vocabulary.encode(known)) == known
    expected = "".join(each if each in known else "\ufffd" for each in other)
    assert vocabulary.decode(vocabulary.encode(other)) == expected


def test_the_default_ships_with_python():
    data = load("text")
    assert data.decode is not None
    written = help_text()
    assert len(written) > 200_000
    tokens = np.r_[data.train.inputs.reshape(-1)[:5000]]
    assert data.decode(tokens) == written[:5000]
    assert data.task == "tokens"
    assert data.sizes["context"] == data.train.inputs.shape[1] == 64
    assert data.train.inputs.dtype == data.train.targets.dtype == np.int64
    assert data.train.inputs.max() == data.sizes["vocabulary"] - 1


def test_windows_by_hand(tmp_path):
    path = file(tmp_path, "abcdefgh" + "hgfe")
    data = load(f"text,path={path},context=3,split=0.667")
    assert data.decode is not None
    assert [data.decode(row) for row in data.train.inputs] == ["abc", "def"]
    assert [data.decode(row) for row in data.train.targets] == ["bcd", "efg"]
    assert [data.decode(row) for row in data.test.inputs] == ["hgf"]
    assert [data.decode(row) for row in data.test.targets] == ["gfe"]
    data = load(f"text,path={path},context=3,split=0.667,stride=1,train=4")
    assert data.decode is not None
    assert [data.decode(row) for row in data.train.inputs] == ["abc", "bcd", "cde", "def"]


def test_the_test_part_tells_nothing(tmp_path):
    """A character that the training part does not have is token 0, and the vocabulary does not count it."""
    data = load(f"text,path={file(tmp_path, 'abab' * 20 + 'zbaz' * 5)},context=2,split=0.8")
    assert data.sizes["vocabulary"] == 3
    assert data.decode is not None
    assert data.test.inputs.min() == 0
    assert data.decode(data.test.inputs[0]) == "\ufffdb"
    assert data.train.inputs.min() == 1


def test_bytes(tmp_path):
    text = "größer " * 40
    data = load(f"text,path={file(tmp_path, text)},level=byte,context=9")
    assert data.sizes["vocabulary"] == 256
    assert data.train.inputs[0].tolist() == list(text.encode()[:9])
    assert data.decode is not None
    assert data.decode(data.train.inputs[0]) == "größer "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "context=90",
            "context 90 does not fit the train part of 90 tokens, which takes one more than a window: make it shorter, "
            "or give a longer text",
        ),
        ("context=10", "context 10 does not fit the test part of 10 tokens"),
        ("context=0", "context and stride must be at least 1, got 0 and 0"),
        ("context=3,stride=0", "context and stride must be at least 1, got 3 and 0"),
        ("context=3,split=0", "split must be above 0 and below 1, got 0.0"),
        ("context=3,train=30", "train must be from 1 to 29, the windows that there are, got 30"),
    ],
)
def test_numbers_that_cannot_be_meant(tmp_path, options, message):
    with pytest.raises(ArgumentError) as caught:
        load(f"text,path={file(tmp_path, 'abcdefghij' * 10)},{options}")
    assert message in str(caught.value)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc\xffdef")
    with pytest.raises(DataError) as caught:
        load(f"text,path={path}")
    assert str(caught.value) == f"{path}: no UTF-8 text: byte 3 is 0xff"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        load(f"text,path={path}")
    with pytest.raises(DataError, match="cannot be read \\(No such file"):
        load(f"text,path={tmp_path / 'none'}")
    with pytest.raises(DataError, match="cannot be read \\(Is a directory\\)"):
        load(f"text,path={tmp_path}")
