"""Rules for single tensors, written as a mapping from role or name to law."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from fanin.errors import ArgumentError
from fanin.graph.roles import ROLES
from fanin.initializers import Initializer
from fanin.recipes.matching import has_role, is_called
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo

Law = Initializer | Callable[..., Initializer | None] | None
"""An initializer; a scheme, whose first argument is `axes`; a function of a `TensorInfo`; None for the authors' law."""


def override_rules(laws: Mapping[str, Law], recipe: str) -> tuple[Rule, ...]:
    """One rule of `recipe` per entry of `laws`, in order; a key is a role (`fanin.graph.ROLES`) or a pattern of names.

    Raises:
        ArgumentError: a value that is none of the three.
    """
    return tuple(
        Rule(
            matches=has_role(key) if key in ROLES else is_called(key),
            scheme=_scheme(key, law),
            why=f"override of {key!r}",
            recipe=recipe,
            key=key,
        )
        for key, law in laws.items()
    )


def _scheme(key: str, law: object) -> Callable[[TensorInfo], Initializer | None]:
    if law is None or isinstance(law, Initializer):
        return lambda _: law
    if not callable(law):
        raise ArgumentError(
            f"override of {key!r} must be an initializer, a scheme, a function of a TensorInfo or None, got {law!r}"
        )
    function: Callable[..., Any] = law
    if next(iter(signature(function).parameters), "") == "axes":
        return lambda tensor: function(tensor.contracted)
    return function
