"""Steps to JSON data and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TypeVar

from fanin.axes import Axes
from fanin.errors import ArgumentError, PlanError, UnknownNameError
from fanin.initializers import Initializer
from fanin.steps import Action, Copy, Draw, Keep, Replay, Step, Unknown

T = TypeVar("T")
_JSON_NAMES: dict[type, str] = {
    str: "a string",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    int: "an integer",
}


def step_to_dict(step: Step) -> dict[str, Any]:
    """JSON form of one step."""
    fields = {name: getattr(step, name) for name in ("name", "dtype", "kind", "why", "source", "role", "persistent")}
    return fields | {
        "shape": list(step.shape),
        "aliases": list(step.aliases),
        "axes": None if step.axes is None else asdict(step.axes),
        "action": _action_to_dict(step.action),
    }


def step_from_dict(data: Any) -> Step:
    """The step that `step_to_dict` described.

    Raises:
        PlanError: a field is missing, of another type, or describes something impossible.
    """
    name = field_of(checked(data, dict, "a step"), "name", str)
    try:
        kind = field_of(data, "kind", str)
        if kind not in ("parameter", "buffer"):
            raise PlanError(f"'kind' must be parameter or buffer, not {kind!r}")
        return Step(
            name=name,
            shape=_sizes(field_of(data, "shape", list)),
            dtype=field_of(data, "dtype", str),
            kind="parameter" if kind == "parameter" else "buffer",
            action=_action_from_dict(field_of(data, "action", dict)),
            why=field_of(data, "why", str),
            source=field_of(data, "source", str),
            role=field_of(data, "role", str),
            axes=None if data.get("axes") is None else _axes(field_of(data, "axes", dict)),
            aliases=tuple(checked(alias, str, "an alias") for alias in field_of(data, "aliases", list)),
            persistent=field_of(data, "persistent", bool),
        )
    except (PlanError, ArgumentError, UnknownNameError, RecursionError) as error:
        raise PlanError(f"the plan is damaged at the step of {name!r}: {error}") from None


def parsed(text: str) -> dict[str, Any]:
    """The JSON object in `text`.

    Raises:
        PlanError: not JSON, or not an object.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"not a fanin plan: {error}") from None
    if not isinstance(data, dict):
        raise PlanError(f"not a fanin plan: expected a JSON object, found {type(data).__name__}")
    return data


def field_of(data: dict[str, Any], name: str, kind: type[T]) -> T:
    """The field `name`, of the type that it must have.

    Raises:
        PlanError: missing, or of another type.
    """
    if name not in data:
        raise PlanError(f"the plan is damaged: {name!r} is missing")
    return checked(data[name], kind, repr(name))


def checked(value: Any, kind: type[T], what: str) -> T:
    """`value`, which must be of type `kind`.

    Raises:
        PlanError: it is not, or it is text that is not Unicode.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PlanError(f"the plan is damaged: {what} must be {_JSON_NAMES[kind]}, not {value!r:.40}")
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise PlanError(f"the plan is damaged: {what} is not Unicode text: {value!a:.40}")
    return value


def _sizes(values: list[Any]) -> tuple[int, ...]:
    sizes = tuple(checked(value, int, "a size") for value in values)
    if any(size < 0 for size in sizes):
        raise PlanError(f"the plan is damaged: a size is negative in {values}")
    return sizes


def _axes(data: dict[str, Any]) -> Axes:
    return Axes(
        shape=_sizes(field_of(data, "shape", list)),
        outputs=_sizes(field_of(data, "outputs", list)),
        inputs=_sizes(field_of(data, "inputs", list)),
        batch=_sizes(field_of(data, "batch", list)),
        groups=field_of(data, "groups", int),
        transposed=field_of(data, "transposed", bool),
        stride=field_of(data, "stride", int),
    )


def _action_to_dict(action: Action) -> dict[str, Any]:
    match action:
        case Draw(initializer):
            return {"do": "draw"} | initializer.to_dict()
        case Replay(program):
            return {"do": "replay", "program": program}
        case Copy(source, key):
            return {"do": "copy", "source": source, "key": key}
        case Keep():
            return {"do": "keep"}
        case Unknown():
            return {"do": "unknown"}


def _action_from_dict(data: dict[str, Any]) -> Action:
    match field_of(data, "do", str):
        case "draw":
            return Draw(Initializer.from_dict({k: v for k, v in data.items() if k != "do"}))
        case "replay":
            return Replay(_tuple(field_of(data, "program", list)))
        case "copy":
            return Copy(field_of(data, "source", str), field_of(data, "key", str))
        case "keep":
            return Keep()
        case "unknown":
            return Unknown()
        case other:
            raise PlanError(f"the plan has a step that does {other!r}; known: draw, replay, copy, keep, unknown")


def _tuple(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuple(item) for key, item in value.items()}
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
