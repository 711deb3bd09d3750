"""A model written as text: `resnet:depth=20`, `mlp:784-500-10,activation=gelu`, `cnn:1x28x28-8-16-10`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.families import FAMILIES, SHORTHANDS
from fanin.models.options import read_options

Factory = Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class Spec:
    """`kind:what,key=value,…` or `kind:key=value,…` taken apart; values are text.

    Attributes:
        text: the whole.
        kind: what stands before the colon.
        what: what stands after it without a key; None where nothing does.
        options: the values by their keys.
    """

    text: str
    kind: str
    what: str | None
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Take `text` apart.

        Raises:
            ArgumentError: an option without '=', or given twice.

        >>> Spec.parse("mlp:784-10,bias=false,activation=gelu").options
        {'bias': 'false', 'activation': 'gelu'}
        >>> Spec.parse("resnet:depth=20").what is None
        True
        """
        kind, colon, rest = text.partition(":")
        pairs = rest.split(",") if colon else []
        what = None if not pairs or "=" in pairs[0] else pairs.pop(0)
        options: dict[str, str] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not key or key in options:
                raise ArgumentError(f"model {text!r}: options are written key=value, each once, got {pair!r}")
            options[key] = value
        return cls(text, kind, what, options)

    @property
    def values(self) -> dict[str, Any]:
        """The options as JSON where they are it, else text.

        >>> Spec.parse("hf:gpt2,n_layer=2,activation_function=relu").values
        {'n_layer': 2, 'activation_function': 'relu'}
        """
        return {key: _value(value) for key, value in self.options.items()}


def family_factory(spec: Spec, sizes: Mapping[str, Any]) -> Factory:
    """The factory of a built-in model; `sizes` are the arguments that the builder knows and the spec does not give.

    Raises:
        UnknownNameError: no option of that name.
        ArgumentError: an option given twice, or a value that it cannot have.
    """
    name, preset = SHORTHANDS.get(spec.kind, (spec.kind, {}))
    family = FAMILIES[name]
    positional = {} if spec.what is None else family.positionals(spec.text, spec.what)
    twice = next((key for key in positional if key in spec.options), None)
    if twice is not None:
        raise ArgumentError(f"model {spec.text!r} gives {twice} twice: as {spec.what!r} and by its name")
    known = family.options
    given = {**preset, **read_options(name, known, positional | spec.options)}
    fitting = {option.name: sizes[option.name] for option in known if option.name in sizes}
    return partial(family.builder, **{**fitting, **given})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
