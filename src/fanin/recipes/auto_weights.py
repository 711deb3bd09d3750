"""How wide `auto` draws a weight: from the nonlinearities before and behind it, and from where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log, prod, sqrt

from fanin import schemes
from fanin.axes import Axes
from fanin.gains import Response, gated_point, mirrored_response, operating_point, pooled_second_moment, response
from fanin.graph.records import Use
from fanin.initializers import Initializer, Mirrored, Normal
from fanin.recipes import stream
from fanin.recipes.matching import contracts
from fanin.recipes.tensor_info import TensorInfo

DEEP = 10
"""From how many weights on a chain without norms and sums is kept in step by mirrored orthogonal weights."""

_WORTH = 0.005  # of ln χ: less is no gain
_STABLE = 0.98
_TOO_WIDE = 1.01


@dataclass(frozen=True, slots=True)
class Width:
    """How wide one weight is drawn.

    Attributes:
        variance: σ_w², of its values times the fan-in.
        target: second moment of its product, for inputs as assumed.
        passed: second moment behind the nonlinearity that follows.
        chi: factor on the second moment of gradients, for layers of equal width.
        pairs: its outputs, and its inputs, are pairs of units z and −z.
    """

    variance: float
    target: float
    passed: float
    chi: float
    pairs: tuple[bool, bool] = (False, False)


def width(tensor: TensorInfo) -> Width:
    """σ_w² = K/m: K is the variance at which what follows is used, m the second moment of what the weight reads.

    m is 1 for inputs, behind norms, on residual streams and behind gates; behind another weight's nonlinearity it is
    what that one passes on. Weights that open a residual branch behind a norm, and heads behind one, have 2/5 of that
    (`stream.narrowed`), and the branch's last weight knows it. That one gets its share of the stream (`stream.share`);
    queries take in what scores are not divided by.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> use = Use("fc.weight", "linear", Axes.linear((64, 256)), "relu", reads="tanh")
    >>> round(width(TensorInfo("fc.weight", (64, 256), "float32", "parameter", "projection", (use,))).variance, 4)
    5.0724
    """
    point = followed(tensor)
    pairs = _pairs(tensor)
    reading = read(tensor, paired=pairs[1])
    share = stream.share(tensor) / wide_scores(tensor) ** 2
    variance = point.variance / reading * share
    if pairs[0]:
        odd = mirrored_response(tensor.activation, point.variance, tensor.parameter)
        return Width(variance, point.variance, point.second_moment, odd.steady_chi, pairs)
    return Width(variance, point.variance * share, point.second_moment, point.chi(variance), pairs)


def followed(tensor: TensorInfo) -> Response:
    """What follows the weight, at the variance of pre-activations at which it is used."""
    if tensor.gated_by:
        # The factor beside a gate: linear, as wide as the gate's own pre-activations.
        variance = _gate(tensor).variance
        return Response(variance, variance, 1.0, 1.0)
    if tensor.role == "mlp gate":
        return _gate(tensor)
    return _point(tensor.activation, tensor.parameter, stream.narrowed(tensor))


def _gate(tensor: TensorInfo) -> Response:
    """A gate's nonlinearity, for the gate and for the value that it multiplies."""
    gate = (tensor.gated_by, None) if tensor.gated_by else (tensor.activation, tensor.parameter)
    return _point(*gate, stream.narrowed(tensor), gated=True)


def _point(activation: str, parameter: float | None, narrowed: float, *, gated: bool = False) -> Response:
    known = (activation, parameter) if activation else ("linear", None)
    point = gated_point(*known) if gated else operating_point(*known)
    return point if narrowed == 1 else response(known[0], point.variance * narrowed, known[1])


def _passed_on(opening: Use) -> float:
    """The second moment behind what follows a weight that reads a norm and opens a branch."""
    gated = opening.role == "mlp gate"
    point = _point(opening.activation, opening.parameter, stream.BEHIND_NORM, gated=gated)
    return point.second_moment * (point.variance if gated else 1.0)


def wide_scores(tensor: TensorInfo) -> float:
    """How many times too wide the scores of attention would be; 1 unless nothing divides them by √d_head."""
    wide = tensor.scores if tensor.role == "attention query" and not tensor.normed else 1.0
    return wide if wide > _TOO_WIDE else 1.0


def in_pairs(tensor: TensorInfo) -> bool:
    """The weight is one of a deep chain that mirrored weights keep in step."""
    return contracts(tensor) and any(_pairs(tensor))


def law(tensor: TensorInfo) -> Initializer:
    """Normal of variance σ_w²/fan-in; in a deep chain mirrored orthogonal weights of the same scale."""
    wide = width(tensor)
    axes = tensor.contracted
    if not any(wide.pairs):
        return Normal(std=sqrt(wide.variance / axes.fan_in))
    mirrored = (axes.outputs if wide.pairs[0] else ()) + (axes.inputs if wide.pairs[1] else ())
    return Mirrored(orthogonal(axes, wide.variance, wide.pairs, inside=wide.pairs[1]), mirrored)


def orthogonal(
    axes: Axes, variance: float, pairs: tuple[bool, bool] = (False, False), *, inside: bool = False
) -> Initializer:
    """Orthogonal values whose product has `variance` times the second moment of its input, as normal ones on average.

    Args:
        axes: of the whole tensor.
        variance: σ_w².
        pairs: the law is for one of each pair of outputs, and of inputs.
        inside: the signal comes from the weight before; then a kernel has its centre alone, which zero padding does not
            thin out.

    Source: Saxe et al. 2013 (arXiv 1312.6120); for kernels Xiao et al. 2018 (arXiv 1806.05393).

    >>> round(orthogonal(Axes.linear((256, 64)), 2.0).moments((256, 64))[1] ** 2 * 64, 12)
    2.0
    """
    rows = axes.shape[axes.outputs[0]] / (2 if pairs[0] else 1)
    columns = axes.shape[axes.inputs[0]] / (2 if pairs[1] else 1)
    centred = inside and bool(axes.receptive)
    if not centred:
        columns *= prod(axes.shape[axis] for axis in axes.receptive)
    scheme = schemes.delta_orthogonal if centred else schemes.orthogonal
    return scheme(axes, sqrt(variance * max(rows / columns, 1.0)))


def why(tensor: TensorInfo) -> str:
    """The width in words that can be checked."""
    wide, parts = width(tensor), list[str]()
    if any(wide.pairs):
        parts.append(f"{_follows(tensor)} in a chain of {tensor.place.chained} weights: orthogonal, units in pairs ±")
        gradients = f", gradients ×{wide.chi:.4g}" if wide.pairs[0] else ""
        parts.append(f"gain {sqrt(wide.variance):.4g}{gradients}")
    else:
        parts.append(f"{_follows(tensor)}: gain {sqrt(wide.variance):.4g} over fan-in {tensor.contracted.fan_in:g}")
        parts += _consequences(tensor, wide)
    return "; ".join(parts)


def _consequences(tensor: TensorInfo, wide: Width) -> list[str]:
    narrowed = stream.narrowed(tensor)
    if tensor.normed:
        return ["a norm follows, so the scale does not matter"]
    if stream.ends(tensor):
        return [stream.why(tensor)]
    if wide_scores(tensor) > 1:
        times = f"{wide_scores(tensor):.3g} times what division by √d_head gives"
        return [f"scores of variance {narrowed**2:.3g}, though they are {times}"]
    if tensor.role == "mlp gate" or tensor.gated_by:
        product = _gate(tensor).second_moment * _gate(tensor).variance
        return [f"gate and value alike, their product has a second moment of {product:.3g}"]
    if tensor.role == "head":
        return [f"logits of variance {narrowed:g}{'' if tensor.reads else ' out of variance 1'}"]
    if not tensor.activation or tensor.activation == "linear":
        return []
    told = [f"passes on a second moment of {wide.passed:.3g}"]
    if tensor.largest_of == tensor.mean_of == 1:  # χ does not know which positions a pool takes the gradient to
        told[0] += f", gradients ×{wide.chi:.4g}"
    point = followed(tensor)
    if tensor.place.chained > 2 and point.growth > 1 + _WORTH:
        anywhere = "" if is_paired(tensor.activation, tensor.parameter) else ", at any scale"
        told.append(f"a deviation grows ×{point.growth:.3g} per layer{anywhere}")
    return told


def _follows(tensor: TensorInfo) -> str:
    before = _reads(tensor)
    match tensor.activation:
        case "":
            return f"{before}what follows is not known"
        case "linear":
            return f"{before}no nonlinearity follows"
        case name:
            return f"{before}{name}{'' if tensor.parameter is None else f'({tensor.parameter:g})'} follows"


def _reads(tensor: TensorInfo) -> str:
    """What comes before, where it differs from what follows, is pooled or a norm."""
    if stream.narrowed(tensor) < 1:
        return f"behind a norm ×√{stream.BEHIND_NORM:g}, "
    pools = [f"the largest of {tensor.largest_of}"] * (tensor.largest_of > 1)
    pools += [f"the mean of {tensor.mean_of}"] * (tensor.mean_of > 1)
    if not pools:
        return f"reads {tensor.reads}, " if tensor.reads and tensor.reads != tensor.activation else ""
    return f"reads {tensor.reads} through {' and '.join(pools)} (second moment ×{pooling(tensor):.3g}), "


def read(tensor: TensorInfo, *, paired: bool = False) -> float:
    """The second moment that the weight's input is assumed to have, per unit or per pair."""
    if tensor.behind_norm:
        return 1.0
    if tensor.opening is not None and stream.opened(tensor):
        return _passed_on(tensor.opening) * pooling(tensor)
    if not tensor.reads or tensor.reads == "linear":
        return 1.0
    point = operating_point(tensor.reads, tensor.reads_parameter)
    if not paired:
        return point.second_moment * pooling(tensor)
    return mirrored_response(tensor.reads, point.variance, tensor.reads_parameter).second_moment


def pooling(tensor: TensorInfo, variance: float | None = None) -> float:
    """By what pooling between the nonlinearity that the weight reads and the weight multiplies the second moment.

    Args:
        tensor: the weight.
        variance: of the pre-activations that are pooled; by default that at which `auto` uses the nonlinearity.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> use = Use("fc.weight", "linear", Axes.linear((10, 64)), "linear", reads="relu", largest_of=4)
    >>> round(pooling(TensorInfo("fc.weight", (10, 64), "float32", "parameter", "head", (use,))), 3)
    1.946
    """
    if tensor.largest_of == tensor.mean_of == 1:
        return 1.0
    name, number = tensor.reads, tensor.reads_parameter
    before = operating_point(name, number) if variance is None else response(name, variance, number)
    windows = {"largest_of": tensor.largest_of, "mean_of": tensor.mean_of}
    return pooled_second_moment(name, before.variance, number, **windows) / before.second_moment


def _pairs(tensor: TensorInfo) -> tuple[bool, bool]:
    """Whether outputs and inputs come in pairs: in deep chains, where that keeps signal and gradient better."""
    place, axes = tensor.place, tensor.axes
    if place.chain is None or place.chained < DEEP or axes is None:
        return False, False
    outputs = place.chain < place.chained - 1 and is_paired(tensor.activation, tensor.parameter)
    inputs = place.chain > 0 and is_paired(tensor.reads, tensor.reads_parameter)
    return outputs and _is_even(axes.shape, axes.outputs), inputs and _is_even(axes.shape, axes.inputs)


def _is_even(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    return len(axes) == 1 and shape[axes[0]] % 2 == 0


@lru_cache(256)
def is_paired(activation: str, parameter: float | None) -> bool:
    """Pairs of units z and −z carry the signal more steadily through this nonlinearity than single ones.

    >>> [name for name in ("relu", "gelu", "silu", "sigmoid", "tanh", "abs", "relu_squared") if is_paired(name, None)]
    ['relu', 'gelu', 'silu', 'sigmoid']
    """
    if activation in ("", "linear"):
        return False
    single = operating_point(activation, parameter)
    pair = mirrored_response(activation, single.variance, parameter)
    if pair.second_moment < 1e-6 * single.second_moment or pair.growth > 1 + 1e-6:
        return False
    return single.growth > _STABLE or abs(log(pair.steady_chi)) < abs(log(single.steady_chi)) - _WORTH
