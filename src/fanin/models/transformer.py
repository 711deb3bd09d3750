"""Transformer decoders: GPT-2, Llama, Mixtral and what lies between, by options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation
from fanin.models.blocks import Block, Placement
from fanin.models.layers.attention import Attention
from fanin.models.layers.experts import Experts
from fanin.models.layers.feedforward import feedforward
from fanin.models.layers.positions import LearnedPositions
from fanin.models.layers.step_norms import step_norms
from fanin.models.norms import Norm, norm_factory
from fanin.models.sample import Sample
from fanin.models.sizes import check_dropout, check_positive

Position = Literal["learned", "rotary", "none"]
_STEPS = 16


class Transformer(nn.Module):
    """Tokens, positions, blocks, the last norm, the head; see `transformer`."""

    def __init__(
        self,
        embedding: nn.Embedding,
        positions: nn.Module,
        blocks: nn.Sequential,
        norm: nn.Module,
        *,
        context: int,
        tied: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.positions = positions
        self.dropout = nn.Dropout(dropout)
        self.blocks = blocks
        self.norm = norm
        self.head = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False)
        if tied:
            self.head.weight = embedding.weight
        self.sample = Sample((min(_STEPS, context),), tokens=embedding.num_embeddings)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [n, steps, vocabulary] of the token after each of `tokens` [n, steps]."""
        stream = self.dropout(self.positions(self.embedding(tokens)))
        return self.head(self.norm(self.blocks(stream)))


def transformer(
    vocabulary: int = 256,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    *,
    context: int = 128,
    kv_heads: int | None = None,
    hidden: int | None = None,
    activation: Activation = "gelu",
    norm: Norm = "layer",
    placement: Placement = "pre",
    position: Position = "learned",
    rotary_base: float = 10000.0,
    experts: int | None = None,
    experts_per_token: int = 2,
    tied: bool = True,
    bias: bool = True,
    dropout: float = 0.0,
) -> Transformer:
    """A decoder: `embedding`, `positions`, `blocks` of causal attention and a feed-forward layer, `norm`, `head`.

        x ← x + attention(norm(x)),   x ← x + feedforward(norm(x))   (pre)
        x ← norm(x + attention(x)),   x ← norm(x + feedforward(x))   (post, without a norm at the end)

    Args:
        vocabulary: number of tokens.
        width: features of a step.
        depth: blocks.
        heads: query heads.
        context: tokens in a window; more cannot be read where positions are learned.
        kv_heads: key and value heads, each shared by heads/kv_heads query heads; as many as query heads where none are
            given.
        hidden: features inside a feed-forward layer; 4·width where none are given, 8/3·width up to a multiple of 8
            where it is gated.
        activation: of the feed-forward layers; gated ones are "swiglu", "geglu", "reglu" and "glu".
        norm: "layer", "rms", a factory from a width to a module, or none.
        placement: norms before a branch ("pre") or after its sum ("post").
        position: "learned", "rotary" or "none".
        rotary_base: of the angles of rotary positions.
        experts: feed-forward layers among which a router chooses at every token; none for one without a router.
        experts_per_token: how many of them it chooses.
        tied: whether the head is the embedding.
        bias: whether projections and layer norms have biases; head and router never have.
        dropout: share set to 0 in training of embeddings, attention weights and outputs of branches.

    Returns:
        a model from tokens [n, steps] to [n, steps, vocabulary].

    Raises:
        ArgumentError: a size that is not a positive integer or does not divide another, a dropout outside of [0, 1),
            a word that means nothing.
        UnknownNameError: no activation or normalisation of that name.

    Source: Vaswani et al. 2017, arXiv 1706.03762; Radford et al. 2019 (GPT-2); Touvron et al. 2023, arXiv 2302.13971
    (Llama).

    >>> sum(each.numel() for each in transformer(65, 64, 2, 4, norm="rms", activation="swiglu").parameters())
    114368
    """
    given = {"kv_heads": kv_heads, "hidden": hidden, "experts": experts}
    optional = {name: size for name, size in given.items() if size is not None}
    check_positive(
        "transformer", vocabulary=vocabulary, width=width, depth=depth, heads=heads, context=context, **optional
    )
    check_dropout("transformer", dropout)
    _check_words(placement, position)
    make_norm = norm_factory(norm, step_norms(bias=bias))
    norms: Callable[[], nn.Module] = nn.Identity if make_norm is None else partial(make_norm, width)
    dense = partial(feedforward, width, hidden, activation, bias=bias)

    def block() -> Block:
        attention = Attention(
            width,
            heads,
            kv_heads=kv_heads,
            rotary=rotary_base if position == "rotary" else None,
            bias=bias,
            dropout=dropout,
        )
        branch = dense() if experts is None else Experts(width, experts, experts_per_token, dense)
        return Block(attention, branch, norms, placement, dropout)

    return Transformer(
        nn.Embedding(vocabulary, width),
        LearnedPositions(context, width) if position == "learned" else nn.Identity(),
        nn.Sequential(*(block() for _ in range(depth))),
        norms() if placement == "pre" else nn.Identity(),
        context=context,
        tied=tied,
        dropout=dropout,
    )


def _check_words(placement: str, position: str) -> None:
    if placement not in ("pre", "post"):
        raise ArgumentError(f"transformer: placement must be 'pre' or 'post', got {placement!r}")
    if position not in ("learned", "rotary", "none"):
        raise ArgumentError(f"transformer: position must be 'learned', 'rotary' or 'none', got {position!r}")
