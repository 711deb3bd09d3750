"""Tables of positions: lookups whose rows depend on where something stands, not on what stands there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from fanin.graph.labels import Label
from fanin.graph.network import Network


def labels(net: Network) -> Iterator[Label]:
    """Tables whose rows are always looked up by constant indices, or by running counts."""
    tables: dict[str, list[int]] = defaultdict(list)
    for index in sorted(net.lookups):
        for tensor in dict.fromkeys(use.tensor for use in net.at(index) if use.op == "embedding"):
            tables[tensor].append(index)
    for lookups in tables.values():
        if not any(index in net.flow.chosen or _repeats(net, index) for index in lookups):
            yield from (Label(index, "position", op="embedding") for index in lookups)


def _repeats(net: Network, index: int) -> bool:
    """More places than rows: some share one, as types of tokens do."""
    table, *places = net.flow.nodes[index].reads
    return any(place.shape[-1:] > table.shape[:1] for place in places)
