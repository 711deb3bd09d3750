"""Published decoders as options of `transformer`; their weights are not here, only their shapes.

GPT-2: Radford et al. 2019, table 2, with the dropout of its code. Llama 2: Touvron et al. 2023, arXiv 2307.09288, and
Llama 3: Grattafiori et al. 2024, arXiv 2407.21783, table 3, with the widths of the `config.json` of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _gpt2(width: int, depth: int, heads: int) -> Mapping[str, Any]:
    shape = {"vocabulary": 50257, "context": 1024, "width": width, "depth": depth, "heads": heads}
    return shape | {"activation": "gelu_tanh", "dropout": 0.1}


def _llama(vocabulary: int, context: int, hidden: int, kv_heads: int, base: float) -> Mapping[str, Any]:
    shape = {"vocabulary": vocabulary, "context": context, "width": 4096, "depth": 32, "heads": 32}
    own = {"kv_heads": kv_heads, "hidden": hidden, "rotary_base": base}
    return shape | own | {"norm": "rms", "activation": "swiglu", "position": "rotary", "tied": False, "bias": False}


PUBLISHED_DECODERS: Mapping[str, Mapping[str, Any]] = {
    "gpt2-small": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "llama2-7b": _llama(32000, 4096, 11008, 32, 10000.0),
    "llama3-8b": _llama(128256, 8192, 14336, 8, 500000.0),
}
