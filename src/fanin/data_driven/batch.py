"""Whether a model and a batch can be measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fanin.errors import DataError
from fanin.torch.probe.batch import tensors_in
from fanin.torch.sharded.dtensor import is_dtensor


def require_measurable(model: nn.Module, inputs: Any) -> None:
    """Raise `DataError` unless the model has values of its own and the batch is one that it can be measured on."""
    parameters = dict(model.named_parameters())
    if not parameters:
        raise DataError(f"the model {type(model).__name__} has no parameters: there is nothing to initialize")
    for name, parameter in parameters.items():
        if is_dtensor(parameter):
            raise DataError(
                f"parameter {name!r} is sharded (DTensor): measure the whole model in one process, then give each "
                "rank its shards with fanin.materialize(sharded, plan, seed), which gives the same bits"
            )
        if parameter.is_meta:
            raise DataError(
                f"parameter {name!r} is on the meta device, where nothing can be measured: give it values first, with "
                "fanin.materialize(model, fanin.plan(model))"
            )
    _require_batch(inputs, next(iter(parameters.values())).device)


def samples(inputs: Any) -> int:
    """How many samples the batch has: the first dimension of its first tensor."""
    first = next(tensors_in(inputs))
    return int(first.shape[0]) if first.dim() else 1


def _require_batch(inputs: Any, device: torch.device) -> None:
    batch = list(tensors_in(inputs))
    if not batch:
        raise DataError("the inputs hold no tensor: give a batch, a tuple of arguments or a dict of keywords")
    signals = [tensor for tensor in batch if tensor.is_floating_point()]
    for tensor in batch:
        if tensor.numel() == 0:
            raise DataError(f"the batch is empty: shape {tuple(tensor.shape)}; give at least one sample")
        if tensor.device != device:
            raise DataError(
                f"the batch is on {tensor.device}, the model on {device}: move one, e.g. batch.to({str(device)!r})"
            )
    for tensor in signals:
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise DataError(
                f"the batch holds {bad} non-finite values of {tensor.numel()}: nothing can be scaled by them; "
                "clean the data first"
            )
    if len(signals) == len(batch) and not any(bool(tensor.any()) for tensor in signals):
        raise DataError("every value of the batch is zero, so no layer's output has a scale: give real samples")
