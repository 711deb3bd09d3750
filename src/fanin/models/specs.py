"""A model written as text: `mnist-cnn`, `mlp:784-500-10,activation=gelu`, `cnn:1x28x28-8-16-10`."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from fanin.errors import ArgumentError, UnknownNameError
from fanin.models.cnn import cnn
from fanin.models.mlp import mlp

Factory = Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class Spec:
    """`kind:what,key=value,…` taken apart; values are JSON where they can be, else text."""

    text: str
    kind: str
    what: str
    options: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Take `text` apart.

        Raises:
            ArgumentError: an option without '=', or given twice.

        >>> Spec.parse("mlp:784-10,bias=false,activation=gelu").options
        {'bias': False, 'activation': 'gelu'}
        """
        head, *pairs = text.split(",")
        kind, _, what = head.partition(":")
        options: dict[str, Any] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not key or key in options:
                raise ArgumentError(f"model {text!r}: options are written key=value, each once, got {pair!r}")
            options[key] = _value(value)
        return cls(text, kind, what, options)

    def allow(self, known: Collection[str]) -> None:
        """Raise unless every option is one of `known`."""
        unknown = next((key for key in self.options if key not in known), None)
        if unknown is not None:
            raise UnknownNameError.among(f"option of {self.kind}", unknown, known)


def mlp_factory(spec: Spec) -> Factory:
    """The factory of `mlp:784-500-10`, options activation, bias, norm."""
    spec.allow(("activation", "bias", "norm"))
    return partial(mlp, _integers(spec, spec.what, "-", "mlp:784-500-10"), **spec.options)


def cnn_factory(spec: Spec) -> Factory:
    """The factory of `cnn:1x28x28-8-16-10`, options activation, kernel, pool, bias, norm."""
    spec.allow(("activation", "kernel", "pool", "bias", "norm"))
    example = "cnn:1x28x28-8-16-10"
    shape, _, widths = spec.what.partition("-")
    *channels, classes = _integers(spec, widths, "-", example)
    return partial(cnn, tuple(_integers(spec, shape, "x", example)), channels, classes, **spec.options)


def _integers(spec: Spec, text: str, separator: str, example: str) -> list[int]:
    numbers = text.split(separator)
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise ArgumentError(f"model {spec.text!r}: {text!r} is not whole numbers joined by {separator!r}, as {example}")
    return [int(number) for number in numbers]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
