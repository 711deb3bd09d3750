"""Recipes that keep the variance of the signal by their choice of standard deviation."""

from __future__ import annotations

from fanin import schemes
from fanin.recipes.common import OTHERS
from fanin.recipes.matching import contracts
from fanin.recipes.recipe import Recipe, Rule

HE = Recipe(
    "he",
    (
        Rule(
            contracts,
            lambda tensor: schemes.he_normal(tensor.contracted, tensor.gain),
            lambda tensor: f"{tensor.following} over fan-in {tensor.contracted.fan_in:g}",
        ),
        *OTHERS,
    ),
    title="normal, gain of the activation that follows over fan-in",
    source="He et al. 2015, arXiv 1502.01852",
)

XAVIER = Recipe(
    "xavier",
    (
        Rule(
            contracts,
            lambda tensor: schemes.xavier_uniform(tensor.contracted),
            lambda tensor: "keeps signal and gradient: mean of fans {:g} and {:g}".format(*tensor.contracted.fans),
        ),
        *OTHERS,
    ),
    title="uniform, over the mean of fan-in and fan-out",
    source="Glorot & Bengio 2010, equation 16",
)

LECUN = Recipe(
    "lecun",
    (
        Rule(
            contracts,
            lambda tensor: schemes.lecun_normal(tensor.contracted),
            lambda tensor: f"unit variance out of unit variance in: fan-in {tensor.contracted.fan_in:g}",
        ),
        *OTHERS,
    ),
    title="normal, over fan-in; the start of self-normalising (SELU) networks",
    source='LeCun et al. 1998, "Efficient BackProp", section 4.6; Klambauer et al. 2017',
)
