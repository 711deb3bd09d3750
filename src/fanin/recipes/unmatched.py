"""Rules that a user wrote by name or role and that found no tensor: most often a slip of the pen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fanin.graph.records import Graph
from fanin.recipes.packed import blocks_of
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo


def unmatched(recipe: Recipe, tensors: Sequence[TensorInfo], graph: Graph) -> Iterator[str]:
    """One sentence for each rule with a `key` that matches no tensor of the model and no block of a packed one.

    >>> from fanin.initializers import Constant
    >>> from fanin.recipes import named
    >>> mine = named("he").override({"lm_hed": Constant(0.0)})
    >>> list(unmatched(mine, [TensorInfo("lm_head.weight", (9, 4), "float32", "parameter", "head")], Graph(())))
    ["the rule for 'lm_hed' of the recipe 'he+override' matches no tensor of this model"]
    """
    for rule in recipe.rules:
        if rule.key and not any(_finds(rule, tensor, graph) for tensor in tensors):
            key = rule.key if "=" in rule.key else repr(rule.key)
            yield f"the rule for {key} of the recipe {recipe.name!r} matches no tensor of this model"


def _finds(rule: Rule, tensor: TensorInfo, graph: Graph) -> bool:
    return rule.matches(tensor) or any(rule.matches(block.tensor) for block in blocks_of(tensor, graph))
