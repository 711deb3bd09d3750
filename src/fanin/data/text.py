"""Text as windows of tokens: what was read, and the same one token later; split by position."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fanin.data.dataset import Dataset, Samples
from fanin.data.needs import Progress, silent
from fanin.errors import ArgumentError, DataError

BYTES = 256
UNKNOWN = 0
"""The token of a character that the training part does not have."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The characters of a text, in the order of their code points; the first is token 1.

    >>> vocabulary = Vocabulary.of("abba")
    >>> vocabulary.encode("bat").tolist(), len(vocabulary)
    ([2, 1, 0], 3)
    >>> vocabulary.decode([2, 1, 0])
    'ba\ufffd'
    """

    points: NDArray[np.uint32]

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """The vocabulary of a text."""
        return cls(np.unique(_points(text)))

    def __len__(self) -> int:
        return len(self.points) + 1

    def encode(self, text: str) -> Ids:
        """Tokens [characters]; 0 for a character that is not known."""
        points = _points(text)
        places = np.searchsorted(self.points, points)
        known = self.points[np.minimum(places, len(self.points) - 1)] == points
        return np.where(known, places + 1, UNKNOWN)

    def decode(self, tokens: Any) -> str:
        """The text of tokens [n]; U+FFFD for the unknown."""
        return "".join(chr(self.points[token - 1]) if token else "\ufffd" for token in tokens)


def text(
    path: str | None = None,
    level: Literal["char", "byte"] = "char",
    context: int = 64,
    stride: int | None = None,
    split: float = 0.9,
    train: int | None = None,
    test: int | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Windows of a text: inputs int64 [n, context], and targets [n, context], each the token after the input's.

    The first `split` of the text is for training, the rest for testing; no window crosses. At the level of characters
    the vocabulary is that of the training part, and token 0 stands for any other character.

    Args:
        path: a file in UTF-8; the reference texts of Python's own help() where none is given.
        level: a token is a char or a byte.
        context: tokens in a window.
        stride: tokens from the start of a window to the start of the next; context where none is given.
        split: share of the text that is trained on, above 0 and below 1.
        train: how many windows to train on, the first.
        test: how many windows to test on, the first.

    Raises:
        ArgumentError: a number that cannot be meant, a window longer than its part, or more windows than there are.
        DataError: the file cannot be read, is no UTF-8, or is empty.
    """
    stride = context if stride is None else stride
    if context < 1 or stride < 1:
        raise ArgumentError(f"context and stride must be at least 1, got {context} and {stride}")
    if not 0 < split < 1:
        raise ArgumentError(f"split must be above 0 and below 1, got {split}")
    raw, source = (help_text(), _HELP) if path is None else (_read(Path(path)), f"text of {path}")
    progress(0.5, 1.0)
    parts, size, decode = _tokens(raw, level, split)
    progress(1.0, 1.0)
    limits = {"train": train, "test": test}
    samples = [_windows(part, context, stride, word, limits[word]) for part, word in zip(parts, limits, strict=True)]
    sizes = {"vocabulary": size, "context": context}
    told = f"{source}, by {level}"
    return Dataset("text", *samples, task="tokens", sizes=sizes, target=None, source=told, decode=decode)


def help_text() -> str:
    """The texts of Python's help() on its own language, in the order of their names; they differ between versions.

    >>> len(help_text()) > 300_000
    True
    """
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    return "\n".join(topics[name] for name in sorted(topics))


_HELP = f"the reference texts of help() in Python {sys.version_info.major}.{sys.version_info.minor}"


def _tokens(raw: str, level: str, split: float) -> tuple[tuple[Ids, Ids], int, Callable[[Any], str]]:
    """The tokens of both parts, how many there can be, and the way back to text."""
    if level == "byte":
        ids = np.frombuffer(raw.encode(), np.uint8).astype(np.int64)
        cut = round(split * len(ids))
        return (ids[:cut], ids[cut:]), BYTES, _decoded
    cut = round(split * len(raw))
    vocabulary = Vocabulary.of(raw[:cut])
    ids = vocabulary.encode(raw)
    return (ids[:cut], ids[cut:]), len(vocabulary), vocabulary.decode


def _decoded(tokens: Any) -> str:
    return bytes(np.asarray(tokens, np.uint8)).decode(errors="replace")


def _windows(ids: Ids, context: int, stride: int, word: str, count: int | None) -> Samples:
    if len(ids) <= context:
        raise ArgumentError(
            f"context {context} does not fit the {word} part of {len(ids)} tokens, which takes one more than a "
            "window: make it shorter, or give a longer text"
        )
    stretches = np.lib.stride_tricks.sliding_window_view(ids, context + 1)[::stride]
    if count is not None and not 1 <= count <= len(stretches):
        raise ArgumentError(f"{word} must be from 1 to {len(stretches)}, the windows that there are, got {count}")
    chosen = stretches[:count]
    return Samples(np.ascontiguousarray(chosen[:, :-1]), np.ascontiguousarray(chosen[:, 1:]))


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason})") from None
    if not raw:
        raise DataError(f"{path}: the file is empty")
    return raw
