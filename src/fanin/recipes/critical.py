"""`critical`: chains without normalisation at the point where neither signal nor gradient changes with depth."""

from __future__ import annotations

from typing import Annotated

from fanin.errors import ArgumentError
from fanin.gains import critical_point
from fanin.recipes import auto_weights
from fanin.recipes.auto import AUTO
from fanin.recipes.criticality import Criticality, in_chain
from fanin.recipes.matching import both, contracts, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo

_TITLE = "chains without norms at criticality: χ = 1 where the activation allows; the rest as auto"
_SOURCE = "Roberts, Yaida & Hanin 2022, arXiv 2106.10165, chapter 5; Xiao et al. 2018, arXiv 1806.05393"


def critical(
    variance: Annotated[float, "second moment K of pre-activations; 0: where theory puts it"] = 0.0,
) -> Recipe:
    """(σ_w, σ_b, input scale) with χ = 1 for chains of weights without norms and sums between them.

    Weights are orthogonal, kernels at their centre: that keeps narrow networks closest to the theory of wide ones.

    K is the half-stable point of GELU, SiLU, Mish and hardswish, with Gaussian biases; any scale for ReLU's family; for
    tanh, sin, ELU and SELU so small that the depth leaves 70 % of it, as their critical point lies at a vanishing
    signal. With `variance` above 0 biases hold these at that K instead (the edge of chaos). Where nothing makes an
    activation critical (sigmoid, softplus, squared ReLU), the laws are those of `auto` and their reasons say so.

    >>> from fanin.recipes import named
    >>> named("critical,variance=1").name
    'critical,variance=1'
    """
    laws = Criticality(variance)

    def is_critical(tensor: TensorInfo) -> bool:
        try:
            kinds = laws.kinds(tensor)
        except ArgumentError:  # the law says so, with the tensor's name
            return True
        return bool(kinds) and kinds <= {"fixed point", "vanishing"}

    return Recipe(
        "critical",
        (
            Rule(both(contracts, in_chain, is_critical), laws.weights, laws.why_weights),
            Rule(both(contracts, in_chain, _is_followed), auto_weights.law, _as_auto),
            Rule(both(has_role("bias"), in_chain), laws.biases, laws.why_biases),
            *AUTO.rules,
        ),
        _TITLE,
        _SOURCE,
        version=3,
    )


def _is_followed(tensor: TensorInfo) -> bool:
    return tensor.activation not in ("", "linear")


def _as_auto(tensor: TensorInfo) -> str:
    name = tensor.activation
    keeps = critical_point(name, tensor.parameter).kind == "any scale"
    why = f"{name} keeps any second moment" if keeps else f"no weights make {name} critical"
    return f"{why}, so as auto: {auto_weights.why(tensor)}"
