"""Recipes written in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fanin.errors import ArgumentError, UnknownNameError
from fanin.recipes.file_laws import law_of
from fanin.recipes.matching import Match, beside, both, followed_by, has_role, in_stack, is_called, is_last, on_side
from fanin.recipes.rule import Rule

_HEAD: Mapping[str, tuple[type, str]] = {
    "name": (str, "a string"),
    "rules": (list, "a list of tables"),
    "title": (str, "a string"),
    "source": (str, "a string"),
    "version": (int, "a whole number"),
}
_MATCHES: Mapping[str, Callable[..., Match]] = {
    "role": has_role,
    "name": is_called,
    "side": on_side,
    "activation": followed_by,
    "partner": beside,
}
_SWITCHES: Mapping[str, Match] = {"last": is_last, "stack": in_stack}
_WHICH = (*_MATCHES, *_SWITCHES)


class RecipeFields(NamedTuple):
    """The fields of a `Recipe`."""

    name: str
    rules: tuple[Rule, ...]
    title: str
    source: str
    version: int


def recipe_fields(source: str | Path) -> RecipeFields:
    """What a TOML file (a path ending in .toml) or TOML text says about a recipe; see `Recipe.from_toml`.

    Raises:
        ArgumentError: no such file, not TOML, or a rule that cannot be read.
        UnknownNameError: no role, activation, side, law, scheme or quantity of that name.
    """
    is_path = isinstance(source, Path) or source.endswith(".toml")
    where = f"recipe file {source}" if is_path else "recipe"
    try:
        data = tomllib.loads(Path(source).read_text(encoding="utf-8") if is_path else str(source))
    except OSError as error:
        raise ArgumentError(f"{where} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{where} is not TOML: {error}") from None
    _check_head(where, data)
    rules = tuple(_rule(f"{where}, rule {number}", rule) for number, rule in enumerate(data["rules"], 1))
    return RecipeFields(data["name"], rules, data.get("title", ""), data.get("source", ""), data.get("version", 1))


def _check_head(where: str, data: Mapping[str, Any]) -> None:
    for key, value in data.items():
        if key not in _HEAD:
            raise ArgumentError(f"{where}: unknown key {key!r}; known: {', '.join(_HEAD)}")
        kind, words = _HEAD[key]
        if type(value) is not kind:
            raise ArgumentError(f"{where}: {key} must be {words}, got {value!r}")
    for key in ("name", "rules"):
        if not data.get(key):
            raise ArgumentError(f"{where}: {key} is missing or empty")


def _rule(where: str, data: Any) -> Rule:
    if not isinstance(data, dict):
        raise ArgumentError(f'{where} must be a table, as {{ role = "bias", law = "constant", value = 0 }}')
    table: dict[str, Any] = data
    try:
        matches = [_match(key, table[key]) for key in _WHICH if key in table]
        if not matches:
            raise ArgumentError(f"it does not say which tensors it is for: give one or more of {', '.join(_WHICH)}")
        why, source = (_word(key, table.get(key, "")) for key in ("why", "source"))
        scheme = law_of({key: value for key, value in table.items() if key not in (*_WHICH, "why", "source")})
    except (ArgumentError, UnknownNameError) as error:
        raise type(error)(f"{where}: {error}") from None
    key = ", ".join(f"{key} = {table[key]!r}" for key in _WHICH if key in table)
    return Rule(both(*matches), scheme, why or f"for {key}", source, "", key)


def _match(key: str, value: Any) -> Match:
    if key in _SWITCHES:
        if type(value) is not bool:
            raise ArgumentError(f"{key} must be true or false, got {value!r}")
        match = _SWITCHES[key]
        return match if value else lambda tensor: not match(tensor)
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) for word in words):
        raise ArgumentError(f"{key} must be a string or a list of strings, got {value!r}")
    return _MATCHES[key](*words)


def _word(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{key} must be a string, got {value!r}")
    return value
