"""Recurrent networks: classifiers, taggers and language models of torch's RNN, LSTM and GRU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.layers.sequences import AsSteps, EveryStep, LastState
from fanin.models.layers.step_norms import step_norms
from fanin.models.norms import Norm, norm_factory
from fanin.models.sample import Sample
from fanin.models.sizes import check_dropout, check_positive

Reads = Literal["last", "every"]
_ROW, _CLASSES, _STEPS = 28, 10, 16


class Recurrent(nn.Sequential):
    """Steps or embedded tokens, recurrent layers, what is read of them, a dense layer."""

    def __init__(self, layers: OrderedDict[str, nn.Module], sample: Sample) -> None:
        super().__init__(layers)
        self.sample = sample


def rnn(
    inputs: int | None = None,
    classes: int | None = None,
    width: int = 128,
    depth: int = 1,
    *,
    vocabulary: int | None = None,
    reads: Reads | None = None,
    activation: Literal["tanh", "relu"] = "tanh",
    bidirectional: bool = False,
    norm: Norm = None,
    bias: bool = True,
    dropout: float = 0.0,
) -> Recurrent:
    """A plain recurrent network: `steps` or `embedding`, `rnn`, `read`, `norm`, `head`.

        h_t = act(W·x_t + b + U·h_{t−1} + c),   y = V·norm(h_T) + d, or of every h_t

    Args:
        inputs: features of a step, 28 where none are given; images are read row by row; with a vocabulary the width of
            the embedding, `width` where none is given.
        classes: width of the output, 10 where none is given; with a vocabulary as many as it has tokens.
        width: of the state of each layer and direction.
        depth: layers on top of each other.
        vocabulary: number of tokens; none for real features.
        reads: "last": one output, from the state at the end, of two directions from both ends; "every": one per step;
            where none is given "every" if the classes are the tokens of the vocabulary, else "last".
        activation: "tanh" or "relu".
        bidirectional: whether a second direction reads from the end.
        norm: over what the head reads: "layer", "rms", a factory from a width to a module, or none.
        bias: whether layers have biases, of which torch's recurrent layers have two.
        dropout: share of each layer's outputs but the last one's that is set to 0 in training.

    Returns:
        a model from [n, steps, inputs], from images, or from tokens [n, steps], to [n, classes] or [n, steps, classes].

    Raises:
        ArgumentError: a size that is not a positive integer, a dropout outside of [0, 1), a word that means nothing.
        UnknownNameError: no normalisation of that name.

    Source: Elman 1990, Cognitive Science 14.

    >>> rnn(28, 10).rnn.weight_ih_l0.shape
    torch.Size([128, 28])
    """
    if activation not in ("tanh", "relu"):
        raise ArgumentError(f"rnn: activation must be 'tanh' or 'relu', the two that torch has, got {activation!r}")
    asked = _Asked(inputs, classes, width, depth, vocabulary, reads, bidirectional, norm, bias, dropout)
    return _recurrent("rnn", partial(nn.RNN, nonlinearity=activation), asked)


def lstm(
    inputs: int | None = None,
    classes: int | None = None,
    width: int = 128,
    depth: int = 1,
    *,
    vocabulary: int | None = None,
    reads: Reads | None = None,
    bidirectional: bool = False,
    norm: Norm = None,
    bias: bool = True,
    dropout: float = 0.0,
) -> Recurrent:
    """A long short-term memory: `steps` or `embedding`, `lstm`, `read`, `norm`, `head`.

        i, f, o = σ(…), g = tanh(…) of (x_t, h_{t−1}),   c_t = f·c_{t−1} + i·g,   h_t = o·tanh(c_t)

    Args:
        inputs: features of a step, 28 where none are given; images are read row by row; with a vocabulary the width of
            the embedding, `width` where none is given.
        classes: width of the output, 10 where none is given; with a vocabulary as many as it has tokens.
        width: of the state of each layer and direction.
        depth: layers on top of each other.
        vocabulary: number of tokens; none for real features.
        reads: "last": one output, from the state at the end, of two directions from both ends; "every": one per step;
            where none is given "every" if the classes are the tokens of the vocabulary, else "last".
        bidirectional: whether a second direction reads from the end.
        norm: over what the head reads: "layer", "rms", a factory from a width to a module, or none.
        bias: whether layers have biases, of which torch's recurrent layers have two.
        dropout: share of each layer's outputs but the last one's that is set to 0 in training.

    Returns, raises: as `rnn`.

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000 (forget gate).

    >>> import torch
    >>> lstm(vocabulary=50, width=8)(torch.zeros(2, 7, dtype=torch.long)).shape
    torch.Size([2, 7, 50])
    """
    asked = _Asked(inputs, classes, width, depth, vocabulary, reads, bidirectional, norm, bias, dropout)
    return _recurrent("lstm", nn.LSTM, asked)


def gru(
    inputs: int | None = None,
    classes: int | None = None,
    width: int = 128,
    depth: int = 1,
    *,
    vocabulary: int | None = None,
    reads: Reads | None = None,
    bidirectional: bool = False,
    norm: Norm = None,
    bias: bool = True,
    dropout: float = 0.0,
) -> Recurrent:
    """A gated recurrent network: `steps` or `embedding`, `gru`, `read`, `norm`, `head`.

        r, z = σ(…) of (x_t, h_{t−1}),   n = tanh(W·x_t + r·(U·h_{t−1} + c)),   h_t = (1 − z)·n + z·h_{t−1}

    Args:
        inputs: features of a step, 28 where none are given; images are read row by row; with a vocabulary the width of
            the embedding, `width` where none is given.
        classes: width of the output, 10 where none is given; with a vocabulary as many as it has tokens.
        width: of the state of each layer and direction.
        depth: layers on top of each other.
        vocabulary: number of tokens; none for real features.
        reads: "last": one output, from the state at the end, of two directions from both ends; "every": one per step;
            where none is given "every" if the classes are the tokens of the vocabulary, else "last".
        bidirectional: whether a second direction reads from the end.
        norm: over what the head reads: "layer", "rms", a factory from a width to a module, or none.
        bias: whether layers have biases, of which torch's recurrent layers have two.
        dropout: share of each layer's outputs but the last one's that is set to 0 in training.

    Returns, raises: as `rnn`.

    Source: Cho et al. 2014, arXiv 1406.1078; the reset gate behind the product as in cuDNN.

    >>> import torch
    >>> gru(3, 5, width=8, bidirectional=True)(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 5])
    """
    asked = _Asked(inputs, classes, width, depth, vocabulary, reads, bidirectional, norm, bias, dropout)
    return _recurrent("gru", nn.GRU, asked)


def between(dropout: float, depth: int) -> float:
    """Dropout between `depth` layers: none for one, of which torch warns."""
    return dropout if depth > 1 else 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the three builders have in common."""

    inputs: int | None
    classes: int | None
    width: int
    depth: int
    vocabulary: int | None
    reads: Reads | None
    bidirectional: bool
    norm: Norm
    bias: bool
    dropout: float


def _recurrent(name: str, kind: Callable[..., nn.Module], asked: _Asked) -> Recurrent:
    tokens = asked.vocabulary
    features = next(size for size in (asked.inputs, None if tokens is None else asked.width, _ROW) if size is not None)
    classes = next(size for size in (asked.classes, tokens, _CLASSES) if size is not None)
    _check(name, asked, features, classes)
    make_norm = norm_factory(asked.norm, step_norms())
    every = asked.reads == "every" or (asked.reads is None and tokens is not None and asked.classes is None)
    read = asked.width * (1 + asked.bidirectional)
    first = ("steps", AsSteps(features)) if tokens is None else ("embedding", nn.Embedding(tokens, features))
    recurrent = kind(
        features,
        asked.width,
        asked.depth,
        bias=asked.bias,
        batch_first=True,
        dropout=between(asked.dropout, asked.depth),
        bidirectional=asked.bidirectional,
    )
    layers = OrderedDict[str, nn.Module]((first, (name, recurrent)))
    layers["read"] = EveryStep() if every else LastState(bidirectional=asked.bidirectional)
    if make_norm is not None:
        layers["norm"] = make_norm(read)
    layers["head"] = nn.Linear(read, classes, bias=asked.bias)
    return Recurrent(layers, Sample((_STEPS, features)) if tokens is None else Sample((_STEPS,), tokens=tokens))


def _check(name: str, asked: _Asked, features: int, classes: int) -> None:
    if asked.vocabulary is not None:
        check_positive(name, vocabulary=asked.vocabulary)
    check_positive(name, inputs=features, classes=classes, width=asked.width, depth=asked.depth)
    if asked.reads not in (None, "last", "every"):
        raise ArgumentError(f"{name}: reads must be 'last' or 'every', got {asked.reads!r}")
    check_dropout(name, asked.dropout)
