"""Weights and biases that put a chain where signal and gradient neither grow nor shrink with depth."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from fanin.errors import ArgumentError
from fanin.gains import CriticalPoint, activation_names, critical_point, response
from fanin.initializers import Constant, Initializer, Normal
from fanin.recipes import auto_weights
from fanin.recipes.tensor_info import TensorInfo


@dataclass(frozen=True, slots=True)
class Criticality:
    """The laws of a chain's weights and biases at the critical points of its nonlinearities.

    Weights are orthogonal, kernels at their centre: that keeps narrow networks closest to the theory of wide ones.

    Attributes:
        variance: second moment K of pre-activations, held by Gaussian biases; 0 for where theory puts it.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Place, Use
    >>> use = Use("fc.weight", "linear", Axes.linear((64, 64)), "tanh", reads="tanh")
    >>> place = Place(chain=3, chained=50)
    >>> tensor = TensorInfo("fc.weight", (64, 64), "float32", "parameter", "projection", (use,), place=place)
    >>> Criticality().weight_variance(tensor), Criticality().kinds(tensor)
    (1.0, {'vanishing'})
    """

    variance: float = 0.0

    def point(self, activation: str, parameter: float | None, tensor: TensorInfo) -> CriticalPoint | None:
        """Where an activation is critical in the chain of the tensor; None for none, and for one that is not known.

        Raises:
            ArgumentError: `variance` needs biases of negative variance.
        """
        if activation == "linear" or activation not in activation_names():
            return None
        return critical_point(activation, parameter, variance=self.variance, layers=max(tensor.place.chained, 1))

    def behind(self, tensor: TensorInfo) -> CriticalPoint | None:
        """The point of the nonlinearity that the weight's product goes into."""
        return self.point(tensor.activation, tensor.parameter, tensor)

    def before(self, tensor: TensorInfo) -> CriticalPoint | None:
        """The point of the nonlinearity that the weight reads."""
        return self.point(tensor.reads, tensor.reads_parameter, tensor)

    def kinds(self, tensor: TensorInfo) -> set[str]:
        """The kinds of the points on both sides of the weight."""
        return {each.kind for each in (self.behind(tensor), self.before(tensor)) if each is not None}

    def weight_variance(self, tensor: TensorInfo) -> float:
        """σ_w²: of a weight between two different nonlinearities what leads from the one's K to the other's."""
        after, before = self.behind(tensor), self.before(tensor)
        if after is not None and after == before:
            return after.weight_variance / auto_weights.pooling(tensor, after.variance)
        wanted = 1.0 if after is None else after.variance - after.bias_variance
        if before is None:
            return wanted / auto_weights.read(tensor)
        passed = response(tensor.reads, before.variance, tensor.reads_parameter).second_moment
        return wanted / (passed * auto_weights.pooling(tensor, before.variance))

    def weights(self, tensor: TensorInfo) -> Initializer:
        """The weight's law."""
        inside = bool(tensor.place.chain)
        return auto_weights.orthogonal(tensor.contracted, self.weight_variance(tensor), inside=inside)

    def why_weights(self, tensor: TensorInfo) -> str:
        """The law of the weight in words."""
        fan = f"σ_w² {self.weight_variance(tensor):.4g} over fan-in {tensor.contracted.fan_in:g}"
        after = self.behind(tensor)
        return f"orthogonal, {fan}: {'variance 1 goes out' if after is None else _reason(tensor, after)}"

    def biases(self, tensor: TensorInfo) -> Initializer:
        """The law of a bias of the chain."""
        at = self._bias_point(tensor)
        return Normal(std=sqrt(at.bias_variance)) if at is not None and at.bias_variance else Constant(0.0)

    def why_biases(self, tensor: TensorInfo) -> str:
        """The law of the bias in words."""
        at = self._bias_point(tensor)
        if at is None or not at.bias_variance:
            return "a bias starts at 0"
        return f"σ_b² {at.bias_variance:.4g} holds the signal at its second moment {at.variance:.4g}"

    def _bias_point(self, tensor: TensorInfo) -> CriticalPoint | None:
        partner = tensor.partner
        return None if partner is None else self.point(partner.activation, partner.parameter, tensor)


def in_chain(tensor: TensorInfo) -> bool:
    """It stands in a chain of weights without norms and sums, outside of residual branches.

    >>> in_chain(TensorInfo("w", (4, 4), "float32", "parameter", "projection"))
    False
    """
    return tensor.place.chain is not None and tensor.place.branch is None


def vanishes(tensor: TensorInfo) -> bool:
    """Of a deep chain whose nonlinearities are critical only at a small signal, and that pairs of units do not help."""
    place = tensor.place
    if not in_chain(tensor) or place.chained < auto_weights.DEEP:
        return False
    around = ((tensor.activation, tensor.parameter), (tensor.reads, tensor.reads_parameter))
    if any(auto_weights.is_paired(*each) for each in around if each[0] in activation_names()):
        return False
    try:
        return Criticality().kinds(tensor) == {"vanishing"}
    except ArgumentError:  # a number that makes the nonlinearity flat
        return False


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
