"""Steps to JSON data and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fanin.axes import Axes
from fanin.errors import PlanError
from fanin.initializers import Initializer
from fanin.steps import Action, Copy, Draw, Keep, Replay, Step, Unknown


def step_to_dict(step: Step) -> dict[str, Any]:
    """JSON form of one step."""
    fields = {name: getattr(step, name) for name in ("name", "dtype", "kind", "why", "source", "role", "persistent")}
    return fields | {
        "shape": list(step.shape),
        "aliases": list(step.aliases),
        "axes": None if step.axes is None else asdict(step.axes),
        "action": _action_to_dict(step.action),
    }


def step_from_dict(data: dict[str, Any]) -> Step:
    """The step that `step_to_dict` described."""
    axes = data["axes"]
    resolved: dict[str, Any] = {
        "shape": tuple(data["shape"]),
        "aliases": tuple(data["aliases"]),
        "axes": None if axes is None else Axes(**{name: _tuple(value) for name, value in axes.items()}),
        "action": _action_from_dict(data["action"]),
    }
    return Step(**{**data, **resolved})


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
    rest = {k: v for k, v in data.items() if k != "do"}
    match data["do"]:
        case "draw":
            return Draw(Initializer.from_dict(rest))
        case "replay":
            return Replay(_tuple(rest["program"]))
        case "copy":
            return Copy(rest["source"], rest["key"])
        case "keep":
            return Keep()
        case "unknown":
            return Unknown()
        case other:
            raise PlanError(f"the plan has a step that does {other!r}; known: draw, replay, copy, keep, unknown")


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
