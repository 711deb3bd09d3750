"""The tensors of a model as records: what the graph says about each, and one read of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from fanin.auditing.look import looked
from fanin.auditing.records import Seen
from fanin.auditing.units import looked_through
from fanin.axes import Axes
from fanin.errors import FaninError
from fanin.graph import Graph, Place, Use, role
from fanin.plans import Plan
from fanin.torch.native import Native, native
from fanin.torch.probe.histogram import spread
from fanin.torch.protection import Mark, has_values, protections
from fanin.torch.sharded.dtensor import is_dtensor, local_of
from fanin.torch.sharded.flat import refuse_flat
from fanin.torch.sharded.zero3 import is_placeholder, shape_of
from fanin.torch.tensors import StoredTensor, stored_tensors
from fanin.torch.trace import trace
from fanin.torch.trace.modules import uses_by_type
from fanin.torch.unwrapped import unwrapped
from fanin.torch.wrappers import is_wrapper

Moved = Callable[[int, int], None]
"""Told how many bytes of how many were read."""


def tensors_of(model: nn.Module, laws: Native, graph: Graph, plan: Plan | None, moved: Moved) -> Iterator[Seen]:
    """A record of each stored tensor, read one after the other.

    Args:
        model: real, meta or sharded.
        laws: the model's own code.
        graph: what its forward pass shows.
        plan: what is to be held against the values.
        moved: told how far the read is.
    """
    uses: dict[str, list[Use]] = {}
    for use in graph.uses:
        uses.setdefault(use.tensor, []).append(use)
    marks = protections(model)
    stored = stored_tensors(model)
    whole, done = sum(_bytes(entry.tensor) for entry in stored), 0
    for entry in stored:
        moved(done, whole)
        yield _read(_described(entry, uses.get(entry.name, ()), graph, laws, plan, marks), entry.tensor)
        done += _bytes(entry.tensor)
    moved(whole, whole)


def laws_and_graph(model: nn.Module, inputs: object) -> tuple[Native, Graph, tuple[str, ...]]:
    """What the model's own code draws and what its forward pass shows; where neither can be told, why.

    Raises:
        PlanError: FSDP1 has packed the tensors.
        TraceError: the forward pass fails on the given inputs.
    """
    refuse_flat(model)
    stored_tensors(model)  # what has no shape yet cannot be read either
    try:
        laws = native(model)
        notes = laws.plan.notes
    except FaninError as error:
        laws = Native(unwrapped(model), Plan(()))
        notes = (f"the laws of the model's own code are not known: {error}",)
    try:
        graph = trace(laws.model, inputs, laws.plan)
    except FaninError as error:
        if inputs is not None:
            raise
        graph = Graph(tuple(uses_by_type(laws.model)), notes=(f"roles are from the classes of modules: {error}",))
    return laws, graph, (*notes, *graph.notes)


def axes_of(uses: Sequence[Use]) -> Axes | None:
    """The axes that its uses agree in; of a packed tensor those of its blocks."""
    if len({use.axes for use in uses if use.parts}) > 1:
        return None
    return next((use.axes for use in uses if use.axes is not None), None)


def _described(
    entry: StoredTensor,
    uses: Sequence[Use],
    graph: Graph,
    laws: Native,
    plan: Plan | None,
    marks: Mapping[str, Mark],
) -> Seen:
    """The record of a tensor before its values are read."""
    tensor, planned = entry.tensor, None if plan is None else plan.get(entry.name)
    place = graph.places.get(entry.name) or (planned.place if planned is not None else None)
    return Seen(
        name=entry.name,
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        kind=entry.kind,
        aliases=entry.aliases,
        persistent=entry.persistent,
        trainable=tensor.requires_grad,
        role=role(entry.kind, uses) if uses or planned is None else planned.role,
        axes=axes_of(uses) or (None if planned is None else planned.axes),
        uses=tuple(uses),
        place=place or Place(),
        planned=planned,
        native=laws.plan.get(entry.name),
        protected=marks[entry.name].source if entry.name in marks else "",
        unsound=_unsound(tensor),
    )


def _read(seen: Seen, tensor: Tensor) -> Seen:
    """The record with what one read of the values found; of a shard, of what this process holds."""
    local = local_of(tensor) if is_dtensor(tensor) else tensor.detach()
    if seen.unsound or not has_values(local):
        return seen
    if not _whole_units(tensor, seen.axes):
        return replace(seen, numbers=looked(local.reshape(-1)).numbers)
    found, twins, experts = looked_through(local, seen.axes)
    read = replace(seen, numbers=found.numbers, twins=twins, experts=experts)
    if tuple(local.shape) != seen.shape:
        return read  # what asks for rows or values again must see the same on every rank
    rows = found.seconds * (len(found.seconds) / max(1, local.numel()))
    sample = spread(local.reshape(-1)) if seen.kind == "parameter" and seen.floating else None
    return replace(read, seconds=rows, spread=sample, load=lambda: local)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()  # sparse tensors have no nbytes


def _unsound(tensor: Tensor) -> str:
    if is_placeholder(tensor):
        return f"DeepSpeed ZeRO-3 has partitioned it (shape {shape_of(tensor)})"
    bare = local_of(tensor) if is_dtensor(tensor) else tensor
    if not has_values(bare):
        return ""
    if is_wrapper(bare) or bare.layout is not torch.strided or bare.is_quantized:
        return f"a {type(bare).__name__} of layout {bare.layout}, which holds no plain values"
    return ""


def _whole_units(tensor: Tensor, axes: Axes | None) -> bool:
    """Whether units are not cut across processes."""
    if not is_dtensor(tensor):
        return True
    forward = {0} if axes is None else {*axes.batch, *axes.outputs}
    return all(each.is_replicate() or getattr(each, "dim", -1) in forward for each in tensor.placements)
