"""RWKV-4: orthogonal and zero matrices, decay and mixing rates spread over channels and layers."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from fanin import schemes
from fanin.initializers import Constant, Cycle, Initializer, Orthogonal, Ramp
from fanin.recipes.matching import Match, both, contracts, has_role, in_stack, is_called
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo
from fanin.recipes.transformer_rules import BESIDE_WEIGHTS

_LN_3_10 = -1.2039728043259361
_Law = Callable[[TensorInfo], Initializer]

# A product of keys and a gate looks alike for both: only their names tell RWKV's matrices and rates apart, first in
# BlinkDL's code, then in transformers.
_FEED_FORWARD = is_called("*.ffn.*", "*.feed_forward.*")
_ZERO = is_called(
    "*.receptance.weight", "*.att.key.weight", "*.attention.key.weight", "*.output.weight", "*.ffn.value.weight",
    "*.feed_forward.value.weight",
)  # fmt: skip


def _called(*patterns: str) -> Match:
    return both(is_called(*patterns), in_stack)


def _depth(tensor: TensorInfo) -> float:
    """0 in the first layer, 1 in the last."""
    return (tensor.place.layer or 0) / max(tensor.place.layers - 1, 1)


def _rest(tensor: TensorInfo) -> float:
    """1 in the first layer, 1/layers in the last."""
    return 1 - (tensor.place.layer or 0) / max(tensor.place.layers, 1)


def _mix(share: float = 1.0, lift: float = 0.0) -> _Law:
    return lambda tensor: Ramp(lift * _depth(tensor), 1 + lift * _depth(tensor), share * _rest(tensor), endpoint=False)


def _matrix(tensor: TensorInfo) -> Initializer:
    return schemes.orthogonal(tensor.contracted, _widening(tensor))


def _widening(tensor: TensorInfo) -> float:
    fan_in, fan_out = tensor.contracted.fans
    return sqrt(max(fan_out / fan_in, 1))


RWKV = Recipe(
    "rwkv",
    (
        Rule(
            _called("*.time_decay"),
            lambda tensor: Ramp(-5.0, 3.0, 0.7 + 1.3 * _depth(tensor)),
            lambda tensor: (
                f"−5 + 8·(channel share)^{0.7 + 1.3 * _depth(tensor):.3g}: slow to fast, more slow when deep"
            ),
        ),
        Rule(
            _called("*.time_first"),
            lambda _: Cycle((_LN_3_10, _LN_3_10 + 0.5, _LN_3_10 - 0.5)),
            "ln 0.3 + (0, ½, −½, …); transformers has a parenthesis wrong and stores 1 everywhere",
        ),
        Rule(both(_called("*.time_mix_r*"), _FEED_FORWARD), _mix(), "(channel share)^(1 − layer/layers)"),
        Rule(_called("*.time_mix_r*"), _mix(share=0.5), "(channel share)^(½(1 − layer/layers))"),
        Rule(_called("*.time_mix_v*"), _mix(lift=0.3), "(channel share)^(1 − layer/layers) + 0.3·depth share"),
        Rule(_called("*.time_mix_k*"), _mix(), "(channel share)^(1 − layer/layers)"),
        Rule(
            both(_ZERO, in_stack),
            lambda _: Constant(0.0),
            "receptance, keys of the time mix and outputs start at 0; transformers draws them orthogonal",
        ),
        Rule(
            has_role("embedding"),
            lambda tensor: Orthogonal(1e-4 * sqrt(max(tensor.shape))),
            "orthogonal, 1e-4·√(longer side): values of std 1e-4, for the norm that follows to blow up",
        ),
        Rule(
            has_role("head"),
            lambda tensor: schemes.orthogonal(tensor.contracted, 0.5 * _widening(tensor)),
            "orthogonal, ½·√(out/in)",
        ),
        Rule(contracts, _matrix, lambda tensor: f"orthogonal, gain √(out/in), at least 1: {_widening(tensor):.4g}"),
        *BESIDE_WEIGHTS,
    ),
    "orthogonal and zero matrices, rates spread over channels and layers",
    "Peng et al. 2023, arXiv 2305.13048, appendix E; RWKV-LM RWKV-v4/src/model.py, RWKV_Init",
)
