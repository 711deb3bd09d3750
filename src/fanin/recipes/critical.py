"""`critical`: chains without normalisation at the point where neither signal nor gradient changes with depth."""

from __future__ import annotations

from math import sqrt
from typing import Annotated

from fanin.errors import ArgumentError
from fanin.gains import CriticalPoint, activation_names, critical_point, operating_point, response
from fanin.initializers import Constant, Initializer, Normal
from fanin.recipes import auto_weights
from fanin.recipes.auto import AUTO
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

    def point(activation: str, parameter: float | None, tensor: TensorInfo) -> CriticalPoint | None:
        if activation == "linear" or activation not in activation_names():
            return None
        return critical_point(activation, parameter, variance=variance, layers=max(tensor.place.chained, 1))

    def behind(tensor: TensorInfo) -> CriticalPoint | None:
        return point(tensor.activation, tensor.parameter, tensor)

    def is_critical(tensor: TensorInfo) -> bool:
        try:
            points = (behind(tensor), point(tensor.reads, tensor.reads_parameter, tensor))
        except ArgumentError:  # the law says so, with the tensor's name
            return True
        kinds = {each.kind for each in points if each is not None}
        return bool(kinds) and kinds <= {"fixed point", "vanishing"}

    def weight_variance(tensor: TensorInfo) -> float:
        after, before = behind(tensor), point(tensor.reads, tensor.reads_parameter, tensor)
        if after is not None and after == before:
            return after.weight_variance
        wanted = 1.0 if after is None else after.variance - after.bias_variance
        if before is None:
            return wanted / _passed(tensor)
        return wanted / response(tensor.reads, before.variance, tensor.reads_parameter).second_moment

    def weights(tensor: TensorInfo) -> Initializer:
        inside = bool(tensor.place.chain)
        return auto_weights.orthogonal(tensor.contracted, weight_variance(tensor), inside=inside)

    def why_weights(tensor: TensorInfo) -> str:
        fan = f"σ_w² {weight_variance(tensor):.4g} over fan-in {tensor.contracted.fan_in:g}"
        after = behind(tensor)
        return f"orthogonal, {fan}: {'variance 1 goes out' if after is None else _reason(tensor, after)}"

    def bias_point(tensor: TensorInfo) -> CriticalPoint | None:
        partner = tensor.partner
        return None if partner is None else point(partner.activation, partner.parameter, tensor)

    def biases(tensor: TensorInfo) -> Initializer:
        at = bias_point(tensor)
        return Normal(std=sqrt(at.bias_variance)) if at is not None and at.bias_variance else Constant(0.0)

    def why_biases(tensor: TensorInfo) -> str:
        at = bias_point(tensor)
        if at is None or not at.bias_variance:
            return "a bias starts at 0"
        return f"σ_b² {at.bias_variance:.4g} holds the signal at its second moment {at.variance:.4g}"

    return Recipe(
        "critical",
        (
            Rule(both(contracts, _in_chain, is_critical), weights, why_weights),
            Rule(both(contracts, _in_chain, _is_followed), auto_weights.law, _as_auto),
            Rule(both(has_role("bias"), _in_chain), biases, why_biases),
            *AUTO.rules,
        ),
        _TITLE,
        _SOURCE,
    )


def _in_chain(tensor: TensorInfo) -> bool:
    return tensor.place.chain is not None and tensor.place.branch is None


def _is_followed(tensor: TensorInfo) -> bool:
    return tensor.activation not in ("", "linear")


def _passed(tensor: TensorInfo) -> float:
    return operating_point(tensor.reads, tensor.reads_parameter).second_moment if tensor.reads else 1.0


def _reason(tensor: TensorInfo, point: CriticalPoint) -> str:
    name = tensor.activation
    scaled = "" if tensor.reads else ", to which the input is scaled"
    if point.kind == "vanishing":
        return (
            f"{name} is critical only where its signal vanishes; from a second moment of {point.variance:.3g}"
            f"{scaled}, {tensor.place.chained} weights leave 70 % of it and of the gradient"
        )
    return (
        f"{name} is critical at a second moment of {point.variance:.4g}{scaled}; gradients ×{point.chi:.4g}, "
        f"deviations ×{point.growth:.4g}"
    )


def _as_auto(tensor: TensorInfo) -> str:
    name = tensor.activation
    keeps = critical_point(name, tensor.parameter).kind == "any scale"
    why = f"{name} keeps any second moment" if keeps else f"no weights make {name} critical"
    return f"{why}, so as auto: {auto_weights.why(tensor)}"
