"""The gain of an activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, sqrt
from numbers import Real
from typing import Any

from fanin.errors import ArgumentError, UnknownNameError
from fanin.gains import activations, closed_forms
from fanin.gains.evaluation import array_function
from fanin.gains.expectation import gaussian_expectations

DEAD = 1e-20
ALIASES = {
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "identity": "linear",
    "relu2": "relu_squared",
    "swish": "silu",
}
NUMERICAL: dict[str, Callable[..., Any]] = {**activations.FIXED, **activations.PARAMETRIC}
PARAMETRIC = closed_forms.PARAMETRIC | activations.PARAMETRIC.keys()


@dataclass(frozen=True, slots=True)
class Gain:
    """What an activation f does to a unit Gaussian x ~ N(0, 1), and the weight gains that undo it.

    Attributes:
        activation: the name, or that of the callable.
        parameter: the activation's number (slope, alpha, beta, ω), where one was given.
        forward: 1/√E[f²], keeps the second moment of the signal.
        backward: 1/√E[f′²], keeps the second moment of the gradient.
        mean: E[f].
        second_moment: E[f²].
        slope_second_moment: E[f′²].
        exact: by closed form; otherwise by quadrature to about 1e-9.

    >>> from fanin.gains import gain
    >>> relu = gain("relu")
    >>> round(relu.forward, 4), round(relu.backward, 4), relu.exact
    (1.4142, 1.4142, True)
    """

    activation: str
    parameter: float | None
    forward: float
    backward: float
    mean: float
    second_moment: float
    slope_second_moment: float
    exact: bool


def gain(activation: str | Callable[..., Any], parameter: float | None = None) -> Gain:
    """The forward and backward gain of an activation: 1/√E[f(x)²] and 1/√E[f′(x)²] for x ~ N(0, 1).

    `torch.nn.init.calculate_gain` has other numbers for tanh (5/3, a rule of thumb), SELU (3/4) and sigmoid (1).

    Args:
        activation: a name (`activation_names()`), or any elementwise callable of an array, tensor or float.
        parameter: the activation's number: slope of leaky ReLU, alpha of ELU and CELU, beta of softplus, ω of sin
            and cos; the second argument of a callable.

    Raises:
        UnknownNameError: no activation of that name.
        ArgumentError: a parameter for an activation that takes none; a function that is not elementwise, not
            finite, cannot be integrated, or passes nothing on (E[f²] or E[f′²] is 0).

    Source: √2 for ReLU and √(2/(1+a²)) for leaky ReLU by He et al. 2015 (arXiv 1502.01852); the same integral for the
    others, as in Klambauer et al. 2017 (arXiv 1706.02515) for SELU.

    >>> gain("relu").forward == 2**0.5
    True
    >>> round(gain(lambda x: x * (x > 0), None).backward, 8)
    1.41421356
    """
    name = activation if isinstance(activation, str) else name_of(activation)
    if isinstance(activation, str):
        moments, exact = _named(name, parameter)
    else:
        moments, exact = _measured(activation, _numbers(name, "", parameter), name), False
    mean, square, slope = moments
    if square < DEAD or slope < DEAD * square:
        dead = "E[f²]" if square < DEAD else "E[f′²]"
        raise ArgumentError(f"{name} has no gain: {dead} is 0 for x ~ N(0, 1), so it passes nothing on")
    return Gain(name, parameter, sqrt(1 / square), sqrt(1 / slope), mean, square, slope, exact)


def activation_names() -> tuple[str, ...]:
    """Every name that `gain` knows.

    >>> "gelu" in activation_names()
    True
    """
    return tuple(sorted({*closed_forms.EXACT, *NUMERICAL, *ALIASES}))


def formula(activation: str, parameter: float | None = None) -> Callable[[Any], Any]:
    """The named activation as a function of an array.

    Raises:
        UnknownNameError, ArgumentError: as `gain`.

    >>> formula("leaky_relu", 0.5)(-2.0).item()
    -1.0
    """
    known = _known(activation)
    numbers = _numbers(activation, known, parameter)
    function = NUMERICAL.get(known) or activations.CLOSED[known]
    return lambda x: function(x, *numbers)


def _known(name: str) -> str:
    known = ALIASES.get(name, name)
    if known not in closed_forms.EXACT and known not in NUMERICAL:
        raise UnknownNameError.among("activation", name, activation_names())
    return known


def _numbers(name: str, known: str, parameter: float | None) -> tuple[float, ...]:
    if parameter is None:
        return ()
    if not isinstance(parameter, Real) or not isfinite(parameter):
        raise ArgumentError(f"the parameter of {name} must be a finite number, got {parameter!r}")
    if known and known not in PARAMETRIC:
        raise ArgumentError(
            f"{name} takes no parameter, got {parameter}; those that do: {', '.join(sorted(PARAMETRIC))}"
        )
    return (parameter,)


def _named(name: str, parameter: float | None) -> tuple[closed_forms.Moments, bool]:
    known = _known(name)
    numbers = _numbers(name, known, parameter)
    if known in closed_forms.EXACT:
        return closed_forms.EXACT[known](*numbers), True
    return _measured(NUMERICAL[known], numbers, name), False


def _measured(function: Callable[..., Any], numbers: tuple[float, ...], name: str) -> closed_forms.Moments:
    bound = (lambda x: function(x, *numbers)) if numbers else function  # pyright: ignore[reportUnknownLambdaType]
    return gaussian_expectations(array_function(bound, name), name)


def name_of(activation: Callable[..., Any]) -> str:
    """What a callable calls itself."""
    return getattr(activation, "__name__", type(activation).__name__)
