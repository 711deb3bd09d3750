"""Sequence to sequence: an encoder whose last state a decoder starts from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from fanin.errors import ArgumentError, UnknownNameError
from fanin.models.layers.sequences import ShiftRight
from fanin.models.recurrent import between
from fanin.models.sample import Sample
from fanin.models.sizes import check_dropout, check_positive

CELLS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_STEPS = 16


class Seq2Seq(nn.Module):
    """Encoder and decoder; see `seq2seq`."""

    def __init__(
        self,
        source: nn.Embedding,
        encoder: nn.RNNBase,
        target: nn.Embedding,
        decoder: nn.RNNBase,
        start: int,
    ) -> None:
        super().__init__()
        self.source, self.encoder = source, encoder
        self.shift, self.target, self.decoder = ShiftRight(start), target, decoder
        self.head = nn.Linear(decoder.hidden_size, target.num_embeddings)
        self.sample = {
            "source": Sample((_STEPS,), tokens=source.num_embeddings),
            "target": Sample((_STEPS,), tokens=target.num_embeddings),
        }

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits of each token of `target` [n, steps] given `source` and the tokens before it."""
        _, state = self.encoder(self.source(source))
        states, _ = self.decoder(self.target(self.shift(target)), state)
        return self.head(states)


def seq2seq(
    vocabulary: int = 64,
    width: int = 128,
    depth: int = 1,
    *,
    cell: Literal["lstm", "gru", "rnn"] = "lstm",
    targets: int | None = None,
    embedding: int | None = None,
    start: int = 0,
    bias: bool = True,
    dropout: float = 0.0,
) -> Seq2Seq:
    """A recurrent encoder, and a decoder that starts from its last state and is taught with the true tokens.

        s = encoder(x_1 … x_S),   y_t = V·decoder(start, z_1 … z_{t−1}; s) + d

    The decoder reads the target one step late (teacher forcing), so `model(source, target)` predicts `target` itself.

    Args:
        vocabulary: tokens of the source.
        width: of the state of each layer of both sides.
        depth: layers of each side.
        cell: "lstm", "gru" or "rnn" (tanh).
        targets: tokens of the target; as many as of the source where none are given.
        embedding: width of both embeddings; `width` where none is given.
        start: the token that the decoder reads first.
        bias: whether the recurrent layers have biases.
        dropout: share of each layer's outputs but the last one's that is set to 0 in training.

    Returns:
        a model from source [n, S] and target [n, T], whole numbers, to [n, T, targets]; ignored targets (−100) are
        read as token 0.

    Raises:
        ArgumentError: a size that is not a positive integer, a dropout outside of [0, 1), a start that is no token.
        UnknownNameError: no such cell.

    Source: Sutskever, Vinyals & Le 2014, arXiv 1409.3215; Cho et al. 2014, arXiv 1406.1078.

    >>> model = seq2seq(20, 8, targets=30)
    >>> model(torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 7, dtype=torch.long)).shape
    torch.Size([2, 7, 30])
    """
    tokens = vocabulary if targets is None else targets
    features = width if embedding is None else embedding
    check_positive("seq2seq", vocabulary=vocabulary, width=width, depth=depth, targets=tokens, embedding=features)
    check_dropout("seq2seq", dropout)
    if not 0 <= start < tokens:
        raise ArgumentError(f"seq2seq: start must be one of the {tokens} tokens of the target, got {start}")
    if cell not in CELLS:
        raise UnknownNameError.among("cell of seq2seq", cell, CELLS)

    def layer() -> nn.RNNBase:
        return CELLS[cell](features, width, depth, bias=bias, batch_first=True, dropout=between(dropout, depth))

    return Seq2Seq(nn.Embedding(vocabulary, features), layer(), nn.Embedding(tokens, features), layer(), start)
