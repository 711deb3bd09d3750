"""The values that tensors should still have: of a file, of a ledger of a load, or given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from fanin.errors import ArgumentError, WeightsError
from fanin.loading import Ledger
from fanin.torch.files import open_weights

Reference = str | Path | Ledger | Mapping[str, Tensor]


def reference_of(given: Reference | None, names: Iterable[str]) -> Mapping[str, Tensor] | None:
    """The values by name in the model, each read when it is asked for.

    Raises:
        ArgumentError: none of these, or no name in common with the model.
        WeightsError: a file cannot be read.
    """
    if given is None:
        return None
    found = _values(given)
    if not any(name in found for name in names):
        few = ", ".join(list(found)[:3])
        raise ArgumentError(
            f"reference has no tensor of the model's names (it has {few or 'none'}): load it by fanin.load and give "
            "the ledger, which knows how names were changed"
        )
    return found


@dataclass(frozen=True, slots=True)
class _Loaded(Mapping[str, Tensor]):
    """What a ledger says was loaded as it was stored."""

    places: Mapping[str, tuple[str, str]]
    files: Mapping[str, Mapping[str, Tensor]]

    def __getitem__(self, name: str) -> Tensor:
        source, key = self.places[name]
        return self.files[source][key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _values(given: object) -> Mapping[str, Tensor]:
    match given:
        case str() | Path():
            return open_weights(given)
        case Ledger():
            entries = [entry for entry in given.loaded if entry.source and entry.key and not entry.changes]
            places = {entry.name: (entry.source, entry.key) for entry in entries}
            sources = dict.fromkeys(source for source, _ in places.values())
            try:
                return _Loaded(places, {source: open_weights(source) for source in sources})
            except WeightsError as error:
                raise WeightsError(f"the ledger's file cannot be read again: {error}") from error
        case Mapping():
            return cast(Mapping[str, Tensor], given)
        case _:
            raise ArgumentError(f"reference is a path, a mapping of tensors or a Ledger, not a {type(given).__name__}")
