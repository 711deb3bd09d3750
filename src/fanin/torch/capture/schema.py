"""What an operator's schema says about memory: which arguments it writes, and whether its result is a view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

# Operators that only rearrange a tensor's own shape and strides, or attach it to other memory.
_METADATA = frozenset({"aten::set_", "aten::resize_", "aten::resize_as_", "aten::detach_", "aten::requires_grad_"})
_VALUES = frozenset({"aten::is_nonzero"})

_BATCH_NORM = torch.ops.aten.native_batch_norm.default
_STATISTICS = ((3, "running_mean"), (4, "running_var"))
_TRAINING = 5

_ASKING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


@dataclass(frozen=True, slots=True)
class Effect:
    """What calling an operator does.

    Attributes:
        writes: (position, name) of each argument whose memory it writes.
        views: the result lies in an argument's memory, and nothing is written.
        asks: the result depends on values (its numbers, or its shape), so it cannot be had without them.
    """

    writes: tuple[tuple[int, str], ...]
    views: bool
    asks: bool


@lru_cache(maxsize=4096)
def effect_of(op: Any) -> Effect:
    """The effect of an operator, from its schema and tags."""
    schema = op._schema
    aliases = [argument.alias_info for argument in schema.arguments]
    metadata = schema.name in _METADATA or torch.Tag.inplace_view in op.tags
    writes = tuple(
        (position, argument.name)
        for position, (argument, alias) in enumerate(zip(schema.arguments, aliases, strict=True))
        if alias is not None and alias.is_write and not metadata
    )
    returns_alias = any(result.alias_info is not None for result in schema.returns)
    asks = schema.name in _VALUES or not _ASKING.isdisjoint(op.tags)
    return Effect(writes, not writes and (returns_alias or metadata), asks)


def effect_of_call(op: Any, args: Any) -> Effect:
    """The effect of one call: batch normalisation in training also writes its statistics, which its schema omits."""
    effect = effect_of(op)
    return replace(effect, writes=_STATISTICS) if op is _BATCH_NORM and args[_TRAINING] else effect


_OVERWRITING = frozenset({"normal_", "uniform_", "zero_", "fill_", "copy_", "eye"}) | {
    f"{law}_" for law in ("exponential", "log_normal", "bernoulli", "random", "geometric", "cauchy")
}


def overwrites(call: Any) -> bool:
    """Whether the operator's in-place form reads nothing of what it writes."""
    return call.name in _OVERWRITING or torch.Tag.out in call.op.tags
