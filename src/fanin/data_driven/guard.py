"""A pass over a model that leaves nothing behind but what it is meant to."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def evaluated(model: nn.Module, *, grad: bool = False) -> Generator[None]:
    """Run a block in evaluation mode; modes, buffers, gradients and random states are then as before.

    Evaluation mode, because dropout would add noise and batch statistics would be replaced. Holds also where the
    block raises.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    grads = [(parameter, parameter.grad) for parameter in model.parameters()]
    python, legacy = random.getstate(), np.random.get_state()
    cuda = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=cuda), torch.inference_mode(False), torch.set_grad_enabled(grad):
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, held in grads:
            parameter.grad = held
        _put_back(buffers)
        random.setstate(python)
        np.random.set_state(legacy)


@contextmanager
def restored_on_error(tensors: Iterable[Tensor]) -> Generator[None]:
    """Give the tensors back their values if the block does not end well."""
    saved = [(tensor, tensor.detach().clone()) for tensor in tensors]
    try:
        yield
    except BaseException:
        _put_back(saved)
        raise


def _put_back(saved: Iterable[tuple[Tensor, Tensor]]) -> None:
    for tensor, values in saved:
        with torch.inference_mode(tensor.is_inference()), torch.no_grad():
            tensor.copy_(values)
