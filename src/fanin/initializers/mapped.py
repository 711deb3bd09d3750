"""Functions of the values of another law."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError, UnknownNameError
from fanin.initializers import elementary
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.ramp import Cycle, Ramp, moments_along
from fanin.initializers.storage import store, working_dtype
from fanin.initializers.uniform import Uniform
from fanin.random.stream import Region, Stream

Values = NDArray[np.float64]

FUNCTIONS: Mapping[str, Callable[[Values], Values]] = {
    "log": elementary.log,
    "exp": elementary.exp,
    "inverse_softplus": elementary.inverse_softplus,
}
_OF_POSITIVE = ("log", "inverse_softplus")
_BASES = (Uniform, Ramp, Cycle)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_PANELS = 64


@dataclass(frozen=True, slots=True)
class Mapped(Initializer):
    """Each value is f(x), where x is drawn from `base` and f applies `functions` in order.

    Time steps of state-space models, log-uniform and stored before a softplus: `Mapped(Uniform(ln 0.001, ln 0.1),
    ("exp", "inverse_softplus"))`; their decay rates, stored as a logarithm: `Mapped(Uniform(1, 16), ("log",))`.
    Computed in float64 from the base's float64 values and rounded.

    Args:
        base: a `Uniform`, `Ramp` or `Cycle`.
        functions: of "log", "exp" and "inverse_softplus", the x for which ln(1 + eˣ) is the value.

    Raises:
        ArgumentError: another base, no function, or a logarithm or inverse softplus of values that are not positive.
        UnknownNameError: no function of that name.

    >>> Mapped(Ramp(1.0, 4.0), ("log",)).moments((3, 2))
    (0.6931471805599453, 0.6931471805599453)
    """

    base: Initializer
    functions: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", _base(self.base))
        object.__setattr__(self, "functions", tuple(self.functions))
        if not self.functions:
            raise ArgumentError("Mapped: give at least one function")
        values = np.array(_extremes(self.base))
        for name in self.functions:
            if name not in FUNCTIONS:
                raise UnknownNameError.among("function", str(name), FUNCTIONS)
            if name in _OF_POSITIVE and not values.min() > 0:
                raise ArgumentError(f"Mapped: {name} needs values above 0, got {values.min():g} from {self.describe()}")
            values = FUNCTIONS[name](values)

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        values = np.empty(region.size)
        self.base.fill(values, stream, region, threads=threads)
        store(out, self._map(values).astype(working_dtype(out)).reshape(out.shape))

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        base = self.base
        if isinstance(base, Ramp | Cycle):
            return moments_along("Mapped", lambda count: self._map(base.at(count)), base.axis, shape)
        low, high = _extremes(base)
        if low == high:
            return float(self._map(np.array([low]))[0]), 0.0
        return self._uniform_moments(low, high)

    def describe(self) -> str:
        """The functions and the law inside."""
        inner = self.base.describe()
        for name in self.functions:
            inner = f"{name}({inner})"
        return f"Mapped({inner})"

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the law nested."""
        return {"law": "Mapped", "base": self.base.to_dict(), "functions": list(self.functions)}

    def _map(self, values: Values) -> Values:
        for name in self.functions:
            values = FUNCTIONS[name](values)
        return values

    def _uniform_moments(self, low: float, high: float) -> tuple[float, float]:
        spaced = np.geomspace if low > 0 else np.linspace
        edges = spaced(low, high, _PANELS + 1)
        half = np.diff(edges)[:, None] / 2
        mass = half * _WEIGHTS / (high - low)
        values = self._map(edges[:-1, None] + half * (_NODES + 1))
        mean = float((mass * values).sum())
        return mean, sqrt(float((mass * (values - mean) ** 2).sum()))


def _base(law: Any) -> Initializer:
    if isinstance(law, Mapping) and law.get("law") in {base.__name__ for base in _BASES}:  # pyright: ignore[reportUnknownMemberType]
        law = Initializer.from_dict(dict(law))  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(law, _BASES):
        raise ArgumentError(f"Mapped: base must be a Uniform, a Ramp or a Cycle, got {law!r}")
    return law


def _extremes(law: Initializer) -> tuple[float, float]:
    match law:
        case Ramp(low, high) | Uniform(low, high):
            return min(low, high), max(low, high)
        case Cycle(values):
            return min(values), max(values)
        case _:
            raise ArgumentError(f"Mapped: base must be a Uniform, a Ramp or a Cycle, got {law!r}")
