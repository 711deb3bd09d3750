"""Options of model builders: what a builder's signature takes, and values for it from text, as in `resnet:depth=20`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import dataclass
from functools import cache
from inspect import getdoc, signature
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fanin.errors import ArgumentError, UnknownNameError

_WORDS = {"true": True, "false": False}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INTEGERS = re.compile(r"[0-9]+(?:[-x][0-9]+)*")
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword argument of a builder that a spec can give as text.

    Attributes:
        name: as in `resnet:depth=20`.
        annotation: the type of the argument.
        default: what it is where not given.
        meaning: what the builder's docstring says.

    >>> Option("shape", tuple[int, ...], (1, 28, 28)).read("cnn", "3x32x32")
    (3, 32, 32)
    """

    name: str
    annotation: Any
    default: Any
    meaning: str = ""

    @property
    def kind(self) -> str:
        """The values that it can have, in a word or two; None is left out.

        >>> Option("bias", bool | None, None).kind
        'true|false'
        """
        return "|".join(dict.fromkeys(form.short for form in _forms(self.annotation) if form.short))

    def read(self, family: str, text: str) -> Any:
        """`text` as a value of the option's type.

        Raises:
            ArgumentError: it is none.
        """
        forms = _forms(self.annotation)
        for form in forms:
            found = form.read(text)
            if found is not _NOT_MEANT:
                return found
        words = " or ".join(dict.fromkeys(form.words for form in forms))
        raise ArgumentError(f"option {self.name} of {family} must be {words}, got {text!r}")


def options_of(builder: Callable[..., object]) -> tuple[Option, ...]:
    """The options of a builder, from its signature; their meaning from the section Args of its docstring.

    >>> def box(side: int = 3) -> None:
    ...     '''A box.
    ...
    ...     Args:
    ...         side: its length.
    ...     '''
    >>> options_of(box)
    (Option(name='side', annotation=<class 'int'>, default=3, meaning='its length'),)
    """
    hints, meanings = get_type_hints(builder), _meanings(builder)
    return tuple(
        Option(name, hints[name], parameter.default, meanings.get(name, ""))
        for name, parameter in signature(builder).parameters.items()
    )


def read_options(family: str, known: tuple[Option, ...], given: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments for the builder of `family`.

    Raises:
        UnknownNameError: no option of that name.
        ArgumentError: a value that the option cannot have.
    """
    by_name = {option.name: option for option in known}
    for name in given:
        if name not in by_name:
            raise UnknownNameError.among(f"option of {family}", name, by_name)
    return {name: by_name[name].read(family, text) for name, text in given.items()}


_NOT_MEANT = object()
"""What a form returns for a text that it does not read; None is a value."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a text becomes a value of a type, and the words for such values."""

    read: Callable[[str], Any]
    words: str
    short: str


@cache
def _forms(annotation: Any) -> tuple[_Form, ...]:
    """The forms of a type, in the order in which they are tried."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return tuple(form for _, form in sorted(map(_form, members), key=lambda ranked: ranked[0]))


def _form(member: Any) -> tuple[int, _Form]:
    """The form of one member of a union, and its rank: what few texts mean comes first."""
    if member is NoneType:
        return 0, _Form(lambda text: None if text.lower() == "none" else _NOT_MEANT, "none", "")
    if member is bool:
        return 1, _Form(lambda text: _WORDS.get(text.lower(), _NOT_MEANT), "true or false", "true|false")
    if get_origin(member) is Literal:
        choices = tuple(str(choice) for choice in get_args(member))
        return 2, _Form(lambda text: text if text in choices else _NOT_MEANT, " or ".join(choices), "|".join(choices))
    if member is int:
        return 3, _Form(lambda text: int(text) if _INTEGER.fullmatch(text) else _NOT_MEANT, "a whole number", "integer")
    if member is float:
        return 4, _Form(_number, "a number", "number")
    if get_origin(member) in (tuple, list, AnySequence):
        return 5, _Form(_integers, "whole numbers joined by - or x", "integers")
    return 6, _Form(lambda text: text or _NOT_MEANT, "a name", "name")


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return _NOT_MEANT


def _integers(text: str) -> Any:
    if text.lower() == "none":
        return ()
    return tuple(map(int, re.split("[-x]", text))) if _INTEGERS.fullmatch(text) else _NOT_MEANT


def _meanings(builder: Callable[..., object]) -> dict[str, str]:
    """The entries of the section Args, each in one line without its full stop."""
    _, _, rest = (getdoc(builder) or "").partition("\nArgs:\n")
    section = re.split(r"\n\n", rest, maxsplit=1)[0]
    return {name: " ".join(text.split()).removesuffix(".") for name, text in _ENTRY.findall(section)}
