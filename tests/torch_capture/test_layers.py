"""Every layer of torch.nn that has parameters: the plan is what its constructor draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(40, 30),
    "Linear without bias": lambda: nn.Linear(40, 30, bias=False),
    "Bilinear": lambda: nn.Bilinear(8, 9, 10),
    "Conv1d": lambda: nn.Conv1d(8, 12, 3, groups=2),
    "Conv2d": lambda: nn.Conv2d(8, 12, 3),
    "Conv3d": lambda: nn.Conv3d(4, 6, 3),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(8, 12, 3),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(8, 12, 3, groups=4),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(4, 6, 3),
    "BatchNorm1d": lambda: nn.BatchNorm1d(7),
    "BatchNorm2d": lambda: nn.BatchNorm2d(7, affine=False),
    "BatchNorm3d": lambda: nn.BatchNorm3d(7, track_running_stats=False),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(7),
    "InstanceNorm1d": lambda: nn.InstanceNorm1d(7, affine=True, track_running_stats=True),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(7, affine=True),
    "InstanceNorm3d": lambda: nn.InstanceNorm3d(7, affine=True),
    "LayerNorm": lambda: nn.LayerNorm((5, 6)),
    "GroupNorm": lambda: nn.GroupNorm(2, 8),
    "RMSNorm": lambda: nn.RMSNorm(9),
    "PReLU": lambda: nn.PReLU(4, init=0.1),
    "Embedding": lambda: nn.Embedding(50, 20),
    "Embedding with padding": lambda: nn.Embedding(50, 20, padding_idx=3),
    "EmbeddingBag": lambda: nn.EmbeddingBag(50, 20, padding_idx=-1),
    "RNN": lambda: nn.RNN(10, 20, num_layers=2, bidirectional=True),
    "LSTM": lambda: nn.LSTM(10, 20, proj_size=5),
    "GRU": lambda: nn.GRU(10, 20),
    "RNNCell": lambda: nn.RNNCell(10, 20),
    "LSTMCell": lambda: nn.LSTMCell(10, 20),
    "GRUCell": lambda: nn.GRUCell(10, 20),
    "MultiheadAttention": lambda: nn.MultiheadAttention(24, 4),
    "MultiheadAttention with own widths": lambda: nn.MultiheadAttention(24, 4, kdim=10, vdim=12, add_bias_kv=True),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(24, 4, 40),
    "TransformerDecoderLayer": lambda: nn.TransformerDecoderLayer(24, 4, 40),
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 4, 40, batch_first=True), 3),
    "TransformerDecoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(24, 4, 40), 2),
    "Transformer": lambda: nn.Transformer(24, 4, 2, 2, 40, batch_first=True),
    "AdaptiveLogSoftmaxWithLoss": lambda: nn.AdaptiveLogSoftmaxWithLoss(20, 60, [10, 30]),
    "CrossEntropyLoss has no tensors": lambda: nn.Sequential(nn.Linear(2, 3), nn.CrossEntropyLoss()),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(30, 40)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(30, 40)),
    "shared module": lambda: (lambda layer: nn.Sequential(layer, nn.ReLU(), layer))(nn.Linear(9, 9)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_plan_is_what_the_constructor_draws(name, agrees_with_constructor):
    agrees_with_constructor(LAYERS[name])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_every_mode_of_embedding_bag(mode, agrees_with_constructor):
    agrees_with_constructor(lambda: nn.EmbeddingBag(30, 10, mode=mode))
