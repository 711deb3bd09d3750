"""A graph of torch.fx as layers of a description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from fanin.errors import ArgumentError
from fanin.models.architecture.following import Follower
from fanin.models.architecture.functions import PREVIOUS, Made, Seen, Size, converted
from fanin.models.architecture.records import Layer
from fanin.models.architecture.registry import AGAIN, BUFFER, PARAMETER, kind_of, kinds

_MOST_VALUES = 4096


class Reading:
    """Reads a graph of torch.fx, of a pass of so many samples, as layers."""

    def __init__(
        self, model: nn.Module, follower: Follower, graph: fx.Graph, inputs: Mapping[str, str], batch: int
    ) -> None:
        self.inputs = inputs
        self._batch = batch
        self._model = model
        self._follower = follower
        self._graph = graph
        self._names: dict[fx.Node, str] = {}
        self._taken: set[str] = {prefix for name, _ in model.named_modules() for prefix in [name] if name}
        self._layers: list[Layer] = []
        self._called: dict[str, str] = {}
        self._seen: Seen | None = None

    def layers(self) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
        """The layers in the order of the pass, and the names of the outputs."""
        outputs: tuple[str, ...] = ()
        for node in self._graph.nodes:
            if node.op == "placeholder":
                self._names[node] = self.inputs[str(node.target)]
                self._seen = self._seen or Seen(self._follower.values.__getitem__, self._batch, node)
            elif node.op == "output":
                outputs = tuple(self._output(each) for each in _returned(self._model, node.args[0]))
            elif node not in self._names:
                self._read(node)
        return self._with_ties(), outputs

    def _read(self, node: fx.Node) -> None:
        match node.op:
            case "get_attr":
                self._stored(node)
            case "call_module":
                self._module(node)
            case _:
                self._function(node)

    def _output(self, node: fx.Node) -> str:
        if node.op != "placeholder":
            return self._names[node]
        name = self._free("", "identity")
        self._layers.append(Layer(name, "identity", {}, (self._names[node],)))
        return name

    def _stored(self, node: fx.Node) -> None:
        path = str(node.target)
        constant = self._follower.constants.get(path)
        name = self._free(self._follower.places[node], "constant") if constant is not None else path
        self._names[node] = name
        if constant is None:
            found = _at(self._model, path)
            if isinstance(found, nn.Parameter):
                self._layers.append(Layer(name, PARAMETER, {"shape": tuple(found.shape)}, ()))
                return
            constant = found
        persistent = path in self._model.state_dict()
        self._layers.append(Layer(name, BUFFER, _values(name, constant) | ({} if persistent else _NOT_STORED), ()))

    def _module(self, node: fx.Node) -> None:
        path = str(node.target)
        module = self._model.get_submodule(path)
        kind, options = kind_of(module) or (kinds()["identity"], {})
        ends, taken = _taken(node, kind.takes)
        if taken is None:
            raise ArgumentError(f"a part of what layer {path!r} ({kind.name}) returns is used that descriptions lack")
        if kind.takes and taken != next(iter(kind.takes)):
            options = options | {"take": taken}
        inputs = self._inputs(path, node, kind.call)
        again = path in self._called
        has_tensors = any(True for _ in (*module.parameters(), *module.buffers()))
        name = self._free(path.rpartition(".")[0], _tail(path, kind.name)) if again else path
        if again and has_tensors:
            options = {"layer": self._called[path]} | ({"take": taken} if "take" in options else {})
            self._layers.append(Layer(name, AGAIN, options, inputs))
        else:
            self._layers.append(Layer(name, kind.name, options, inputs))
        self._called.setdefault(path, name)
        self._names |= dict.fromkeys((node, *ends), name)

    def _inputs(self, path: str, node: fx.Node, known: Mapping[str, Any]) -> tuple[str, ...]:
        extra = {key: value for key, value in node.kwargs.items() if isinstance(value, fx.Node)}
        silent = ("need_weights", "average_attn_weights", *known)
        others = [
            key for key, value in node.kwargs.items() if key not in (*extra, *silent) and value not in (None, False)
        ]
        if others:
            raise ArgumentError(f"layer {path!r} is called with {others[0]}=, which descriptions do not have")
        inputs: list[str] = []
        for value in (*node.args, *extra.values()):
            if value is None:
                continue
            inputs.append(self._value(path, node, value))
        return tuple(inputs)

    def _value(self, path: str, node: fx.Node, value: Any) -> str:
        if isinstance(value, fx.Node):
            return self._names[value]
        if isinstance(value, tuple | list) and value and all(isinstance(each, fx.Node) for each in value):
            name = self._free(path.rpartition(".")[0], "together")
            self._layers.append(Layer(name, "together", {}, tuple(self._names[each] for each in value)))
            return name
        raise ArgumentError(f"layer {path!r} is called with {value!r}, which descriptions do not have")

    def _function(self, node: fx.Node) -> None:
        place = self._follower.places[node]
        made = converted(self._seen, node) if self._seen is not None else None
        if isinstance(made, fx.Node):
            self._names[node] = self._names[made]
            return
        if made is None:
            name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
            where = f"the module {place!r}" if place else type(self._model).__name__
            raise ArgumentError(f"{where} calls {name} in a way that descriptions do not have")
        for step in made:
            self._append(node, place, step)

    def _append(self, node: fx.Node, place: str, step: Made) -> None:
        for value in step.options.values():
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(each, int) and each and each % self._batch == 0 for each in numbers):
                raise ArgumentError(f"{step.type} in {place or type(self._model).__name__!r} depends on the batch size")
        inputs = tuple(self._layers[-1].name if each == PREVIOUS else self._names[each] for each in step.inputs)
        name = self._free(place, step.type)
        usual = kinds()[step.type].options
        options = {key: _plain(value) for key, value in step.options.items() if value != usual[key].default}
        self._layers.append(Layer(name, step.type, options, inputs))
        self._names[node] = name

    def _free(self, place: str, word: str) -> str:
        """A name in a module that nothing has yet."""
        used = self._taken | {layer.name for layer in self._layers} | set(self._names.values())
        dot = f"{place}." if place and kind_of(self._model.get_submodule(place)) is None else ""
        number = 1
        while (name := f"{dot}{word}{'' if number == 1 else f'_{number}'}") in used:
            number += 1
        self._taken.add(name)
        return name

    def _with_ties(self) -> tuple[Layer, ...]:
        """The layers, those parameters tied that are one tensor under several names."""
        owners: dict[int, str] = {}
        ties: dict[str, dict[str, str]] = {}
        layers = {layer.name: layer for layer in self._layers}
        for name, parameter in self._model.named_parameters(remove_duplicate=False):
            owner = owners.setdefault(id(parameter), name)
            holder = next((each for each in _prefixes(name) if each in layers), None)
            if owner != name and holder is not None:
                ties.setdefault(holder, {})[name[len(holder) + 1 :]] = owner
        return self._in_order(replace(each, ties=ties.get(each.name, {})) for each in self._layers)

    def _in_order(self, layers: Iterable[Layer]) -> tuple[Layer, ...]:
        """The layers in the order of the pass, those with stored tensors in the order in which the model has them."""
        first: dict[str, int] = {}
        for number, key in enumerate(self._model.state_dict()):
            for name in (key, *_prefixes(key)):
                first.setdefault(name, number)
        listed = list(layers)
        places = [at for at, layer in enumerate(listed) if layer.name in first]
        storing = sorted((listed[at] for at in places), key=lambda layer: first[layer.name])
        for at, layer in zip(places, storing, strict=True):
            listed[at] = layer
        return tuple(listed)


def _plain(value: Any) -> Any:
    """Sizes as the numbers that they are."""
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    return int(value) if isinstance(value, Size) else value


def _taken(node: fx.Node, takes: Mapping[str, tuple[int, ...]]) -> tuple[list[fx.Node], str | None]:
    """Which part of a result is used, None for one that has no name, and the nodes that stand for it."""
    for name, path in takes.items():
        ends = [node]
        between: list[fx.Node] = []
        for place in path:
            readers = {reader for end in ends for reader in end.users}
            between += readers
            ends = [reader for reader in readers if _item(reader) == place]
            if len(ends) < len(readers) or not readers:
                break
        else:
            if path:
                return [*between, *ends], name
    return [], "all" if "all" in takes else None if takes else ""


def _item(node: fx.Node) -> int | None:
    name = getattr(node.target, "__name__", "")
    found: Any = node.args[1] if name == "getitem" else None
    return found if isinstance(found, int) else None


def _returned(model: nn.Module, value: Any) -> Iterator[fx.Node]:
    for each in value if isinstance(value, tuple | list) else (value,):
        if not isinstance(each, fx.Node):
            seen = type(each).__name__.removeprefix("immutable_")
            raise ArgumentError(f"{type(model).__name__} returns {seen}: descriptions return tensors or tuples of them")
        yield each


_NOT_STORED = {"persistent": False}


def _values(name: str, tensor: torch.Tensor) -> dict[str, Any]:
    if tensor.is_meta or tensor.numel() > _MOST_VALUES:
        shape = "×".join(map(str, tensor.shape))
        raise ArgumentError(f"the values of the buffer {name!r} of shape {shape} are too many for a description")
    listed: Any = tensor.tolist()
    return {"values": listed}


def _prefixes(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _tail(path: str, type: str) -> str:
    last = path.rpartition(".")[2]
    return type if last.isdigit() else last


def _at(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root
