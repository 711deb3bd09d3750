"""A pass over a model that leaves nothing behind but what it is meant to."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fanin.torch.probe.guard import put_back, untouched


@contextmanager
def evaluated(model: nn.Module, *, grad: bool = False) -> Generator[None]:
    """Run a block in evaluation mode; modes, buffers, gradients and random states are then as before.

    Evaluation mode, because dropout would add noise and batch statistics would be replaced. Holds also where the
    block raises.
    """
    with untouched(model, training=False), torch.set_grad_enabled(grad):
        yield


@contextmanager
def restored_on_error(tensors: Iterable[Tensor]) -> Generator[None]:
    """Give the tensors back their values if the block does not end well."""
    saved = [(tensor, tensor.detach().clone()) for tensor in tensors]
    try:
        yield
    except BaseException:
        put_back(saved)
        raise
