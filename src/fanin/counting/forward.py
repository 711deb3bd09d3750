"""One forward pass without memory, its multiplications and what it keeps for the backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves, tree_map

from fanin.counting.attention import FusedAttention
from fanin.counting.formulas import flops
from fanin.errors import ArgumentError, TraceError
from fanin.torch.tensors import storage_id
from fanin.torch.trace.inputs import guesses
from fanin.torch.trace.recording import Recorder, follow_modules
from fanin.torch.trace.twin import weightless_twin
from fanin.torch.trace.undisturbed import arguments, switch_cache_off, undisturbed, without_values


@dataclass(frozen=True, slots=True)
class Forward:
    """FLOPs and bytes kept, by qualified name of the module whose own code ran."""

    flops: Mapping[str, int]
    activations: Mapping[str, int]
    batch: int | None
    notes: tuple[str, ...] = ()


def forward(model: nn.Module, inputs: Any, batch: int | None) -> Forward | None:
    """The pass on `inputs` at `batch`, on a copy of the model without weights; None where no inputs are known.

    Raises:
        TraceError: the pass fails on inputs that were given.
        ArgumentError: `batch` is given and the inputs have no batch dimension.
    """
    if inputs is not None:
        return _pass(model, _sized(inputs, batch))
    for description, made in guesses(model):
        try:
            found = _pass(model, _sized(made, 1 if batch is None else batch))
        except (TraceError, ArgumentError):
            continue
        note = f"inputs were made up ({description} at another batch size): pass inputs= for your own"
        return Forward(found.flops, found.activations, found.batch, (note, *found.notes))
    return None


def _pass(model: nn.Module, inputs: Any) -> Forward:
    try:
        return _run(model, inputs, training=True)
    except TraceError:
        # Batch normalisation refuses to train on a single value per channel.
        found = _run(model, inputs, training=False)
        return Forward(
            found.flops, found.activations, found.batch, ("counted in evaluation mode: training mode fails",)
        )


def _run(model: nn.Module, inputs: Any, *, training: bool) -> Forward:
    twin, _ = weightless_twin(model, {})
    recorder = _Counting()
    follow_modules(twin.train(training), recorder)
    kept = _Kept(recorder, twin)
    args, kwargs = arguments(inputs)
    switch_cache_off(twin)
    try:
        with undisturbed(), torch.enable_grad(), saved_tensors_hooks(kept.pack, _unpack), recorder, FusedAttention():
            twin(*args, **kwargs)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise TraceError(
            f"the forward pass of {type(model).__name__} failed: {type(error).__name__}: {reason}; check inputs="
        ) from error
    return Forward(recorder.flops, kept.bytes, _batch(inputs))


class _Counting(Recorder):
    """Counts FLOPs as operations come."""

    def __init__(self) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()

    @property
    def module(self) -> str:
        """The module whose code is running."""
        return self.modules[-1] if self.modules else ""

    def record(self, op: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        super().record(op, function, args, kwargs, result)
        self.flops[self.module] += flops(function, args, kwargs, result)


class _Kept:
    """Bytes of the storages that autograd saves, each once, the model's own left out."""

    def __init__(self, recorder: _Counting, twin: nn.Module) -> None:
        self.bytes: Counter[str] = Counter()
        self._recorder = recorder
        self._owned = [*twin.parameters(), *twin.buffers()]
        self._seen = {storage_id(tensor) for tensor in self._owned}
        self._alive: list[torch.Tensor] = []

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        key = storage_id(tensor)
        if key not in self._seen:
            self._seen.add(key)
            self._alive.append(tensor)  # a freed storage's identity may come back
            self.bytes[self._recorder.module] += tensor.untyped_storage().nbytes()
        return tensor


def _unpack(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _sized(inputs: Any, batch: int | None) -> Any:
    """The inputs with `batch` samples: their rows repeated in turn."""
    present = _batch(inputs)
    if batch is None or batch == present:
        return inputs
    if present is None or present == 0:
        raise ArgumentError(f"the inputs have no samples to make a batch of {batch} from")

    def resized(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.ndim == 0 or leaf.shape[0] != present:
            return leaf
        rows = without_values(leaf)
        return rows.index_select(0, torch.arange(batch, device=rows.device) % present)

    return tree_map(resized, inputs)


def _batch(inputs: Any) -> int | None:
    first = next((leaf for leaf in tree_leaves(inputs) if isinstance(leaf, torch.Tensor) and leaf.ndim), None)
    return None if first is None else first.shape[0]
