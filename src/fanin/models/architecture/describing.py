"""From a model to its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.architecture.following import BATCHES, Follower, samples_of
from fanin.models.architecture.graph_layers import Reading
from fanin.models.architecture.network import Network
from fanin.models.architecture.overwriting import without_overwriting
from fanin.models.architecture.record import Architecture
from fanin.models.architecture.records import Input, Layer


def describe(model: nn.Module, inputs: Any, *, name: str = "", loss: str = "none") -> Architecture:
    """The description of a model: its layers, how they are connected, and which parameters are tied.

    The model is followed symbolically (torch.fx) on inputs without values; it stays as it is. What the description
    builds has the same names and shapes of stored tensors and, with the same values, the same outputs. Loops over
    layers or steps are written out.

    Args:
        model: any module whose layers have a type (`layer_types()`) and whose pass does not depend on values.
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments; only shapes and dtypes matter, the
            first dimension is the batch.
        name: of the architecture; by default the model's class.
        loss: what it is trained with, one of torch's by name: "cross_entropy", "mse", "l1", "bce", …

    Raises:
        ArgumentError: a layer that descriptions do not have, or a pass that cannot be followed; names the place.

    >>> net = describe(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 4))
    >>> [(layer.name, layer.type) for layer in net.layers], net.layers[2].options
    ([('0', 'linear'), ('1', 'relu'), ('2', 'linear')], {'out': 2})
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"describe takes a torch.nn.Module, got {type(model).__name__}")
    samples = _named(model, inputs)
    names = _free_inputs(model, samples)
    layers, outputs = _read(model, samples, names, BATCHES[0])
    for one, other in zip(layers, _read(model, samples, names, BATCHES[1])[0], strict=False):
        if repr(one) != repr(other):
            raise ArgumentError(f"{type(model).__name__} cannot be described: {one.name!r} depends on the batch size")
    given = {
        names[key]: Input(tuple(value.shape[1:]), str(value.dtype).removeprefix("torch."))
        for key, value in samples.items()
        if isinstance(value, torch.Tensor)
    }
    architecture = Architecture(name or type(model).__name__, given, layers, outputs, loss)
    _check_same(model, architecture)
    return architecture


def _named(model: nn.Module, inputs: Any) -> dict[str, Any]:
    if isinstance(model, Network) and not isinstance(inputs, Mapping):
        given = inputs if isinstance(inputs, tuple | list) else (inputs,)
        return dict(zip(model.reads, given, strict=False))
    return samples_of(model, inputs)


def _read(
    model: nn.Module, samples: Mapping[str, Any], names: Mapping[str, str], batch: int
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The layers and outputs of a pass of so many samples."""
    follower = Follower({key: _many(key, value, batch) for key, value in samples.items()})
    graph = follower.follow(model)
    without_overwriting(graph, model, lambda node: follower.values.get(node))
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    return Reading(model, follower, graph, names, batch).layers()


def _free_inputs(model: nn.Module, samples: Mapping[str, Any]) -> dict[str, str]:
    """Names for the inputs; one that a module has, too, gets another."""
    modules = {name for name, _ in model.named_modules()}
    words = {key: f"x{key[1:]}" if key.startswith("*") else key for key in samples}
    return {key: f"{word}_input" if word in modules else word for key, word in words.items()}


def _many(name: str, value: Any, batch: int) -> Any:
    """The input with as many samples as the pass has."""
    if not isinstance(value, torch.Tensor):
        return value
    if not value.dim():
        raise ArgumentError(f"the input {name.strip('*')!r} has no batch dimension")
    return torch.empty((batch, *value.shape[1:]), dtype=value.dtype, device="meta")


def _check_same(model: nn.Module, architecture: Architecture) -> None:
    """Raise unless the description builds the same stored tensors."""
    with torch.device("meta"):
        built = architecture.build()
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
    for name in (*wanted, *found):
        if wanted.get(name) != found.get(name):
            raise ArgumentError(
                f"{architecture.name} cannot be described: its pass does not tell of {name!r}"
                if name not in found
                else f"{architecture.name} cannot be described: {name!r} would have another shape"
            )
