"""`fanin.check` on GPT-2 small (124M, random weights, 4 × 64 tokens), against one plain forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from memory import peak_bytes, peak_reset
from rows import Row, best_seconds
from transformers import GPT2Config, GPT2LMHeadModel

from fanin.checking import check

BATCH, LENGTH, ROUNDS = 4, 64, 3
TIMES = 3.0
TENSORS = 3.0
"""How many of the largest tensor (the embedding's gradient, 154 MB) a check may hold more than a plain pass."""


def rows() -> list[Row]:
    """Both figures, measured in turns."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).train()
    tokens = torch.randint(model.config.vocab_size, (BATCH, LENGTH))

    def plain() -> None:
        model(input_ids=tokens).logits.sum().backward()
        model.zero_grad(set_to_none=True)

    def checked() -> None:
        check(model, {"input_ids": tokens})

    theirs, ours = best_seconds([plain, checked], ROUNDS)
    largest = max(parameter.nbytes for parameter in model.parameters())
    more = (_peak(checked) - _peak(plain)) / largest
    return [
        Row("time of a check, of a plain pass", ours / theirs, None, "times", limit=TIMES),
        Row("peak memory beyond a plain pass's", max(0.0, more), None, "of the largest tensor", limit=TENSORS),
    ]


def _peak(action: Callable[[], object]) -> int:
    peak_reset()
    before = peak_bytes()
    action()
    return peak_bytes() - before
