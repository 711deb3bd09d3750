"""The copy task and the adding problem: as the papers define them, uniform, and the same everywhere."""

from __future__ import annotations

from hashlib import sha256
from math import log

import numpy as np
import pytest

from fanin import ArgumentError
from fanin.data import load


def digest(values: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("delay", [1, 2, 100])
def test_copy_as_defined(delay):
    data = load(f"copy,delay={delay},train=50,test=20")
    for part, count in ((data.train, 50), (data.test, 20)):
        assert part.inputs.shape == part.targets.shape == (count, delay + 20)
        assert ((part.inputs[:, :10] >= 0) & (part.inputs[:, :10] < 8)).all()
        assert (part.inputs[:, 10 : 9 + delay] == 8).all()
        assert (part.inputs[:, 9 + delay] == 9).all()
        assert (part.inputs[:, 10 + delay :] == 8).all()
        assert (part.targets[:, :-10] == 8).all()
        assert np.array_equal(part.targets[:, -10:], part.inputs[:, :10])
    assert data.sizes == {"vocabulary": 10, "context": delay + 20}


def test_who_remembers_nothing_has_the_papers_loss():
    """Blanks for sure, then a uniform guess: 10 ln 8 / (T + 20)."""
    data = load("copy,delay=30,test=4")
    odds = np.where(np.arange(50) < 40, 1.0, 1 / 8)
    assert -np.log(odds).mean() == pytest.approx(10 * log(8) / 50)
    assert (data.test.targets[:, odds < 1] < 8).all()


def test_recalled_counts_the_symbols_only():
    whole, recalled = load("copy,delay=5,train=9"), load("copy,delay=5,train=9,recalled=true")
    assert (recalled.train.targets[:, :-10] == -100).all()
    assert np.array_equal(recalled.train.targets[:, -10:], whole.train.targets[:, -10:])
    assert np.array_equal(recalled.train.inputs, whole.train.inputs)


def test_symbols_are_uniform_and_no_test_sequence_was_trained_on():
    data = load("copy,delay=1")
    counts = np.bincount(data.train.inputs[:, :10].reshape(-1), minlength=8)
    chi_square = ((counts - 6250) ** 2 / 6250).sum()
    assert chi_square < 24.3  # 0.1 % of chi-square with 7 degrees of freedom
    seen = {row.tobytes() for row in data.train.inputs}
    assert not any(row.tobytes() in seen for row in data.test.inputs)


@pytest.mark.parametrize("length", [2, 3, 101])
def test_adding_as_defined(length):
    data = load(f"adding,length={length},train=200,test=50")
    for part in (data.train, data.test):
        values, marks = part.inputs[..., 0], part.inputs[..., 1]
        assert ((values >= 0) & (values <= 1)).all()
        assert set(np.unique(marks)) <= {0, 1}
        assert (marks[:, : length // 2].sum(axis=1) == 1).all()
        assert (marks[:, length // 2 :].sum(axis=1) == 1).all()
        assert np.allclose((values * marks).sum(axis=1), part.targets[:, 0], atol=1e-6)
        assert part.targets.shape == (len(part), 1)
        assert part.targets.dtype == part.inputs.dtype == np.float32


def test_adding_is_uniform():
    """The sum has mean 1 and variance 1/6; every step is marked as often as the others of its half."""
    data = load("adding,length=20,train=20000")
    targets = data.train.targets.astype(float)
    assert abs(targets.mean() - 1) < 5 * (1 / 6 / 20000) ** 0.5
    assert abs(((targets - 1) ** 2).mean() - 1 / 6) < 5 * (7 / 180 / 20000) ** 0.5
    marked = data.train.inputs[..., 1].sum(axis=0)
    assert (abs(marked - 2000) < 5 * 1800**0.5).all()


def test_the_same_numbers_everywhere():
    """fanin's streams: golden on every machine and version."""
    copy, adding = load("copy"), load("adding")
    assert (digest(copy.train.inputs), digest(copy.test.inputs)) == ("4e40049942488384", "1a4ae323747cfff3")
    assert (digest(adding.train.inputs), digest(adding.train.targets)) == ("4084179705e6f02e", "b7450c13bcf73579")


def test_seeds_differ_and_more_samples_begin_alike():
    zero, one, more = (load(f"copy,delay=3,{rest}") for rest in ("train=30", "train=30,seed=1", "train=60"))
    assert not np.array_equal(zero.train.inputs, one.train.inputs)
    assert np.array_equal(zero.train.inputs, more.train.inputs[:30])
    assert not np.array_equal(zero.train.inputs, zero.test.inputs[:30])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("copy,delay=0", "delay must be at least 1, got 0"),
        ("copy,test=-1", "test must be at least 1, got -1"),
        ("adding,length=1", "length must be at least 2, one step for each number, got 1"),
        ("adding,train=0", "train must be at least 1, got 0"),
        ("adding,seed=-1", "seed must be from 0 to 2**64 - 1, got -1"),
    ],
)
def test_numbers_that_cannot_be_meant(spec, message):
    with pytest.raises(ArgumentError) as caught:
        load(spec)
    assert str(caught.value) == message
