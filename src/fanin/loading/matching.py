"""Which tensor of which file goes into which tensor of the model, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from fanin.errors import WeightsError
from fanin.loading.entries import Unused
from fanin.loading.given import Given
from fanin.loading.policies import Policies
from fanin.names import Rename, Taken, Wanted, resolve
from fanin.torch.materialize.tasks import listed
from fanin.torch.pieces import shape_of
from fanin.torch.tensors import StoredTensor

_PASSING = "the model computes it: a buffer that is not saved"
_FEW = 3


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found.

    Attributes:
        taken: for each tensor of the model with values in a file, the file and what is taken from it.
        missing: names of the model without values.
        unused: tensors of the files that went nowhere.
        notes: what was done to names.
    """

    taken: Mapping[str, tuple[Given, Taken]]
    missing: tuple[str, ...]
    unused: tuple[Unused, ...]
    notes: tuple[str, ...]


def matched(
    model: nn.Module,
    stored: Sequence[StoredTensor],
    sources: Sequence[Given],
    rename: Rename | None,
    policies: Policies,
) -> Matches:
    """The matches of all sources; where several have a tensor the last one gives it.

    Args:
        model: asked for its config.
        stored: its tensors that are to be loaded.
        sources: in order.
        rename: rules of the user.
        policies: those of kind "skip" leave tensors out.

    Raises:
        ArgumentError, WeightsError: rules or files that cannot be used.
    """
    wanted = [_wanted(entry) for entry in stored if entry.persistent]
    skips = any(rule.kind == "skip" for _, rule in policies.rules)
    skipped = {entry.name for entry in stored if skips and policies.rule(entry.names).kind == "skip"}
    found = [
        resolve(wanted, each.offered, rename=rename, metadata=each.metadata, config=_config(model)) for each in sources
    ]
    last = {name: number for number, each in enumerate(found) for name in each.taken}
    taken: dict[str, tuple[Given, Taken]] = {}
    unused: list[Unused] = []
    passing = {name for entry in stored if not entry.persistent for name in entry.names}
    for number, (source, resolution) in enumerate(zip(sources, found, strict=True)):
        for name, each in resolution.taken.items():
            if name not in skipped and last[name] == number:
                taken[name] = source, each
                continue
            why = f"skipped: the policy of {name}" if name in skipped else f"{sources[last[name]].name} has it too"
            unused += [unused_of(source, key, why) for key in dict.fromkeys((*each.keys, *each.copies))]
        for key, why in resolution.unused.items():
            unused.append(unused_of(source, key, why or (_PASSING if _is_among(key, passing) else "")))
    missing = tuple(entry.name for entry in wanted if entry.name not in taken)
    return Matches(taken, missing, tuple(unused), tuple(dict.fromkeys(note for each in found for note in each.notes)))


def check_strict(matches: Matches, path: str | None) -> None:
    """Raise unless every tensor of the model has values in a file, and every tensor of a file has its place.

    Raises:
        WeightsError: names of both sides.
    """
    unexpected = sorted(each.key for each in matches.unused)
    parts = [
        f"{what} {_shown(names)}"
        for what, names in (("the file lacks", matches.missing), ("the model has no", unexpected))
        if names
    ]
    if parts:
        raise WeightsError(f"does not fit the model: {' and '.join(parts)}", path=path)


def check_any(matches: Matches, stored: Sequence[StoredTensor], path: str | None) -> None:
    """Raise if nothing of the files belongs to the model: it is for another one.

    Raises:
        WeightsError: with names of both sides.
    """
    if matches.taken or not matches.missing or any(each.why for each in matches.unused):
        return
    names, keys = [entry.name for entry in stored], [each.key for each in matches.unused]
    has = f"it has {listed(keys)}" if keys else "it has no tensors"
    raise WeightsError(
        f"has no tensor under a name of the model: {has}, the model {listed(names)}. Say with rename= which is which",
        path=path,
    )


def _wanted(entry: StoredTensor) -> Wanted:
    dtype = str(entry.tensor.dtype).removeprefix("torch.")
    return Wanted(entry.name, shape_of(entry.tensor), dtype, entry.aliases)


def _config(model: nn.Module) -> Mapping[str, Any] | None:
    """The config of a transformers model as data."""
    config: Any = getattr(model, "config", None)
    return config.to_dict() if hasattr(config, "to_dict") else None


def unused_of(source: Given, key: str, why: str) -> Unused:
    """A tensor of a file that goes nowhere."""
    return Unused(source.source, key, source.shape_of(key), source.bytes_of(key), why)


def _is_among(key: str, names: Iterable[str]) -> bool:
    return any(key == name or name.endswith(f".{key}") for name in names)


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(map(repr, names[:_FEW])) + more
