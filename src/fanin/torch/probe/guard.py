"""Leave a model as it was found."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
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
    # A forward pass may write into a buffer, or put another tensor in its place.
    places = [(vars(module)["_buffers"], dict(vars(module)["_buffers"])) for module in model.modules()]
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
            for parameter in model.parameters():  # else a backward pass adds to what is to be restored
                parameter.grad = None
            yield
    finally:
        reshard(model)
        for module, training in modes:
            module.training = training
        for parameter, flag in trained:
            parameter.requires_grad_(flag)
        for parameter, grad in grads:
            parameter.grad = grad
        for place, own in places:
            place.clear()
            place.update(own)
        put_back((*buffers, *rewritten))
        random.setstate(python)
        np.random.set_state(legacy)


def put_back(saved: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Give tensors back the values beside them, also those made in inference mode."""
    for tensor, values in saved:
        with torch.inference_mode(tensor.is_inference()), torch.no_grad():
            tensor.copy_(values)


def _rewritten(model: nn.Module) -> list[torch.Tensor]:
    """Parameters that the forward pass itself changes: lookup tables whose rows it shortens to `max_norm`."""
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag))
    return [table.weight for table in tables if table.max_norm is not None]
