"""How evenly attention looks at its keys: the entropy of its weights, relative to that of uniform ones.

Zhai et al. 2023 (arXiv:2303.06296) find that low entropy goes with training that is unstable, "entropy collapse": its
lower bound falls exponentially with the spectral norm of the attention logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from fanin.torch.probe.sampling import places

MAPS, QUERIES = 8, 64
_CARRIES = frozenset(
    ("dropout", "to", "type_as", "float", "half", "bfloat16", "contiguous", "view", "reshape", "expand", "nan_to_num")
)
_MIXES = frozenset(("matmul", "__matmul__", "bmm", "baddbmm", "einsum"))


class Entropies:
    """Watches the calls of one forward pass, and says of each whether it attends, and how evenly."""

    def __init__(self) -> None:
        self._weights = WeakTensorKeyDictionary()

    def of(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Tensor) -> float | None:
        """The normalised entropy, where the call named so mixes values by attention; else None."""
        if name == "scaled_dot_product_attention":
            return _fused(*args, **kwargs)
        if name == "multi_head_attention_forward":
            return _multi_head(*args, **kwargs)
        if name == "softmax":
            seen = _softmax(args, kwargs, out)
            if seen is not None:
                self._weights[out] = seen
            return None
        if name in _CARRIES or name in _MIXES:
            known = [self._weights.get(arg) for arg in args if isinstance(arg, Tensor)]
            entropy = next((value for value in known if value is not None), None)
            if name in _MIXES:
                return entropy
            if entropy is not None:
                self._weights[out] = entropy
        return None


def normalised(scores: Tensor) -> float | None:
    """Mean over queries of H(softmax of the scores)/ln n, n the keys in sight; None where no query sees two.

    1 is uniform, 0 is all weight on one key. Keys out of sight have scores of −∞ or next to it.

    >>> normalised(torch.zeros(3, 4))
    1.0
    """
    scores = scores.double()
    seen = scores > torch.finfo(torch.float16).min * 0.99
    count = seen.sum(-1)
    rows = scores.masked_fill(~seen, float("-inf"))[count > 1]
    if not rows.numel() or not bool(torch.isfinite(rows[rows > float("-inf")]).all()):
        return None
    shares = torch.special.entr(torch.softmax(rows, -1)).sum(-1) / count[count > 1].double().log()
    return float(shares.mean())


def _softmax(args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Tensor) -> float | None:
    scores = args[0] if args else kwargs.get("input")
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if not isinstance(scores, Tensor) or out.ndim < 3 or dim not in (-1, out.ndim - 1):
        return None
    maps = scores.detach().reshape(-1, *scores.shape[-2:])[places(scores.shape[:-2].numel(), MAPS)]
    return normalised(maps[:, places(maps.shape[1], QUERIES)])


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> float | None:
    """Of the queries and keys that `scaled_dot_product_attention` gets: eight maps, 64 queries of each."""
    del value, dropout_p
    lead = query.shape[:-2]
    if enable_gqa and key.ndim > 2 and key.shape[-3] != query.shape[-3]:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    maps, rows = places(lead.numel(), MAPS), places(query.shape[-2], QUERIES)
    asked = query.detach().reshape(-1, *query.shape[-2:])[maps][:, rows].double()
    held = key.detach().expand(*lead, *key.shape[-2:]).reshape(-1, *key.shape[-2:])[maps].double()
    scores = asked @ held.mT * (1 / sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.arange(key.shape[-2], device=rows.device) > rows[:, None], float("-inf"))
    if attn_mask is not None:
        sides = (query.shape[-2], key.shape[-2])
        mask = attn_mask.detach().expand(*lead, *sides).reshape(-1, *sides)[maps][:, rows]
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return normalised(scores)


def _multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    weight: Tensor | None,
    bias: Tensor | None,
    *_: Any,
    attn_mask: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    is_causal: bool = False,
    **_rest: Any,
) -> float | None:
    """Of `nn.MultiheadAttention`, which projects inside; of its first sample. Inputs are [length, batch, width]."""
    del value
    if weight is None or query.ndim != 3 or (attn_mask is not None and attn_mask.ndim == 3):
        return None
    tables = weight.detach().split(width)
    shifts = (None, None) if bias is None else bias.detach().split(width)
    sides = (F.linear(x.detach()[:, 0], tables[at], shifts[at]) for at, x in enumerate((query, key)))
    asked, held = (side.unflatten(-1, (heads, -1)).transpose(0, 1) for side in sides)
    hidden = [
        mask for mask in (attn_mask, None if key_padding_mask is None else key_padding_mask[0]) if mask is not None
    ]
    mask = sum((_added(mask) for mask in hidden), torch.zeros((), dtype=torch.float64, device=query.device))
    return _fused(asked, held, held, mask if hidden else None, is_causal=is_causal and not hidden)


def _added(mask: Tensor) -> Tensor:
    """True says "not this key" in `nn.MultiheadAttention`."""
    mask = mask.detach()
    return (
        torch.zeros_like(mask, dtype=torch.float64).masked_fill(mask, float("-inf"))
        if mask.dtype == torch.bool
        else mask
    )
