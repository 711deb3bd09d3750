"""Roles from the graph around each use: attention, feed-forward branches, scales of branches, routers, heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fanin.graph import attention, feedforward, lora, modulation, positions, readout, router, state_space
from fanin.graph.flow import Flow
from fanin.graph.labels import Label
from fanin.graph.network import Network
from fanin.graph.operations import WEIGHTED
from fanin.graph.records import Use
from fanin.graph.residual import Residual, residuals
from fanin.graph.scores import with_scores

Features = Mapping[int, NDArray[np.intp]]


class Structure:
    """What the dataflow of a pass shows about its uses of parameters.

    Attributes:
        residuals: every residual sum by its node, in order.
        cores: every attention, in order.
        uses: the uses with their roles and heads.
    """

    def __init__(self, flow: Flow, uses: Sequence[Use], features: Features) -> None:
        self.net = Network(flow, uses)
        self.residuals = residuals(self.net)
        self.cores = tuple(attention.cores(self.net, self.residuals))
        labelled = _labelled(self.net, list(_labels(self.net, self.residuals, self.cores)), features)
        self.uses = with_scores(self.net, labelled, self.cores, self.residuals)

    @cached_property
    def positional(self) -> frozenset[int]:
        """The lookups of rows for positions."""
        made = self.net.flow.nodes
        return frozenset(
            index for index in self.net.lookups if any(self.uses[use].role == "position" for use in made[index].uses)
        )


def _labels(net: Network, sums: Mapping[int, Residual], cores: Sequence[attention.Core]) -> Iterator[Label]:
    around = [label for core in cores for label in attention.labels(net, core, sums)]
    yield from lora.labels(net)
    yield from around
    outputs = frozenset(label.node for label in around if label.role == "attention output")
    yield from router.labels(net, sums)
    yield from state_space.labels(net, sums)
    for residual in sums.values():
        yield from feedforward.labels(net, residual, outputs)
        yield from (Label(node, "layer scale", op="scale") for node in residual.behind)
    yield from modulation.labels(net, sums)
    yield from readout.labels(net, sums)
    yield from positions.labels(net)


def _labelled(net: Network, labels: Sequence[Label], features: Features) -> list[Use]:
    """The uses with the first role that a label gives to each."""
    uses = list(net.uses)
    for label in labels:
        for number in net.weighing(label.node):
            use = uses[number]
            if not use.role and _is_meant(label, use, features.get(number)):
                uses[number] = replace(use, role=label.role, heads=label.heads)
    return uses


def _is_meant(label: Label, use: Use, features: NDArray[np.intp] | None) -> bool:
    """The label speaks of this use: of its kind, and of most of the channels that the used block makes."""
    if use.op != label.op if label.op else use.op not in WEIGHTED:
        return False
    if label.channels is None:
        return True
    chosen = label.channels if features is None else label.channels[features]
    return bool(2 * chosen.sum() > len(chosen))
