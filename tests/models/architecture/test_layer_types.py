"""Every type of layer: its options survive, its sizes follow, and no type is left out of these tests."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fanin.models.layers
from fanin.models.architecture import Architecture, Input, Layer, layer_types
from fanin.models.architecture.json_form import _OF_LAYER
from fanin.models.architecture.registry import kind_of, kinds
from fanin.models.layers.attention import Attention

Kept = Callable[[nn.Module, Any], Architecture]
FLAT, STEPS, MAPS, IMAGE, VOLUME = (3, 8), (3, 6, 8), (3, 4, 9), (3, 4, 9, 10), (3, 4, 5, 6, 7)
OF_RANK = {1: MAPS, 2: IMAGE, 3: VOLUME}

# Each with options that are not the default ones.
MODULES: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Linear(8, 3, bias=False), FLAT),
    (nn.Dropout(0.25), FLAT),
    (nn.AlphaDropout(0.25), FLAT),
    (nn.LayerNorm(8, eps=1e-3, bias=False), STEPS),
    (nn.LayerNorm((6, 8), elementwise_affine=False), STEPS),
    (nn.RMSNorm(8, eps=1e-3), STEPS),
    (nn.GroupNorm(2, 4, eps=1e-3, affine=False), IMAGE),
    (nn.LocalResponseNorm(2, alpha=0.1, beta=0.5, k=2.0), IMAGE),
    (nn.Flatten(2), IMAGE),
    (nn.Unflatten(1, (2, 4)), FLAT),
    (nn.Fold((4, 5), (2, 1)), (3, 8, 15)),
    (nn.Unfold((2, 3), padding=1, stride=2), IMAGE),
    (nn.PixelShuffle(2), IMAGE),
    (nn.PixelUnshuffle(3), (3, 4, 9, 9)),
    (nn.ChannelShuffle(2), IMAGE),
    (nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True), IMAGE),
    (nn.Upsample(size=(4, 6)), IMAGE),
    (nn.LPPool1d(2.0, 3, stride=2), MAPS),
    (nn.LPPool2d(2.0, (3, 2), ceil_mode=True), IMAGE),
    (nn.CELU(0.5), FLAT),
    (nn.ELU(0.5, inplace=True), FLAT),
    (nn.GELU("tanh"), FLAT),
    (nn.GLU(1), FLAT),
    (nn.Hardshrink(0.2), FLAT),
    (nn.Hardsigmoid(), FLAT),
    (nn.Hardswish(), FLAT),
    (nn.Hardtanh(-2.0, float("inf")), FLAT),
    (nn.Identity(), FLAT),
    (nn.LeakyReLU(0.2), FLAT),
    (nn.LogSigmoid(), FLAT),
    (nn.LogSoftmax(1), FLAT),
    (nn.Mish(), FLAT),
    (nn.PReLU(8, 0.1), FLAT),
    (nn.ReLU(), FLAT),
    (nn.ReLU6(), FLAT),
    (nn.RReLU(0.1, 0.2), FLAT),
    (nn.SELU(), FLAT),
    (nn.Sigmoid(), FLAT),
    (nn.SiLU(), FLAT),
    (nn.Softmax(1), FLAT),
    (nn.Softmin(1), FLAT),
    (nn.Softplus(2.0, 10.0), FLAT),
    (nn.Softshrink(0.2), FLAT),
    (nn.Softsign(), FLAT),
    (nn.Tanh(), FLAT),
    (nn.Tanhshrink(), FLAT),
    (nn.Threshold(0.1, -1.0), FLAT),
    (nn.TransformerEncoderLayer(8, 2, 12, 0.2, "gelu", 1e-3, batch_first=True, norm_first=True, bias=False), STEPS),
    (nn.BatchNorm1d(8, eps=1e-3, momentum=None), FLAT),
    (nn.BatchNorm2d(4, affine=False), IMAGE),
    (nn.BatchNorm3d(4, track_running_stats=False), VOLUME),
    (Attention(8, 4, kv_heads=2, causal=False, rotary=100.0, bias=False, dropout=0.1), STEPS),
]
for rank, shape in OF_RANK.items():
    each = {
        name: getattr(nn, f"{name}{rank}d") for name in ("Conv", "ConvTranspose", "InstanceNorm", "MaxPool", "AvgPool")
    }
    each |= {name: getattr(nn, f"{name}{rank}d") for name in ("AdaptiveAvgPool", "AdaptiveMaxPool", "ConstantPad")}
    each |= {
        name: getattr(nn, f"{name}{rank}d") for name in ("ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")
    }
    MODULES += [
        (each["Conv"](4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False, padding_mode="circular"), shape),
        (each["Conv"](4, 6, 3, padding="same"), shape),
        (each["ConvTranspose"](4, 6, 3, stride=2, output_padding=1, groups=2), shape),
        (each["InstanceNorm"](4, affine=True, track_running_stats=True), shape),
        (each["MaxPool"](3, stride=2, padding=1, ceil_mode=True), shape),
        (each["MaxPool"](2), shape),
        (each["AvgPool"](3, stride=1, padding=1, count_include_pad=False), shape),
        (each["AdaptiveAvgPool"](2), shape),
        (each["AdaptiveMaxPool"](3), shape),
        (each["ConstantPad"](1, 2.5), shape),
        (each["ZeroPad"](tuple(range(2 * rank))), shape),
        (each["ReflectionPad"](1), shape),
        (each["ReplicationPad"](2), shape),
        (each["CircularPad"](1), shape),
        (getattr(nn, f"Dropout{rank}d")(0.25), shape),
    ]
MODULES += [(nn.Conv2d(4, 6, (1, 3), stride=(2, 1)), IMAGE)]


@pytest.mark.parametrize(
    ("module", "shape"), MODULES, ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else ""
)
def test_a_layers_options_survive(module: nn.Module, shape: tuple[int, ...], kept: Kept) -> None:
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    made = kept(nn.Sequential(module), inputs)
    (layer,) = made.layers
    built = made.build().get_submodule("0")
    assert repr(built) == repr(module)
    mine, wanted = kind_of(built), kind_of(module)
    assert mine is not None
    assert mine == wanted
    sizes = {name: value for name, value in layer.options.items() if name in kinds()[layer.type].sizes}
    assert sizes in ({}, {"normalized_shape": (6, 8)})


def test_every_type_of_torch_is_tested_here() -> None:
    here = {kind.name for module, _ in MODULES if (kind := (kind_of(module) or (None,))[0])}
    elsewhere = {"embedding", "bilinear", "rnn", "lstm", "gru", "rnn_cell", "gru_cell", "lstm_cell"}
    elsewhere |= {"multihead_attention", "transformer_decoder_layer"}
    of_torch = {name for name, kind in kinds().items() if _class(kind).__module__.startswith("torch.nn")}
    assert of_torch == here - {"attention"} | elsewhere


def _class(kind: Any) -> Any:
    return getattr(kind.make, "cls", kind.make)


def test_layers_with_several_inputs_or_parts(kept: Kept) -> None:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(20, 8, padding_idx=3)
            self.rnn, self.gru, self.lstm = nn.RNNCell(8, 4, nonlinearity="relu"), nn.GRUCell(4, 5), nn.LSTMCell(5, 6)
            self.both, self.decoder = nn.Bilinear(6, 4, 8), nn.TransformerDecoderLayer(8, 2, 12, batch_first=True)

        def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            steps = self.table(tokens)
            first = self.rnn(steps[:, 0])
            hidden, cell = self.lstm(self.gru(first))
            mixed = self.both(hidden, first).unsqueeze(1)
            return self.decoder(mixed, steps), cell

    made = kept(Cells(), torch.arange(15).reshape(3, 5))
    layers = {layer.name: layer for layer in made.layers}
    assert layers["table"].options["padding_idx"] == 3
    assert layers["both"].inputs == ("item", "rnn")
    assert layers["decoder"].inputs == ("unsqueeze", "table")


def test_no_option_has_the_name_of_a_key() -> None:
    assert not [(name, key) for name, kind in kinds().items() for key in kind.options if key in _OF_LAYER]
    assert "take" not in {key for name, kind in kinds().items() if name != "again" for key in kind.options}
    assert list(layer_types()) == sorted(kinds())


def test_every_leaf_of_fanins_layers_has_a_type() -> None:
    names = [name for _, name, _ in pkgutil.iter_modules(fanin.models.layers.__path__, "fanin.models.layers.")]
    things = [thing for name in names for thing in vars(importlib.import_module(name)).values()]
    own = {
        each for each in things if isinstance(each, type) and issubclass(each, nn.Module) and each.__module__ in names
    }
    # Those that are followed into: their parts are layers of torch, joined by operations that have a type.
    followed = {"FeedForward", "GatedFeedForward", "ClassToken", "Patches", "Pooled", "Sine"}
    typed = {_class(kind) for kind in kinds().values()}
    assert {each.__name__ for each in own - typed} <= followed


def test_what_is_taken_of_a_recurrent_layer() -> None:
    def shape(type: str, take: str) -> Any:
        layer = Layer("cell", type, {"hidden_size": 4, "num_layers": 2, "take": take})
        return Architecture("", {"x": Input((6, 8))}, (layer,)).shapes(3)["cell"]

    assert shape("lstm", "output") == shape("gru", "output") == (3, 6, 4)
    assert shape("lstm", "hidden") == shape("lstm", "cell") == shape("rnn", "hidden") == (2, 3, 4)
    assert shape("lstm", "all") == ((3, 6, 4), ((2, 3, 4), (2, 3, 4)))
