"""Where in the network each stored tensor stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fanin.graph.branches import Branch, branches, feeding
from fanin.graph.operations import WEIGHTED
from fanin.graph.records import Place
from fanin.graph.stacks import Lists, Stacks
from fanin.graph.structure import Structure


def places(structure: Structure, lists: Lists, names: Iterable[str]) -> dict[str, Place]:
    """The place of each named tensor.

    Args:
        structure: what the pass showed.
        lists: the model's containers, as `Stacks` takes them.
        names: qualified names of the stored tensors.
    """
    nodes = structure.net.flow.nodes
    sums = [nodes[index].module for index in structure.residuals]
    stacks = Stacks(lists, sums, (node.module for node in nodes))
    sides = _sides(structure, stacks)
    layers = {side: sum(stacks.layers(stack) for stack, each in sides.items() if each == side) for side in _SIDES}
    both = layers if all(layers.values()) else dict.fromkeys(_SIDES, 0)
    found: dict[str, Place] = {}
    for name in names:
        stack, block = stacks.of(name.rpartition(".")[0])
        layer, count = stacks.layer(block) if block else (None, 0)
        side = sides.get(stack, "") if block and all(both.values()) else ""
        found[name] = Place(stack, layer, count, side, both["encoder"], both["decoder"])
    return found | _branched(structure, stacks, found)


_SIDES = ("encoder", "decoder")


def _branched(structure: Structure, stacks: Stacks, found: Mapping[str, Place]) -> dict[str, Place]:
    """The places of tensors in residual branches, counted stack by stack."""
    net = structure.net
    of_stack: dict[str, list[Branch]] = defaultdict(list)
    for branch in branches(net, structure.residuals, (core.node for core in structure.cores)):
        of_stack[stacks.of(net.flow.nodes[branch.sum].module)[0]].append(branch)
    placed: dict[str, Place] = {}
    for in_stack in of_stack.values():
        for number, branch in enumerate(in_stack):
            for name, last in _tensors(structure, stacks, branch).items():
                known = placed.get(name)
                if known is None and name in found:
                    placed[name] = replace(
                        found[name],
                        branch=number,
                        branches=len(in_stack),
                        members=branch.members,
                        last=last,
                        width=branch.width,
                    )
                elif known is not None and last:
                    placed[name] = replace(known, last=True)
    return placed


def _tensors(structure: Structure, stacks: Stacks, branch: Branch) -> dict[str, bool]:
    """The tensors used in a branch, and whether each ends it."""
    net, used = structure.net, dict[str, bool]()
    block = stacks.of(net.flow.nodes[branch.sum].module)[1]
    beside = feeding(net, branch, structure.residuals, lambda module: stacks.of(module)[1] == block != "")
    for index in sorted(branch.nodes | beside):
        for use in net.at(index):
            weight = index in branch.lasts and use.op in WEIGHTED
            scale = index in branch.behind and use.op == "norm_scale"
            used[use.tensor] = used.get(use.tensor, False) or weight or scale
    return used


def _sides(structure: Structure, stacks: Stacks) -> dict[str, str]:
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
