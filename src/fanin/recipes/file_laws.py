"""The laws of recipe files: an initializer or a scheme by name, its numbers plain or as formulas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from fanin import schemes
from fanin.errors import ArgumentError, UnknownNameError
from fanin.initializers import Blocks, Initializer, Negated
from fanin.recipes.formula import Formula
from fanin.recipes.tensor_info import TensorInfo

Scheme = Callable[[TensorInfo], Initializer | None]

_LAWS = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): law
    for name, law in Initializer.registry.items()
    if law not in (Blocks, Negated)
}
_SCHEMES: dict[str, Callable[..., Any]] = {
    name: function
    for name, function in vars(schemes).items()
    if callable(function) and name.islower() and not name.startswith("_") and "axes" in signature(function).parameters
}


def law_of(data: Mapping[str, Any]) -> Scheme:
    """The function of a tensor that `law = "normal", std = 0.02` or `scheme = "he_normal", gain = "gain"` means.

    Raises:
        UnknownNameError: no law, scheme or quantity of that name.
        ArgumentError: a key or a value that the law cannot have.

    >>> from fanin.recipes import TensorInfo
    >>> law_of({"law": "normal", "std": "1 / sqrt(columns)"})(TensorInfo("e", (9, 4), "float32", "parameter", "token"))
    Normal(mean=0.0, std=0.5)
    """
    named = [key for key in ("law", "scheme") if key in data]
    if len(named) != 1:
        raise ArgumentError('give either law = "…" (an initializer, or "keep") or scheme = "…"')
    kind, name = named[0], data[named[0]]
    numbers = {key: value for key, value in data.items() if key != kind}
    if kind == "law" and name == "keep":
        _check_keys(name, numbers, {})
        return lambda _: None
    known = {"law": _LAWS, "scheme": _SCHEMES}[kind]
    if name not in known:
        raise UnknownNameError.among(kind, str(name), [*known, *(["keep"] if kind == "law" else [])])
    types = {key: str(each.annotation) for key, each in signature(known[name]).parameters.items() if key != "axes"}
    _check_keys(name, numbers, types)
    given = {key: _number(key, value, types[key]) for key, value in numbers.items()}
    if kind == "scheme":
        return lambda tensor: _SCHEMES[name](tensor.contracted, **_resolved(given, tensor))
    if any(isinstance(value, Formula) for value in given.values()):
        return lambda tensor: _built(_LAWS[name], _resolved(given, tensor))
    law = _built(_LAWS[name], given)
    return lambda _: law


def _check_keys(name: str, numbers: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key in numbers:
        if key not in known:
            raise ArgumentError(f"unknown key {key!r} for {name!r}; known: {', '.join(known) or 'none'}")


def _number(key: str, value: Any, wanted: str) -> Any:
    """A value of the file as the law takes it: text for a number is a formula."""
    if isinstance(value, str) and wanted == "float":
        try:
            return Formula(value)
        except (ArgumentError, UnknownNameError) as error:
            raise type(error)(f"{key}: {error}") from None
    if type(value) is int and wanted == "float":
        return float(value)
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _resolved(given: Mapping[str, Any], tensor: TensorInfo) -> dict[str, Any]:
    return {key: value(tensor) if isinstance(value, Formula) else value for key, value in given.items()}


def _built(law: Callable[..., Initializer], numbers: Mapping[str, Any]) -> Initializer:
    try:
        return law(**numbers)
    except TypeError as error:
        raise ArgumentError(f"{getattr(law, '__name__', law)} cannot be built from {dict(numbers)}: {error}") from None
