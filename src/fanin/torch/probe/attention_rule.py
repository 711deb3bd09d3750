"""Attention: softmax of Gaussian scores over keys, applied to values.

With fresh query, key or value matrices the scores z = s·q·k of a head are Gaussian with

    E[z(t, u)·z(t′, u′)] = s²·d·E[q(t)·q(t′)]·E[k(u)·k(u′)]

and A = softmax(z) is independent of the values, so that E[o(t)·o(t′)] = E[Σ A(t, u)·A(t′, u′)·E[v(u)·v(u′)]]. The
outer expectation is an average over fixed Gaussian draws; where all scores are small, A is uniform in each of them.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from fanin.torch.probe.ancestry import is_free, merged
from fanin.torch.probe.arguments import Args, Kwargs, argument
from fanin.torch.probe.laws import bias_moments
from fanin.torch.probe.pairs import Lazy, Pairs, numbered
from fanin.torch.probe.sequences import over_time
from fanin.torch.probe.signal import Rule, Signal
from fanin.torch.probe.tape import Tape, WeightUse
from fanin.torch.probe.windows import table_in_order

_SEED = 11
_DRAWS = 32
# Small scores change little: few draws tell the average.
_BY_VARIANCE = ((1e-3, 2), (0.05, 8))
_WORK = 1 << 32


def scaled_dot_product(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """F.scaled_dot_product_attention of (…, positions, units) tensors."""
    q, k, v = (argument(args, kwargs, place, name) for place, name in enumerate(("query", "key", "value")))
    signals = [_known(tape, each) for each in (q, k, v)]
    if any(signal is None for signal in signals):
        return next(tape.why(each) for each, signal in zip((q, k, v), signals, strict=True) if signal is None)
    query, key, value = (signal for signal in signals if signal is not None)
    if q.ndim != 4:
        return "attention without a dimension of heads"
    tables = [_table(signal, each) for signal, each in ((query, q), (key, k), (value, v))]
    if any(table is None for table in tables):
        return "pairs of positions are not followed up to this attention"
    scale = argument(args, kwargs, 6, "scale")
    factor = (1 / sqrt(q.shape[-1]) if scale is None else float(scale)) * sqrt(q.shape[-1])
    causal = bool(argument(args, kwargs, 5, "is_causal", False))
    mask = _mask(argument(args, kwargs, 3, "attn_mask"), q.shape[-2], k.shape[-2], causal)
    rate = float(argument(args, kwargs, 4, "dropout_p", 0.0))
    reason = _unfit(query, key, value)
    if reason:
        return reason
    left, right, held = (table for table in tables if table is not None)
    values = _attended(left, right, held, factor, mask, rate)
    if values is None:
        return "a row of the attention mask is empty, or the scores are not finite"
    ids = numbered((q.shape[0], 1, q.shape[-2], 1), q.device)
    return Rule((), (_out(values, ids, (query, key, value), same=q.shape[1] == v.shape[1]),), None, -1, "")


def _known(tape: Tape, x: Tensor) -> Signal | None:
    node = tape.node(x)
    return None if node is None else node.signal


def _table(signal: Signal, x: Tensor) -> Tensor | None:
    """E[h·h′] of a (samples, heads, positions, units) tensor."""
    return table_in_order(signal, (x.shape[0], 1, x.shape[2], 1))


def _unfit(query: Signal, key: Signal, value: Signal) -> str:
    """Why the formula does not hold."""
    if not (query.centred and key.centred):
        return "queries or keys have a mean"
    if not (is_free(query.fresh, key.ancestors) or is_free(key.fresh, query.ancestors)):
        return "queries and keys depend on the same weights"
    if not is_free(value.fresh, merged((query.ancestors, key.ancestors))):
        return "values depend on the same weights as the scores"
    return ""


def _mask(mask: Any, queries: int, keys: int, causal: bool) -> Tensor | None:
    """What is added to the scores."""
    if causal:
        mask = torch.ones(queries, keys, dtype=torch.bool).tril()
    if mask is None:
        return None
    mask = mask.detach()
    if mask.dtype != torch.bool:
        return mask.double()
    return torch.zeros(mask.shape, dtype=torch.float64, device=mask.device).masked_fill(~mask, -torch.inf)


def _attended(
    query: Tensor, key: Tensor, value: Tensor, factor: float, mask: Tensor | None, rate: float
) -> Tensor | None:
    """E[o·o′] of (samples, queries, queries), averaged over draws of the scores."""
    samples, queries, keys = query.shape[0], query.shape[1], key.shape[1]
    sharp = float(query.diagonal(dim1=1, dim2=2).max() * key.diagonal(dim1=1, dim2=2).max()) * factor**2
    most = next((draws for limit, draws in _BY_VARIANCE if sharp <= limit), _DRAWS)
    draws = max(2, min(most, _WORK // max(1, 2 * samples * queries * keys * (queries + keys))))
    generator = torch.Generator().manual_seed(_SEED)
    left, right = _root(query) * factor, _root(key)
    total = torch.zeros_like(query)
    for draw in range(draws):
        noise = torch.randn((samples, queries, keys), generator=generator, dtype=torch.float64).to(query.device)
        scores = left @ noise @ right
        weights = torch.softmax(scores if mask is None else scores + _of_head(mask, draw), dim=-1)
        total += weights @ value @ weights.mT
        if rate:
            kept = weights.square() @ value.diagonal(dim1=1, dim2=2)[:, :, None]
            total += torch.diag_embed(kept[..., 0] * rate / (1 - rate))
    total /= draws
    return total if bool(torch.isfinite(total).all()) else None


def _of_head(mask: Tensor, draw: int) -> Tensor:
    """The mask of one head, another in each draw."""
    return mask if mask.ndim < 4 else mask[:, draw % mask.shape[1]]


def _root(table: Tensor) -> Tensor:
    """The symmetric square root of E[h·h′]."""
    values, vectors = torch.linalg.eigh(table)
    return (vectors * values.clamp_min(0).sqrt()[:, None, :]) @ vectors.mT


def _out(values: Tensor, ids: Tensor, sources: tuple[Signal, Signal, Signal], *, same: bool) -> Signal:
    """The signal; `same` where the outputs have as many heads as the values."""
    pairs = Pairs(values, ids)
    return Signal(
        torch.zeros_like(pairs.second),
        pairs.second,
        fresh=sources[2].fresh,
        ancestors=merged(source.ancestors for source in sources),
        pairs=Lazy(lambda: pairs),
        labels=sources[2].labels if same else None,
    )


def multi_head(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """F.multi_head_attention_forward of (positions, samples, units) tensors with a packed matrix."""
    names = ("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias")
    q, k, v, size, heads, packed, shift = (argument(args, kwargs, place, name) for place, name in enumerate(names))
    out_weight, out_bias = argument(args, kwargs, 11, "out_proj_weight"), argument(args, kwargs, 12, "out_proj_bias")
    if packed is None or argument(args, kwargs, 7, "bias_k") is not None or argument(args, kwargs, 9, "add_zero_attn"):
        return "attention with separate matrices or further keys"
    weights = [tape.names.get(id(weight)) for weight in (packed, out_weight)]
    if None in weights or any(tape.used(name) for name in weights if name):
        return "the matrices of the attention are no parameters, or used before"
    return _Packed(tape, (q, k, v), int(heads), int(size)).rule(packed, shift, out_weight, out_bias, args, kwargs)


class _Packed:
    """Attention whose three matrices stand in one parameter, with the output matrix behind it."""

    def __init__(self, tape: Tape, inputs: tuple[Tensor, Tensor, Tensor], heads: int, size: int) -> None:
        self.tape = tape
        self.inputs = inputs
        self.heads = heads
        self.size = size

    def rule(
        self, packed: Tensor, shift: Any, out_weight: Tensor, out_bias: Any, args: Args, kwargs: Kwargs
    ) -> Rule | str:
        tape = self.tape
        names = [tape.names[id(weight)] for weight in (packed, out_weight)]
        tape.uses.append(WeightUse(names[0], tape.names.get(id(shift)), 0, tape.stack[-1] if tape.stack else ""))
        draws = [tape.draw(name) for name in names]
        sources = [tape.signal(x, -1) for x in self.inputs]
        tables = [self._projected(k, source, packed, shift) for k, source in enumerate(sources)]
        if any(table is None for table in tables):
            return "pairs of positions are not followed up to this attention"
        found = [table for table in tables if table is not None]
        hidden = argument(args, kwargs, 17, "attn_mask")
        # Here True says "not this key".
        seen = ~hidden if hidden is not None and hidden.dtype == torch.bool else hidden
        mask = _mask(seen, found[0].shape[1], found[1].shape[1], False)
        padding = argument(args, kwargs, 15, "key_padding_mask")
        if padding is not None:
            return "attention with a padding mask"
        training = bool(argument(args, kwargs, 14, "training", True))
        rate = float(argument(args, kwargs, 13, "dropout_p", 0.0)) if training else 0.0
        if mask is not None and mask.ndim == 3:
            mask = mask.reshape(-1, self.heads, *mask.shape[1:])
        values = _attended(found[0], found[1], found[2], 1.0, mask, rate)
        if values is None:
            return "a row of the attention mask is empty, or the scores are not finite"
        factor = self.size * _block_second(tape, names[1], out_weight, 0, 1)
        values = values * factor + bias_moments(tape.names.get(id(out_bias), ""), out_bias, tape.laws)[1]
        x = self.inputs[0]
        ids = numbered((values.shape[0], x.shape[0]), x.device).T[..., None]
        pairs = Pairs(values, ids)
        signal = Signal(
            torch.zeros_like(pairs.second),
            pairs.second,
            gaussian=True,
            fresh=(draws[1], -1),
            ancestors=merged([*(s.ancestors for s in sources if s), {draws[0]: -1, draws[1]: -1}]),
            pairs=Lazy(lambda: pairs),
        )
        needs = bool(argument(args, kwargs, 16, "need_weights", True))
        return Rule((), (signal, None) if needs else (signal,), None, -1, "weight")

    def _projected(self, block: int, source: Signal | None, packed: Tensor, shift: Any) -> Tensor | None:
        """E[h·h′] of queries, keys or values: (samples, positions, positions)."""
        table = None if source is None else over_time(self.tape, source, self.inputs[block], batch_first=False)
        if table is None:
            return None
        name = self.tape.names[id(packed)]
        factor = self.size * _block_second(self.tape, name, packed, block, 3)
        bias_name = self.tape.names.get(id(shift), "")
        return table * factor + bias_moments(bias_name, shift, self.tape.laws)[1]


def _block_second(tape: Tape, name: str, weight: Tensor, block: int, blocks: int) -> float:
    """E[w²] of one of the blocks: its share of the values, of what the law says of the whole."""
    seen = tape.moments(name, weight)
    rows = weight.shape[0] // blocks
    part = weight.detach()[block * rows : (block + 1) * rows]
    own = float(part.double().square().mean())
    share = own / seen.second if seen.second else 1.0
    if abs(share - 1) < 5 * (2 / max(1, part.numel())) ** 0.5:
        share = 1.0
    mean, std = tape.laws.get(name, (0.0, seen.second**0.5))
    return share * (mean**2 + std**2)
