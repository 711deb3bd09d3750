"""Published sizes of transformers' models by name: `hf:llama,preset=8b`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fanin.errors import ArgumentError, UnknownNameError
from fanin.models.presets_table import PRESETS


def presets(model_type: str | None = None) -> tuple[str, ...]:
    """The names of the published sizes of a transformers type, smallest first; without a type, the types that have any.

    >>> presets("gpt2")
    ('small', 'medium', 'large', 'xl')
    >>> "llama" in presets()
    True
    """
    return tuple(PRESETS if model_type is None else PRESETS.get(model_type, ()))


def preset_fields(model_type: str, name: str) -> Mapping[str, Any]:
    """The fields of the config of that size.

    Raises:
        UnknownNameError: the type has no preset of that name, or none at all.
    """
    known = PRESETS.get(model_type)
    if known is None:
        raise UnknownNameError(
            f"hf:{model_type} has no presets (asked for {name!r}): types that have are {_listed(PRESETS)}; give the "
            f"fields of its config instead, as in hf:{model_type},field=value"
        )
    if name not in known:
        elsewhere = [other for other, sizes in PRESETS.items() if name in sizes]
        hint = f" ({_listed(elsewhere)} {'has' if len(elsewhere) == 1 else 'have'} one)" if elsewhere else ""
        raise UnknownNameError(f"hf:{model_type} has no preset {name!r}{hint}. Known: {', '.join(known)}.")
    return known[name].fields


def with_preset(spec: str, name: str) -> str:
    """The spec of a transformers type at one of its published sizes.

    Raises:
        ArgumentError: the spec is of another kind, or names a preset already.
        UnknownNameError: the type has no preset of that name.

    >>> with_preset("hf:llama,num_hidden_layers=2", "8b")
    'hf:llama,preset=8b,num_hidden_layers=2'
    """
    head, comma, options = spec.partition(",")
    kind, _, model_type = head.partition(":")
    if kind != "hf":
        raise ArgumentError(
            f"{spec} has no presets: they are published sizes of transformers' models, {_listed(PRESETS)}"
        )
    if any(option.partition("=")[0] == "preset" for option in options.split(",")):
        raise ArgumentError(f"{spec} names its preset already: leave out the second one, {name!r}")
    preset_fields(model_type, name)
    return f"{head},preset={name}{comma}{options}"


def _listed(types: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(f"hf:{each}" for each in types)
