"""Each elementary function of the kernels, read again for tensors, gives the compiled one's bits over its domain."""

import numba
import numpy as np
import pytest
import torch

from fanin.random.kernels import math32, math64, philox, uniform
from fanin.torch.device import lanes
from fanin.torch.device.retarget import for_tensors
from fanin.torch.device.roots import root

WORDS = 1 << 24
RANDOM = np.random.default_rng(0)


def compiled(function, outputs):
    """The kernel over arrays of its arguments."""

    @numba.njit(error_model="numpy")
    def one(a, out):
        for i in range(a.size):
            out[i] = function(a[i])

    @numba.njit(error_model="numpy")
    def two(a, out, other):
        for i in range(a.size):
            out[i], other[i] = function(a[i])

    return one if outputs == 1 else two


def assert_same(function, arguments, outputs=1):
    results = [np.empty_like(arguments) for _ in range(outputs)]
    compiled(function, outputs)(arguments, *results)
    found = for_tensors(function)(torch.from_numpy(arguments))
    for ours, theirs in zip(found if outputs == 2 else (found,), results, strict=True):
        assert ours.numpy().tobytes() == theirs.tobytes()


@pytest.fixture(scope="module")
def signed_units():
    """The 2²⁴ numbers that a word can name on (−1, 1): all of them."""
    words = torch.arange(WORDS, dtype=torch.int64) << 8
    units = for_tensors(uniform.signed_unit32)(words).numpy()
    signed = (np.arange(WORDS, dtype=np.uint32) << 8).view(np.int32) >> 8
    assert np.array_equal(units, ((signed + 0.5) * 2.0**-23).astype(np.float32))
    return units


def test_sine_and_cosine_of_all_arguments(signed_units):
    assert_same(math32.sin_cos32, signed_units, outputs=2)


def test_logarithm_from_the_smallest_word_to_the_largest():
    words = np.arange(0, 2**32, 1024, dtype=np.uint32) + RANDOM.integers(0, 1024, WORDS >> 2, dtype=np.uint32)
    assert_same(math32.minus_two_log32, ((words.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)))


def test_quantiles_from_the_centre_into_the_tails():
    tails = np.concatenate([np.geomspace(2.4e-14, 0.5, WORDS >> 4), np.linspace(0.4, 0.5, WORDS >> 4)])
    assert_same(math32.upper_point32, tails.astype(np.float32))


def test_elementary_functions_of_float64():
    units = RANDOM.random(1 << 20)
    assert_same(math64.minus_two_log64, np.concatenate([units, units**40 + 1e-300, 1 - units * 1e-9]))
    assert_same(math64.sin_cos64, units * 2 - 1, outputs=2)


def test_square_roots_are_rounded_to_nearest():
    pattern = RANDOM.integers(0x00800000, 0x7F000000, WORDS >> 3, dtype=np.int32)
    single = pattern.view(np.float32)
    assert root(torch.from_numpy(single)).numpy().tobytes() == np.sqrt(single).tobytes()
    near_one = 1 + RANDOM.random(1 << 19)
    middles = near_one * near_one + near_one * 2.0**-52  # squares of points half-way between two float64 numbers
    squares = (RANDOM.integers(1, 1 << 26, 1 << 18) / 2.0**10) ** 2
    powers = 4.0 ** np.arange(-30, 30)
    for x in (middles, squares, powers, RANDOM.random(1 << 20) * 1e3, np.zeros(1)):
        for moved in (x, np.nextafter(x, 0), np.nextafter(x, 1e9)) if x.all() else (x,):
            assert root(torch.from_numpy(moved)).numpy().tobytes() == np.sqrt(moved).tobytes()


def test_philox_against_its_published_answers():
    function = for_tensors(philox.philox)
    ones = 0xFFFFFFFF
    answers = {  # known answers of Random123: counter, key, words
        (0, 0, 0, 0, 0, 0): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        (ones, ones, ones, ones, ones, ones): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0): (
            0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1,
        ),
    }  # fmt: skip
    for arguments, words in answers.items():
        assert tuple(map(int, function(*map(torch.tensor, arguments)))) == words
        assert tuple(map(int, function(torch.tensor(arguments[0]), *arguments[1:]))) == words


def test_least_and_greatest_keep_the_first_of_two_equal_numbers():
    zeros, minus = torch.tensor([0.0]), torch.tensor([-0.0])
    for function in (lanes.least, lanes.greatest):
        assert function(minus, np.float32(0.0)).signbit().item()
        assert not function(zeros, np.float32(-0.0)).signbit().item()
    assert lanes.least(3, 2) == 2
    assert lanes.greatest(torch.tensor([1.0, 5.0]), 2.0).tolist() == [2.0, 5.0]


def test_a_choice_between_numbers_keeps_their_precision():
    yes = torch.tensor([True, False])
    assert lanes.choose(yes, 0.1, 0.2).tolist() == [0.1, 0.2]
    assert lanes.choose(yes, np.float32(0.1), np.float32(0.2)).dtype is torch.float32
    assert lanes.choose(yes, 2**40, 1).tolist() == [2**40, 1]
    assert [each.tolist() for each in lanes.choose(yes, (yes, 1), (~yes, 2))] == [[True, True], [1, 2]]
    assert lanes.choose(np.bool_(False), 1, 2) == 2


def test_quotients_are_rounded_once():
    x = torch.from_numpy(RANDOM.random(1 << 16, dtype=np.float32)) + 0.5
    for top in (3.0, np.float32(3.0), torch.tensor(3.0)):
        assert torch.equal(lanes.divide(top, x), torch.from_numpy(np.float32(3) / x.numpy()))
    assert torch.equal(lanes.divide(x, 3.0), torch.from_numpy(x.numpy() / np.float32(3)))
    assert lanes.divide(1.0, 4) == 0.25


def test_casts_of_numbers_wrap_as_words_do():
    for kind, width in (("uint32", 32), ("int32", 32), ("uint64", 64), ("int64", 64)):
        for value in (0, 1, -1, 2**31, 2**32 - 1, 2**63, 2**64 - 1):
            assert (lanes.cast(value, kind) - value) % 2**width == 0
    bits = lanes.reinterpret(torch.tensor([-1.0]), "float32", "uint32")
    assert bits.tolist() == [0xBF800000]
    assert lanes.reinterpret(bits, "uint32", "float32").tolist() == [-1.0]
