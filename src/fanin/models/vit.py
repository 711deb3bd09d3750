"""Vision transformers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, get_args

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation
from fanin.models.blocks import Block
from fanin.models.layers.attention import Attention
from fanin.models.layers.feedforward import feedforward
from fanin.models.layers.images import AsImages
from fanin.models.layers.patches import ClassToken, Patches, Pooled
from fanin.models.layers.positions import LearnedPositions
from fanin.models.norms import FLAT, Norm, norm_factory
from fanin.models.sizes import check_choice, check_dropout, check_image, check_positive

Reads = Literal["class", "average"]


def vit(
    depth: int = 12,
    *,
    shape: tuple[int, ...] = (3, 224, 224),
    classes: int = 1000,
    width: int = 192,
    heads: int = 3,
    patch: int | None = None,
    hidden: int | None = None,
    activation: Activation = "gelu",
    norm: Norm = "layer",
    bias: bool = True,
    dropout: float = 0.0,
    reads: Reads = "class",
) -> nn.Sequential:
    """A vision transformer: `patches`, `class_token`, `positions`, pre-norm `blocks`, `norm`, `head`.

        t₀ = [c; E·patches(x)] + P,   t_l = block_l(t_{l−1}),   y = W·norm(t_L)[0] + b

    The default is ViT-Ti/16; ViT-S/16 has width 384 and 6 heads, ViT-B/16 768 and 12.

    Args:
        depth: number of blocks.
        shape: (channels, height, width) of one sample; patches tile it.
        classes: width of the output.
        width: of a token.
        heads: of attention in each block; they share the width.
        patch: side of a patch; where not given, 16 for sides of 64 or more, else 4, or 7 for sides of 28.
        hidden: width inside the blocks' feed-forward layers; 4·width where not given.
        activation: of the feed-forward layers: a name ("swiglu" and its like are gated), a function or a module.
        norm: "layer", "rms", a factory from a width to a module, or None.
        bias: whether dense layers have biases.
        dropout: probability of what each branch adds to be dropped in training.
        reads: "class": the head reads a learned token of its own; "average": the mean of all tokens.

    Returns:
        a model from [n, *shape] or [n, ∏shape] to [n, classes].

    Raises:
        ArgumentError: a size that is not a positive integer, patches that do not tile the image, heads that do not
            share the width.
        UnknownNameError: no activation or normalisation of that name.

    Source: Dosovitskiy et al. 2020, arXiv 2010.11929; the sizes Ti and S: Touvron et al. 2020, arXiv 2012.12877.

    >>> sum(p.numel() for p in vit().parameters())
    5717416
    """
    inner = {} if hidden is None else {"hidden": hidden}
    check_positive("vit", depth=depth, classes=classes, width=width, heads=heads, **inner)
    check_dropout("vit", dropout)
    check_choice("vit", "reads", reads, get_args(Reads))
    image = check_image("vit", shape)
    side = _patch(image, patch)
    tokens = image[1] // side * (image[2] // side)
    make_norm = norm_factory(norm, {name: FLAT[name] for name in ("layer", "rms")})

    def fresh_norm() -> nn.Module:
        return nn.Identity() if make_norm is None else make_norm(width)

    layers = OrderedDict[str, nn.Module](images=AsImages(image), patches=Patches(image[0], side, width, bias=bias))
    if reads == "class":
        layers["class_token"] = ClassToken(width)
        tokens += 1
    layers["positions"] = LearnedPositions(tokens, width)
    layers["blocks"] = nn.Sequential(
        *(
            Block(
                Attention(width, heads, causal=False, bias=bias),
                feedforward(width, hidden, activation, bias=bias),
                fresh_norm,
                dropout=dropout,
            )
            for _ in range(depth)
        )
    )
    if make_norm is not None:
        layers["norm"] = make_norm(width)
    layers |= {"pooled": Pooled(reads), "head": nn.Linear(width, classes, bias=bias)}
    return nn.Sequential(layers)


def _patch(image: tuple[int, int, int], patch: int | None) -> int:
    sides = image[1:]
    if patch is not None:
        check_positive("vit", patch=patch)
        side = patch
    else:
        side = 16 if min(sides) >= 64 else 7 if min(sides) == 28 else 4
    if any(each % side for each in sides):
        raise ArgumentError(
            f"vit: patches of side {side} do not tile an image of {sides[0]}×{sides[1]}: give patch a side that "
            "divides both"
        )
    return side
