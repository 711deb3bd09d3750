"""Options of recipes: what a recipe's function takes, and values for it from text as in `chrono,t_max=784`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from math import isfinite
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from fanin.errors import ArgumentError, UnknownNameError

_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Option:
    """A number or word that a recipe may be given.

    Attributes:
        name: as in `named("chrono,t_max=784")`.
        default: what it is where not given.
        meaning: for a person.
        choices: the values it can have, where they are few.

    >>> Option("t_max", 100.0, "longest dependency expected, in time steps").read("chrono", "784")
    784.0
    """

    name: str
    default: float | str
    meaning: str
    choices: tuple[str, ...] = ()

    def read(self, recipe: str, value: object) -> float | str:
        """`value` (text, or already of the option's type) as the option's type.

        Raises:
            ArgumentError: it is not of that type, or not one of the choices.
        """
        kind, words = _KINDS[type(self.default)] if not self.choices else (_word, f"one of {', '.join(self.choices)}")
        try:
            read = kind(value)
        except (ValueError, TypeError):
            read = None
        if read is None or (self.choices and read not in self.choices):
            raise ArgumentError(f"option {self.name} of recipe {recipe!r} must be {words}, got {value!r}")
        return read


def options_of(make: Callable[..., object]) -> tuple[Option, ...]:
    """The options of a recipe's function, from its signature: `name: Annotated[type, "meaning"] = default`.

    The type is bool, int, float, str or a Literal of words.
    """
    hints = get_type_hints(make, include_extras=True)
    return tuple(_option(name, hints[name], each.default) for name, each in signature(make).parameters.items())


def read_options(recipe: str, known: tuple[Option, ...], given: Mapping[str, object]) -> dict[str, float | str]:
    """Keyword arguments for the recipe's function.

    Raises:
        UnknownNameError: no option of that name.
        ArgumentError: the recipe has no options, or a value that the option cannot have.
    """
    by_name = {option.name: option for option in known}
    for name in given:
        if not known:
            raise ArgumentError(f"recipe {recipe!r} takes no options, got {name!r}")
        if name not in by_name:
            raise UnknownNameError.among(f"option of recipe {recipe!r}", name, by_name)
    return {name: by_name[name].read(recipe, value) for name, value in given.items()}


def _option(name: str, hint: Any, default: Any) -> Option:
    kind, meaning = get_args(hint) if get_origin(hint) is Annotated else (hint, "")
    return Option(name, default, meaning, get_args(kind) if get_origin(kind) is Literal else ())


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return _BOOLEANS[value] if isinstance(value, str) and value in _BOOLEANS else _refused()


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (not isinstance(value, str) and int(value) != value):
        return _refused()
    return int(value)


def _number(value: Any) -> float:
    number = float(value)
    return number if isfinite(number) and not isinstance(value, bool) else _refused()


def _word(value: object) -> str:
    return value if isinstance(value, str) else _refused()


def _refused() -> Any:
    raise ValueError


_KINDS: dict[type, tuple[Callable[[object], float | str], str]] = {
    bool: (_boolean, "true or false"),
    int: (_whole, "a whole number"),
    float: (_number, "a finite number"),
    str: (_word, "a word"),
}
