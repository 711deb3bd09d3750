"""What can be wrong with a description before any shape is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from math import isnan
from typing import Any

from torch import nn

from fanin.errors import ArgumentError, UnknownNameError
from fanin.models.architecture.kinds import Kind, Option
from fanin.models.architecture.network import Network
from fanin.models.architecture.records import DTYPES, Input, Layer
from fanin.models.architecture.registry import AGAIN, PARAMETER, named

MOST_LAYERS = 100_000
LARGEST = 2**62
_DEEPEST = 64
_SHOWN = 60


def normal_layers(name: object, inputs: Mapping[str, Input], layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers with their connections written out and options in the one form that files give back.

    Raises:
        ArgumentError, UnknownNameError: names, types, options or inputs that cannot be.
    """
    if not isinstance(name, str) or len(name) > 1000 or not name.isprintable():
        raise ArgumentError(f"an architecture's name must be one line of text, got {shown(name)}")
    if not inputs:
        raise ArgumentError("a description needs at least one input")
    for each, given in inputs.items():
        _check_input(each, given)
    layers = tuple(layers)
    if not layers:
        raise ArgumentError("a description needs at least one layer: its last one is the output")
    if len(layers) > MOST_LAYERS:
        raise ArgumentError(f"a description may have {MOST_LAYERS:,} layers, got {len(layers):,}")
    _check_names(inputs, layers)
    types = {layer.name: layer for layer in layers}
    normal: list[Layer] = []
    for layer in layers:
        normal.append(_normal(layer, inputs, normal, types))
    return tuple(normal)


def normal_outputs(layers: Sequence[Layer], outputs: Sequence[str]) -> tuple[str, ...]:
    """The outputs, the last layer where none are named.

    Raises:
        ArgumentError, UnknownNameError: one that is no layer, or named twice.
    """
    names = {layer.name for layer in layers}
    for output in outputs:
        if output not in names:
            raise UnknownNameError.among("layer among the outputs", shown(output, quoted=False), names)
    if len(set(outputs)) < len(outputs):
        raise ArgumentError(f"an output is named twice: {', '.join(outputs)}")
    return tuple(outputs) or (layers[-1].name,)


def checked_order(inputs: Mapping[str, Input], layers: Sequence[Layer], outputs: Sequence[str]) -> tuple[Layer, ...]:
    """The layers in an order in which they can run, that of the description where it can.

    Raises:
        ArgumentError: a cycle, or a layer or input that nothing uses.
    """
    by_name = {layer.name: layer for layer in layers}
    reads = {layer.name: _needs(layer, by_name) for layer in layers}
    try:
        TopologicalSorter(reads).prepare()
    except CycleError as error:
        path: list[str] = error.args[1]
        raise ArgumentError(
            f"the layers {' → '.join(path)} form a cycle: a layer cannot read what is computed from it"
        ) from None
    used = {name for layer in layers for name in layer.inputs or ()} | set(outputs)
    used |= {str(layer.options["layer"]) for layer in layers if layer.type == AGAIN}
    used |= {_owner(name, by_name) for layer in layers for name in layer.ties.values()}
    for name in (*by_name, *inputs):
        if name not in used:
            what = "layer" if name in by_name else "input"
            raise ArgumentError(
                f"nothing reads the {what} {name!r}: connect it, name it among outputs, or leave it out"
            )
    return tuple(by_name[name] for name in _ready(reads))


def _ready(reads: Mapping[str, Sequence[str]]) -> list[str]:
    """The names in an order in which each has what it needs: at every place the first in the description that has."""
    names = list(reads)
    place = {name: at for at, name in enumerate(names)}
    missing = {name: len(set(needs)) for name, needs in reads.items()}
    readers: dict[str, list[str]] = {name: [] for name in names}
    for name, needs in reads.items():
        for need in set(needs):
            readers[need].append(name)
    waiting = [place[name] for name in names if not missing[name]]
    order: list[str] = []
    while waiting:
        order.append(names[heappop(waiting)])
        for reader in readers[order[-1]]:
            missing[reader] -= 1
            if not missing[reader]:
                heappush(waiting, place[reader])
    return order


def _needs(layer: Layer, by_name: Mapping[str, Layer]) -> tuple[str, ...]:
    needs = tuple(name for name in layer.inputs or () if name in by_name)
    return (*needs, str(layer.options["layer"])) if layer.type == AGAIN else needs


def _owner(parameter: str, by_name: Mapping[str, Layer]) -> str:
    """The layer that has a parameter of that name: the longest that its name starts with."""
    while parameter and parameter not in by_name:
        parameter = parameter.rpartition(".")[0]
    return parameter


def where(layer: Layer) -> str:
    """A layer as messages name it."""
    return f"layer {layer.name!r} ({shown(layer.type, quoted=False)})"


def shown(value: object, *, quoted: bool = True) -> str:
    """A value of any size in a message."""
    text = repr(value) if quoted else str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def check_depth(data: Any) -> None:
    """Raise where lists and tables are nested deeper than functions that walk them may call themselves.

    Raises:
        ArgumentError: they are.
    """
    level = [data]
    for _ in range(_DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    raise ArgumentError(f"not a description: its lists and tables are nested too deeply, {_DEEPEST} levels are allowed")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()


def _check_input(name: object, given: Input) -> None:
    if not isinstance(name, str) or not name.isidentifier() or hasattr(_BLANK, name):
        raise ArgumentError(f"an input's name must be a plain word that no method of modules has, got {shown(name)}")
    if given.dtype not in DTYPES:
        raise UnknownNameError.among(f"dtype of input {name!r}", shown(given.dtype, quoted=False), DTYPES)
    if not _is_shape(given.shape):
        raise ArgumentError(f"the shape of input {name!r} must be positive whole numbers, got {shown(given.shape)}")


_BLANK: nn.Module = Network({}, (), ())


def _check_names(inputs: Mapping[str, Input], layers: Sequence[Layer]) -> None:
    seen: set[str] = set(inputs)
    for layer in layers:
        name = layer.name
        if not _is_text(name) or not name:
            raise ArgumentError(f"every layer needs a name, got {shown(name)}")
        if name in seen:
            raise ArgumentError(f"the name {shown(name)} is there twice: every layer and input needs its own")
        seen.add(name)
        parts = name.split(".")
        for part in parts:
            if not (part.isidentifier() or (part.isascii() and part.isdigit())) or len(parts) > _DEEPEST:
                raise ArgumentError(f"layer {shown(name)}: names are words and numbers joined by dots")
            if hasattr(_BLANK, part):
                raise ArgumentError(f"layer {shown(name)}: torch's modules have an attribute {part!r} of their own")
    for name in seen:
        outer = name.rpartition(".")[0]
        while outer:
            if outer in seen:
                raise ArgumentError(f"layer {name!r} cannot stand inside of the layer {outer!r}: rename one of them")
            outer = outer.rpartition(".")[0]


def _normal(layer: Layer, inputs: Mapping[str, Input], before: Sequence[Layer], types: Mapping[str, Layer]) -> Layer:
    place = where(layer)
    kind = named(f"layer {layer.name!r}", str(layer.type))
    check_depth(layer.options)
    options = {name: _meant(value, kind.options.get(name)) for name, value in layer.options.items()}
    for name, value in options.items():
        _check_value(f"{place}: {shown(name, quoted=False)}", value)
    kind.checked(place, options)
    if layer.type == PARAMETER and not _is_shape(options["shape"]):
        raise ArgumentError(f"{place}: shape must be positive whole numbers, got {shown(options['shape'])}")
    target = _target(place, layer, options, types) if layer.type == AGAIN else kind
    reads = _inputs(place, layer, kind, inputs, before)
    known = (*inputs, *types)
    for name in reads:
        if name not in types and name not in inputs:
            raise UnknownNameError.among(f"input of {place}", shown(name, quoted=False), known)
    _check_arity(place, target, reads)
    for name, tied in layer.ties.items():
        if not _is_text(name) or not _is_text(tied):
            raise ArgumentError(f"{place}: tie must name a parameter for each name, got {shown(tied)} for {name!r}")
    return replace(layer, options=options, inputs=reads, ties=dict(layer.ties))


_WORDS = {"inf": float("inf"), "-inf": float("-inf"), "none": None}


def _meant(value: Any, option: Option | None) -> Any:
    """The value that a file's word stands for, where the option is no word itself; lists as tuples."""
    if isinstance(value, list | tuple):
        return tuple(_meant(each, option) for each in value)
    is_word = option is not None and (option.is_word or isinstance(option.default, str))
    if isinstance(value, str) and not is_word:
        return _WORDS.get(value, value)
    return value


def _target(place: str, layer: Layer, options: Mapping[str, Any], types: Mapping[str, Layer]) -> Kind:
    target = types.get(str(options["layer"]))
    if target is None:
        raise UnknownNameError.among(f"layer that {place} calls again", shown(options["layer"], quoted=False), types)
    kind = named(f"layer {target.name!r}", str(target.type))
    if target.type == AGAIN or kind.most == 0:
        raise ArgumentError(f"{place} must name a layer with a module, and {target.name!r} is of type {target.type}")
    if "take" in options and options["take"] not in kind.takes:
        raise UnknownNameError.among(f"part to take of {place}", shown(options["take"], quoted=False), kind.takes)
    return kind


def _inputs(
    place: str, layer: Layer, kind: Kind, inputs: Mapping[str, Input], before: Sequence[Layer]
) -> tuple[str, ...]:
    if layer.inputs is not None:
        return tuple(layer.inputs)
    if kind.most == 0:
        return ()
    if before:
        return (before[-1].name,)
    if len(inputs) > 1:
        raise ArgumentError(f"{place} is the first: say which of the inputs {', '.join(inputs)} it reads")
    return tuple(inputs)


def _check_arity(place: str, kind: Kind, reads: Sequence[str]) -> None:
    if len(reads) < kind.least or (kind.most is not None and len(reads) > kind.most):
        wanted = f"{kind.least}" if kind.least == kind.most else f"{kind.least} or more"
        if kind.most is not None and kind.least < kind.most:
            wanted = f"{kind.least} to {kind.most}"
        raise ArgumentError(f"{place} takes {wanted} inputs, got {len(reads)}")


def _check_value(what: str, value: Any) -> None:
    """Raise unless a file can hold the value, and torch a size of it."""
    if isinstance(value, tuple):
        for each in value:
            _check_value(what, each)
    elif type(value) not in (int, float, bool, str) and value is not None:
        raise ArgumentError(f"{what} must be a number, a text or a list of such, got {shown(value)}")
    elif isinstance(value, str) and not _is_text(value):
        raise ArgumentError(f"{what} must be a text that UTF-8 can hold, got {shown(value)}: leave out half characters")
    elif isinstance(value, float) and isnan(value):
        raise ArgumentError(f"{what} must be a number, got nan")
    elif type(value) is int and abs(value) >= LARGEST:
        raise ArgumentError(f"{what} must be below 2^62, got {shown(value)}")


def _is_text(value: object) -> bool:
    """Whether it is a text that a file can hold: half of a surrogate pair, which JSON can spell, has no UTF-8."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(size) is int and 0 < size < LARGEST for size in value)
