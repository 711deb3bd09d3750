"""What an activation does to a Gaussian of any variance: second moment, slope, and how both answer to a change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt

from fanin.errors import ArgumentError
from fanin.gains.activation_gain import formula
from fanin.gains.evaluation import Function, array_function
from fanin.gains.expectation import gaussian_expectations

_CACHED = 4096


@dataclass(frozen=True, slots=True)
class Response:
    """An activation f at pre-activations z ~ N(0, K).

    Attributes:
        variance: K.
        second_moment: M = E[f(z)²].
        slope_second_moment: S = E[f′(z)²].
        growth: d ln M / d ln K, by what power M follows a change of K: 1 for ReLU at any scale. Where the weights
            put the variance back to K, a deviation grows by this factor per layer (χ∥ with biases at 0).

    >>> relu = Response(variance=2.0, second_moment=1.0, slope_second_moment=0.5, growth=1.0)
    >>> relu.chi(2.0), relu.steady_chi
    (1.0, 1.0)
    """

    variance: float
    second_moment: float
    slope_second_moment: float
    growth: float

    def chi(self, weight_variance: float) -> float:
        """χ⊥ = σ_w²·E[f′(z)²]: by how much the second moment of gradients grows per layer on the way back.

        Args:
            weight_variance: σ_w², variance of the next weights times their fan-in, layers of equal width.
        """
        return weight_variance * self.slope_second_moment

    @property
    def steady_chi(self) -> float:
        """χ⊥ with the weights that bring M back to K, biases at 0."""
        return self.chi(self.variance / self.second_moment)


def response(activation: str, variance: float = 1.0, parameter: float | None = None) -> Response:
    """E[f²], E[f′²] and d ln E[f²]/d ln K for z ~ N(0, K), by quadrature to about 1e-9.

    The derivative comes from the heat equation of Gaussian averages: dE[f²]/dK = E[(z²/K − 1)·f²] / 2K.

    Args:
        activation: a name (`activation_names()`).
        variance: K, positive.
        parameter: the activation's number (slope, alpha, beta, ω).

    Raises:
        UnknownNameError: no activation of that name.
        ArgumentError: K not positive; a parameter that the activation does not take.

    Source: Poole et al. 2016 (arXiv 1606.05340) for the map of second moments; Schoenholz et al. 2017
    (arXiv 1611.01232) for χ.

    >>> tanh = response("tanh")
    >>> round(tanh.second_moment, 4), round(tanh.growth, 4), round(tanh.steady_chi, 4)
    (0.3943, 0.4611, 1.1778)
    >>> response("relu", 9.0).steady_chi
    1.0
    """
    if not (isfinite(variance) and variance > 0):
        raise ArgumentError(f"the variance of a pre-activation must be a positive number, got {variance}")
    return _response(activation, float(variance), parameter, False)


def mirrored_response(activation: str, variance: float = 1.0, parameter: float | None = None) -> Response:
    """`response` of f(z) − f(−z), which is all that a pair of mirrored units, z and −z, passes on.

    Weights [[A, −A], [−A, A]] see a layer's units only through this odd function. It is the identity for ReLU, GELU,
    SiLU, hardswish and every other x·g(x) with g(x) + g(−x) = 1, and (1 + a)·x for leaky ReLU.

    Source: Balduzzi et al. 2017 (arXiv 1702.08591, "looks linear" initialization) for ReLU.

    >>> silu = mirrored_response("silu", 4.0)
    >>> silu.second_moment, silu.growth, silu.steady_chi
    (4.0, 1.0, 1.0)
    """
    if not (isfinite(variance) and variance > 0):
        raise ArgumentError(f"the variance of a pre-activation must be a positive number, got {variance}")
    return _response(activation, float(variance), parameter, True)


@lru_cache(_CACHED)
def _response(activation: str, variance: float, parameter: float | None, mirrored: bool) -> Response:
    return measured_response(array_function(formula(activation, parameter), activation), activation, variance, mirrored)


def measured_response(f: Function, name: str, variance: float, mirrored: bool = False) -> Response:
    """`response` of any elementwise function of an array."""
    width = sqrt(variance)
    scaled = _odd_part(f, width) if mirrored else _scaled(f, width)
    _, square, slope = gaussian_expectations(scaled, name)
    _, weighted, _ = gaussian_expectations(lambda x: x * scaled(x), name)
    growth = (weighted / square - 1) / 2 if square else 0.0
    return Response(variance, square, slope / variance, float(f"{growth:.9g}"))


def _scaled(f: Function, width: float) -> Function:
    return lambda x: f(width * x)


def _odd_part(f: Function, width: float) -> Function:
    return lambda x: f(width * x) - f(-width * x)
