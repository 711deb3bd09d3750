"""Forecasts of time series: an LSTM and a transformer over patches."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Literal

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation
from fanin.models.blocks import Block, Placement
from fanin.models.layers.attention import Attention
from fanin.models.layers.feedforward import feedforward
from fanin.models.layers.positions import LearnedPositions
from fanin.models.layers.sequences import LastState
from fanin.models.layers.series import AsForecast, Levels, Patches
from fanin.models.layers.step_norms import StepBatchNorm, step_norms
from fanin.models.norms import Norm, norm_factory
from fanin.models.recurrent import between
from fanin.models.sample import Sample
from fanin.models.sizes import check_dropout, check_positive


class Forecaster(nn.Module):
    """A network over a series without its level and scale, which its forecast gets back; see `forecaster`."""

    def __init__(self, levels: Levels, network: nn.Sequential, sample: Sample) -> None:
        super().__init__()
        self.levels = levels
        self.network = network
        self.sample = sample

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """The next values [n, horizon, channels] of `series` [n, lookback, channels]."""
        centred, level, scale = self.levels(series)
        return self.network(centred) * scale + level


def forecaster(
    lookback: int = 96,
    horizon: int = 24,
    channels: int = 1,
    width: int = 64,
    depth: int = 2,
    *,
    kind: Literal["patch", "lstm"] = "patch",
    levels: Literal["standard", "last", "none"] = "standard",
    heads: int = 4,
    patch: int = 16,
    stride: int = 8,
    hidden: int | None = None,
    activation: Activation = "gelu",
    norm: Norm = "batch",
    placement: Placement = "post",
    bias: bool = True,
    dropout: float = 0.0,
) -> Forecaster:
    """The next `horizon` values of a series from the last `lookback`.

        centred = (x − level)/scale,   forecast = network(centred)·scale + level

    "patch" reads each channel on its own with the same weights: patches, a dense layer, learned positions, a
    transformer encoder, a dense layer over all patches (PatchTST). "lstm" reads all channels step by step; a dense
    layer makes the forecast of its last state.

    Args:
        lookback: steps that are read.
        horizon: steps that are foretold.
        channels: values at each step.
        width: features of a patch, or of the state.
        depth: blocks, or recurrent layers.
        kind: "patch" or "lstm".
        levels: what is taken from each series and put back: "standard" (mean and standard deviation), "last" (the last
            value), "none".
        heads: of attention.
        patch: steps in a patch.
        stride: steps from a patch to the next.
        hidden: features inside a feed-forward layer; 4·width where none are given.
        activation: of the feed-forward layers.
        norm: of the blocks: "batch", "layer", "rms", a factory from a width to a module, or none.
        placement: norms before a branch ("pre") or after its sum ("post").
        bias: whether blocks and recurrent layers have biases.
        dropout: share set to 0 in training of patches, attention weights and outputs of branches; of the outputs of all
            recurrent layers but the last.

    Returns:
        a model from [n, lookback, channels] to [n, horizon, channels].

    Raises:
        ArgumentError: a size that is not a positive integer, a patch longer than what is read, a word that means
            nothing.
        UnknownNameError: no activation or normalisation of that name.

    Source: Nie et al. 2023, arXiv 2211.14730 (PatchTST, without masking and learned scales of RevIN).

    >>> forecaster(channels=3)(torch.zeros(2, 96, 3)).shape
    torch.Size([2, 24, 3])
    """
    check_positive("forecaster", lookback=lookback, horizon=horizon, channels=channels, width=width, depth=depth)
    check_positive("forecaster", heads=heads, patch=patch, stride=stride, hidden=1 if hidden is None else hidden)
    check_dropout("forecaster", dropout)
    sample = Sample((lookback, channels))
    if kind == "lstm":
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            lstm=nn.LSTM(channels, width, depth, bias=bias, batch_first=True, dropout=between(dropout, depth)),
            read=LastState(bidirectional=False),
            head=nn.Linear(width, channels * horizon),
            forecast=AsForecast(horizon, channels),
        )
        return Forecaster(Levels(levels), nn.Sequential(layers), sample)
    if kind != "patch":
        raise ArgumentError(f"forecaster: kind must be 'patch' or 'lstm', got {kind!r}")
    if patch > lookback:
        raise ArgumentError(f"forecaster: a patch of {patch} steps is longer than the {lookback} that are read")
    make_norm = norm_factory(norm, {"batch": StepBatchNorm, **step_norms(bias=bias)})
    norms = nn.Identity if make_norm is None else partial(make_norm, width)

    def block() -> Block:
        attention = Attention(width, heads, causal=False, bias=bias, dropout=dropout)
        return Block(attention, feedforward(width, hidden, activation, bias=bias), norms, placement, dropout)

    patches = (lookback - patch) // stride + 2
    layers = OrderedDict(
        patches=Patches(patch, stride),
        embedding=nn.Linear(patch, width),
        positions=LearnedPositions(patches, width),
        dropout=nn.Dropout(dropout),
        blocks=nn.Sequential(*(block() for _ in range(depth))),
        norm=norms() if placement == "pre" else nn.Identity(),
        flatten=nn.Flatten(),
        head=nn.Linear(patches * width, horizon),
        forecast=AsForecast(horizon, channels),
    )
    return Forecaster(Levels(levels), nn.Sequential(layers), sample)
