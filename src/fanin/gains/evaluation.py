"""Calling an activation that may want NumPy arrays, torch tensors or plain floats."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError

Values = NDArray[np.float64]
Function = Callable[[Values], Values]


def array_function(activation: Callable[..., Any], name: str) -> Function:
    """`activation` as a function of a float64 array: called with arrays, else with tensors, else value by value.

    torch is used only if it is loaded already. A torch module is copied, in float64 and evaluation mode.

    Raises:
        ArgumentError: no way of calling it works, or it is not elementwise.
    """
    probe = np.linspace(-3.0, 3.0, 13)
    own = _own_copy(activation)
    ways = [_on_arrays(own), *_on_tensors(own), _on_floats(own)]
    causes: list[str] = []
    for way in ways:
        try:
            seen = way(probe)
        except Exception as error:  # whatever a user's function raises
            causes.append(f"{type(error).__name__}: {error}")
            continue
        _check_elementwise(way, probe, seen, name)
        return way
    raise ArgumentError(f"{name} cannot be called with an array, a tensor or a float: {causes[0]}")


def _own_copy(activation: Callable[..., Any]) -> Callable[..., Any]:
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(activation, torch.nn.Module):
        return activation
    module: Any = activation
    return deepcopy(module).double().cpu().eval()


def _on_arrays(activation: Callable[..., Any]) -> Function:
    def call(x: Values) -> Values:
        with np.errstate(all="ignore"):
            return np.asarray(activation(x), np.float64)

    return call


def _on_tensors(activation: Callable[..., Any]) -> list[Function]:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return []

    def call(x: Values) -> Values:
        with torch.no_grad():
            return activation(torch.from_numpy(x)).double().numpy()

    return [call]


def _on_floats(activation: Callable[..., Any]) -> Function:
    return lambda x: np.array([activation(float(value)) for value in x], np.float64)


def _check_elementwise(call: Function, probe: Values, seen: Values, name: str) -> None:
    if seen.shape != probe.shape or not np.allclose(seen[4:9], call(probe[4:9]), rtol=1e-6, atol=1e-9, equal_nan=True):
        raise ArgumentError(f"{name} is not elementwise and deterministic, so it has no gain")
