"""What follows from shapes: sizes that a description leaves out, and whether layers fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError, FaninError
from fanin.models.architecture.checks import shown, where
from fanin.models.architecture.kinds import Kind
from fanin.models.architecture.records import Input, Layer
from fanin.models.architecture.registry import AGAIN, BUFFER, PARAMETER, named
from fanin.models.architecture.running import Running

_BATCH = 2
MOST_TENSORS = 256
"""In what one layer makes: `together` of itself, again and again, would have 2^n of them."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A description whose sizes are all known.

    Attributes:
        options: of each layer, sizes among them.
        shapes: of each layer's output.
        parameters: values in all parameters, tied ones once.
        bytes: of all parameters and buffers.
    """

    options: Mapping[str, Mapping[str, Any]]
    shapes: dict[str, Any]
    parameters: int
    bytes: int


def resolved(inputs: Mapping[str, Input], order: Sequence[Layer], batch: int = _BATCH) -> Resolved:
    """Run the layers on tensors without memory, in `order`.

    Raises:
        ArgumentError: a layer that cannot be made or cannot take what it gets.
    """
    run = _Run(inputs, batch)
    with torch.device("meta"), torch.no_grad():
        for layer in order:
            run.step(layer)
    shapes = {layer.name: _shape(run.values[layer.name]) for layer in order}
    stored = run.stored(order)
    parameters = sum(tensor.numel() for tensor in stored if isinstance(tensor, nn.Parameter))
    size = sum(tensor.numel() * tensor.element_size() for tensor in stored)
    return Resolved(run.options, shapes, parameters, size)


class _Run:
    """A forward pass on `meta`, layer by layer, that makes the layers as it goes."""

    def __init__(self, inputs: Mapping[str, Input], batch: int) -> None:
        self.values: dict[str, Any] = {}
        self.options: dict[str, Mapping[str, Any]] = {}
        self._modules: dict[str, nn.Module] = {}
        self._kinds: dict[str, Kind] = {}
        self._tensors: dict[str, torch.Tensor] = {}
        for name, given in inputs.items():
            dtype = getattr(torch, given.dtype)
            try:
                self.values[name] = torch.zeros((batch, *given.shape), dtype=dtype, device="meta")
            except RuntimeError:
                shape = "×".join(map(str, given.shape))
                raise ArgumentError(f"input {name!r} of shape {shape} is larger than any memory") from None

    def step(self, layer: Layer) -> None:
        """Make one layer and run it."""
        kind = named(f"layer {layer.name!r}", layer.type)
        self.options[layer.name] = layer.options
        if layer.type in (PARAMETER, BUFFER):
            self.values[layer.name] = self._tensors[layer.name] = _stored(layer)
            return
        given = [self.values[name] for name in layer.inputs or ()]
        if layer.type == AGAIN:
            module, kind = self._modules[str(layer.options["layer"])], self._kinds[str(layer.options["layer"])]
        else:
            self.options[layer.name] = options = _sized(layer, kind, given)
            module, self._kinds[layer.name] = _made(layer, kind, options).eval(), kind
            self._modules[layer.name] = module
        try:
            result = Running(module)(*given, **kind.call)
            for index in kind.taken(layer.options):
                result = result[index]
        except FaninError as error:
            raise ArgumentError(f"{where(layer)} cannot take {_described(layer, given)}: {error}") from None
        except Exception as error:  # whatever torch says of shapes that do not fit
            raise ArgumentError(
                f"{where(layer)} cannot take {_described(layer, given)}: {_first_line(error)}"
            ) from None
        _check_tensors(layer, result)
        self.values[layer.name] = result

    def stored(self, order: Sequence[Layer]) -> list[torch.Tensor]:
        """Every parameter and buffer once, ties checked."""
        named_tensors = dict(self._tensors)
        for name, module in self._modules.items():
            own = (*module.named_parameters(), *module.named_buffers())
            named_tensors |= {f"{name}.{key}": tensor for key, tensor in own}
        ties = {f"{layer.name}.{key}": other for layer in order for key, other in layer.ties.items()}
        for layer in order:
            for key in layer.ties:
                _check_tie(layer, f"{layer.name}.{key}", ties, named_tensors)
        return [tensor for name, tensor in named_tensors.items() if name not in ties]


def _check_tie(layer: Layer, mine: str, ties: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> None:
    other = ties[mine]
    for name in (mine, other):
        if not isinstance(tensors.get(name), nn.Parameter):
            raise ArgumentError(f"{where(layer)}: there is no parameter {name!r} to tie")
    if mine == other:
        raise ArgumentError(f"{where(layer)}: {mine!r} is tied to itself")
    if other in ties:  # which of them are one tensor would depend on the order in which they are tied
        advice = "leave out one of the two ties" if ties[other] == mine else f"tie it to {ties[other]!r} directly"
        raise ArgumentError(
            f"{where(layer)}: {mine!r} is tied to {other!r}, which is tied to {ties[other]!r} itself: {advice}"
        )
    seen, wanted = tuple(tensors[other].shape), tuple(tensors[mine].shape)
    if seen != wanted:
        raise ArgumentError(f"{where(layer)}: {mine!r} of shape {_x(wanted)} is tied to {other!r} of shape {_x(seen)}")


def _check_tensors(layer: Layer, value: Any) -> None:
    if any(True for _ in islice(_tensors(value), MOST_TENSORS, None)):
        raise ArgumentError(
            f"{where(layer)} makes more than {MOST_TENSORS} tensors: give it fewer parts, or concatenate them"
        )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for part in value:
            yield from _tensors(part)


def _stored(layer: Layer) -> torch.Tensor:
    if layer.type == BUFFER:
        return buffer_of(layer)
    try:
        return nn.Parameter(torch.zeros(layer.options["shape"]))
    except RuntimeError:
        raise ArgumentError(f"{where(layer)} of shape {_x(layer.options['shape'])} is larger than any memory") from None


def buffer_of(layer: Layer) -> torch.Tensor:
    """The values of a buffer.

    Raises:
        ArgumentError: they are no numbers in rows of the same length.
    """
    try:
        _ = torch.tensor(layer.options["values"], device="cpu")  # on `meta` nobody looks at the rows
        return torch.tensor(layer.options["values"])
    except (ValueError, TypeError, RuntimeError) as error:
        raise ArgumentError(
            f"{where(layer)}: values must be numbers in rows of one length: {_first_line(error)}"
        ) from None


def _sized(layer: Layer, kind: Kind, given: Sequence[Any]) -> dict[str, Any]:
    """The options with the sizes that follow from shapes; those that are given must agree."""
    options = dict(layer.options)
    for name, (number, dimension) in kind.sizes.items():
        tensor = given[number]
        needed = dimension + 1 if dimension >= 0 else -dimension
        if not isinstance(tensor, torch.Tensor) or tensor.dim() < max(needed, 1):
            raise ArgumentError(
                f"{where(layer)} needs an input of {needed} or more dimensions, got {_described(layer, given)}"
            )
        found = int(tensor.shape[dimension])
        wanted = options.setdefault(name, found)
        if isinstance(wanted, tuple):  # a norm over several dimensions: torch compares them
            continue
        if wanted != found:
            raise ArgumentError(
                f"{where(layer)} expects {wanted} in dimension {dimension} of its input ({name} = {wanted}), "
                f"got {_described(layer, given)}"
            )
    return options


def _made(layer: Layer, kind: Kind, options: Mapping[str, Any]) -> nn.Module:
    try:
        return kind.build(options)
    except FaninError as error:
        raise ArgumentError(f"{where(layer)}: {error}") from None
    except Exception as error:  # whatever a constructor says of values that it does not take
        raise ArgumentError(f"{where(layer)} cannot be made of these options: {_first_line(error)}") from None


def _described(layer: Layer, given: Sequence[Any]) -> str:
    pairs = zip(layer.inputs or (), given, strict=True)
    return " and ".join(f"{shown(_words(_shape(value)), quoted=False)} from {name!r}" for name, value in pairs)


def _words(shape: Any) -> str:
    if shape and isinstance(shape[0], tuple):
        return f"({', '.join(map(_words, shape))})"
    return f"[{', '.join(('n', *map(str, shape[1:])))}]"


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else tuple(map(_shape, value))


def _x(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
