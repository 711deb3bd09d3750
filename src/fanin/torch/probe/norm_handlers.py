"""Handlers of normalisation: arguments in, `Rule` out, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fanin.torch.probe import rules
from fanin.torch.probe.arguments import Args, Kwargs, argument
from fanin.torch.probe.laws import bias_moments
from fanin.torch.probe.moments import moments
from fanin.torch.probe.signal import Rule, Signal
from fanin.torch.probe.tape import Tape

_UNITS = "a normalisation over more than the units, or fewer"


def _scale_moments(weight: Any) -> tuple[float, float]:
    """(E[γ], E[γ²]) of a normalisation."""
    if weight is None:
        return 1.0, 1.0
    seen = moments(weight)
    return seen.mean, seen.second


def layer_norm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """Layer normalisation over the units."""
    x, shape = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "normalized_shape")
    signal = _over_units(tape, x, shape)
    if signal is None:
        return _UNITS
    scale = _scale_moments(argument(args, kwargs, 2, "weight"))
    shift = bias_moments("", argument(args, kwargs, 3, "bias"), {})
    eps = float(argument(args, kwargs, 4, "eps", 1e-5))
    return rules.layer_norm(tape.node(x), signal, shape[0], scale, shift, eps)


def rms_norm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """Root-mean-square normalisation over the units."""
    x, shape = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "normalized_shape")
    signal = _over_units(tape, x, shape)
    if signal is None:
        return _UNITS
    eps = float(argument(args, kwargs, 3, "eps") or torch.finfo(x.dtype).eps)
    weight = argument(args, kwargs, 2, "weight")
    return rules.rms_norm(tape.node(x), signal, shape[0], _scale_moments(weight), eps)


def _over_units(tape: Tape, x: Tensor, normalized: Sequence[int]) -> Signal | None:
    """The signal of `x`, where its last dimension indexes the units and is the one that is normalised."""
    node = tape.node(x)
    units_last = node is None or node.channel is None or node.channel % x.ndim == x.ndim - 1
    return tape.signal(x, -1) if len(normalized) == 1 and units_last else None


def batch_norm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """Batch normalisation, by the batch's statistics or by the running ones."""
    x, training = argument(args, kwargs, 0, "input"), argument(args, kwargs, 5, "training", False)
    signal = tape.signal(x, 1)
    if signal is None:
        return tape.why(x)
    weight, bias = argument(args, kwargs, 3, "weight"), argument(args, kwargs, 4, "bias")
    eps = float(argument(args, kwargs, 7, "eps", 1e-5))
    if training:
        return rules.batch_norm(signal, _scale_moments(weight), bias_moments("", bias, {}), eps)
    mean, variance = argument(args, kwargs, 1, "running_mean"), argument(args, kwargs, 2, "running_var")
    slope = (variance.double() + eps).rsqrt() * (1 if weight is None else weight.detach().double())
    shift = (0 if bias is None else bias.detach().double()) - slope * mean.double()
    node = tape.node(x)
    if node is None:
        return tape.why(x)
    cross = float((slope * shift).mean())
    return rules.affine(node, signal, _two(slope), _two(shift), cross, 1)


def _two(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.square().mean())
