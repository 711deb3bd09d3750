"""The batched fill writes what the ordinary fill writes, row by row, and nothing else."""

from __future__ import annotations

import re
from math import inf

import numpy as np
import pytest

from fanin.errors import ArgumentError
from fanin.initializers import Constant, Initializer, Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.random import Region, Stream
from fanin.random.laws import (
    Central32,
    Constant32,
    Constant64,
    Normal32,
    Normal64,
    Truncated32,
    Truncated64,
    Uniform32,
    Uniform64,
)
from fanin.random.many import Rows, fill_many, keys_of, whole_rows
from fanin.random.many_laws import BATCHED, Laws, constant_laws, normal_laws, uniform_laws

COUNTS = (0, 1, 2, 3, 4, 5, 63, 64, 65, 2047, 2048, 2049, 4100, 0, 7)
OFFSETS = (5, 0, 1, 2, 3, 4, 1, 0, 2, 3, 0, 1, 2**34 - 6, 0, 2**40 + 3)
GROUPS: dict[str, list[Initializer]] = {
    "normal": [Normal(0.5 * i, 0.02 + i) for i in range(len(COUNTS))],
    "uniform": [Uniform(-0.1 * i, 0.3 + i) for i in range(len(COUNTS))],
    "truncated": [TruncatedNormal(0.1 * i, 0.02 + i, -2.0, 1.5) for i in range(len(COUNTS))],
    "uncut": [TruncatedNormal(0.1 * i, 0.02 + i, -100.0, 100.0, corrected=False) for i in range(len(COUNTS))],
    "far": [TruncatedNormal(0.1 * i, 0.02 + i, 8.0, 9.0) for i in range(len(COUNTS))],
    "constant": [Constant((0.1 * i, -0.0, inf, 65504, True)[i % 5]) for i in range(len(COUNTS))],
}
# Each class of laws once and each dtype at least once: every pair is compiled anew.
PAIRS = [
    ("normal", "float32", Normal32),
    ("normal", "float64", Normal64),
    ("uniform", "uint16", Uniform32),
    ("uniform", "float64", Uniform64),
    ("truncated", "float16", Central32),
    ("uncut", "uint16", Truncated32),
    ("far", "float32", Truncated64),
    ("constant", "float16", Constant32),
    ("constant", "float64", Constant64),
]
NAMES = [f"layers.{i}.weight" for i in range(len(COUNTS))]
LANES = [(0, 3)[i % 2] for i in range(len(COUNTS))]
GUARD = 3


def batch(dtype: str, keys: np.ndarray) -> tuple[list[np.ndarray], Rows]:
    """An array for each row with `GUARD` elements of 7 before and after, and the rows in their middle."""
    outs = [np.full(count + 2 * GUARD, 7, dtype) for count in COUNTS]
    addresses = [out[GUARD:].ctypes.data for out in outs]
    rows = whole_rows(addresses, COUNTS, keys)
    return outs, rows._replace(offsets=np.array(OFFSETS), lanes=np.array(LANES, np.uint32))


def test_every_law_that_can_be_batched_is_tried_and_every_dtype():
    assert {kind for _, _, kind in PAIRS} == set(BATCHED)
    assert {dtype for _, dtype, _ in PAIRS} == {"float32", "float64", "float16", "uint16"}


@pytest.mark.parametrize(("group", "dtype", "kind"), PAIRS)
def test_each_row_has_the_bits_of_the_ordinary_fill_and_its_surroundings_are_untouched(group, dtype, kind):
    initializers = GROUPS[group]
    outs, rows = batch(dtype, keys_of(7, NAMES))
    laws = type(initializers[0]).laws(initializers, np.dtype(dtype))
    assert laws is not None
    assert type(laws.kind) is kind
    fill_many(np.dtype(dtype), laws, rows, threads=1)
    for law, name, lane, count, first, out in zip(initializers, NAMES, LANES, COUNTS, OFFSETS, outs, strict=True):
        expected = np.full(count + 2 * GUARD, 7, dtype)
        region = Region((first + count,), (first,), (count,))
        law.fill(expected[GUARD : GUARD + count], Stream.named(7, name).at_lane(lane), region)
        assert expected.tobytes() == out.tobytes(), (name, count, first)


@pytest.mark.parametrize(("dtype", "make"), [("float32", normal_laws), ("uint16", uniform_laws)])
def test_threads_share_the_elements_and_change_nothing(dtype, make):
    counts = [3, 300_001, 5, 5, 1_400_003, 1] + [64] * 2000
    keys = keys_of(0, list(map(str, range(len(counts)))))
    laws = make(np.float32, [0.0] * len(counts), [1.0] * len(counts))
    results = []
    for threads in (1, 2, 5):
        outs = [np.full(count, 9, dtype) for count in counts]
        fill_many(np.dtype(dtype), laws, whole_rows([out.ctypes.data for out in outs], counts, keys), threads=threads)
        results.append(b"".join(out.tobytes() for out in outs))
    assert results[0] == results[1] == results[2]


def test_keys_are_those_of_the_streams_of_the_names():
    names = ["", "w", "層.0", "w" * 1000]
    for seed in (0, 1, 2**64 - 1):
        assert keys_of(seed, names).tolist() == [Stream.named(seed, name).key for name in names]
    assert keys_of(0, []).size == 0
    with pytest.raises(ArgumentError, match="seed must be from 0"):
        keys_of(-1, [])


@pytest.mark.parametrize("seed", [1.5, "7", None, 2.0])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    message = re.escape(f"seed must be a whole number from 0 to 2**64 - 1, got {seed!r}")
    with pytest.raises(ArgumentError, match=message):
        Stream.named(seed, "w")
    with pytest.raises(ArgumentError, match=message):
        keys_of(seed, ["w"])


def test_numpys_integers_are_seeds():
    assert Stream.named(np.uint64(2**64 - 1), "w") == Stream.named(2**64 - 1, "w")


def test_initializers_that_cannot_be_batched_say_so():
    assert Orthogonal.laws([Orthogonal()], np.dtype("float32")) is None
    mixed = [TruncatedNormal(), TruncatedNormal(lower=-0.01, upper=0.01)]  # the narrow one is computed in float64
    assert TruncatedNormal.laws(mixed, np.dtype("float32")) is None


def test_bounds_that_no_float_lies_between_are_those_of_the_ordinary_law():
    pairs = [(1.0 + 1e-12, 1.0 + 2e-12), (-0.0, 1.0), (0.1, 0.3), (5.0, 5.0), (-3e38, 3e38)]
    out = np.empty((len(pairs), 9), np.float32)
    rows = whole_rows([row.ctypes.data for row in out], [9] * len(pairs), keys_of(0, list("abcde")))
    fill_many(out.dtype, uniform_laws(np.float32, *zip(*pairs, strict=True)), rows)
    for name, row, pair in zip("abcde", out, pairs, strict=True):
        expected = np.empty(9, np.float32)
        Uniform(*pair).fill(expected, Stream.named(0, name), Region.whole((9,)))
        assert expected.tobytes() == row.tobytes()


def test_an_empty_batch_writes_nothing():
    fill_many(np.dtype("float32"), normal_laws(np.float32, [], []), whole_rows([], [], keys_of(0, [])))


MEMORY = np.full(8, 7.0, np.float32)
GOOD = whole_rows([MEMORY.ctypes.data], [8], keys_of(0, ["w"]))
ONE = normal_laws(np.float32, [0.0], [1.0])
REFUSED = [
    ("int32", ONE, GOOD, {}, "cannot fill dtype int32: use float32, float64, float16, uint16, in native byte order"),
    (">f4", ONE, GOOD, {}, "in native byte order"),
    ("float64", ONE, GOOD, {}, "Normal32 laws cannot fill many rows of dtype float64"),
    ("float32", Laws(ONE.kind, ONE.numbers[:0]), GOOD, {}, "1 rows need as many laws, got numbers of shape"),
    ("float32", ONE, GOOD._replace(counts=np.array([-1])), {}, "must not be negative"),
    ("float32", ONE, GOOD._replace(offsets=np.array([-4])), {}, "must not be negative"),
    ("float32", ONE, GOOD._replace(lanes=np.array([0])), {}, "lanes must be 1 numbers of dtype uint32, got int64"),
    ("float32", ONE, GOOD._replace(keys=keys_of(0, ["a", "b"])), {}, "keys must be 1 numbers of dtype uint64"),
    ("float32", ONE, GOOD._replace(addresses=np.zeros(1, np.uint64)), {}, "an address is 0 or not aligned to the 4"),
    ("float32", ONE, GOOD._replace(addresses=GOOD.addresses + np.uint64(2)), {}, "an address is 0 or not aligned"),
    ("float32", ONE, GOOD, {"threads": 0}, "threads must be at least 1, got 0"),
]


@pytest.mark.parametrize(("dtype", "laws", "rows", "how", "message"), REFUSED)
def test_batches_that_do_not_fit_are_refused_before_writing(dtype, laws, rows, how, message):
    with pytest.raises(ArgumentError, match=message):
        fill_many(np.dtype(dtype), laws, rows, **how)
    assert (MEMORY == 7.0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normal_laws(np.float32, [0.0, 0.0], [1.0, -1.0]), "std >= 0, got 0.0, -1.0"),
        (lambda: normal_laws(np.float32, [1e39], [1.0]), "a finite float32 mean and std >= 0, got 1e\\+39, 1.0"),
        (lambda: uniform_laws(np.float32, [1.0], [0.0]), "bounds low <= high, got 1.0, 0.0"),
        (lambda: uniform_laws(np.float64, [float("nan")], [0.0]), "finite float64 bounds low <= high, got nan, 0.0"),
        (lambda: constant_laws(np.dtype("float16"), [0.0, 7e4]), "dtype float16 must be a number of at most 65504"),
        (lambda: constant_laws(np.dtype("uint16"), [float("nan")]), "dtype uint16 must be a number of at most 3.4"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
