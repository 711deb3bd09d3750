"""Which weight opens each residual branch that has two: the one whose product the branch's last weight reads."""

from __future__ import annotations

from collections.abc import Mapping

from fanin.graph.records import Graph, Use

_BRANCH_WEIGHTS = 2
# What a branch's last weight reads: a gated product, else what attention mixes, else what stands in front.
_RANKS = {"mlp gate": 0, "attention value": 1, "attention query": 3, "attention key": 3, "router": 3}


def openings(graph: Graph) -> Mapping[str, Use]:
    """For the last weight of each residual branch of two weights the use of the weight before it.

    Of a gate and the value beside it that is the gate, of queries, keys and values the values.
    """
    found: dict[tuple[str, int], Use] = {}
    last: dict[str, tuple[str, int]] = {}
    for use in graph.uses:
        place = graph.places.get(use.tensor)
        if place is None or place.branch is None or place.members != _BRANCH_WEIGHTS or use.axes is None:
            continue
        branch = place.stack, place.branch
        if place.last:
            last[use.tensor] = branch
        elif branch not in found or _rank(use) < _rank(found[branch]):
            found[branch] = use
    return {tensor: found[branch] for tensor, branch in last.items() if branch in found}


def _rank(use: Use) -> int:
    return _RANKS.get(use.role, 2)
