"""Every layer class of torch.nn that holds parameters, with inputs that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Layer:
    """How a class is built, and what its forward takes."""

    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...]


def layers() -> Iterator[tuple[str, Layer]]:
    """Each class by its name; a lazy one runs once in the constructor, which makes it the class it stands for."""
    yield from _LAYERS.items()
    for name, (make, inputs) in _LAZY.items():
        yield name, Layer(lambda make=make, inputs=inputs: _after_one_pass(make(), inputs), (inputs,))


def _after_one_pass(layer: nn.Module, inputs: torch.Tensor) -> nn.Module:
    holder = nn.Sequential(layer)
    holder(inputs)
    return holder


def _maps(channels: int, rank: int) -> torch.Tensor:
    return torch.zeros(2, channels, *((8,) * rank))


_ROWS = torch.zeros(2, 5, 8)
_LAYERS: dict[str, Layer] = {
    "Linear": Layer(lambda: nn.Linear(8, 6), (torch.zeros(2, 8),)),
    "Bilinear": Layer(lambda: nn.Bilinear(8, 4, 6), (torch.zeros(2, 8), torch.zeros(2, 4))),
    "Conv1d": Layer(lambda: nn.Conv1d(4, 6, 3), (_maps(4, 1),)),
    "Conv2d": Layer(lambda: nn.Conv2d(4, 6, 3), (_maps(4, 2),)),
    "Conv3d": Layer(lambda: nn.Conv3d(4, 6, 3), (_maps(4, 3),)),
    "ConvTranspose1d": Layer(lambda: nn.ConvTranspose1d(4, 6, 3), (_maps(4, 1),)),
    "ConvTranspose2d": Layer(lambda: nn.ConvTranspose2d(4, 6, 3), (_maps(4, 2),)),
    "ConvTranspose3d": Layer(lambda: nn.ConvTranspose3d(4, 6, 3), (_maps(4, 3),)),
    "BatchNorm1d": Layer(lambda: nn.BatchNorm1d(4), (_maps(4, 1),)),
    "BatchNorm2d": Layer(lambda: nn.BatchNorm2d(4), (_maps(4, 2),)),
    "BatchNorm3d": Layer(lambda: nn.BatchNorm3d(4), (_maps(4, 3),)),
    "SyncBatchNorm": Layer(lambda: nn.SyncBatchNorm(4), (_maps(4, 2),)),
    "InstanceNorm1d": Layer(lambda: nn.InstanceNorm1d(4, affine=True), (_maps(4, 1),)),
    "InstanceNorm2d": Layer(lambda: nn.InstanceNorm2d(4, affine=True), (_maps(4, 2),)),
    "InstanceNorm3d": Layer(lambda: nn.InstanceNorm3d(4, affine=True), (_maps(4, 3),)),
    "LayerNorm": Layer(lambda: nn.LayerNorm(8), (_ROWS,)),
    "RMSNorm": Layer(lambda: nn.RMSNorm(8), (_ROWS,)),
    "GroupNorm": Layer(lambda: nn.GroupNorm(2, 4), (_maps(4, 2),)),
    "Embedding": Layer(lambda: nn.Embedding(9, 8, padding_idx=0), (torch.ones(2, 5, dtype=torch.long),)),
    "EmbeddingBag": Layer(lambda: nn.EmbeddingBag(9, 8), (torch.ones(2, 5, dtype=torch.long),)),
    "PReLU": Layer(nn.PReLU, (_ROWS,)),
    "RNN": Layer(lambda: nn.RNN(8, 6, batch_first=True), (_ROWS,)),
    "LSTM": Layer(lambda: nn.LSTM(8, 6, proj_size=3, batch_first=True), (_ROWS,)),
    "GRU": Layer(lambda: nn.GRU(8, 6, bidirectional=True, batch_first=True), (_ROWS,)),
    "RNNCell": Layer(lambda: nn.RNNCell(8, 6), (torch.zeros(2, 8),)),
    "LSTMCell": Layer(lambda: nn.LSTMCell(8, 6), (torch.zeros(2, 8),)),
    "GRUCell": Layer(lambda: nn.GRUCell(8, 6), (torch.zeros(2, 8),)),
    "MultiheadAttention": Layer(lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), (_ROWS, _ROWS, _ROWS)),
    "TransformerEncoderLayer": Layer(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (_ROWS,)),
    "TransformerEncoder": Layer(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2), (_ROWS,)
    ),
    "TransformerDecoderLayer": Layer(lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), (_ROWS, _ROWS)),
    "TransformerDecoder": Layer(
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 2), (_ROWS, _ROWS)
    ),
    "Transformer": Layer(lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True), (_ROWS, _ROWS)),
    "AdaptiveLogSoftmaxWithLoss": Layer(
        lambda: nn.AdaptiveLogSoftmaxWithLoss(32, 20, [5, 10]), (torch.zeros(3, 32), torch.tensor([1, 7, 15]))
    ),
    "LinearCrossEntropyLoss": Layer(
        lambda: nn.LinearCrossEntropyLoss(8, 5), (torch.zeros(3, 8), torch.tensor([1, 4, 0]))
    ),
}

_LAZY: dict[str, tuple[Callable[[], nn.Module], torch.Tensor]] = {
    "LazyLinear": (lambda: nn.LazyLinear(6), _ROWS),
    "LazyConv1d": (lambda: nn.LazyConv1d(6, 3), _maps(4, 1)),
    "LazyConv2d": (lambda: nn.LazyConv2d(6, 3), _maps(4, 2)),
    "LazyConv3d": (lambda: nn.LazyConv3d(6, 3), _maps(4, 3)),
    "LazyConvTranspose1d": (lambda: nn.LazyConvTranspose1d(6, 3), _maps(4, 1)),
    "LazyConvTranspose2d": (lambda: nn.LazyConvTranspose2d(6, 3), _maps(4, 2)),
    "LazyConvTranspose3d": (lambda: nn.LazyConvTranspose3d(6, 3), _maps(4, 3)),
    "LazyBatchNorm1d": (nn.LazyBatchNorm1d, _maps(4, 1)),
    "LazyBatchNorm2d": (nn.LazyBatchNorm2d, _maps(4, 2)),
    "LazyBatchNorm3d": (nn.LazyBatchNorm3d, _maps(4, 3)),
    "LazyInstanceNorm1d": (lambda: nn.LazyInstanceNorm1d(affine=True), _maps(4, 1)),
    "LazyInstanceNorm2d": (lambda: nn.LazyInstanceNorm2d(affine=True), _maps(4, 2)),
    "LazyInstanceNorm3d": (lambda: nn.LazyInstanceNorm3d(affine=True), _maps(4, 3)),
}
