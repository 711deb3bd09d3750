"""Sums and products of two signals.

sum       q′ = q₁ + q₂ + 2·m₁·m₂        where one is uncorrelated with the other
product   q′ = q₁·q₂                    where one is independent of the other
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fanin.torch.probe.ancestry import Fresh, is_free, merged
from fanin.torch.probe.pairs import Lazy, Pairs, common
from fanin.torch.probe.quadrature import convolved, normal_quantiles
from fanin.torch.probe.rules import Gradients
from fanin.torch.probe.signal import Node, Rule, Signal

Two = tuple[Signal, Signal]
Nodes = tuple[Node | None, Node | None]


def added(nodes: Nodes, signals: Two, whole: tuple[bool, bool], channel: int | None) -> Rule | str:
    """A sum of two signals, where fresh weights make one uncorrelated with the other; `whole` are not broadcast."""
    first, second = signals
    apart = _apart(first, second)
    if not (apart or _free(first, second) or _free(second, first)):
        return "the terms of a sum depend on the same weights"
    gaussian = (first.gaussian or _is_level(first, channel)) and (second.gaussian or _is_level(second, channel))
    out = Signal(
        first.mean + second.mean,
        first.second + second.second + 2 * first.mean * second.mean,
        gaussian=gaussian,
        fresh=_fresh(first, second, apart),
        ancestors=merged((first.ancestors, second.ancestors)),
        pairs=_pairs(signals, _summed),
        quantiles=None if gaussian else _quantiles(first, second),
    )

    def pull(gradients: Gradients) -> Gradients:
        return [gradients[0] if fits else None for fits in whole]

    return Rule(nodes, (out,), pull, channel, "")


def _is_level(signal: Signal, channel: int | None) -> bool:
    """A constant, the same for all units: it only shifts."""
    known = not signal.ancestors and bool((signal.second <= signal.mean**2 * (1 + 1e-12)).all())
    return known and (channel is None or signal.mean.ndim == 0 or signal.mean.shape[channel] == 1)


def _free(signal: Signal, other: Signal) -> bool:
    return not signal.ancestors or is_free(signal.fresh, other.ancestors)


def _apart(first: Signal, second: Signal) -> bool:
    """Different units of one fresh weight at every place."""
    if first.fresh is None or second.fresh is None or first.fresh[0] != second.fresh[0]:
        return False
    if first.labels is None or second.labels is None:
        return False
    return bool((first.labels != second.labels).all())


def _fresh(first: Signal, second: Signal, apart: bool) -> Fresh | None:
    """A sum is odd in weights in which both terms are."""
    if apart and first.fresh and second.fresh:
        return first.fresh[0], first.fresh[1] | second.fresh[1]
    zero = [signal for signal in (first, second) if not bool(signal.second.any())]
    return (second if zero[0] is first else first).fresh if zero else None


def _quantiles(first: Signal, second: Signal) -> Tensor | None:
    one, other = (
        normal_quantiles(signal.second.device) if signal.gaussian and signal.centred else signal.quantiles
        for signal in (first, second)
    )
    if one is None or other is None:
        return None
    return convolved(one, other, first.second.mean(), second.second.mean())


def _pairs(signals: Two, function: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Lazy | None:
    one, other = (signal.pairs for signal in signals)
    if one is None or other is None:
        return None

    def thunk() -> Pairs | None:
        here, there = one(), other()
        shared = None if here is None or there is None else common(here, there)
        if shared is None:
            return None
        (a, b), ids = shared
        m, n = (Pairs(a, ids).at(signal.mean) for signal in signals)
        return Pairs(function(a, b, m, n), ids)

    return Lazy(thunk)


def _summed(a: Tensor, b: Tensor, m: Tensor, n: Tensor) -> Tensor:
    return a + b + m[:, :, None] * n[:, None, :] + n[:, :, None] * m[:, None, :]


def _product(a: Tensor, b: Tensor, _m: Tensor, _n: Tensor) -> Tensor:
    return a * b


def multiplied(nodes: Nodes, signals: Two, whole: tuple[bool, bool], channel: int | None) -> Rule | str:
    """A product of two signals, where fresh weights make one independent of the other."""
    first, second = signals
    free = (_free(first, second), _free(second, first))
    if not any(free):
        return "the factors of a product depend on the same weights"
    level = (_is_level(first, channel), _is_level(second, channel))
    odd_in = [
        signal.fresh for signal, other in ((first, second), (second, first)) if is_free(signal.fresh, other.ancestors)
    ]
    out = Signal(
        first.mean * second.mean,
        first.second * second.second,
        gaussian=(first.gaussian and level[1]) or (second.gaussian and level[0]),
        fresh=odd_in[0] if odd_in else None,
        ancestors=merged((first.ancestors, second.ancestors)),
        pairs=_pairs(signals, _product),
        labels=_labels(first, second, odd_in),
    )

    def pull(gradients: Gradients) -> Gradients:
        gradient = gradients[0]
        factors = zip(whole, (second, first), strict=True)
        return [None if gradient is None or not fits else gradient * other.second for fits, other in factors]

    return Rule(nodes, (out,), pull, channel, "")


def _labels(first: Signal, second: Signal, odd_in: list[Fresh | None]) -> Tensor | None:
    if not odd_in:
        return None
    return first.labels if odd_in[0] is first.fresh else second.labels
