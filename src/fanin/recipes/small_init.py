"""Small init and Wang init: standard deviations from the width of the model."""

from __future__ import annotations

from math import sqrt

from fanin.recipes.matching import contracts
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo
from fanin.recipes.transformer_rules import BESIDE_WEIGHTS, TABLES, model_width, normal, residual_output

_SMALL_SOURCE = "Nguyen & Salazar 2019, arXiv 1910.05895, section 2.2; gpt-neox init_functions.py, small_init"


def _small(tensor: TensorInfo) -> float:
    return sqrt(2 / (5 * model_width(tensor)))


def _why_small(tensor: TensorInfo) -> str:
    return f"√(2/(d + 4d)) for d = {model_width(tensor):g}: Xavier's for the 4 times wider MLP, for all"


def _wang(tensor: TensorInfo) -> float:
    return 2 / (tensor.place.layers * sqrt(model_width(tensor)))


def _why_wang(tensor: TensorInfo) -> str:
    return f"2/(L·√d) for a residual output of L = {tensor.place.layers} layers of width d = {model_width(tensor):g}"


_SMALL_RULES = (
    Rule(TABLES, normal(_small), _why_small, _SMALL_SOURCE),
    Rule(contracts, normal(_small), _why_small, _SMALL_SOURCE),
    *BESIDE_WEIGHTS,
)
SMALL_INIT = Recipe("small-init", _SMALL_RULES, "√(2/(5·width)) for every weight and table", _SMALL_SOURCE)
WANG = Recipe(
    "wang",
    (Rule(residual_output, normal(_wang), _why_wang), *_SMALL_RULES),
    "residual outputs 2/(layers·√width), small init elsewhere: GPT-NeoX-20B",
    "Wang & Komatsuzaki 2021, GPT-J; Black et al. 2022, arXiv 2204.06745; gpt-neox init_functions.py, wang_init",
)
