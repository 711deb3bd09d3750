"""Encoder and decoder: which side of a model each stack, and each tensor outside of stacks, is on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from fanin.graph.network import Network
from fanin.graph.stacks import Stacks
from fanin.graph.structure import Structure

SIDES = ("encoder", "decoder")


def of_stacks(structure: Structure, stacks: Stacks) -> dict[str, str]:
    """ "encoder" for stacks whose output is attended to from another one, "decoder" for that other."""
    net, sums = structure.net, structure.residuals
    sides: dict[str, str] = {}
    for core in structure.cores:
        here = stacks.of(net.flow.nodes[core.node].module)[0]
        queries, keys = (
            {end.node for end in net.back(operand, lambda index: index in sums).ends}
            for operand in (core.query, core.key)
        )
        there = {stacks.of(net.flow.nodes[node].module)[0] for node in keys - queries}
        if here and there and here not in there:
            sides |= dict.fromkeys(there - sides.keys(), "encoder") | {here: "decoder"}
    return sides


def of_tensors(net: Network, side: Callable[[str], str]) -> dict[str, str]:
    """The side of each tensor that is used outside of the sides' stacks, where all its uses agree.

    A use belongs to the side that its input comes from (final norms, heads); where it comes from none, to the one
    that its output goes to (embeddings).

    Args:
        net: the pass.
        side: the side of the stack that a module lies in; "" outside.
    """
    here = {module: side(module) for module in dict.fromkeys(node.module for node in net.flow.nodes)}
    before, after = _before(net, here), _after(net, here)
    found: dict[str, set[str]] = defaultdict(set)
    for index, node in enumerate(net.flow.nodes):
        if node.uses and not here[node.module]:
            sides = {before[value.memory] for value in node.reads if value.memory in before} or {
                each for value in node.writes for each in after[value.memory]
            }
            for use in net.at(index):
                found[use.tensor] |= sides or {""}
    return {tensor: next(iter(sides)) for tensor, sides in found.items() if len(sides) == 1}


def _before(net: Network, here: dict[str, str]) -> dict[int, str]:
    """For each memory the side that it comes from, the decoder where it comes from both."""
    known: dict[int, str] = {}
    for node in net.flow.nodes:
        come = {known[value.memory] for value in node.reads if value.memory in known}
        told = here[node.module] or (SIDES[-1] if len(come) > 1 else next(iter(come), ""))
        if told and not node.is_view:
            known |= dict.fromkeys((value.memory for value in node.writes), told)
    return known


def _after(net: Network, here: dict[str, str]) -> dict[int, frozenset[str]]:
    """For each memory the sides that it goes to, the nearest ones alone."""
    known: dict[int, frozenset[str]] = defaultdict(frozenset)
    for node in reversed(net.flow.nodes):
        told = here[node.module]
        goes = frozenset((told,)) if told else frozenset[str]().union(*(known[value.memory] for value in node.writes))
        if goes and not node.is_view:
            for value in node.reads:
                known[value.memory] |= goes
    return known
