"""From a description to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.architecture.inference import Resolved, buffer_of
from fanin.models.architecture.network import Call, Network, place, place_buffer
from fanin.models.architecture.records import Input, Layer
from fanin.models.architecture.registry import AGAIN, BUFFER, PARAMETER, named
from fanin.models.sample import Sample


def build(
    inputs: Mapping[str, Input],
    layers: Sequence[Layer],
    order: Sequence[Layer],
    outputs: Sequence[str],
    sizes: Resolved,
) -> Network:
    """The model, on torch's default device; see `Architecture.build`."""
    _check_memory(sizes)
    by_name = {layer.name: layer for layer in layers}
    calls = [_call(layer, by_name) for layer in order]
    network = Network(_samples(inputs, layers, sizes), calls, outputs)
    for layer in layers:
        _place(network, layer, sizes)
    for layer in layers:
        for key, other in layer.ties.items():
            _tie(network, f"{layer.name}.{key}", other)
    return network


def _place(network: Network, layer: Layer, sizes: Resolved) -> None:
    if layer.type == PARAMETER:
        place(network, layer.name, nn.Parameter(torch.zeros(layer.options["shape"])))
    elif layer.type == BUFFER:
        place_buffer(network, layer.name, buffer_of(layer), persistent=layer.options.get("persistent", True))
    elif layer.type != AGAIN:
        kind = named(f"layer {layer.name!r}", layer.type)
        place(network, layer.name, kind.build(sizes.options[layer.name]))


def _call(layer: Layer, by_name: Mapping[str, Layer]) -> Call:
    reads = layer.inputs or ()
    if layer.type in (PARAMETER, BUFFER):
        return Call(layer.name, layer.name, reads, {}, is_tensor=True)
    target = by_name[str(layer.options["layer"])] if layer.type == AGAIN else layer
    kind = named(f"layer {target.name!r}", target.type)
    return Call(layer.name, target.name, reads, kind.call, kind.taken(layer.options))


def _tie(network: Network, mine: str, other: str) -> None:
    path, _, key = mine.rpartition(".")
    setattr(network.get_submodule(path), key, network.get_parameter(other))


def _samples(inputs: Mapping[str, Input], layers: Sequence[Layer], sizes: Resolved) -> dict[str, Sample]:
    """What inputs look like: signals, or tokens of the smallest table that reads them."""
    samples: dict[str, Sample] = {}
    for name, given in inputs.items():
        if "float" in given.dtype:
            samples[name] = Sample(given.shape)
            continue
        readers = [layer for layer in layers if name in (layer.inputs or ()) and layer.type == "embedding"]
        rows = [sizes.options[layer.name]["num_embeddings"] for layer in readers]
        samples[name] = Sample(given.shape, tokens=min(rows, default=2))
    return samples


def _check_memory(sizes: Resolved) -> None:
    """Refuse what this machine cannot hold, where memory would be taken."""
    probe = torch.empty(0)
    if probe.device.type != "cpu" or type(probe) is not torch.Tensor:
        return  # `meta`, fake tensors of a capture, or an accelerator, which knows its own memory
    memory = _memory()
    if memory is not None and sizes.bytes > memory:
        raise ArgumentError(
            f"{sizes.parameters:,} parameters take {sizes.bytes / 2**30:,.0f} GiB and this machine has "
            f"{memory / 2**30:,.0f}: make layers smaller, or build it without memory: with torch.device('meta')"
        )


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None
