"""What the boxes of a drawing hold: parameters and their roles."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from fanin.graph import Use, role
from fanin.torch.tensors import stored_tensors
from fanin.torch.trace import trace

_OF_OTHERS = ("bias", "norm shift")
"""Roles that go with another parameter of the same layer, whose role says more."""


@dataclass(frozen=True, slots=True)
class Holding:
    """The parameters of one box.

    Attributes:
        count: values in them; tied ones where they stand first.
        roles: in order, each once.
        tied: names of parameters of other boxes that this one uses.
    """

    count: int = 0
    roles: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()


def holdings(
    model: nn.Module, inputs: Any, box: Callable[[str], str], drawn: Container[str]
) -> tuple[Mapping[str, Holding], int]:
    """What each box holds, and how many values all parameters have.

    Args:
        box: the box of a module.
        drawn: the boxes that there are; a tied tensor counts in the first of them that has it.
    """
    graph = trace(model, inputs)
    uses: dict[str, list[Use]] = {}
    for use in graph.uses:
        uses.setdefault(use.tensor, []).append(use)
    found: dict[str, Holding] = {}
    total = 0
    for stored in stored_tensors(model):
        if stored.kind != "parameter":
            continue
        count = stored.tensor.numel()
        total += count
        places = [(name, box(name.rpartition(".")[0])) for name in stored.names]
        first, place = next(((name, at) for name, at in places if at in drawn), places[0])
        held = found.get(place, Holding())
        made = uses.get(stored.name, [])
        found[place] = Holding(held.count + count, _joined(held.roles, _roles(made)), held.tied)
        for _, other in places:
            if other != place:
                held = found.get(other, Holding())
                here = [use for use in made if box(use.module) == other]
                found[other] = Holding(held.count, _joined(held.roles, _roles(here)), (*held.tied, first))
    return found, total


def _roles(uses: Sequence[Use]) -> tuple[str, ...]:
    """The role of a parameter; of one in parts those of its parts."""
    found = role("parameter", uses)
    return tuple(use.role for use in uses if use.role) if found == "packed" else (found,)


def _joined(roles: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    kept = [each for each in (*roles, *new) if each != "unknown"]
    telling = [each for each in kept if each not in _OF_OTHERS]
    return tuple(dict.fromkeys(telling or kept))
