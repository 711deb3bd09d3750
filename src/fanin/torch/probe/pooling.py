"""Averages and maxima over positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from fanin.torch.probe.arguments import Args, Kwargs, argument
from fanin.torch.probe.pairs import Lazy, Pairs, numbered
from fanin.torch.probe.quadrature import standardised
from fanin.torch.probe.signal import Rule, Signal
from fanin.torch.probe.tape import Handler, Tape
from fanin.torch.probe.windows import averaging, table_in_order

_SEED = 13
_DRAWS = 512
_QUANTILES = 2048
_WORK = 1 << 31
_JITTER = 1e-7
_PAIRS = "pairs of positions are not followed up to this pooling"


def average(name: str) -> Handler:
    """An average pooling of `torch.nn.functional`."""
    function = getattr(F, name)

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        return _linear(tape, args[0], lambda t: function(t, *args[1:], **kwargs))

    return handle


def mean(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """x.mean over dimensions of positions."""
    x, dims = args[0], argument(args, kwargs, 1, "dim")
    node = tape.node(x)
    if node is None or node.signal is None:
        return tape.why(x)
    over = {d % x.ndim for d in ([dims] if isinstance(dims, int) else dims or range(x.ndim))}
    if node.channel is None or over & {0, node.channel % x.ndim}:
        return "an average over units or samples"
    kept, channel = bool(argument(args, kwargs, 2, "keepdim", False)), node.channel % x.ndim
    found = _linear(tape, x, lambda t: t.mean(sorted(over), keepdim=kept))
    gone = 0 if kept else sum(1 for d in over if d < channel)
    return found if isinstance(found, str) else replace(found, channel=channel - gone)


def _linear(tape: Tape, x: Tensor, function: Callable[[Tensor], Tensor]) -> Rule | str:
    """A linear map of each sample's positions, the same for all units."""
    node = tape.node(x)
    if node is None or node.signal is None:
        return tape.why(x)
    signal, channel = node.signal, node.channel
    if channel is None:
        return _PAIRS
    shape = tuple(1 if d == channel % x.ndim else n for d, n in enumerate(x.shape))
    table = table_in_order(signal, shape)
    if table is None:
        return _PAIRS
    matrix = averaging(shape, function, x.device)
    level = function(signal.mean.expand(torch.broadcast_shapes(signal.mean.shape, shape)))
    pairs = Pairs(matrix @ table @ matrix.T, numbered(level.shape, x.device))
    out = Signal(
        level,
        pairs.second,
        gaussian=signal.gaussian,
        fresh=signal.fresh,
        ancestors=signal.ancestors,
        pairs=Lazy(lambda: pairs),
    )
    return Rule((node,), (out,), None, channel, "")


def largest(name: str) -> Handler:
    """A maximum over windows, of Gaussian values or a nonlinearity of them: seen on draws of the whole field."""
    function = getattr(F, name)

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        x = args[0]
        node = tape.node(x)
        if node is None or node.signal is None:
            return tape.why(x)
        options = {key: value for key, value in kwargs.items() if key not in {"input", "return_indices"}}
        direct = (node.signal, torch.clone) if node.signal.gaussian else None
        source, outer = direct or node.signal.behind or (None, torch.clone)
        if kwargs.get("return_indices") or source is None or not source.gaussian:
            return "a maximum over values of unknown distribution"
        fields = _fields(source, (x.shape[0], 1, *x.shape[2:]))
        if fields is None:
            return _PAIRS
        top = function(outer(fields), *args[1:], **options)
        out = _seen(top.double(), node.signal)
        return Rule((node,), (out,), None, 1, "")

    return handle


def _fields(source: Signal, shape: tuple[int, ...]) -> Tensor | None:
    """Draws of a Gaussian field as channels, (samples, draws, …); in pairs of opposite noise, variances exact."""
    table = table_in_order(source, shape)
    if table is None or table.numel() * _DRAWS > _WORK:
        return None
    samples, positions = table.shape[:2]
    level = source.mean.expand(shape).reshape(samples, positions, 1)
    covariance = table - level * level.mT
    spread = covariance.diagonal(dim1=1, dim2=2)
    level_up = spread.amax(1, keepdim=True).expand_as(spread) * _JITTER + torch.finfo(torch.float64).tiny
    root, failed = torch.linalg.cholesky_ex(covariance + torch.diag_embed(level_up))
    if bool(failed.any()):
        return None
    generator = torch.Generator().manual_seed(_SEED)
    half = torch.randn((positions, _DRAWS // 2), generator=generator, dtype=torch.float64).to(root.device)
    values = root @ torch.cat((half, -half), dim=1)
    seen = values.square().mean(2).clamp_min(torch.finfo(torch.float64).tiny)
    values = level + values * (spread / seen).clamp_min(0).sqrt()[:, :, None]
    return values.mT.reshape(samples, _DRAWS, *shape[2:])


def _seen(top: Tensor, before: Signal) -> Signal:
    """The signal whose units are these draws."""
    samples, draws = top.shape[:2]
    rows = top.reshape(samples, draws, -1)
    shape = (samples, 1, *top.shape[2:])
    second = rows.square().mean(1).reshape(shape)
    some = torch.linspace(0, top.numel() - 1, _QUANTILES, dtype=torch.float64).long().to(top.device)
    relative = (top / second.sqrt().clamp_min(torch.finfo(torch.float64).tiny)).reshape(-1)[some]
    return Signal(
        rows.mean(1).reshape(shape),
        second,
        ancestors=before.ancestors,
        pairs=Lazy(lambda: Pairs(rows.mT @ rows / draws, numbered(shape, top.device))),
        quantiles=standardised(relative),
    )
