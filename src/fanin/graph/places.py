"""Where in the network each stored tensor stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fanin.graph import sides, streams
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
    of_stacks = sides.of_stacks(structure, stacks)
    layers = {side: sum(stacks.layers(at) for at, each in of_stacks.items() if each == side) for side in sides.SIDES}
    both = layers if all(layers.values()) else dict.fromkeys(sides.SIDES, 0)
    inside = of_stacks if all(both.values()) else dict[str, str]()
    outside = sides.of_tensors(structure.net, lambda module: inside.get(stacks.of(module)[0], "")) if inside else {}
    found: dict[str, Place] = {}
    for name in names:
        stack, block = stacks.of(name.rpartition(".")[0])
        layer, count = stacks.layer(block) if block else (None, 0)
        side = inside.get(stack) or outside.get(name, "")
        found[name] = Place(stack, layer, count, side, both["encoder"], both["decoder"])
    for name, made in streams.sums_of_positions(structure.net, structure.positional).items():
        if name in found:
            found[name] = replace(found[name], tables=made.tables, positions=made.positions, others=made.others)
    return found | _branched(structure, stacks, found)


def _branched(structure: Structure, stacks: Stacks, found: Mapping[str, Place]) -> dict[str, Place]:
    """The places of tensors in residual branches, counted stack by stack."""
    net = structure.net
    of_stack: dict[str, list[Branch]] = defaultdict(list)
    for branch in branches(net, structure.residuals, (core.node for core in structure.cores)):
        of_stack[stacks.of(net.flow.nodes[branch.sum].module)[0]].append(branch)
    placed: dict[str, Place] = {}
    for in_stack in of_stack.values():
        sums = [branch.sum for branch in in_stack]
        norms = streams.norms(net, structure.residuals, list(dict.fromkeys(sums)))
        start = streams.start(net, structure.residuals[sums[0]].stream, structure.positional)
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
                        normed=norms[branch.sum],
                        scaled=any(use.op == "scale" for index in branch.behind for use in net.at(index)),
                        tables=start.tables,
                        positions=start.positions,
                        others=start.others,
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
