"""Descriptions as TOML: one line for each layer."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from fanin.errors import ArgumentError


def dumps(data: Mapping[str, Any]) -> str:
    """TOML text, one line for each layer."""
    others = [f"{key} = {_value(value)}" for key, value in data.items() if key != "layers"]
    layers = ["layers = [", *(f"  {_value(layer)}," for layer in data["layers"]), "]"]
    return "\n".join([*others, "", *layers]) + "\n"


def loads(text: str) -> Any:
    """The data of a TOML text.

    Raises:
        ArgumentError: it is not TOML; says in which line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(f"not TOML: {error}") from None
    except RecursionError:
        raise ArgumentError("not a description: its lists and tables are nested too deeply") from None
    except ValueError as error:  # a whole number of thousands of digits, a date that is none
        raise ArgumentError(f"not TOML: {error}") from None


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case dict():
            return f"{{ {', '.join(f'{_key(name)} = {_value(each)}' for name, each in value.items())} }}"
        case _:
            return f"[{', '.join(map(_value, value))}]"


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "a").replace("-", "a").isalnum()
    return name if bare else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
