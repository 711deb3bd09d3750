"""Which tokens are new, and from which old ones each is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from fanin.errors import ArgumentError

New = int | Sequence[str] | Mapping[str, int | str | Sequence[int]]
"""How many; their strings; or for each the old token or tokens that it is made of."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The new tokens in order.

    Attributes:
        names: their strings; "" where only their number is known.
        pieces: for each the ids of the old tokens that it is made of; empty where that was not asked for.
    """

    names: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.names)


def read_tokens(new: object, tokenizer: Any, method: str) -> Tokens:
    """The new tokens as `extend_vocabulary` takes them.

    Raises:
        ArgumentError: none, one twice, one that the tokenizer has already, or pieces that are needed and not told.
    """
    if isinstance(new, bool) or not isinstance(new, (int, Mapping, Sequence)) or isinstance(new, (str, bytes)):
        raise ArgumentError(f"new tokens are a number, strings, or a mapping to old tokens, not {new!r}")
    if isinstance(new, int):
        names = [""] * new
    else:
        names = [_string(each) for each in cast("Iterable[Any]", new)]
        _check_new(names, tokenizer)
    if not names:
        raise ArgumentError(f"no new tokens: got {new!r}")
    return Tokens(tuple(names), _pieces(new, names, tokenizer, method) if method in ("subtoken", "copy") else ())


def known_rows(trained: object, rows: int, tokenizer: Any) -> torch.Tensor:
    """The numbers of the rows that hold trained tokens, in order.

    Args:
        trained: how many (the first ones), a mask of all rows, or the numbers themselves; None for as many as the
            tokenizer has, or all.
        rows: how many there are.
        tokenizer: or None.

    Raises:
        ArgumentError: none, or one that is not there.
    """
    if trained is None:
        trained = rows if tokenizer is None else size_of(tokenizer)
        if trained > rows:
            raise ArgumentError(
                f"the tokenizer has {trained} tokens, the table {rows} rows: tokens were added to it already; pass "
                "size=len(tokenizer) without tokenizer=, or the tokenizer as it was"
            )
    if isinstance(trained, int) and not isinstance(trained, bool):
        chosen = torch.arange(max(trained, 0))
    else:
        chosen = _numbers(trained, rows)
    if chosen.dtype != torch.int64 or not len(chosen) or int(chosen[0]) < 0 or int(chosen[-1]) >= rows:
        raise ArgumentError(f"trained= must tell some of the table's {rows} rows: how many, a mask, or their numbers")
    return chosen


def _numbers(trained: object, rows: int) -> torch.Tensor:
    try:
        given = torch.as_tensor(trained).cpu()
    except (TypeError, ValueError, RuntimeError):
        return torch.empty(0)  # which tells no row
    if given.dim() == 0 and given.dtype == torch.int64:  # how many, as NumPy and torch count
        return torch.arange(max(int(given), 0))
    return given.nonzero().flatten() if given.dtype == torch.bool and given.shape == (rows,) else given.unique()


def check_tokenizer(tokenizer: object) -> None:
    """Raise unless it is a tokenizer or None.

    Raises:
        ArgumentError: it is a name, or something else.
    """
    if tokenizer is not None and not (hasattr(tokenizer, "get_vocab") and hasattr(tokenizer, "encode")):
        raise ArgumentError(
            f"tokenizer must be one of transformers or tokenizers, got {tokenizer!r}: load it first, as "
            "AutoTokenizer.from_pretrained(…)"
        )


def size_of(tokenizer: Any) -> int:
    """How many tokens a tokenizer of transformers or of tokenizers has, added ones too."""
    return tokenizer.get_vocab_size() if callable(getattr(tokenizer, "get_vocab_size", None)) else len(tokenizer)


def _string(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"a new token is a string that is not empty, got {name!r}")
    return name


def _check_new(names: Sequence[str], tokenizer: Any) -> None:
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ArgumentError(f"the new token {twice!r} stands twice")
    vocabulary: Mapping[str, int] = {} if tokenizer is None else tokenizer.get_vocab()
    for name in names:
        if name in vocabulary:
            raise ArgumentError(
                f"{name!r} is no new token: the tokenizer has it as id {vocabulary[name]} (extend the model before "
                "tokens are added to the tokenizer)"
            )


def _pieces(new: object, names: Sequence[str], tokenizer: Any, method: str) -> tuple[tuple[int, ...], ...]:
    if isinstance(new, int) or (tokenizer is None and not isinstance(new, Mapping)):
        raise ArgumentError(
            f"method={method!r} needs to know which old tokens each new one is made of: pass strings with tokenizer=, "
            "or a mapping from new string to old ids"
        )
    sources: Sequence[Any] = [new[name] for name in names] if isinstance(new, Mapping) else names
    pieces = tuple(_ids(name, source, tokenizer) for name, source in zip(names, sources, strict=True))
    for name, ids in zip(names, pieces, strict=True):
        if not ids or (method == "copy" and len(ids) != 1):
            wanted = "one old token" if method == "copy" else "old tokens"
            raise ArgumentError(f"method={method!r}: {name!r} must be made of {wanted}, got ids {list(ids)}")
    return pieces


def _encoded(text: str, tokenizer: Any) -> list[int]:
    """The ids of a text; a tokenizer of tokenizers may have padded them."""
    encoded = tokenizer.encode(text, add_special_tokens=False)
    if not hasattr(encoded, "ids"):
        return encoded
    return [each for each, real in zip(encoded.ids, encoded.attention_mask, strict=True) if real]


def _ids(name: str, source: Any, tokenizer: Any) -> tuple[int, ...]:
    if isinstance(source, str):
        if tokenizer is None:
            raise ArgumentError(f"{name!r} is to be made of {source!r}: pass tokenizer= to read it, or ids")
        source = _encoded(source, tokenizer)
    listed: list[Any] = list(source) if isinstance(source, Iterable) else [source]
    if not all(type(each) is int for each in listed):
        raise ArgumentError(f"{name!r} is to be made of {source!r}: expected ids, or a string with tokenizer=")
    return tuple(listed)
