"""What structure says about one operation's weight, or about a block of its output channels."""

from __future__ import annotations

from dataclasses import dataclass

from fanin.graph.flow import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """A role given to the uses of parameters at one node.

    Attributes:
        node: the node of the flow.
        role: one of `fanin.graph.ROLES`.
        channels: which channels of the node's output have the role; None for all of them.
        heads: into how many heads these are split.
        op: only uses of this kind have the role; "" for the weights.
    """

    node: int
    role: str
    channels: Mask | None = None
    heads: int | None = None
    op: str = ""
