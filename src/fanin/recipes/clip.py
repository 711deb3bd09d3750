"""CLIP: the width's root, residual outputs divided by the root of their number."""

from __future__ import annotations

from math import sqrt

from fanin import schemes
from fanin.recipes.matching import contracts, has_role, is_called
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo
from fanin.recipes.transformer_rules import (
    BESIDE_WEIGHTS,
    by_depth,
    model_width,
    normal,
    residual_output,
    why_by_depth,
)


def _output(tensor: TensorInfo) -> float:
    return 1 / (sqrt(model_width(tensor)) * by_depth(tensor))


def _root_width(tensor: TensorInfo) -> float:
    return 1 / sqrt(model_width(tensor))


def _root_columns(tensor: TensorInfo) -> float:
    return 1 / sqrt(tensor.shape[-1])


def _root_two_widths(tensor: TensorInfo) -> float:
    return 1 / sqrt(2 * model_width(tensor))


# Only their names tell the text's positions, which OpenAI draws from N(0, 0.01²), from the image's, 1/√width.
_IMAGE_POSITIONS = is_called("*vision*position_embedding", "*visual*positional_embedding")
_TEXT_POSITIONS = is_called("*text*position_embedding", "positional_embedding")

CLIP = Recipe(
    "clip",
    (
        Rule(residual_output, normal(_output), lambda tensor: f"1/√width; {why_by_depth(tensor)}"),
        Rule(has_role("mlp up"), normal(_root_two_widths), "1/√(2·width)"),
        Rule(
            has_role("convolution"),
            lambda tensor: schemes.standard(tensor.contracted),
            "patches as torch's convolution starts: U(±1/√fan-in)",
        ),
        Rule(_IMAGE_POSITIONS, normal(_root_columns), "positions of the image: 1/√width"),
        Rule(_TEXT_POSITIONS, normal(0.01), "positions of the text: 0.01"),
        Rule(has_role("token", "position"), normal(_root_columns), "1/√width"),
        Rule(has_role("embedding"), normal(0.02), "tokens of the text: 0.02"),
        Rule(contracts, normal(_root_width), "1/√width"),
        *BESIDE_WEIGHTS,
    ),
    "1/√width, residual outputs divided by √(their number); transformers divides queries, keys and values instead",
    "Radford et al. 2021, arXiv 2103.00020; OpenAI CLIP model.py, initialize_parameters",
)
