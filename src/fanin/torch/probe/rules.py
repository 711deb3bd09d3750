"""How moments pass matrices, nonlinearities and normalisation, forward and backward (mean-field theory).

    contraction   q′ = fan_in·σ_w²·q + σ_b²                 E[g²] = fan_out·σ_w²·E[g′²]
    nonlinearity  q′ = E[f(√q z)²],  z ~ N(0, 1)            E[g²] = E[f′(√q z)²]·E[g′²]
    layer norm    q′ = E[γ²]·v/(v + ε) + E[β²]              E[g²] = E[γ²]/(v + ε)·(1 − 2/n)·E[g′²]
    RMS norm      q′ = E[γ²]·q/(q + ε)                      E[g²] = E[γ²]/(q + ε)·(1 − 1/n)·E[g′²]

The same holds for pairs of positions, E[h·h′] in place of E[h²]; a nonlinearity takes ρ = E[h·h′]/√(q·q′) too.

Source: Poole et al. 2016 (arXiv:1606.05340), Schoenholz et al. 2017 (arXiv:1611.01232), Xiao et al. 2018
(arXiv:1806.05393); He et al. 2015 (arXiv:1502.01852) is the ReLU case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fanin.torch.probe.ancestry import Fresh, merged
from fanin.torch.probe.hermite import dual
from fanin.torch.probe.laws import Taps
from fanin.torch.probe.pairs import Lazy, Pairs, mapped
from fanin.torch.probe.quadrature import (
    Passed,
    gaussian_pass,
    normal_quantiles,
    odd,
    quantile_pass,
    standardised,
)
from fanin.torch.probe.signal import Node, Pointwise, Pull, Rule, Signal, over

# Factors that differ by a tenth leave what is Gaussian nearly so: the excess kurtosis is 12 times this.
_ALIKE = 0.01

Spread = Callable[[Tensor, Tensor], Tensor]
Gradients = Sequence[Tensor | None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is known of a contraction's weights besides their moments.

    Attributes:
        fresh: the draw, at its first use.
        labels: which unit stands where in the output.
        profile: mean share of some of the units in E[h²].
        gaussian: enough inputs are summed for the output to be Gaussian.
        pairs: E[h·h′] of the output without its bias; None where not known.
    """

    fresh: Fresh
    labels: Tensor
    profile: Callable[[Tensor], float]
    gaussian: bool
    pairs: Lazy | None


def contraction(
    node: Node | None,
    signal: Signal,
    weights: Taps,
    bias: tuple[float, float],
    spread: Spread,
    fans: tuple[int, int],
    channel: int,
    drawn: Drawn,
) -> Rule:
    """A matrix or convolution of fresh weights; `spread(map, taps)` adds up the places that each output sees.

    `fans` are the input and output channels of a group. The backward map is the transpose of `spread`. Weights
    with a mean correlate the gradients of their inputs; then the backward expectation stays open.
    """
    fan_in, fan_out = fans
    pushed = fan_in * spread(signal.mean, weights.mean)
    second = fan_in * spread(signal.second, weights.variance) + pushed**2 + 2 * bias[0] * pushed + bias[1]
    out = Signal(
        pushed + bias[0],
        second,
        gaussian=drawn.gaussian,
        fresh=drawn.fresh if weights.centred and not bias[0] else None,
        ancestors=merged((signal.ancestors, {drawn.fresh[0]: drawn.fresh[1]})),
        pairs=mapped(drawn.pairs, lambda values: values + bias[1]) if weights.centred else None,
        labels=drawn.labels,
        profile=drawn.profile,
    )

    def pull(gradients: Gradients) -> Gradients:
        if gradients[0] is None or not weights.centred:
            return [None]
        return [fan_out * _transposed(spread, weights.variance, over(gradients[0], channel), signal.second, second)]

    return Rule((node,), (out,), pull, channel, "weight")


def _transposed(spread: Spread, taps: Tensor, gradient: Tensor, source: Tensor, target: Tensor) -> Tensor:
    probe = torch.zeros_like(source).requires_grad_()
    with torch.enable_grad():
        out = spread(probe, taps)
    (share,) = torch.autograd.grad(out, probe, gradient.expand(target.shape))
    return share


def pointwise(node: Node, function: Pointwise) -> Rule | str:
    """A nonlinearity of a signal whose distribution is known."""
    signal = node.signal
    if signal is None:
        return node.why
    if signal.gaussian:
        passed = gaussian_pass(function, signal.mean, signal.second)
    elif signal.quantiles is not None:
        passed = quantile_pass(function, signal.quantiles, signal.second)
    else:
        return "the distribution of what the nonlinearity sees is not followed"
    if passed is None:
        return "the nonlinearity cannot be integrated over what it sees"
    keeps_sign = signal.fresh is not None and signal.centred and odd(function)
    out = Signal(
        passed.mean,
        passed.second,
        fresh=signal.fresh if keeps_sign else None,
        ancestors=signal.ancestors,
        pairs=None if signal.pairs is None else signal.pairs.then(_dual(function, signal, passed)),
        behind=(signal, function),
        quantiles=_passed_quantiles(function, signal),
        labels=signal.labels,
    )
    # Behind a sum with a skip the gradient depends on what the skip carries, and starts anew there.
    return Rule((node,), (out,), _scaled(passed.slope) if signal.gaussian else None, node.channel, "activation")


def _dual(function: Pointwise, signal: Signal, passed: Passed) -> Callable[[Pairs], Pairs | None]:
    """Pairs behind a nonlinearity. Values that are not Gaussian count as Gaussian here, and are scaled to fit."""

    def then(here: Pairs) -> Pairs | None:
        second = here.at(passed.second)
        mean = here.at(signal.mean.expand(torch.broadcast_shapes(signal.mean.shape, signal.second.shape)))
        values = dual(function, here.values, mean, here.at(signal.second), second)
        if values is None:
            return None
        fit = (second / values.diagonal(dim1=1, dim2=2).clamp_min(torch.finfo(values.dtype).tiny)).sqrt()
        return replace(here, values=values * fit[:, :, None] * fit[:, None, :])

    return then


def _passed_quantiles(function: Pointwise, signal: Signal) -> Tensor | None:
    """Of f(h), where h has the average moments of the map."""
    second = signal.second.mean()
    z = normal_quantiles(second.device) if signal.quantiles is None else signal.quantiles
    mean = signal.mean.mean() if signal.gaussian else torch.zeros_like(second)
    return standardised(function(mean + (second - mean**2).clamp_min(0).sqrt() * z))


def _scaled(factor: Tensor | float) -> Pull:
    return lambda gradients: [None if gradient is None else gradient * factor for gradient in gradients]


def scaled(node: Node, factor: float) -> Rule | str:
    """Multiplication by a number."""
    if node.signal is None:
        return node.why
    signal = node.signal
    out = replace(
        signal,
        mean=signal.mean * factor,
        second=signal.second * factor**2,
        pairs=mapped(signal.pairs, lambda values: values * factor**2),
        behind=signal.behind if factor == 1 else None,
        quantiles=None if signal.quantiles is None else signal.quantiles * (-1 if factor < 0 else 1),
    )
    return Rule((node,), (out,), _scaled(factor**2), node.channel, "")


def dropout(node: Node, rate: float) -> Rule | str:
    """Dropout in training: E[h²] grows by 1/(1 − p), the mean stays, and so for the gradient."""
    if not rate:
        return scaled(node, 1.0)
    if node.signal is None or not 0 < rate < 1:
        return node.why
    signal, factor = node.signal, 1 / (1 - rate)

    def thinned(values: Tensor) -> Tensor:
        return values + torch.diag_embed(values.diagonal(dim1=1, dim2=2) * (factor - 1))

    out = replace(
        signal,
        second=signal.second * factor,
        gaussian=False,
        pairs=mapped(signal.pairs, thinned),
        behind=None,
        quantiles=None,
    )
    return Rule((node,), (out,), _scaled(factor), node.channel, "")


Affine = tuple[float, float]
"""(E[a], E[a²]) of a vector of parameters."""


def layer_norm(node: Node | None, signal: Signal, size: int, scale: Affine, shift: Affine, eps: float) -> Rule:
    """Layer normalisation over the last dimension; `scale` is of γ, `shift` of β."""
    mean, second = over(signal.mean, -1), over(signal.second, -1)
    variance = (second - mean**2).clamp_min(0)
    share = 1 / (variance + eps)
    out = _normalised(signal, mean, variance, share, scale, shift)
    return Rule((node,), (out,), _pulled(scale[1] * (1 - 2 / size) * share), -1, "norm")


def _normalised(signal: Signal, mean: Tensor, variance: Tensor, share: Tensor, scale: Affine, shift: Affine) -> Signal:
    """(h − mean)·√share·γ + β."""

    def between(here: Pairs) -> Pairs:
        level, factor = here.at(mean.expand_as(variance)), here.at(share).sqrt()
        centred = here.values - level[:, :, None] * level[:, None, :]
        return replace(here, values=scale[1] * centred * factor[:, :, None] * factor[:, None, :] + shift[1])

    kept = scale[0] ** 2 >= scale[1] * (1 - _ALIKE)
    return replace(
        signal,
        mean=torch.full_like(variance, shift[0]),
        second=scale[1] * variance * share + shift[1],
        gaussian=signal.gaussian and kept,
        fresh=None if shift[1] else signal.fresh,
        pairs=None if signal.pairs is None else signal.pairs.then(between),
        behind=None,
        quantiles=None,
    )


def rms_norm(node: Node | None, signal: Signal, size: int, scale: Affine, eps: float) -> Rule:
    """Root-mean-square normalisation over the last dimension, which keeps the mean; `scale` is of γ."""
    mean, second = over(signal.mean, -1), over(signal.second, -1)
    share = 1 / (second + eps)
    out = replace(
        _normalised(signal, torch.zeros_like(second), second, share, scale, (0.0, 0.0)),
        mean=scale[0] * mean * share.sqrt(),
    )
    return Rule((node,), (out,), _pulled(scale[1] * (1 - 1 / size) * share), -1, "norm")


def _pulled(factor: Tensor) -> Pull:
    return lambda gradients: [None if gradients[0] is None else over(gradients[0], -1) * factor]


def batch_norm(signal: Signal, scale: Affine, shift: Affine, eps: float) -> Rule:
    """Batch normalisation by the batch's own statistics.

    Its backward pass removes what the samples' gradients have in common, which depends on the data: not predicted.
    """
    mean = signal.mean.mean().expand_as(signal.second)
    variance = (signal.second.mean() - mean**2).clamp_min(0)
    out = _normalised(signal, mean, variance, 1 / (variance + eps), scale, shift)
    return Rule((None,), (out,), None, 1, "norm")


def affine(node: Node, signal: Signal, slope: Affine, shift: Affine, cross: float, channel: int) -> Rule:
    """a·h + c for each unit, with `cross` = E[a·c]: batch normalisation in evaluation mode."""
    exact = slope[0] ** 2 >= slope[1] * (1 - _ALIKE) and shift[0] ** 2 >= shift[1] * (1 - 1e-9)
    plain = exact and not shift[1]

    def between(here: Pairs) -> Pairs:
        level = here.at(signal.mean.expand_as(signal.second))
        values = slope[1] * here.values + cross * (level[:, :, None] + level[:, None, :]) + shift[1]
        return replace(here, values=values)

    out = replace(
        signal,
        mean=slope[0] * signal.mean + shift[0],
        second=slope[1] * signal.second + 2 * cross * signal.mean + shift[1],
        gaussian=signal.gaussian and exact,
        fresh=None if shift[1] else signal.fresh,
        pairs=None if signal.pairs is None else signal.pairs.then(between),
        behind=None,
        quantiles=signal.quantiles if plain and slope[0] > 0 else None,
    )
    return Rule((node,), (out,), _scaled(slope[1]), channel, "norm")
