"""Packed tensors: a recipe is asked about each block, and its answers are joined to one law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from fanin.graph.records import Graph, Part, Use
from fanin.graph.roles import role
from fanin.initializers import Blocks, Constant, Initializer
from fanin.random.part import joined
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Choice
from fanin.recipes.tensor_info import TensorInfo

Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a packed tensor: where it lies, and the block as a tensor of its own."""

    parts: Parts
    tensor: TensorInfo


def choose(recipe: Recipe, tensor: TensorInfo, graph: Graph) -> Choice | None:
    """What a recipe says about one tensor, block by block where it is packed; None where no rule matches.

    Blocks whose laws agree, value by value, are drawn as one. Blocks that the recipe leaves to the authors keep what
    the law of the model's own code gives them.

    Raises:
        ArgumentError: a rule that matches cannot be applied; names the tensor.
    """
    blocks = blocks_of(tensor, graph)
    if not blocks:
        return recipe.choose(tensor)
    choices = [recipe.choose(block.tensor) for block in blocks]
    told = [choice for choice in choices if choice is not None]
    if not told:
        return None
    law = _joined_law(tensor, blocks, [None if choice is None else choice.initializer for choice in choices])
    source = "; ".join(dict.fromkeys(choice.source for choice in told))
    return Choice(law, _why(blocks, choices, kept=law is None), source)


def blocks_of(tensor: TensorInfo, graph: Graph) -> tuple[Block, ...]:
    """The blocks of a packed tensor in stored order of their uses; none where it is used as a whole.

    >>> from fanin.axes import Axes
    >>> uses = (Use("qk", "linear", Axes.linear((4, 8)), parts=(Part((4 * i, 0), (4, 8)),)) for i in range(2))
    >>> graph = Graph(tuple(uses))
    >>> tensor = TensorInfo("qk", (8, 8), "float32", "parameter", "projection", graph.uses)
    >>> [block.tensor.shape for block in blocks_of(tensor, graph)]
    [(4, 8), (4, 8)]
    """
    groups = _by_parts(tensor.uses)
    if len(groups) < 2 or any(not use.parts for use in tensor.uses):
        return ()
    return tuple(Block(parts, _block(tensor, parts, uses, graph)) for parts, uses in groups.items())


def _by_parts(uses: Sequence[Use]) -> dict[Parts, list[Use]]:
    groups: dict[Parts, list[Use]] = {}
    for use in uses:
        groups.setdefault(use.parts, []).append(use)
    return groups


def _block(tensor: TensorInfo, parts: Parts, uses: list[Use], graph: Graph) -> TensorInfo:
    return replace(
        tensor,
        shape=joined(parts),
        role=role(tensor.kind, uses),
        uses=tuple(uses),
        native=tensor.native if tensor.native is not None and tensor.native.elementwise else None,
        partner_role=_partner_role(tensor, uses[0], graph),
    )


def _partner_role(tensor: TensorInfo, use: Use, graph: Graph) -> str:
    """The role of the block of the weight whose products this block of a bias is added to."""
    if not use.partner:
        return ""
    mine = list(_by_parts([other for other in tensor.uses if other.partner == use.partner]))
    theirs = list(_by_parts(graph.of(use.partner)).values())
    same = theirs[mine.index(use.parts)] if len(theirs) == len(mine) else graph.of(use.partner)
    return role("parameter", same)


def _joined_law(tensor: TensorInfo, blocks: Sequence[Block], laws: Sequence[Initializer | None]) -> Initializer | None:
    """One law for the whole; None where the authors' own stays."""
    given = [law for law in laws if law is not None]
    if not given or (len(given) < len(laws) and tensor.native is None):
        return None
    if len(given) == len(laws) and len(set(given)) == 1 and given[0].elementwise:
        return given[0]
    base = tensor.native if len(given) < len(laws) else _commonest(blocks, given)
    parts = [
        (part.start, part.size, law) if not part.count else (part.start, part.size, law, part.stride, part.count)
        for block, law in zip(blocks, laws, strict=True)
        if law is not None and law != base
        for part in block.parts
    ]
    return Blocks(Constant(0.0) if base is None else base, tuple(parts))


def _commonest(blocks: Sequence[Block], laws: Sequence[Initializer]) -> Initializer | None:
    """The law that fills most, of those that do not care where the block begins."""
    sizes: dict[Initializer, int] = {}
    for block, law in zip(blocks, laws, strict=True):
        if law.elementwise:
            sizes[law] = sizes.get(law, 0) + prod(block.tensor.shape)
    return max(sizes, key=lambda law: sizes[law]) if sizes else None


def _why(blocks: Sequence[Block], choices: Sequence[Choice | None], *, kept: bool) -> str:
    """Each reason once, with the blocks that it is for where they differ."""
    reasons: dict[str, list[str]] = {}
    for block, choice in zip(blocks, choices, strict=True):
        reason = "no rule: as the model's own code has it" if choice is None else choice.why
        reasons.setdefault(reason, []).append(block.tensor.gate or block.tensor.role)
    alike = len(reasons) == 1 and len({block.tensor.role for block in blocks}) == 1
    told = next(iter(reasons)) if alike else "; ".join(f"{_names(names)}: {why}" for why, names in reasons.items())
    alone = kept and any(choice is not None and choice.initializer is not None for choice in choices)
    return f"{told}; the authors' values cannot be split, so all of them stay" if alone else told


def _names(names: Sequence[str]) -> str:
    """As "attention query, key, value", "2 × projection"."""
    counted = [name if names.count(name) == 1 else f"{names.count(name)} × {name}" for name in dict.fromkeys(names)]
    first, *rest = counted
    family = first.split(" ")[0] + " "
    return ", ".join([first, *(name.removeprefix(family) for name in rest)])
