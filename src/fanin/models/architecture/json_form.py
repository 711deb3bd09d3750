"""Descriptions as the data that TOML and JSON hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Protocol

from fanin.errors import ArgumentError, UnknownNameError
from fanin.models.architecture.checks import check_depth, shown
from fanin.models.architecture.kinds import plain
from fanin.models.architecture.records import Input, Layer
from fanin.models.architecture.registry import kinds

_KEYS = ("name", "loss", "inputs", "layers", "outputs")
_OF_LAYER = ("name", "type", "inputs", "tie")


class Described(Protocol):
    """An architecture."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> Mapping[str, Input]: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def loss(self) -> str: ...


def to_dict(architecture: Described) -> dict[str, Any]:
    """The data of an architecture; what a reader would assume is left out."""
    layers = architecture.layers
    befores = ["" if len(architecture.inputs) > 1 else next(iter(architecture.inputs)), *(each.name for each in layers)]
    data: dict[str, Any] = {"name": architecture.name, "loss": architecture.loss}
    data["inputs"] = {name: _input(given) for name, given in architecture.inputs.items()}
    if architecture.outputs != (layers[-1].name,):
        data["outputs"] = list(architecture.outputs)
    return data | {"layers": [_layer(layer, before) for layer, before in zip(layers, befores, strict=False)]}


def from_dict(data: Any) -> dict[str, Any]:
    """The arguments of `Architecture`.

    Raises:
        ArgumentError, UnknownNameError: data of another form.
    """
    check_depth(data)
    if not isinstance(data, Mapping):
        raise ArgumentError(f"a description is a table of {', '.join(_KEYS)}, got {shown(data)}")
    for key in data:
        if key not in _KEYS:
            raise UnknownNameError.among("key of a description", shown(key, quoted=False), _KEYS)
    for key in ("inputs", "layers"):
        if key not in data:
            raise ArgumentError(f"a description needs {key!r}: a table of inputs with their shapes, a list of layers")
    inputs, layers = data["inputs"], data["layers"]
    if not isinstance(inputs, Mapping):
        raise ArgumentError(f"inputs must be a table from names to shapes, got {shown(inputs)}")
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise ArgumentError(f"layers must be a list of tables, got {shown(layers)}")
    return {
        "name": data.get("name", ""),
        "inputs": {name: _read_input(name, given) for name, given in inputs.items()},
        "layers": tuple(_read_layer(number, each) for number, each in enumerate(layers, start=1)),
        "outputs": _names("outputs", data.get("outputs", ())),
        "loss": data.get("loss", "none"),
    }


def dumps(data: Any) -> str:
    """JSON text."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def loads(text: str) -> Any:
    """The data of a JSON text.

    Raises:
        ArgumentError: it is not JSON; says in which line and column.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ArgumentError(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ArgumentError("not a description: its lists and tables are nested too deeply") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ArgumentError(f"not a description: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError(f"not a description: the key {shown(twice)} is there twice in one table")
    return data


def _input(given: Input) -> Any:
    shape = list(given.shape)
    return shape if given.dtype == "float32" else {"shape": shape, "dtype": given.dtype}


def _layer(layer: Layer, before: str) -> dict[str, Any]:
    data: dict[str, Any] = {"name": layer.name, "type": layer.type}
    if layer.inputs != (() if kinds()[layer.type].most == 0 else (before,)):
        data["inputs"] = list(layer.inputs or ())
    data |= {name: _written(value) for name, value in layer.options.items()}
    return data | ({"tie": dict(layer.ties)} if layer.ties else {})


def _written(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_written(each) for each in value]
    if value is None:
        return "none"
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _read_input(name: str, given: Any) -> Input:
    if isinstance(given, Mapping):
        for key in given:
            if key not in ("shape", "dtype"):
                raise UnknownNameError.among(f"key of input {name!r}", shown(key, quoted=False), ("shape", "dtype"))
        return Input(plain(given.get("shape")), str(given.get("dtype", "float32")))
    return Input(plain(given))


def _read_layer(number: int, data: Any) -> Layer:
    if not isinstance(data, Mapping):
        raise ArgumentError(f"layer number {number} must be a table with name and type, got {shown(data)}")
    for key in ("name", "type"):
        if key not in data:
            which = f"layer {shown(data['name'])}" if "name" in data else f"layer number {number}"
            raise ArgumentError(f"{which} needs a {key}")
    tie = data.get("tie", {})
    if not isinstance(tie, Mapping):
        raise ArgumentError(f"layer {shown(data['name'])}: tie must be a table of parameters, got {shown(tie)}")
    options = {key: plain(value) for key, value in data.items() if key not in _OF_LAYER}
    inputs = _names(f"layer {shown(data['name'])}: inputs", data["inputs"]) if "inputs" in data else None
    return Layer(data["name"], data["type"], options, inputs, dict(tie))


def _names(what: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ArgumentError(f"{what} must be a list of names, got {shown(value)}")
    return tuple(value)
