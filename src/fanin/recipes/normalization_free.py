"""Starts of residual networks without normalisation: Fixup and, for transformers, T-Fixup."""

from __future__ import annotations

from math import prod, sqrt

from fanin import schemes
from fanin.initializers import Constant, Initializer, Normal
from fanin.recipes.convolutional import ends_branch, fan_out_normal
from fanin.recipes.deep_transformers import CARRYING, t_fixup_scale
from fanin.recipes.matching import both, contracts, has_role, in_stack
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo


def fixup_scale(tensor: TensorInfo) -> float:
    """L^(−1/(2m − 2)) for L residual branches of m weights each; the last of the m is not asked about."""
    return tensor.model_branches ** (-1 / (2 * tensor.place.members - 2))


def in_branch(tensor: TensorInfo) -> bool:
    """It lies in a residual branch.

    >>> from fanin.graph import Place
    >>> in_branch(TensorInfo("conv1.weight", (4, 4), "float32", "parameter", "projection", place=Place(branch=0)))
    True
    """
    return tensor.place.branch is not None


def _is_scalar(tensor: TensorInfo) -> bool:
    return prod(tensor.shape) == 1


def _why_fixup(tensor: TensorInfo) -> str:
    place = tensor.place
    return (
        f"He over fan-out × {fixup_scale(tensor):.4g}: "
        f"{tensor.model_branches} branches of {place.members} weights, updates of the output stay small"
    )


FIXUP = Recipe(
    "fixup",
    (
        Rule(
            both(contracts, ends_branch), lambda _: Constant(0.0), "last weight of a branch: the block passes its input"
        ),
        Rule(
            both(contracts, in_branch),
            lambda tensor: Normal(std=fan_out_normal(tensor).std * fixup_scale(tensor)),
            _why_fixup,
        ),
        Rule(both(contracts, in_stack), fan_out_normal, "beside the branches: He over fan-out"),
        Rule(has_role("head"), lambda _: Constant(0.0), "the classifier starts at 0"),
        Rule(
            both(has_role("scale", "layer scale"), _is_scalar),
            lambda _: Constant(1.0),
            "a factor on a branch starts at 1",
        ),
        Rule(has_role("bias"), lambda _: Constant(0.0), "a bias starts at 0"),
        Rule(
            both(has_role("position", "norm shift"), _is_scalar), lambda _: Constant(0.0), "a scalar bias starts at 0"
        ),
    ),
    title="residual networks without normalisation: branches scaled by depth, last weights at 0",
    source="Zhang, Dauphin & Ma 2019, arXiv 1901.09321; hongyi-zhang/Fixup",
)


def _embedding(tensor: TensorInfo) -> Initializer:
    return Normal(std=(9 * _embedded_depth(tensor)) ** -0.25 / sqrt(tensor.shape[-1]))


def _embedded_depth(tensor: TensorInfo) -> int:
    place = tensor.place
    depth = place.decoder_layers if place.side == "decoder" else place.encoder_layers
    return depth or tensor.model_layers


T_FIXUP = Recipe(
    "t-fixup",
    (
        Rule(
            has_role("embedding"),
            _embedding,
            lambda tensor: f"N(0, 1/{tensor.shape[-1]}) × (9·{_embedded_depth(tensor)})^-¼",
        ),
        Rule(
            both(in_stack, has_role(*CARRYING)),
            lambda tensor: schemes.xavier_uniform(tensor.contracted, t_fixup_scale(tensor)),
            lambda tensor: f"values, outputs and MLPs: Xavier uniform × {t_fixup_scale(tensor):.4g}",
        ),
        Rule(contracts, lambda tensor: schemes.xavier_uniform(tensor.contracted), "Xavier uniform"),
        Rule(has_role("bias"), lambda _: Constant(0.0), "a bias starts at 0"),
    ),
    title="transformers without layer norm or warmup: embeddings, values, outputs and MLPs scaled by depth",
    source="Huang et al. 2020, ICML; layer6ai-labs/T-Fixup",
)
