"""One tensor of each kind that recipes speak about, in networks of usual sizes.

A transformer of 12 layers, width 768 and 12 heads; a residual convolutional network of 8 blocks; an LSTM, a GRU and a
ReLU cell of width 128; a state-space layer; a network of sines. Those inside of a stack stand there twice, in its
first and in its last layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fanin.axes import Axes
from fanin.graph import Place, Use
from fanin.recipes import TensorInfo

LAYERS, BLOCKS, WIDTH, HEADS, CELL = 12, 8, 768, 12, 128
_INNER, _VOCABULARY, _STATES = 4 * WIDTH, 50257, 16


@dataclass(frozen=True, slots=True)
class Example:
    """A kind of tensor; `tensors` are the one in the first layer and the one in the last, or it alone."""

    label: str
    tensors: tuple[TensorInfo, ...]


def examples() -> tuple[Example, ...]:
    """All of them, in the order in which a forward pass meets them."""
    return (*_tables(), *_attention(), *_mlp(), *_norms(), *_vision(), *_recurrent(), *_others())


def _one(role: str, shape: tuple[int, ...], op: str, label: str = "", **about: object) -> Example:
    return Example(label or role, (_tensor(role, shape, op, **about),))


def _tensor(role: str, shape: tuple[int, ...], op: str, **about: object) -> TensorInfo:
    known = {
        name: about.pop(name) for name in ("place", "partner_role", "partner", "opening", "first") if name in about
    }
    use = replace(Use("example", op, role=role), **about)  # pyright: ignore[reportArgumentType]
    made = TensorInfo("example", shape, "float32", "parameter", role, (use,))
    return replace(made, model_layers=LAYERS, model_branches=2 * LAYERS, **known)  # pyright: ignore[reportArgumentType]


def _layered(role: str, shape: tuple[int, ...], op: str, *, mlp: bool, last: bool = False, **about: object) -> Example:
    """In a transformer's layers: branch 0 of each is attention, branch 1 the MLP."""
    inside = Place("layers", layers=LAYERS, branches=2 * LAYERS, members=2, last=last, width=WIDTH, normed="before")
    places = [replace(inside, layer=layer, branch=2 * layer + mlp, others=1.0) for layer in (0, LAYERS - 1)]
    return Example(role, tuple(_tensor(role, shape, op, place=place, **about) for place in places))


def _tables() -> Iterator[Example]:
    yield _one("embedding", (_VOCABULARY, WIDTH), "embedding")
    yield _one("position", (1024, WIDTH), "position")
    yield _one("token", (1, 1, WIDTH), "cat")
    yield _one("relative position", (32, HEADS), "embedding")


def _attention() -> Iterator[Example]:
    square = (WIDTH, WIDTH)
    about = {"axes": Axes.linear(square), "heads": HEADS, "activation": "linear"}
    for part in ("query", "key", "value"):
        yield _layered(f"attention {part}", square, "linear", mlp=False, last=False, behind_norm=True, **about)
    value = Use("example", "linear", role="attention value", behind_norm=True)
    yield _layered("attention output", square, "linear", mlp=False, last=True, opening=value, **about)


def _mlp() -> Iterator[Example]:
    wide, back, experts = (_INNER, WIDTH), (WIDTH, _INNER), (8, WIDTH)
    opens = {"axes": Axes.linear(wide), "behind_norm": True}
    yield _layered("mlp up", wide, "linear", mlp=True, last=False, activation="gelu", **opens)
    yield _layered("mlp gate", wide, "linear", mlp=True, last=False, activation="silu", **opens)
    up = Use("example", "linear", activation="gelu", role="mlp up", behind_norm=True)
    ends = {"axes": Axes.linear(back), "activation": "linear", "opening": up}
    yield _layered("mlp down", back, "linear", mlp=True, last=True, **ends)
    yield _layered("router", experts, "linear", mlp=True, axes=Axes.linear(experts), activation="linear")
    modulation = (6 * WIDTH, WIDTH)
    yield _layered("modulation", modulation, "linear", mlp=True, axes=Axes.linear(modulation), activation="linear")
    head = (_VOCABULARY, WIDTH)
    yield _one("head", head, "linear", axes=Axes.linear(head), activation="linear", behind_norm=True)


def _norms() -> Iterator[Example]:
    yield _one("norm scale", (WIDTH,), "norm_scale")
    end = Place("blocks", 0, BLOCKS, branch=0, branches=BLOCKS, members=2, last=True)
    convolution = Use("example", "conv")
    yield _one("norm scale", (64,), "norm_scale", "last norm scale of a branch", place=end, partner=convolution)
    yield _one("norm shift", (WIDTH,), "norm_shift")
    yield _one("layer scale", (WIDTH,), "scale")
    yield _one("scale", (WIDTH,), "scale")
    for partner in ("attention query", "mlp up", "head", "projection"):
        yield _one("bias", (WIDTH,), "bias", f"bias of {partner}", partner_role=partner)


def _vision() -> Iterator[Example]:
    first, inner, deep, up = (64, 3, 7, 7), (64, 64, 3, 3), (64, 1, 7, 7), (32, 64, 4, 4)
    ends = [
        [Place("blocks", block, BLOCKS, branch=block, branches=BLOCKS, members=2, last=last) for block in (0, 7)]
        for last in (False, True)
    ]
    conv = {"axes": Axes.conv(inner), "activation": "relu"}
    yield _one("convolution", first, "conv", "first convolution", axes=Axes.conv(first, stride=4), first=True)
    for label, places in zip(("convolution", "last convolution of a branch"), ends, strict=True):
        yield Example(label, tuple(_tensor("convolution", inner, "conv", place=place, **conv) for place in places))
    yield _one("convolution", deep, "conv", "depthwise convolution", axes=Axes.conv(deep, groups=64))
    yield _one("transposed convolution", up, "conv_transpose", axes=Axes.conv_transpose(up, stride=4))
    dense = (128, 256)
    yield _one("projection", dense, "linear", axes=Axes.linear(dense), activation="relu")
    sine = {"axes": Axes.linear(dense), "activation": "sin", "parameter": None}
    yield _one("projection", dense, "linear", "projection before a sine", **sine)
    yield _one("slope", (1,), "prelu")


def _recurrent() -> Iterator[Example]:
    square = (CELL, CELL)
    axes = Axes.linear(square)
    for op, gate in (("lstm", "forget"), ("gru", "update"), ("rnn_relu", "")):
        for part in ("input", "hidden"):
            yield _one(f"recurrent {part}", square, op, f"{op} {part} matrix", axes=axes, gate=gate)
    for op, gate in (("lstm", "forget"), ("lstm", "input"), ("lstm", "cell"), ("gru", "update")):
        label = f"{op} {gate} bias"
        weight = Use("weight", op, axes, gate=gate)
        yield _one("bias", (CELL,), op, label, gate=gate, partner_role="recurrent input", partner=weight)


def _others() -> Iterator[Example]:
    inner = 2 * WIDTH
    yield _one("state-space A", (inner, _STATES), "exp")
    yield _one("state-space D", (inner,), "scale")
    yield _one("time step", (inner,), "bias")
    for side, shape in (("A", (8, WIDTH)), ("B", (WIDTH, 8))):
        yield _one(f"lora {side}", shape, "linear", axes=Axes.linear(shape), activation="linear")
