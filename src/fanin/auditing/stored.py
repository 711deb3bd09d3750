"""The tensors of a weights file as records, read one at a time in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fanin.auditing.names import axes_by_name, places_of, roles_of
from fanin.auditing.reading import Moved
from fanin.auditing.records import Seen
from fanin.auditing.units import looked_through
from fanin.graph.records import Place
from fanin.plans import Plan
from fanin.torch.file_tensors import OpenedWeights
from fanin.torch.probe.histogram import spread

_CONFIG = "config.json"
_LARGEST_CONFIG = 1 << 24


def tensors_of_file(opened: OpenedWeights, plan: Plan | None, moved: Moved) -> Iterator[Seen]:
    """A record of each tensor of a file, read one after the other."""
    shapes = {name: tensor.shape for name, tensor in _described(opened)}
    roles = roles_of(shapes)
    places = places_of(roles)
    for done, (name, shape) in enumerate(shapes.items()):
        moved(done, len(shapes))
        yield _seen(opened, name, shape, roles[name], places.get(name, Place()), plan)
        opened.release()
    moved(len(shapes), len(shapes))


def config_beside(path: Path) -> dict[str, Any]:
    """What `config.json` beside the file, or in the folder, says; nothing where there is none that can be read."""
    place = (path if path.is_dir() else path.parent) / _CONFIG
    try:
        if place.stat().st_size > _LARGEST_CONFIG:
            return {}
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def ties_by_name(config: Mapping[str, Any], roles: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The embedding and the head that a config ties, where the file has both."""
    text = config.get("text_config")
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings") if isinstance(text, dict) else None)
    tables = [name for name, role in roles.items() if role == "embedding"]
    heads = [name for name, role in roles.items() if role == "head"]
    return ((tables[0], heads[0]),) if tied is True and len(heads) == 1 and len(tables) == 1 else ()


def _described(opened: OpenedWeights) -> Iterator[tuple[str, Any]]:
    for name in opened:
        yield name, opened.place(name) or opened.tensors[name]


def _seen(opened: OpenedWeights, name: str, shape: tuple[int, ...], role: str, place: Place, plan: Plan | None) -> Seen:
    tensor = opened[name]
    planned = None if plan is None else plan.get(name)
    axes = (planned.axes if planned is not None else None) or axes_by_name(name, role, shape)
    kind = planned.kind if planned is not None else "buffer" if role == "buffer" else "parameter"
    seen = Seen(
        name=name,
        shape=tuple(shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        kind=kind,
        role=(planned.role if planned is not None else "") or role,
        axes=axes if axes is not None and axes.shape == tuple(shape) else None,
        place=(planned.place if planned is not None else None) or place,
        planned=planned,
        load=_loader(opened, name),
    )
    found, twins, experts = looked_through(tensor, seen.axes)
    rows = found.seconds * (len(found.seconds) / max(1, tensor.numel()))
    sample = spread(tensor.reshape(-1)) if seen.floating and kind == "parameter" else None
    return replace(seen, numbers=found.numbers, twins=twins, experts=experts, seconds=rows, spread=sample)


def _loader(opened: OpenedWeights, name: str) -> Callable[[], Tensor]:
    return lambda: opened[name].clone()
