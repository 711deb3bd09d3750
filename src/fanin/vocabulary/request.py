"""What an extension of a vocabulary was asked to do, checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import torch

from fanin.errors import ArgumentError
from fanin.random.stream import Stream
from fanin.vocabulary.tokens import New, Tokens, check_tokenizer, known_rows, read_tokens

Method = Literal["mean", "mean-cov", "subtoken", "copy", "normal"]
METHODS = ("mean", "mean-cov", "subtoken", "copy", "normal")


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """New tokens from row `first` on, in a table that grows from `before` to `after` rows.

    Attributes:
        tokens: the new ones.
        trained: the numbers of the rows that hold trained tokens.
        first, before, after: see above.
        method, scale, seed: as `extend_vocabulary` takes them.
    """

    tokens: Tokens
    trained: torch.Tensor
    first: int
    before: int
    after: int
    method: str
    scale: float
    seed: int

    @property
    def padding(self) -> int:
        """Rows after the new tokens' that are added."""
        return self.after - max(self.before, self.first + len(self.tokens))

    def lines(self) -> Iterator[str]:
        """All that decides values, in words: what ranks must have in common."""
        yield f"{len(self.tokens)} new tokens by {self.method} from row {self.first}, scale {self.scale!r}"
        yield f"{self.before} to {self.after} rows"
        numbers = blake2b(self.trained.numpy().tobytes(), digest_size=8).hexdigest()
        yield f"{len(self.trained)} trained rows, their numbers with hash {numbers}"
        for number, name in enumerate(self.tokens.names):
            yield f"token {name!r} of {list(self.tokens.pieces[number]) if self.tokens.pieces else 'no piece'}"


def check_arguments(tokens: object, size: object, method: str, multiple: object, scale: object, seed: int) -> None:
    """Raise `ArgumentError` for what means nothing, whatever the model."""
    if (tokens is None) == (size is None):
        raise ArgumentError("pass either tokens (how many, or which) or size (how many there shall be in all)")
    if method not in METHODS:
        raise ArgumentError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if multiple is not None and (type(multiple) is not int or multiple < 1):
        raise ArgumentError(f"pad_to_multiple_of must be a positive integer, got {multiple!r}")
    if not isinstance(scale, int | float) or not 0 <= scale < float("inf"):
        raise ArgumentError(f"scale must be a finite number from 0 on, got {scale!r}")
    Stream.named(seed, "")


def read_request(
    tokens: New | None,
    size: int | None,
    method: str,
    tokenizer: Any,
    trained: Any,
    multiple: int | None,
    scale: float,
    seed: int,
    before: int,
) -> Request:
    """The request for a main table of `before` rows.

    Raises:
        ArgumentError: it cannot mean anything.
    """
    check_tokenizer(tokenizer)
    known = known_rows(trained, before, tokenizer)
    first = int(known[-1]) + 1
    if size is not None:
        if type(size) is not int or size <= first:
            raise ArgumentError(f"size={size!r} leaves no room for new tokens: {first} rows are trained already")
        tokens = size - first
    read = read_tokens(tokens, tokenizer, method)
    foreign = [each for ids in read.pieces for each in ids if not 0 <= each < first]
    if foreign:
        raise ArgumentError(f"a new token is to be made of id {foreign[0]}, but old ids go from 0 to {first - 1}")
    after = max(before, first + len(read))
    after = after if multiple is None else -(-after // multiple) * multiple
    return Request(read, known, first, before, after, method, scale, seed)
