"""Multiply-accumulates of whole networks: by hand, by fanin, by torch's own counter and by torchinfo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from rows import table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import fanin


@dataclass(frozen=True, slots=True)
class Network:
    """A network, a batch of inputs, and its products written out."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], torch.Tensor]
    by_hand: int


def _convolutions() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2))


# Of ResNet-18: the stem; stages of four convolutions 3×3, the first of a later stage with half the channels and beside
# it a shortcut 1×1; the head.
_RESNET18 = (
    112**2 * 64 * 3 * 7**2
    + 4 * 56**2 * 64**2 * 9
    + sum((side * width) ** 2 * (3 * 9 + 9 // 2 + 1) for side, width in ((28, 128), (14, 256), (7, 512)))
    + 512 * 1000
)
NETWORKS = (
    Network(
        "ResNet-18, 1 × 3 × 224²",
        lambda: fanin.models.build("resnet18"),
        lambda: torch.zeros(1, 3, 224, 224),
        _RESNET18,
    ),
    Network(
        "GPT-2 small, 1 × 128 tokens",
        lambda: fanin.models.build("gpt2-small"),
        lambda: torch.zeros(1, 128, dtype=torch.long),
        128 * (12 * 12 * 768**2 + 50257 * 768) + 12 * 2 * 128**2 * 768,
    ),
    Network(
        "LSTM(64, 128, 2) + Linear(128, 10), 4 × 20 × 64",
        lambda: fanin.models.build("lstm:inputs=64,width=128,depth=2"),
        lambda: torch.zeros(4, 20, 64),
        4 * 20 * 4 * 128 * (64 + 3 * 128) + 4 * 128 * 10,
    ),
    Network(
        "bidirectional GRU(64, 128) + Linear(256, 10), 4 × 20 × 64",
        lambda: fanin.models.build("gru:inputs=64,width=128,bidirectional=true"),
        lambda: torch.zeros(4, 20, 64),
        2 * 4 * 20 * 3 * 128 * (64 + 128) + 4 * 256 * 10,
    ),
    Network(
        "TransformerEncoderLayer(64, 4, 128), 2 × 10 × 64",
        lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True),
        lambda: torch.zeros(2, 10, 64),
        2 * 10 * (4 * 64**2 + 2 * 64 * 128) + 2 * 2 * 10**2 * 64,
    ),
    Network(
        "ConvTranspose2d(8, 4, 4, 2, 1) + Conv2d(4, 4, 3, 1, 1, groups=2), 2 × 8 × 16²",
        _convolutions,
        lambda: torch.zeros(2, 8, 16, 16),
        2 * (16**2 * 8 * 4 * 4**2 + 32**2 * 4 * 2 * 3**2),
    ),
)


def counted(network: Network) -> list[int | None]:
    """By fanin, torch, torchinfo."""
    model, inputs = network.build(), network.inputs()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(inputs)
    return [fanin.count(model, inputs).macs, counter.get_total_flops() // 2, _torchinfo(model, inputs)]


def _torchinfo(model: nn.Module, inputs: torch.Tensor) -> int | None:
    try:
        import torchinfo
    except ImportError:
        return None
    return torchinfo.summary(model, input_data=inputs, verbose=0).total_mult_adds


def section() -> tuple[str, bool]:
    """The table, and whether fanin counts what is counted by hand."""
    lines: list[list[str]] = []
    right = True
    for network in NETWORKS:
        ours, *others = counted(network)
        right = right and ours == network.by_hand
        lines.append(
            [network.name, f"{network.by_hand:,}", *(_cell(each, network.by_hand) for each in (ours, *others))]
        )
    head = ["network", "products by hand", "`fanin.count`", "torch's `FlopCounterMode` / 2", "`torchinfo`"]
    return f"{table(head, lines)}\n\n{_NOTE}", right


def _cell(found: int | None, expected: int) -> str:
    if found is None:
        return "not installed"
    off = 100 * (found - expected) / expected
    return f"{found:,}" + (f" ({off:+.{1 if abs(off) >= 0.05 else 4}f} %)" if off else "")


_NOTE = """\
Multiply-accumulates of one forward pass in training mode: of matrix products, convolutions, recurrent layers and
attention, both of whose products are counted whole (a causal mask saves nothing here); logits at every token, the last
state alone for the recurrent classifiers. Biases, activations and norms are not products."""
