"""A type of layer: its module class, its options, its inputs, and which sizes follow from their shapes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError, UnknownNameError

NAMES = {
    "in_features": "in",
    "in_channels": "in",
    "input_size": "in",
    "out_features": "out",
    "out_channels": "out",
}
"""Arguments of torch's constructors that have a shorter name in a description; all others keep theirs."""

_PER_DIMENSION = frozenset(("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"))
_LEFT_OUT = frozenset(
    ("device", "dtype", "_weight", "_freeze", "process_group", "min_value", "max_value", "args", "kwargs")
)
REQUIRED = inspect.Parameter.empty
MOST = 10_000
"""Layers, experts or parts inside of one layer, each of which takes time to make."""
_COUNTS = frozenset(("num_layers", "layers", "depth", "experts", "chunks"))

Read = Callable[[nn.Module], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a type: the constructor's argument, and what it is where not given.

    Attributes:
        is_word: its values are texts, so that "none" is a word and not Python's None.
    """

    argument: str
    default: Any
    is_word: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of layer.

    Attributes:
        name: as descriptions call it.
        make: the constructor.
        options: by their names in descriptions.
        least: how many inputs it needs.
        most: how many it may have; None for any number.
        sizes: options that follow from a shape: which input and which of its dimensions.
        takes: what can be taken of a result in several parts, and where it stands; the first is the default.
        read: the options of a module that exists.
        call: keyword arguments of every call.
        fixed: keyword arguments of the constructor.
    """

    name: str
    make: Callable[..., nn.Module]
    options: Mapping[str, Option]
    least: int = 1
    most: int | None = 1
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    takes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    read: Read | None = None
    call: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def checked(self, where: str, options: Mapping[str, Any]) -> None:
        """Raise unless `options` are of this type and have values that it can have.

        Args:
            where: the layer, as messages name it.
        """
        for name, value in options.items():
            if name == "take" and self.takes:
                if value not in self.takes:
                    raise UnknownNameError.among(f"part to take of {where}", str(value), self.takes)
            elif name not in self.options:
                raise UnknownNameError.among(
                    f"option of {where}", name, (*self.options, *(["take"] if self.takes else []))
                )
            else:
                _check(where, name, value, self.options[name].default)
        for name, option in self.options.items():
            if option.default is REQUIRED and name not in self.sizes and name not in options:
                raise ArgumentError(f"{where} needs the option {name!r}")

    def build(self, options: Mapping[str, Any]) -> nn.Module:
        """The module with these options, all sizes among them."""
        given = {option.argument: options[name] for name, option in self.options.items() if name in options}
        return self.make(**given, **self.fixed)

    def taken(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """Where in the result stands what the layer passes on."""
        return self.takes[options.get("take", next(iter(self.takes)))] if self.takes else ()

    def options_of(self, module: nn.Module) -> dict[str, Any]:
        """The options that make a module like this one, defaults and sizes that follow from shapes left out."""
        found = (self.read or self._attributes)(module)
        usual = {name: option.default for name, option in self.options.items()}
        return {
            name: value
            for name, value in found.items()
            if not (name in self.sizes and _follows(value))
            and not (value == usual[name] and type(value) is type(usual[name]))
        }

    def _attributes(self, module: nn.Module) -> dict[str, Any]:
        return {name: attribute(module, option.argument) for name, option in self.options.items()}


def _follows(size: Any) -> bool:
    """A size of one dimension follows from a shape; that of a norm over several does not."""
    return not isinstance(size, tuple) or len(size) == 1


def attribute(module: nn.Module, name: str) -> Any:
    """A module's constructor argument, as torch keeps them: under its own name."""
    value = getattr(module, name)
    if name == "bias":
        scaled = getattr(module, "affine", getattr(module, "elementwise_affine", True))
        return not scaled or (value if isinstance(value, bool) else value is not None)
    if name == "stride" and value == getattr(module, "kernel_size", None) and _pools(module):
        return None  # what it is where not given
    if isinstance(value, tuple) and name in _PER_DIMENSION and len(set(value)) == 1 and type(value[0]) is int:
        return value[0]
    return plain(value)


def plain(value: Any) -> Any:
    """Lists and sizes as tuples."""
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def _pools(module: nn.Module) -> bool:
    return inspect.signature(type(module)).parameters["stride"].default is None


def kind_of_class(name: str, cls: type[nn.Module], **more: Any) -> Kind:
    """The type of a class whose constructor's arguments are its attributes too."""
    parameters = inspect.signature(cls).parameters.values()
    options = {
        NAMES.get(each.name, each.name): Option(each.name, each.default, each.annotation in (str, "str"))
        for each in parameters
        if each.name not in _LEFT_OUT and each.name not in more.get("fixed", {})
    }
    return Kind(name, cls, more.pop("options", options), **more)


def _check(where: str, name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        if type(value) is not bool:
            raise ArgumentError(f"{where}: {name} must be true or false, got {value!r}")
    elif isinstance(default, float):
        if type(value) not in (int, float) and value is not None:
            raise ArgumentError(f"{where}: {name} must be a number, got {value!r}")
    elif isinstance(default, int) and type(value) is bool:
        raise ArgumentError(f"{where}: {name} must be a whole number, got {value!r}")
    if name in _COUNTS and (type(value) is not int or not 1 <= value <= MOST):
        raise ArgumentError(f"{where}: {name} must be from 1 to {MOST}, got {value!r}")
    if isinstance(value, torch.Tensor | nn.Module) or callable(value):
        raise ArgumentError(f"{where}: {name} must be a number, a text or a list of such, got {type(value).__name__}")
