"""Orthogonal weights."""

from __future__ import annotations

from fanin import schemes
from fanin.recipes.common import OTHERS
from fanin.recipes.matching import contracts
from fanin.recipes.recipe import Recipe, Rule

ORTHOGONAL = Recipe(
    "orthogonal",
    (
        Rule(
            contracts,
            lambda tensor: schemes.orthogonal(tensor.contracted, tensor.gain),
            lambda tensor: f"keeps lengths and angles; {tensor.following}",
        ),
        *OTHERS,
    ),
    title="Haar-random orthogonal matrices, gain of the activation that follows",
    source="Saxe et al. 2013, arXiv 1312.6120",
)
