"""How moments pass each kind of operation, forward and backward (mean-field theory).

    contraction   q′ = fan_in·σ_w²·q + σ_b²                 E[g²] = fan_out·σ_w²·E[g′²]
    nonlinearity  q′ = E[f(√q z)²],  z ~ N(0, 1)            E[g²] = E[f′(√q z)²]·E[g′²]
    sum           q′ = q₁ + q₂ + 2·m₁·m₂                    E[g²] = E[g′²]
    layer norm    q′ = E[γ²]·v/(v + ε) + E[β²]              E[g²] = E[γ²]/(v + ε)·(1 − 2/n)·E[g′²]
    RMS norm      q′ = E[γ²]·q/(q + ε)                      E[g²] = E[γ²]/(q + ε)·(1 − 1/n)·E[g′²]

Source: Poole et al. 2016 (arXiv:1606.05340), Schoenholz et al. 2017 (arXiv:1611.01232), Xiao et al. 2018
(arXiv:1806.05393); He et al. 2015 (arXiv:1502.01852) is the ReLU case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fanin.torch.probe.laws import Taps
from fanin.torch.probe.quadrature import Pointwise, gaussian_pass
from fanin.torch.probe.signal import Node, Pull, Rule, Signal, over
from fanin.torch.tensors import storage_id

Spread = Callable[[Tensor, Tensor], Tensor]
Gradients = Sequence[Tensor | None]


def contraction(
    node: Node | None,
    signal: Signal,
    weights: Taps,
    bias: tuple[float, float],
    spread: Spread,
    fans: tuple[int, int],
    channel: int,
    draw: int,
) -> Rule:
    """A matrix or convolution of fresh weights; `spread(map, taps)` adds up the places that each output sees.

    `fans` are the input and output channels of a group. The backward map is the transpose of `spread`. Weights
    with a mean correlate the gradients of their inputs; then the backward expectation stays open.
    """
    fan_in, fan_out = fans
    pushed = fan_in * spread(signal.mean, weights.mean)
    second = fan_in * spread(signal.second, weights.variance) + pushed**2 + 2 * bias[0] * pushed + bias[1]
    out = Signal(pushed + bias[0], second, gaussian=True, fresh=draw, ancestors=signal.ancestors | {draw})

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


def pointwise(node: Node, function: Pointwise) -> Rule | None:
    """A nonlinearity of a Gaussian signal."""
    signal = node.signal
    if signal is None or not signal.gaussian:
        return None
    passed = gaussian_pass(function, signal.mean, signal.second)
    if passed is None:
        return None
    out = Signal(passed.mean, passed.second, ancestors=signal.ancestors)
    return Rule((node,), (out,), _scaled(passed.slope), node.channel, "activation")


def _scaled(factor: Tensor | float) -> Pull:
    return lambda gradients: [None if gradient is None else gradient * factor for gradient in gradients]


def scaled(node: Node, factor: float) -> Rule | None:
    """Multiplication by a number."""
    if node.signal is None:
        return None
    signal = node.signal
    out = replace(signal, mean=signal.mean * factor, second=signal.second * factor**2)
    return Rule((node,), (out,), _scaled(factor**2), node.channel, "")


def dropout(node: Node, rate: float) -> Rule | None:
    """Dropout in training: E[h²] grows by 1/(1 − p), the mean stays, and so for the gradient."""
    if node.signal is None or not 0 <= rate < 1:
        return None
    signal, factor = node.signal, 1 / (1 - rate)
    out = replace(signal, second=signal.second * factor, gaussian=signal.gaussian and rate == 0)
    return Rule((node,), (out,), _scaled(factor), node.channel, "")


def added(nodes: tuple[Node | None, Node | None], signals: tuple[Signal, Signal], channel: int | None) -> Rule | None:
    """A sum of two signals, where fresh weights make one independent of the other."""
    first, second = signals
    if not (_independent(first, second) or _independent(second, first)):
        return None
    out = Signal(
        first.mean + second.mean,
        first.second + second.second + 2 * first.mean * second.mean,
        gaussian=first.gaussian and second.gaussian,
        ancestors=first.ancestors | second.ancestors,
    )
    return Rule(nodes, (out,), lambda gradients: [gradients[0], gradients[0]], channel, "")


def _independent(fresh: Signal, other: Signal) -> bool:
    return fresh.fresh is not None and fresh.fresh not in other.ancestors


def layer_norm(
    node: Node | None,
    signal: Signal,
    size: int,
    scale: tuple[float, float],
    shift: tuple[float, float],
    eps: float,
) -> Rule:
    """Layer normalisation over the last dimension; `scale` is (E[γ], E[γ²]), `shift` is (E[β], E[β²])."""
    mean, second = over(signal.mean, -1), over(signal.second, -1)
    variance = (second - mean**2).clamp_min(0)
    share = 1 / (variance + eps)
    out = replace(
        signal,
        mean=torch.full_like(second, shift[0]),
        second=scale[1] * variance * share + shift[1],
        fresh=None,
    )
    return Rule((node,), (out,), _normalised(scale[1] * (1 - 2 / size) * share), -1, "norm")


def rms_norm(node: Node | None, signal: Signal, size: int, scale: tuple[float, float], eps: float) -> Rule:
    """Root-mean-square normalisation over the last dimension, which keeps the mean; `scale` is (E[γ], E[γ²])."""
    mean, second = over(signal.mean, -1), over(signal.second, -1)
    share = 1 / (second + eps)
    out = replace(signal, mean=scale[0] * mean * share.sqrt(), second=scale[1] * second * share, fresh=None)
    return Rule((node,), (out,), _normalised(scale[1] * (1 - 1 / size) * share), -1, "norm")


def _normalised(factor: Tensor) -> Pull:
    return lambda gradients: [None if gradients[0] is None else over(gradients[0], -1) * factor]


def batch_norm(signal: Signal, scale: tuple[float, float], shift: tuple[float, float], eps: float) -> Rule:
    """Batch normalisation by the batch's own statistics.

    Its backward pass removes what the samples' gradients have in common, which depends on the data: not predicted.
    """
    variance = (signal.second.mean() - signal.mean.mean() ** 2).clamp_min(0)
    second = scale[1] * variance / (variance + eps) + shift[1]
    out = Signal(
        torch.full_like(signal.mean, shift[0]), second.expand_as(signal.second), signal.gaussian, None, signal.ancestors
    )
    return Rule((None,), (out,), lambda _: [None], 1, "norm")


def moved(node: Node, shape: torch.Size, function: Callable[[Tensor], Tensor | Sequence[Tensor]]) -> Rule | None:
    """An operation that only rearranges or picks values: the maps are rearranged with them."""
    signal = node.signal
    if signal is None:
        return None
    means, seconds = (_many(function(map_.expand(shape))) for map_ in (signal.mean, signal.second))
    outs = tuple(
        replace(signal, mean=_compact(mean), second=_compact(second))
        for mean, second in zip(means, seconds, strict=True)
    )

    def pull(gradients: Gradients) -> Gradients:
        return [_moved_back(function, shape, gradients, signal.second)]

    return Rule((node,), outs, pull, _moved_channel(function, shape, node.channel), "")


def _moved_channel(
    function: Callable[[Tensor], Tensor | Sequence[Tensor]], shape: torch.Size, channel: int | None
) -> int | None:
    """Where the dimension of the units goes: followed by its stride; None where it is merged with others."""
    if channel is None or shape[channel] == 1:
        return None
    strides = [0] * len(shape)
    strides[channel] = 1
    units = torch.empty(shape[channel], device="meta").as_strided(shape, strides)
    out = _many(function(units))[0]
    places = [d for d, stride in enumerate(out.stride()) if stride and out.shape[d] > 1]
    shares = storage_id(out) == storage_id(units)
    return places[0] if shares and len(places) == 1 else None


def _many(value: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (value,) if isinstance(value, Tensor) else value


def _moved_back(
    function: Callable[[Tensor], Tensor | Sequence[Tensor]], shape: torch.Size, gradients: Gradients, like: Tensor
) -> Tensor | None:
    if any(gradient is None for gradient in gradients):
        return None
    probe = torch.zeros(shape, dtype=like.dtype, device=like.device, requires_grad=True)
    with torch.enable_grad():
        outs = _many(function(probe))
    full = [gradient.expand(out.shape) for out, gradient in zip(outs, gradients, strict=True) if gradient is not None]
    (share,) = torch.autograd.grad(list(outs), probe, full)
    return share


def _compact(map_: Tensor) -> Tensor:
    """Drop repeats along dimensions of stride 0."""
    for d, (size, stride) in enumerate(zip(map_.shape, map_.stride(), strict=True)):
        if stride == 0 and size > 1:
            map_ = map_.narrow(d, 0, 1)
    return map_
