"""The families of built-in models: the list of them, and the options of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from rich.console import RenderableType
from rich.text import Text

from fanin.models import SHORTHANDS, Family, Option
from fanin.report.layout import Field, grid, heading, stack, widest_fitting

_OTHERS = "hf:TYPE, config.json, FILE.toml, path.py:function and package.module:function name models too."


def families_report(families: Sequence[Family], width: int) -> RenderableType:
    """One row per family: its name, what it is, an example; then the names that stand for sizes of it."""
    name = Field("family", [family.name for family in families], "green")
    summary = Field("is", [family.summary for family in families])
    example = Field("example", [family.example for family in families], "dim")
    table = grid(widest_fitting([[name, example, summary], [name, summary]], width))
    return stack(table, "", Text(f"By name: {', '.join(SHORTHANDS)}."), Text(_OTHERS))


def family_report(family: Family) -> RenderableType:
    """The options of a family with their types and defaults, and how to say them."""
    options = family.options
    name = Field("option", [option.name for option in options], "green")
    default = Field("default", [shown(option.default, option.name) for option in options], number=True)
    kind = Field("is", [option.kind for option in options], "dim")
    meaning = Field("means", [option.meaning for option in options])
    table = grid([name, default, kind, meaning])
    example = Text(f"Example: {family.example}")
    return stack(heading(f"{family.name}: {family.summary}"), "", table, "", example, *_by_name(family))


def _by_name(family: Family) -> Iterator[RenderableType]:
    own = {name: given for name, (of, given) in SHORTHANDS.items() if of == family.name}
    if own:
        options = [", ".join(_pairs(given)) for given in own.values()]
        yield ""
        yield grid([Field("by name", list(own), "green"), Field("is", options)])


def spelled(family: str, given: Mapping[str, Any]) -> str:
    """The spec of a family with these options.

    >>> spelled("resnet", {"depth": 18, "shape": (3, 32, 32)})
    'resnet:depth=18,shape=3x32x32'
    """
    return f"{family}:{','.join(_pairs(given))}"


def _pairs(given: Mapping[str, Any]) -> list[str]:
    return [f"{name}={shown(value, name)}" for name, value in given.items()]


def shown(value: object, name: str = "") -> str:
    """A value as a spec says it.

    >>> shown(None), shown(True), shown((784, 10)), shown((1, 28, 28), "shape")
    ('none', 'true', '784-10', '1x28x28')
    """
    if isinstance(value, tuple) and value:
        sizes = cast(tuple[int, ...], value)
        return ("x" if name == "shape" else "-").join(map(str, sizes))
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def families_data(families: Sequence[Family]) -> dict[str, Any]:
    """The list as data."""
    return {
        "families": [
            {"name": family.name, "summary": family.summary, "example": family.example} for family in families
        ],
        "shorthands": {name: spelled(*each) for name, each in SHORTHANDS.items()},
    }


def family_data(family: Family) -> dict[str, Any]:
    """One family as data."""
    head = {"name": family.name, "summary": family.summary, "example": family.example}
    return head | {"options": [_option_data(option) for option in family.options]}


def _option_data(option: Option) -> dict[str, Any]:
    return {"name": option.name, "default": option.default, "is": option.kind, "means": option.meaning}
