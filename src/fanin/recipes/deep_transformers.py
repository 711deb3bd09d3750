"""Starts that keep very deep transformers stable: DeepNorm, Sub-LN, T-Fixup."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt

from fanin import schemes
from fanin.initializers import Constant, Initializer
from fanin.recipes.matching import Match, beside, both, has_role, in_stack
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo

_MATCHING = ("attention query", "attention key")
CARRYING = ("attention value", "attention output", "mlp up", "mlp gate", "mlp down")
_BIASES = Rule(beside(*_MATCHING, *CARRYING), lambda _: Constant(0.0), "a bias starts at 0")

Depths = Callable[[int], float]
Both = Callable[[int, int], float]


def _by_side(tensor: TensorInfo, alone: Depths, encoder: Both, decoder: Both) -> float:
    """The formula for a stack of N layers alone, or of N encoder and M decoder layers."""
    place = tensor.place
    match place.side:
        case "encoder":
            return encoder(place.encoder_layers, place.decoder_layers)
        case "decoder":
            return decoder(place.encoder_layers, place.decoder_layers)
        case _:
            return alone(place.layers)


def deepnorm_beta(tensor: TensorInfo) -> float:
    """Gain of values, outputs and MLPs: (8N)^-¼; beside a decoder .87·(N⁴M)^-1/16, beside an encoder (12M)^-¼."""
    return _by_side(
        tensor,
        lambda n: (8 * n) ** -0.25,
        lambda n, m: 0.87 * (n**4 * m) ** -0.0625,
        lambda _, m: (12 * m) ** -0.25,
    )


def deepnorm_alpha(tensor: TensorInfo) -> float:
    """What the model's code must multiply the residual by: (2N)^¼; .81·(N⁴M)^1/16 and (3M)^¼ with two sides."""
    return _by_side(
        tensor,
        lambda n: (2 * n) ** 0.25,
        lambda n, m: 0.81 * (n**4 * m) ** 0.0625,
        lambda _, m: (3 * m) ** 0.25,
    )


def subln_gain(tensor: TensorInfo) -> float:
    """Gain of values, outputs and MLPs: √ln 2N; beside a decoder √(⅓·ln 3M·ln 2N), beside an encoder √ln 3M."""
    return _by_side(
        tensor,
        lambda n: sqrt(log(2 * n)),
        lambda n, m: sqrt(log(3 * m) * log(2 * n) / 3),
        lambda _, m: sqrt(log(3 * m)),
    )


def t_fixup_scale(tensor: TensorInfo) -> float:
    """Factor on values, outputs and MLPs: .67·N^-¼ in an encoder or a stack alone, (9M)^-¼ in a decoder."""
    return _by_side(
        tensor,
        lambda n: 0.67 * n**-0.25,
        lambda n, _: 0.67 * n**-0.25,
        lambda _, m: (9 * m) ** -0.25,
    )


def attends_across(tensor: TensorInfo) -> bool:
    """It is in the middle one of a decoder layer's three branches, which attends to the encoder.

    >>> from fanin.graph import Place
    >>> place = Place(side="decoder", layers=6, branch=4, branches=18)
    >>> attends_across(TensorInfo("v", (4, 4), "float32", "parameter", "attention value", place=place))
    True
    """
    place = tensor.place
    three = place.side == "decoder" and place.branches == 3 * place.layers
    return three and place.branch is not None and place.branch % 3 == 1


def _xavier_normal(gain: Callable[[TensorInfo], float]) -> Callable[[TensorInfo], Initializer]:
    return lambda tensor: schemes.xavier_normal(tensor.contracted, gain(tensor))


def _inside(*roles: str) -> Match:
    return both(in_stack, has_role(*roles))


DEEPNORM = Recipe(
    "deepnorm",
    (
        Rule(
            _inside(*CARRYING),
            _xavier_normal(deepnorm_beta),
            lambda tensor: (
                f"gain β = {deepnorm_beta(tensor):.4g}; "
                f"the code must multiply the residual by α = {deepnorm_alpha(tensor):.4g}"
            ),
        ),
        Rule(_inside(*_MATCHING), _xavier_normal(lambda _: 1.0), "queries and keys: gain 1"),
        _BIASES,
    ),
    title="Xavier normal with gain by depth, for post-norm transformers whose residual is multiplied by α",
    source="Wang et al. 2022, arXiv 2203.00555, figure 2",
)

SUBLN = Recipe(
    "subln",
    (
        Rule(both(_inside(*CARRYING), attends_across), _xavier_normal(lambda _: 1.0), "attention across: gain 1"),
        Rule(
            _inside(*CARRYING),
            _xavier_normal(subln_gain),
            lambda tensor: f"gain γ = {subln_gain(tensor):.4g}: the norm inside of the branch takes growth out again",
        ),
        Rule(_inside(*_MATCHING), _xavier_normal(lambda _: 1.0), "queries and keys: gain 1"),
        _BIASES,
    ),
    title="Magneto: Xavier normal with gain by depth, for transformers with a second norm inside of each branch",
    source="Wang et al. 2023, arXiv 2210.06423; torchscale encoder.py and decoder.py",
)
