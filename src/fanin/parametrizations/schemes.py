"""The parametrizations: how start, learning rate and forward pass of each kind of tensor scale with the size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from fanin.errors import ArgumentError, UnknownNameError
from fanin.parametrizations.dims import Dims, Factors


@dataclass(frozen=True, slots=True)
class Scheme:
    """One parametrization.

    Attributes:
        name: what users call it.
        title: what it does, in a line.
        source: who says so.
        factors: of a tensor's start and learning rate.
        forward: what the product of a weight is multiplied by.
        tied: what the logits of a lookup table are multiplied by: a table's start cannot be that of a readout.
        branch: what a residual branch is multiplied by.
        depth: it scales with depth too.
        relative: its factors are relative to a base, at which they are all 1; else they are whole numbers of their own,
            and every weight starts with standard deviation 1.
        sgd: it says how SGD scales.

    >>> named("mup").factors(Dims("hidden", inputs=4.0, outputs=4.0))
    Factors(init=0.5, adam=0.25, sgd=1.0, adam_decay=4.0, sgd_decay=1.0, eps=1.0)
    """

    name: str
    title: str
    source: str
    factors: Callable[[Dims], Factors]
    forward: Callable[[Dims], float]
    tied: Callable[[Dims], float]
    branch: Callable[[Dims], float]
    depth: bool = False
    relative: bool = True
    sgd: bool = True


def _rates(init: float, adam: float, sgd: float) -> Factors:
    # Decay is multiplied by the rate, so it is divided by the rate's factor: what a step takes away does not depend on
    # the size.
    return Factors(init, adam, sgd, 1 / adam, 1 / sgd)


def _mup_factors(dims: Dims) -> Factors:
    match dims.kind:
        case "hidden":
            return _rates(dims.inputs**-0.5, 1 / dims.inputs, dims.outputs / dims.inputs)
        case "output":
            return _rates(1.0, 1.0, dims.inputs)
        case _:
            return _rates(1.0, 1.0, dims.outputs)


def _readout(dims: Dims) -> float:
    return 1 / dims.inputs if dims.kind == "output" else 1.0


def _one(_: Dims) -> float:
    return 1.0


def _spectral_factors(dims: Dims) -> Factors:
    init = _bound(dims.fan_in, dims.fan_out) / _bound(dims.base_fan_in, dims.base_fan_out)
    return _rates(init, 1 / dims.inputs, dims.outputs / dims.inputs)


def _bound(fan_in: float, fan_out: float) -> float:
    return min(1.0, sqrt(fan_out / fan_in)) / sqrt(fan_in)


def _deep(alpha: float, *, eps: bool) -> Callable[[Dims], Factors]:
    def factors(dims: Dims) -> Factors:
        wide, deep = _mup_factors(dims), dims.depth ** (alpha - 1)
        # Every gradient falls as 1/m: those of readouts because their inputs are divided by m, all others behind them.
        width = dims.inputs if dims.kind == "output" else dims.outputs
        return Factors(
            wide.init,
            wide.adam * deep,
            wide.sgd * dims.depth ** (2 * alpha - 1),
            wide.adam_decay,
            wide.sgd_decay,
            1 / (width * dims.depth**alpha) if eps else 1.0,
        )

    return factors


def _unit_factors(dims: Dims) -> Factors:
    rate = dims.layers**-0.5 if dims.layers else 1.0
    match dims.kind:
        case "hidden" | "input":
            rate /= sqrt(dims.fan_in)
        case "table":
            rate /= sqrt(dims.fan_out)
        case _:
            pass
    return Factors(adam=rate, adam_decay=1 / rate)


def _unit_forward(dims: Dims) -> float:
    match dims.kind:
        case "hidden" | "input":
            return dims.fan_in**-0.5
        case "output":
            return 1 / dims.fan_in
        case _:
            return 1.0


def _unit_branch(dims: Dims) -> float:
    return sqrt(2 / dims.branches) if dims.branches else 1.0


def complete_p(alpha: float = 1.0) -> Scheme:
    """CompleteP: muP in width, branches × m_L^−α in depth; m_L is the depth over the base's.

    Args:
        alpha: from 0.5 to 1. At 1 all layers learn features that are not linear in their own weights, at any depth; 0.5
            is the scaling of depth-muP.

    >>> complete_p().branch(Dims("hidden", depth=4.0))
    0.25
    """
    if not 0.5 <= alpha <= 1:
        raise ArgumentError(f"CompleteP's alpha is from 0.5 to 1, got {alpha}")
    return Scheme(
        "complete-p",
        f"muP, residual branches × m_L^−{alpha:g}, rates in blocks × m_L^{alpha - 1:g}, ε / (m·m_L^{alpha:g})",
        "Dey et al. 2025 (arXiv 2505.01618), table 1",
        _deep(alpha, eps=True),
        _readout,
        _readout,
        lambda dims: dims.depth**-alpha,
        depth=True,
    )


_SCHEMES = {
    "mup": Scheme(
        "mup",
        "hidden std × m^−½ and Adam rate / m, readouts divided by m in the forward pass",
        "Yang et al. 2022 (arXiv 2203.03466), table 8 and the mup package",
        _mup_factors,
        _readout,
        _readout,
        _one,
    ),
    "spectral": Scheme(
        "spectral",
        "‖W‖₂ and ‖ΔW‖₂ as √(fan_out/fan_in): std ∝ min(1, √(fan_out/fan_in))/√fan_in",
        "Yang, Simon, Bernstein 2023 (arXiv 2310.17813), parametrization 1",
        _spectral_factors,
        _one,
        _readout,
        _one,
    ),
    "complete-p": complete_p(),
    "depth-mup": Scheme(
        "depth-mup",
        "muP, residual branches and Adam rates in blocks × m_L^−½",
        "Yang, Yu, Zhu, Hayou 2023 (arXiv 2310.02244)",
        _deep(0.5, eps=False),
        _readout,
        _readout,
        lambda dims: dims.depth**-0.5,
        depth=True,
    ),
    "u-mup": Scheme(
        "u-mup",
        "weights of std 1, products × 1/√fan_in (readouts 1/fan_in), branches × √(2/branches), rates 1/√fan_in",
        "Blake et al. 2024 (arXiv 2407.17465), table 2",
        _unit_factors,
        _unit_forward,
        _unit_forward,
        _unit_branch,
        relative=False,
        sgd=False,
    ),
}


def names() -> tuple[str, ...]:
    """The names of all parametrizations.

    >>> names()
    ('mup', 'spectral', 'complete-p', 'depth-mup', 'u-mup')
    """
    return tuple(_SCHEMES)


def named(name: str | Scheme) -> Scheme:
    """The parametrization of that name; one made by hand stays as it is.

    Raises:
        UnknownNameError: there is none; suggests the nearest.

    >>> named("u-mup").source
    'Blake et al. 2024 (arXiv 2407.17465), table 2'
    """
    if isinstance(name, Scheme):
        return name
    if name not in _SCHEMES:
        raise UnknownNameError.among("parametrization", name, _SCHEMES)
    return _SCHEMES[name]
