"""Schemes: formulas from fans and gain to an initializer.

Every variance formula is a choice of arguments of `variance_scaling`; the others place the meaning of the
dimensions into a matrix initializer. Fans come from `Axes`, so they are right for transposed and grouped layouts.

`xavier_normal`, `he_normal` and `lecun_normal` are plain normal laws, as in PyTorch; JAX and Keras mean the
truncated one by the same names, which is `variance_scaling(axes, scale, mode, "truncated_normal")` here.
"""

from __future__ import annotations

from math import nextafter, prod, sqrt
from typing import Literal

from fanin.axes import Axes
from fanin.errors import ArgumentError, UnknownNameError
from fanin.initializers import (
    DeltaOrthogonal,
    Dirac,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    RowNormalized,
    Sparse,
    TruncatedNormal,
    Uniform,
)
from fanin.initializers.checks import finite

Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution = Literal["truncated_normal", "normal", "uniform"]


def variance_scaling(
    axes: Axes, scale: float = 1.0, mode: Mode = "fan_in", distribution: Distribution = "truncated_normal"
) -> Initializer:
    """Zero-mean values of variance scale / fan.

    Args:
        axes: the meaning of the tensor's dimensions.
        scale: gain², not negative.
        mode: which fan: "fan_in", "fan_out", their mean "fan_avg", or √(fan_in·fan_out) "fan_geo_avg".
        distribution: "truncated_normal" is cut at ±2 sigmas of its parent and has exactly this variance.

    Raises:
        ArgumentError: scale negative or not finite, or the fan is zero.
        UnknownNameError: no mode or distribution of that name.

    Source: He et al. 2015 for fan_in and fan_out, Glorot & Bengio 2010 for fan_avg; fan_geo_avg as in JAX.

    >>> variance_scaling(Axes.linear((64, 256)), 2.0, "fan_in", "normal")
    Normal(mean=0.0, std=0.08838834764831845)
    """
    if finite("variance_scaling", "scale", scale) < 0:
        raise ArgumentError(f"variance_scaling: scale must not be negative, got {scale}")
    variance = scale / _fan(axes, mode)
    match distribution:
        case "truncated_normal":
            return TruncatedNormal(std=sqrt(variance))
        case "normal":
            return Normal(std=sqrt(variance))
        case "uniform":
            return Uniform(-sqrt(3 * variance), sqrt(3 * variance))
        case _:  # pyright: ignore[reportUnnecessaryComparison] - callers need not be typed
            raise UnknownNameError.among("distribution", distribution, ("truncated_normal", "normal", "uniform"))


def _fan(axes: Axes, mode: Mode) -> float:
    n_in, n_out = axes.fans
    fans = {"fan_in": n_in, "fan_out": n_out, "fan_avg": (n_in + n_out) / 2, "fan_geo_avg": sqrt(n_in * n_out)}
    if mode not in fans:
        raise UnknownNameError.among("mode", mode, fans)
    if fans[mode] <= 0:
        raise ArgumentError(f"{mode} is 0 for a tensor of shape {axes.shape} (fan_in {n_in:g}, fan_out {n_out:g})")
    return fans[mode]


def xavier_uniform(axes: Axes, gain: float = 1.0) -> Initializer:
    """U(±gain·√(6/(fan_in + fan_out))). Source: Glorot & Bengio 2010, equation 16.

    >>> round(xavier_uniform(Axes.linear((64, 256))).high, 12)
    0.136930639376
    """
    return variance_scaling(axes, _square(gain), "fan_avg", "uniform")


def xavier_normal(axes: Axes, gain: float = 1.0) -> Initializer:
    """N(0, gain²·2/(fan_in + fan_out)). Source: Glorot & Bengio 2010.

    >>> xavier_normal(Axes.linear((120, 80))).std
    0.1
    """
    return variance_scaling(axes, _square(gain), "fan_avg", "normal")


def he_uniform(axes: Axes, gain: float = sqrt(2), mode: Mode = "fan_in") -> Initializer:
    """U(±gain·√(3/fan)); the default gain √2 is ReLU's. Source: He et al. 2015 (arXiv 1502.01852).

    >>> round(he_uniform(Axes.linear((10, 600))).high, 12)
    0.1
    """
    return variance_scaling(axes, _square(gain), mode, "uniform")


def he_normal(axes: Axes, gain: float = sqrt(2), mode: Mode = "fan_in") -> Initializer:
    """N(0, gain²/fan); the default gain √2 is ReLU's. Source: He et al. 2015 (arXiv 1502.01852), equation 10.

    >>> round(he_normal(Axes.linear((10, 200))).std, 12)
    0.1
    """
    return variance_scaling(axes, _square(gain), mode, "normal")


def lecun_uniform(axes: Axes, gain: float = 1.0) -> Initializer:
    """U(±gain·√(3/fan_in)). Source: LeCun et al. 1998, "Efficient BackProp", section 4.6.

    >>> lecun_uniform(Axes.linear((10, 300))).high
    0.1
    """
    return variance_scaling(axes, _square(gain), "fan_in", "uniform")


def lecun_normal(axes: Axes, gain: float = 1.0) -> Initializer:
    """N(0, gain²/fan_in). Source: LeCun et al. 1998, "Efficient BackProp", section 4.6.

    >>> lecun_normal(Axes.linear((10, 100))).std
    0.1
    """
    return variance_scaling(axes, _square(gain), "fan_in", "normal")


def standard(axes: Axes, gain: float = 1.0) -> Initializer:
    """U(±gain/√fan_in), the "commonly used heuristic" of Glorot & Bengio 2010, equation 1; torch's `Linear` and `Conv`.

    Its variance is gain²/(3·fan_in), a third of LeCun's.

    >>> round(standard(Axes.linear((10, 100))).high, 12)
    0.1
    """
    return variance_scaling(axes, _square(gain) / 3, "fan_in", "uniform")


def orthogonal(axes: Axes, gain: float = 1.0) -> Initializer:
    """gain × a Haar-random orthogonal matrix [outputs, inputs × kernel] per batch entry and group.

    Source: Saxe et al. 2013 (arXiv 1312.6120).

    >>> orthogonal(Axes.conv_transpose((64, 16, 4, 4))).rows
    (1,)
    """
    return Orthogonal(gain, axes.outputs, axes.batch, axes.groups, _grouped(axes))


def delta_orthogonal(axes: Axes, gain: float = 1.0) -> Initializer:
    """gain × a Haar-random orthogonal matrix [outputs, inputs] at the centre tap, per batch entry and group.

    Source: Xiao et al. 2018 (arXiv 1806.05393).

    >>> delta_orthogonal(Axes.conv((64, 16, 3, 3), groups=4)).groups
    4
    """
    return DeltaOrthogonal(gain, axes.outputs, axes.inputs, axes.batch, axes.groups, _grouped(axes))


def identity(axes: Axes, gain: float = 1.0) -> Initializer:
    """gain on the diagonal, so that outputs = gain·inputs as far as both reach.

    >>> identity(Axes.linear((4, 4)))
    Identity(gain=1.0, batch=())
    """
    return Identity(gain, axes.batch)


def dirac(axes: Axes, gain: float = 1.0) -> Initializer:
    """gain at the centre tap from input channel i to output channel i of each group.

    Raises:
        ArgumentError: outputs or inputs span several dimensions, or there is a batch dimension.

    >>> dirac(Axes.conv((64, 16, 3, 3), groups=4)).groups
    4
    """
    if len(axes.outputs) != 1 or len(axes.inputs) != 1 or axes.batch:
        raise ArgumentError(f"dirac needs one output and one input dimension and no batch, got {axes}")
    channels = axes.inputs + axes.outputs if axes.transposed else axes.outputs + axes.inputs
    return Dirac(gain, axes.groups, "same", (channels[0], channels[1]))


def sparse(axes: Axes, gain: float = 1.0, *, kept: int = 15) -> Initializer:
    """Each unit keeps `kept` incoming values, drawn from N(0, gain²/kept), and has zeros for the others.

    With fewer than `kept` inputs all are kept; the variance of an output is gain² times its inputs' mean square.

    Args:
        kept: nonzero incoming values of a unit.

    Raises:
        ArgumentError: `kept` below 1, the fan is zero, or channels are grouped (`Sparse` itself can be used then).

    Source: Martens 2010, "Deep learning via Hessian-free optimization": 15 incoming values per unit.

    >>> sparse(Axes.linear((32, 60))).describe()
    'Sparse(sparsity=0.75, std=0.258199, rows=(1,), batch=())'
    """
    rows = tuple(sorted((*axes.inputs, *axes.receptive)))
    fan = prod(axes.shape[axis] for axis in rows)
    if kept < 1 or fan < 1 or axes.groups > 1:
        raise ArgumentError(
            f"sparse needs kept ≥ 1, inputs and no groups, got kept {kept}, shape {axes.shape}, groups {axes.groups}"
        )
    nonzero = min(kept, fan)
    # Rounded towards 0, so that ceil(sparsity·fan) is fan − nonzero and not one more.
    return Sparse(nextafter((fan - nonzero) / fan, 0), gain / sqrt(nonzero), rows, axes.batch)


def row_normalized(axes: Axes, gain: float = 1.0) -> Initializer:
    """Each output's incoming values are uniform on the sphere of radius gain ("normc").

    >>> row_normalized(Axes.linear((4, 100)), 0.01).moments((4, 100))
    (0.0, 0.001)
    """
    return RowNormalized(gain, axes.outputs, axes.batch)


def _square(gain: float) -> float:
    return finite("scheme", "gain", gain) ** 2


def _grouped(axes: Axes) -> int:
    return (axes.inputs if axes.transposed else axes.outputs)[0]


normalized = xavier_uniform  # "normalized initialization" is Glorot & Bengio's own name for it
glorot_uniform = xavier_uniform
glorot_normal = xavier_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal
