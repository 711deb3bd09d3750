"""Two tasks that only memory over many steps solves: to copy symbols, and to add two marked numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fanin.data.dataset import IGNORED, Dataset, Samples
from fanin.data.needs import Progress, silent
from fanin.errors import ArgumentError
from fanin.random import Region, Stream, uniform, words

ALPHABET = 8
SYMBOLS = 10
BLANK, GO = ALPHABET, ALPHABET + 1


def copy(
    delay: int = 100,
    recalled: bool = False,
    train: int = 5000,
    test: int = 1000,
    seed: int = 0,
    progress: Progress = silent,
) -> Dataset:
    """The copy memory task: inputs and targets int64 [n, delay + 20], ten tokens in all.

    An input is 10 symbols, each 0 … 7 with the same probability; delay − 1 blanks (8); the sign to go (9); 10 blanks.
    Its target is delay + 10 blanks, then the 10 symbols. Who remembers nothing can do no better than blanks and
    guesses: a cross entropy of 10 ln 8 / (delay + 20) nats a token.

    Args:
        delay: steps between the symbols and their recall, T in the paper.
        recalled: count only the 10 recalled symbols (the other targets are −100).
        train: how many sequences to train on.
        test: how many sequences to test on.
        seed: of the symbols, drawn from fanin's streams.

    Raises:
        ArgumentError: a number that cannot be meant.

    Source: Arjovsky, Shah, Bengio 2016, "Unitary evolution recurrent neural networks", arXiv 1511.06464, section 5.1,
    after Hochreiter, Schmidhuber 1997.
    """
    _require(delay=delay, train=train, test=test)
    samples = [
        _copies(_draws(seed, f"copy.{part}", (count, SYMBOLS), ALPHABET), delay, recalled)
        for part, count in (("train", train), ("test", test))
    ]
    progress(1.0, 1.0)
    sizes = {"vocabulary": ALPHABET + 2, "context": delay + 2 * SYMBOLS}
    source = "copy memory task, Arjovsky et al. 2016 (arXiv 1511.06464)"
    return Dataset("copy", *samples, task="tokens", sizes=sizes, target=None, source=source)


def adding(
    length: int = 100, train: int = 5000, test: int = 1000, seed: int = 0, progress: Progress = silent
) -> Dataset:
    """The adding problem: inputs float32 [n, length, 2], targets [n, 1].

    The first feature is uniform from 0 to 1; the second is 1 at one step of the first half and at one of the second,
    each with the same probability, and 0 elsewhere. The target is the sum of the two marked numbers. Who always says 1
    has a mean squared error of 1/6.

    Args:
        length: steps.
        train: how many sequences to train on.
        test: how many sequences to test on.
        seed: of the numbers and marks, drawn from fanin's streams.

    Raises:
        ArgumentError: a number that cannot be meant.

    Source: Hochreiter, Schmidhuber 1997, "Long short-term memory", experiment 4, in the form of Arjovsky, Shah, Bengio
    2016, arXiv 1511.06464, section 5.2.
    """
    _require(train=train, test=test)
    if length < 2:
        raise ArgumentError(f"length must be at least 2, one step for each number, got {length}")
    samples = [_sums(seed, part, count, length) for part, count in (("train", train), ("test", test))]
    progress(1.0, 1.0)
    sizes = {"inputs": 2, "classes": 1, "lookback": length}
    source = "adding problem, Hochreiter and Schmidhuber 1997, as in arXiv 1511.06464"
    return Dataset("adding", *samples, task="regression", sizes=sizes, target=None, source=source)


def _require(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ArgumentError(f"{name} must be at least 1, got {value}")


def _draws(seed: int, name: str, shape: tuple[int, ...], below: int) -> NDArray[np.int64]:
    """Whole numbers from 0 to below − 1, from the high bits of 32-bit words."""
    drawn = np.empty(shape, np.uint32)
    words(drawn, Stream.named(seed, name), Region.whole(shape))
    return (drawn.astype(np.uint64) * np.uint64(below) >> np.uint64(32)).astype(np.int64)


def _copies(symbols: NDArray[np.int64], delay: int, recalled: bool) -> Samples:
    count = len(symbols)
    inputs = np.full((count, delay + 2 * SYMBOLS), BLANK, np.int64)
    inputs[:, :SYMBOLS] = symbols
    inputs[:, SYMBOLS + delay - 1] = GO
    targets = np.full_like(inputs, IGNORED if recalled else BLANK)
    targets[:, -SYMBOLS:] = symbols
    return Samples(inputs, targets)


def _sums(seed: int, part: str, count: int, length: int) -> Samples:
    values = np.empty((count, length), np.float32)
    uniform(values, Stream.named(seed, f"adding.{part}.values"), Region.whole(values.shape), 0.0, 1.0)
    half = length // 2
    first = _draws(seed, f"adding.{part}.first", (count,), half)
    second = half + _draws(seed, f"adding.{part}.second", (count,), length - half)
    rows = np.arange(count)
    marks = np.zeros_like(values)
    marks[rows, first] = marks[rows, second] = 1
    sums = values[rows, first] + values[rows, second]
    return Samples(np.stack([values, marks], axis=2), sums[:, None])
