"""Every layer of torch.nn that has parameters: the plan is what its constructor draws."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
from torch import nn
from torch.nn.utils import prune

from fanin.plans.steps import Draw, Replay
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(nn.Conv1d(8, 12, 3), dim=2)


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
    "LinearCrossEntropyLoss": lambda: nn.LinearCrossEntropyLoss(30, 40),
    "CrossEntropyLoss has no tensors": lambda: nn.Sequential(nn.Linear(2, 3), nn.CrossEntropyLoss()),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(30, 40)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(30, 40)),
    "old weight norm": old_weight_norm,
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(30, 40)),
    "spectral norm of a transposed convolution": lambda: nn.utils.spectral_norm(nn.ConvTranspose2d(6, 8, 3)),
    "square orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(20, 20)),
    "spectral norm over weight norm": lambda: nn.utils.parametrizations.spectral_norm(
        nn.utils.parametrizations.weight_norm(nn.Linear(20, 30))
    ),
    "random pruning": lambda: prune.random_unstructured(nn.Linear(30, 40), "weight", 0.3),
    "magnitude pruning": lambda: prune.l1_unstructured(nn.Linear(30, 40), "weight", 0.3),
    "MultiheadAttention with its own key and value biases": lambda: nn.MultiheadAttention(
        24, 4, bias=False, add_bias_kv=True, add_zero_attn=True
    ),
    "shared module": lambda: (lambda layer: nn.Sequential(layer, nn.ReLU(), layer))(nn.Linear(9, 9)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_plan_is_what_the_constructor_draws(name, agrees_with_constructor):
    agrees_with_constructor(LAYERS[name])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_every_mode_of_embedding_bag(mode, agrees_with_constructor):
    agrees_with_constructor(lambda: nn.EmbeddingBag(30, 10, mode=mode))


# Arguments that build the classes of torch.nn that hold no tensors; the first that work are taken.
ARGUMENTS = ((), (2,), (2, 2), ([2],), (nn.ReLU(), 1), ((2, 2), 1), (0, 1), (2, (2, 2)), (1, 0.1), (2, 2, 2))


def built(cls):
    for arguments in ARGUMENTS:
        try:
            return cls(*arguments)
        except Exception:
            continue
    return pytest.fail(f"torch.nn has a new class {cls.__name__}: add it to LAYERS, or arguments that build it")


def test_every_class_of_torch_nn_with_tensors_is_here():
    classes = {cls for cls in vars(nn).values() if isinstance(cls, type) and issubclass(cls, nn.Module)}
    here = {type(make()) for make in LAYERS.values()}
    lazy = {cls for cls in classes if issubclass(cls, nn.modules.lazy.LazyModuleMixin)}  # test_lazy.py
    assert len(classes) > 140
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        others = {cls: built(cls) for cls in classes - lazy if not any(issubclass(known, cls) for known in here)}
    holding = [cls.__name__ for cls, layer in others.items() if [*layer.parameters(), *layer.buffers()]]
    assert holding == []


def test_a_pruned_layer_keeps_what_its_mask_says():
    captured = capture(LAYERS["magnitude pruning"])
    assert isinstance(captured.plan["weight_orig"].action, Draw)
    assert isinstance(captured.plan["weight_mask"].action, Replay)
    model = materialize(captured.model, captured.plan, seed=4)
    weight, mask = model.weight_orig.detach().abs(), model.weight_mask.bool()
    assert int((~mask).sum()) == 360
    assert float(weight[~mask].max()) <= float(weight[mask].min())
