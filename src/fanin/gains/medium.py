"""An activation, named or any callable, whose response at any variance is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from fanin.errors import ArgumentError
from fanin.gains.activation_gain import formula, name_of
from fanin.gains.dual import Dual, dual
from fanin.gains.evaluation import Function, array_function
from fanin.gains.response import Response, measured_response


@dataclass(frozen=True, slots=True)
class Medium:
    """What a layer's signal passes: an activation that remembers its response at each variance.

    Attributes:
        name: the activation's, or that of the callable.
        function: from an array to an array, elementwise.
    """

    name: str
    function: Function
    _responses: dict[float, Response] = field(default_factory=dict[float, Response], repr=False, compare=False)
    _duals: dict[float, Dual] = field(default_factory=dict[float, Dual], repr=False, compare=False)

    @classmethod
    def of(cls, activation: str | Callable[..., Any], parameter: float | None = None) -> Medium:
        """The medium of a named activation or of any elementwise callable of an array, tensor or float.

        Raises:
            UnknownNameError: no activation of that name.
            ArgumentError: not callable, or not elementwise; a parameter that it does not take.

        >>> Medium.of("relu").response(2.0).second_moment
        1.0
        """
        if isinstance(activation, str):
            return cls(activation, array_function(formula(activation, parameter), activation))
        name = name_of(activation)
        if parameter is None:
            return cls(name, array_function(activation, name))
        if not isfinite(parameter):
            raise ArgumentError(f"the parameter of {name} must be a finite number, got {parameter}")

        def bound(x: Any) -> Any:
            return activation(x, parameter)

        return cls(name, array_function(bound, name))

    def response(self, variance: float) -> Response:
        """E[f²], E[f′²] and d ln E[f²]/d ln K at z ~ N(0, K)."""
        if variance not in self._responses:
            self._responses[variance] = measured_response(self.function, self.name, variance)
        return self._responses[variance]

    def dual(self, variance: float) -> Dual:
        """E[f(u)·f(v)] for u, v ~ N(0, K), as a function of their correlation."""
        if variance not in self._duals:
            self._duals[variance] = dual(self.function, self.name, self.response(variance))
        return self._duals[variance]
