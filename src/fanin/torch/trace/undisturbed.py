"""Passes that nobody asked for: silent, without values, and with nothing changed behind them."""

from __future__ import annotations

import random
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map


@contextmanager
def undisturbed() -> Generator[None]:
    """No warnings, and every global random state as it was."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of forward, signals without their values."""
    inputs = tree_map(without_values, inputs)
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, tuple | list) else ((inputs,), {})


def without_values(leaf: Any) -> Any:
    """Signals lose their values; indices and masks keep theirs, in a copy, since code may branch on them."""
    if not isinstance(leaf, torch.Tensor) or leaf.is_meta:
        return leaf
    if leaf.is_floating_point() or leaf.is_complex():
        return torch.empty_like(leaf, device="meta")
    return leaf.detach().cpu().clone()


def switch_cache_off(twin: nn.Module) -> None:
    """The caches of transformers put copies between projections and their use; the twin has its own config."""
    config: Any = getattr(twin, "config", None)
    if hasattr(config, "use_cache"):
        config.use_cache = False
