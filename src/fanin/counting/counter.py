"""Counting a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from torch import nn

from fanin.counting.forward import Forward, forward
from fanin.counting.records import Bytes, Count, ModuleCount
from fanin.errors import ArgumentError
from fanin.torch.tensors import StoredTensor, stored_tensors
from fanin.torch.unwrapped import unwrapped


class HoldsModel(Protocol):
    """Something with a model, as `fanin.Captured`."""

    @property
    def model(self) -> nn.Module: ...


def count(
    model: nn.Module | HoldsModel, inputs: Any = None, batch: int | None = None, *, samples: int | None = None
) -> Count:
    """Parameters, bytes, multiplications of a model, in all and per module; the model stays as it is.

    One forward pass runs on a copy without weights (`meta`), in training mode. FLOPs are those of matrix products,
    convolutions and attention, 2 for each multiply-accumulate: a linear layer takes 2·n·in·out, a convolution
    2·n·out·(in/groups)·∏k·∏(output side). Activations are the bytes that autograd saves for the backward pass, each
    storage once, parameters and buffers left out, the input batch counted where a layer saves it.

    Args:
        model: real, meta, or captured.
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments; only shapes and, for whole numbers,
            values matter. Without them they are made from what the model says of itself, where it does.
        batch: number of samples of the pass; the rows of `inputs` are repeated or left out to fit. Default: as many as
            `inputs` have, or 1 where there are none.
        samples: number of training samples, for parameters per sample.

    Raises:
        ArgumentError: batch or samples below 1.
        TraceError: the pass fails on the given inputs.

    >>> import fanin.models
    >>> found = count(fanin.models.build("mnist-fc"), batch=500, samples=60_000)
    >>> found.parameters, found.macs, found.bytes.activations, round(found.parameters_per_sample, 2)
    (397510, 198500000, 2568000, 6.63)
    """
    for name, number in (("batch", batch), ("samples", samples)):
        if number is not None and number < 1:
            raise ArgumentError(f"{name} must be at least 1, got {number}")
    module = unwrapped(model if isinstance(model, nn.Module) else model.model)
    stored = stored_tensors(module)
    passed = forward(module, inputs, batch)
    unknown = (
        "" if passed else "FLOPs and activations are not counted, nothing tells what inputs it takes: pass inputs="
    )
    trainable = [entry for entry in stored if entry.kind == "parameter" and entry.tensor.requires_grad]
    return Count(
        model=type(module).__name__,
        parameters=_values(_parameters(stored)),
        trainable=_values(trainable),
        buffers=_values(_buffers(stored)),
        bytes=_bytes(stored, trainable, passed),
        flops=None if passed is None else sum(passed.flops.values()),
        batch=None if passed is None else passed.batch,
        samples=samples,
        modules=_modules(module, stored, passed),
        notes=(unknown,) if passed is None else passed.notes,
    )


def _bytes(stored: Iterable[StoredTensor], trainable: list[StoredTensor], passed: Forward | None) -> Bytes:
    gradients = _size(trainable)
    activations = None if passed is None else sum(passed.activations.values())
    return Bytes(_size(_parameters(stored)), _size(_buffers(stored)), gradients, 2 * gradients, activations)


def _modules(model: nn.Module, stored: Iterable[StoredTensor], passed: Forward | None) -> tuple[ModuleCount, ...]:
    parameters: Counter[str] = Counter()
    for entry in _parameters(stored):
        parameters[entry.name.rpartition(".")[0]] += entry.tensor.numel()
    counts = (
        ModuleCount(
            name,
            type(module).__name__,
            parameters[name],
            None if passed is None else passed.flops.get(name, 0),
            None if passed is None else passed.activations.get(name, 0),
        )
        for name, module in model.named_modules()
    )
    return tuple(entry for entry in counts if entry.parameters or entry.flops or entry.activations)


def _parameters(stored: Iterable[StoredTensor]) -> list[StoredTensor]:
    return [entry for entry in stored if entry.kind == "parameter"]


def _buffers(stored: Iterable[StoredTensor]) -> list[StoredTensor]:
    return [entry for entry in stored if entry.kind == "buffer"]


def _values(entries: Iterable[StoredTensor]) -> int:
    return sum(entry.tensor.numel() for entry in entries)


def _size(entries: Iterable[StoredTensor]) -> int:
    return sum(entry.tensor.numel() * entry.tensor.element_size() for entry in entries)
