"""The words are Philox4x32-10 at the promised counters."""

from __future__ import annotations

import numpy as np
import pytest

from fanin.random import Region, Stream, words

# counter, key, words: the lines "philox4x32 10" of tests/kat_vectors in DEShawResearch/random123, commit 9545ff6.
KNOWN = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Ten rounds in plain Python, from the formula of Salmon et al. 2011."""
    (a, b, c, d), (k, m), mask = counter, key, 2**32 - 1
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & mask, (p >> 32) ^ d ^ m, p & mask
        k, m = (k + 0x9E3779B9) & mask, (m + 0xBB67AE85) & mask
    return [a, b, c, d]


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_reference_agrees_with_the_authors_vectors(counter, key, expected):
    assert philox(numbers(counter), numbers(key)) == list(numbers(expected))


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_compiled_rounds_agree_with_the_authors_vectors(counter, key, expected):
    from fanin.random.kernels.philox import philox as compiled

    arguments = [np.uint64(word) for word in numbers(counter) + numbers(key)]
    assert [int(word) for word in compiled(*arguments)] == list(numbers(expected))


def test_words_at_zero_are_the_first_known_answer():
    out = np.empty(4, np.uint32)
    words(out, Stream(0), Region.whole((4,)))
    assert out.tolist() == list(numbers(KNOWN[0][2]))


@pytest.mark.parametrize("first", [0, 5, 2**32 - 8, 2**34 - 8, 2**34 + 3, 2**40 + 1, 2**62 + 2])
def test_counter_is_the_flat_index_over_four(first):
    stream = Stream(0x123456789ABCDEF0, lane=0xFFFFFFFE)
    out = np.empty(17, np.uint32)
    words(out, stream, Region((first + 17,), (first,), (17,)))
    key = (0x9ABCDEF0, 0x12345678)
    expected = [
        philox((index // 4 % 2**32, index // 4 >> 32, 0, stream.lane), key)[index % 4]
        for index in range(first, first + 17)
    ]
    assert out.tolist() == expected


def test_rows_far_apart_have_their_own_counters():
    shape = (3, 2**33 + 1, 5)
    out = np.empty((2, 2, 3), np.uint32)
    words(out, Stream(11), Region(shape, (1, 2**33 - 2, 2), (2, 2, 3)))
    for (i, j, k), word in np.ndenumerate(out):
        index = (i + 1) * shape[1] * shape[2] + (j + 2**33 - 2) * shape[2] + k + 2
        assert word == philox((index // 4 % 2**32, index // 4 >> 32, 0, 0), (11, 0))[index % 4]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_values_are_the_midpoints_the_words_name(dtype, draw):
    from fanin.random import uniform

    values = draw(uniform, 4000, -1.0, 1.0, dtype=dtype)
    high = draw(words, 4000, dtype="uint32").view(np.int32)
    if dtype == "float32":
        assert np.array_equal(values, ((high >> 8) + 0.5) / 2**23)
    else:
        key = Stream.named(0, "w").key
        low = [philox((i // 4, 0, 1, 0), (key % 2**32, key >> 32))[i % 4] for i in range(8)]
        cells = [(int(high[i]) << 32 | low[i]) >> 11 for i in range(8)]
        assert values[:8].tolist() == [(cell + 0.5) / 2**52 for cell in cells]
