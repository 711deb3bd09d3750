"""What `auto` makes of layers y = sin(ω·(Wx + b)) that turn faster than the plain sine: the start of SIREN."""

from __future__ import annotations

from math import sqrt

from fanin.initializers import Uniform
from fanin.recipes import auto_weights
from fanin.recipes.matching import contracts, has_role
from fanin.recipes.tensor_info import TensorInfo

SOURCE = "Sitzmann et al. 2020, arXiv 2006.09661, section 3.2 and supplement 1"

_SINE = 0.5
"""Second moment of a sine of a wide signal, whose law is the arcsine."""


def before_sine(tensor: TensorInfo) -> bool:
    """A weight whose product a sine with a factor ω above 1 follows."""
    return contracts(tensor) and _frequency(tensor.activation, tensor.parameter) > 1


def behind_sines(tensor: TensorInfo) -> bool:
    """A weight that reads such sines, with no nonlinearity behind it: the last layer."""
    last = tensor.activation in ("", "linear")
    return contracts(tensor) and last and _frequency(tensor.reads, tensor.reads_parameter) > 1


def phase(tensor: TensorInfo) -> bool:
    """A bias inside such a sine, or behind the last of them."""
    use = tensor.partner
    if use is None or not has_role("bias")(tensor):
        return False
    last = use.activation in ("", "linear") and _frequency(use.reads, use.reads_parameter) > 1
    return last or _frequency(use.activation, use.parameter) > 1


def law(tensor: TensorInfo) -> Uniform:
    """Uniform within √(3/(m·fan-in))/ω, m the second moment of what the weight reads; within 1/fan-in for the network's
    first weight, where that is wider: it spreads the frequencies that coordinates are read at.

    Behind sines m is 1/2, so that the bound is √(6/fan-in)/ω.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> use = Use("fc.weight", "linear", Axes.linear((64, 600)), "sin", 30.0, reads="sin", reads_parameter=30.0)
    >>> round(law(TensorInfo("fc.weight", (64, 600), "float32", "parameter", "projection", (use,))).high, 9)
    0.003333333
    """
    bound = 1 / _fan_in(tensor) if _spreads(tensor) else _steady(tensor)
    return Uniform(-bound, bound)


def why(tensor: TensorInfo) -> str:
    """The bound in words."""
    if _spreads(tensor):
        return f"sin({_omega(tensor):g}) follows the first layer: uniform within 1/{_fan_in(tensor):g}"
    bound = f"uniform within √({3 / _read(tensor):.4g}/{_fan_in(tensor):g})/{_omega(tensor):g}"
    if behind_sines(tensor):
        return f"reads sin({_omega(tensor):g}), as narrow as the weights before it: {bound}"
    return f"sin({_omega(tensor):g}) follows, and what enters it has variance 1: {bound}"


def _frequency(activation: str, parameter: float | None) -> float:
    return abs(parameter) if activation == "sin" and parameter is not None else 0.0


def _omega(tensor: TensorInfo) -> float:
    if behind_sines(tensor):
        return _frequency(tensor.reads, tensor.reads_parameter)
    return _frequency(tensor.activation, tensor.parameter)


def _fan_in(tensor: TensorInfo) -> float:
    return tensor.contracted.fan_in


def _spreads(tensor: TensorInfo) -> bool:
    return tensor.first and 1 / _fan_in(tensor) > _steady(tensor)


def _steady(tensor: TensorInfo) -> float:
    """The bound at which what enters the sine has unit variance."""
    return sqrt(3 / (_read(tensor) * _fan_in(tensor))) / _omega(tensor)


def _read(tensor: TensorInfo) -> float:
    return _SINE if tensor.reads == "sin" else auto_weights.read(tensor)
