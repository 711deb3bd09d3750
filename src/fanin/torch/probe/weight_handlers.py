"""Handlers of matrices, convolutions and lookup tables: arguments in, `Rule` out, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fanin.torch.probe import rules
from fanin.torch.probe.ancestry import ALL
from fanin.torch.probe.arguments import Args, Kwargs, argument
from fanin.torch.probe.batch import tensors_in
from fanin.torch.probe.laws import bias_moments, normal_enough, taps
from fanin.torch.probe.pairs import LARGEST, Lazy, Pairs, numbered
from fanin.torch.probe.signal import Rule, Signal
from fanin.torch.probe.tape import Handler, Tape, WeightUse
from fanin.torch.probe.windows import conv_pairs, measured_conv_pairs

# A table that is used again as output matrix is not independent of the tokens it has seen; their part in E[h²]
# is at most units over tokens.
_TIED = 0.05
# Channels of other groups see other inputs: with fewer than so many, their variances differ.
_MANY = 16

Between = Callable[[Signal, Tensor], Lazy | None]
"""Pairs of a contraction's outputs, from the signal it sees and the variance of its taps times fan_in."""


def weighed(
    tape: Tape,
    x: Any,
    weight: Any,
    bias: Any,
    dims: tuple[int, int],
    groups: int,
    spread: rules.Spread,
    channel: int,
    between: Between | None = None,
) -> Rule | str:
    """A contraction with the parameter `weight`, stored with units along `dims[0]` and inputs along `dims[1]`."""
    name = tape.names.get(id(weight))
    if name is None or not isinstance(x, Tensor):
        return "the matrix is no parameter"
    bias_name = tape.names.get(id(bias), "")
    unit_dim, in_dim = dims
    tape.uses.append(WeightUse(name, bias_name or None, unit_dim, tape.stack[-1] if tape.stack else ""))
    again = tape.used(name)
    draw = tape.draw(name)
    units, seen = weight.shape[unit_dim], tape.moments(name, weight)
    signal = tape.signal(x, channel)
    if again and not (tape.is_table(name) and weight.shape[in_dim] <= _TIED * units):
        return f"{name!r} is used before: what it sees depends on it"
    if signal is None:
        return tape.why(x)
    if bias is not None and not bias_name:
        return "the bias is no parameter"
    if groups == 1 and (same := _identity(weight, bias)) is not None:
        return _passed_on(tape, x, signal, same, channel)
    law = taps(name, weight, tuple(range(2, weight.ndim)), units, seen, tape.laws)
    if isinstance(law, str):
        return law
    # A transposed convolution's stored input dimension holds all groups, any other one's output dimension does.
    fan_in, fan_out = weight.shape[in_dim], weight.shape[unit_dim]
    fans = (fan_in // groups, fan_out) if unit_dim > in_dim else (fan_in, fan_out // groups)
    terms = bias_moments(bias_name, bias, tape.laws)
    every = fans[1] * groups
    labels = torch.arange(every, device=x.device)
    summed = fans[0] * max(1, int(law.variance.count_nonzero()))
    mixed = groups == 1 or (fans[0] > 1 and fans[0] * law.variance.numel() >= _MANY)
    drawn = rules.Drawn(
        (draw, ALL if again else (1 << every) - 1),
        labels if channel == -1 else labels.reshape(-1, *[1] * (x.ndim - 2)),
        partial(_share, weight, unit_dim),
        mixed and normal_enough(weight, summed),
        _between(tape, x, signal, law.variance * fans[0], channel, between),
    )
    flat = Signal(rules.over(signal.mean, channel), rules.over(signal.second, channel), ancestors=signal.ancestors)
    return rules.contraction(tape.node(x), flat, law, terms, spread, fans, channel, drawn)


def _between(
    tape: Tape,
    x: Tensor,
    signal: Signal,
    variance: Tensor,
    channel: int,
    between: Between | None,
) -> Lazy | None:
    if between is not None:
        return between(signal, variance)
    if signal.pairs is None:
        return None
    factor = float(variance)
    return signal.pairs.then(lambda here: _flat(here, channel, factor))


def _flat(here: Pairs, channel: int, factor: float) -> Pairs | None:
    """A matrix sees one position each; where positions were flattened into units, it sees all that are there."""
    if here.ids.shape[channel] == 1:
        return Pairs(here.values * factor, here.ids)
    rows = here.ids.movedim(channel, -1)
    samples, units = rows.shape[0], rows.shape[-1]
    wide = rows.reshape(samples, -1, units)
    block = wide // here.values.shape[1]
    if bool((block != block[:, :1, :1]).any()) or samples * wide.shape[1] ** 2 * units > LARGEST:
        return None
    place = wide % here.values.shape[1]
    tables = here.values[block[:, :1, :1, None], place[:, :, None, :], place[:, None, :, :]]
    ids = numbered([1 if d == channel % here.ids.ndim else n for d, n in enumerate(here.ids.shape)], rows.device)
    return Pairs(tables.mean(-1) * factor, ids)


def _share(weight: Tensor, unit_dim: int, labels: Tensor) -> float:
    """E[w²] of some units over that of all, where it differs by more than chance."""
    rows = weight.detach().movedim(unit_dim, 0).flatten(1)
    every, some = rows, rows[labels.reshape(-1).unique()]
    whole = float(every.double().square().mean())
    share = float(some.double().square().mean()) / whole if whole else 1.0
    return share if abs(share - 1) > 5 * (2 / max(1, some.numel())) ** 0.5 else 1.0


def _identity(weight: Tensor, bias: Any) -> float | None:
    """α, where the weight is α·I and nothing is added."""
    if weight.ndim != 2 or weight.shape[0] != weight.shape[1] or (bias is not None and bool(bias.any())):
        return None
    alpha = weight[0, 0].item()
    if not alpha or bool(weight[0, 1:].any()):
        return None
    return alpha if torch.equal(weight, torch.eye(weight.shape[0]).to(weight) * alpha) else None


def _passed_on(tape: Tape, x: Tensor, signal: Signal, factor: float, channel: int) -> Rule | str:
    node = tape.node(x)
    if node is None or node.signal is None:
        return "an identity passes on what no weight has made"
    rule = rules.scaled(node, factor)
    return rule if isinstance(rule, str) else Rule(rule.inputs, rule.signals, rule.pull, channel, "weight")


def embedding(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """Rows of a table: independent draws for distinct tokens, and the same for equal ones."""
    # F.embedding takes (ids, table); torch.embedding and F.embedding_bag may take (table, ids).
    tensors = list(tensors_in((args, kwargs)))
    table = next((tensor for tensor in tensors if id(tensor) in tape.names), None)
    tokens = next((tensor for tensor in tensors if not tensor.is_floating_point()), None)
    if table is None or tokens is None:
        return "the table is no parameter"
    name = tape.names[id(table)]
    again = tape.used(name)
    draw = tape.draw(name)
    seen = tape.moments(name, table)  # before `max_norm` rewrites its rows
    tape.mark_table(name)
    if argument(args, kwargs, 3, "max_norm") is not None or len(tensors) > 2:
        return "rows are shortened or added up"
    mean, std = tape.laws.get(name, (0.0, seen.second**0.5))
    empty = argument(args, kwargs, 2, "padding_idx", -1)
    holds = torch.ones_like(tokens, dtype=torch.float64)
    if isinstance(empty, int) and empty >= 0 and not bool(table[empty].any()):
        holds = (tokens != empty).double()
    second = (holds * (mean**2 + std**2))[..., None]
    labels = torch.arange(table.shape[1], device=tokens.device)
    out = Signal(
        holds[..., None] * mean,
        second,
        gaussian=bool(holds.all()),
        fresh=None if mean or again else (draw, (1 << table.shape[1]) - 1),
        ancestors={draw: (1 << table.shape[1]) - 1},
        pairs=Lazy(partial(_equal, tokens, holds, mean, std)),
        labels=labels,
    )
    return Rule((), (out,), lambda _: [], -1, "embedding")


def embedding_bag(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """Sums of rows have no rule; their table is drawn here: what it is tied to is not independent."""
    for tensor in tensors_in((args, kwargs)):
        name = tape.names.get(id(tensor))
        if name is not None:
            tape.draw(name)
            tape.moments(name, tensor)
    return "rows of a table are added up"


def _equal(tokens: Tensor, holds: Tensor, mean: float, std: float) -> Pairs | None:
    samples = tokens.shape[0] if tokens.ndim else 1
    flat, kept = tokens.reshape(samples, -1), holds.reshape(samples, -1)
    if samples * flat.shape[1] ** 2 > LARGEST:
        return None
    same = (flat[:, :, None] == flat[:, None, :]).double()
    values = (same * std**2 + mean**2) * kept[:, :, None] * kept[:, None, :]
    return Pairs(values, numbered((*tokens.shape, 1), tokens.device))


def _scalar(map_: Tensor, tap: Tensor) -> Tensor:
    return map_ * tap


def linear(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """x·Wᵀ + b."""
    x, weight, bias = (argument(args, kwargs, k, name) for k, name in enumerate(("input", "weight", "bias")))
    return weighed(tape, x, weight, bias, (0, 1), 1, _scalar, -1)


def addmm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """b + x·W."""
    if len(args) != 3 or kwargs or getattr(args[2], "ndim", 0) != 2:
        return "a form of addmm that is not covered"
    return weighed(tape, args[1], args[2], args[0], (1, 0), 1, _scalar, -1)


def is_matrix(tape: Tape, args: Args) -> bool:
    """The second factor of a product is a parameter of two dimensions."""
    return len(args) == 2 and getattr(args[1], "ndim", 0) == 2 and id(args[1]) in tape.names


def matmul(tape: Tape, args: Args) -> Rule | str:
    """x·W."""
    return weighed(tape, args[0], args[1], None, (1, 0), 1, _scalar, -1)


def conv(function: Callable[..., Tensor]) -> Handler:
    """A convolution, as `function` computes it."""

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        x, weight, bias = (argument(args, kwargs, k, name) for k, name in enumerate(("input", "weight", "bias")))
        places = (
            argument(args, kwargs, 3, "stride", 1),
            argument(args, kwargs, 4, "padding", 0),
            argument(args, kwargs, 5, "dilation", 1),
        )
        groups = int(argument(args, kwargs, 6, "groups", 1))

        def spread(map_: Tensor, tap: Tensor) -> Tensor:
            return function(map_, tap[None, None], None, *places)

        return _whole(tape, x, weight, bias, (0, 1), groups, spread)

    return handle


def conv_transpose(function: Callable[..., Tensor]) -> Handler:
    """A transposed convolution, as `function` computes it."""

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        x, weight, bias = (argument(args, kwargs, k, name) for k, name in enumerate(("input", "weight", "bias")))
        stride, padding = argument(args, kwargs, 3, "stride", 1), argument(args, kwargs, 4, "padding", 0)
        more, groups = argument(args, kwargs, 5, "output_padding", 0), int(argument(args, kwargs, 6, "groups", 1))
        dilation = argument(args, kwargs, 7, "dilation", 1)

        def spread(map_: Tensor, tap: Tensor) -> Tensor:
            return function(map_, tap[None, None], None, stride, padding, more, 1, dilation)

        return _whole(tape, x, weight, bias, (1, 0), groups, spread)

    return handle


def _whole(
    tape: Tape, x: Any, weight: Any, bias: Any, dims: tuple[int, int], groups: int, spread: rules.Spread
) -> Rule | str:
    """A convolution; the maps are spread to full positions first, because a kernel reads each of them."""
    if not isinstance(x, Tensor) or x.ndim != getattr(weight, "ndim", 0):
        return "a convolution without a batch dimension"

    def full(map_: Tensor, tap: Tensor) -> Tensor:
        return spread(map_.expand(x.shape[0], 1, *x.shape[2:]), tap)

    node = tape.node(x)

    def between(signal: Signal, variance: Tensor) -> Lazy | None:
        if node is None or node.signal is None:
            return measured_conv_pairs(x, variance, spread)
        return conv_pairs(x, signal, variance, spread)

    return weighed(tape, x, weight, bias, dims, groups, full, 1, between)
