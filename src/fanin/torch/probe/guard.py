"""Leave a model as it was found."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from fanin.torch.sharded.fully_sharded import reshard

_SEED = 0


@contextmanager
def untouched(model: nn.Module, *, training: bool = True) -> Generator[None]:
    """Run a block in training (or evaluation) mode under a fixed seed, then restore all that it may change.

    That is flags, buffers, gradients, random states, and which parameters FSDP2 has gathered. Training mode is that
    of the first step (batch statistics, dropout). Holds also where the block raises.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    grads = [(parameter, parameter.grad) for parameter in model.parameters()]
    trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    rewritten = [(table, table.detach().clone()) for table in _rewritten(model)]
    python, legacy = random.getstate(), np.random.get_state()
    cuda = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=cuda), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(_SEED)
            model.train(training)
            yield
    finally:
        reshard(model)
        for module, training in modes:
            module.training = training
        for parameter, flag in trained:
            parameter.requires_grad_(flag)
        for parameter, grad in grads:
            parameter.grad = grad
        with torch.no_grad():
            for tensor, saved in (*buffers, *rewritten):
                tensor.copy_(saved)
        random.setstate(python)
        np.random.set_state(legacy)


def _rewritten(model: nn.Module) -> list[torch.Tensor]:
    """Parameters that the forward pass itself changes: lookup tables whose rows it shortens to `max_norm`."""
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag))
    return [table.weight for table in tables if table.max_norm is not None]
