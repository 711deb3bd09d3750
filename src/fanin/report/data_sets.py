"""Data sets: the list of them, and one with its shapes, numbers and first samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from fanin.data import Dataset, Known, Samples
from fanin.models.options import Option
from fanin.report import text
from fanin.report.data_samples import sample_lines
from fanin.report.layout import Field, grid, heading, stack, widest_fitting


def sets_report(sets: Sequence[Known], width: int) -> RenderableType:
    """One row per set, then what to install for those that are not there."""
    missing = [each.missing() for each in sets]
    fields = [
        Field(
            "set", [each.name if there is None else f"{each.name} *" for each, there in zip(sets, missing, strict=True)]
        ),
        Field("task", [each.task for each in sets], "dim"),
        Field("what it is", [each.title for each in sets]),
    ]
    notes = [Text(f"* {words}", style="dim") for words in missing if words]
    return stack(grid(widest_fitting([fields], width)), *(["", *notes] if notes else []))


def sets_data(sets: Sequence[Known]) -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {"name": each.name, "task": each.task, "title": each.title, "needs": each.needs, "missing": each.missing()}
        for each in sets
    ]


def dataset_report(data: Dataset, options: Sequence[Option], width: int) -> RenderableType:
    """The parts with their shapes, what the set's numbers are, its first samples, and its options."""
    parts = {"train": data.train, "test": data.test}
    table = grid(
        [
            Field("part", list(parts), "green"),
            Field("samples", [text.count(len(part)) for part in parts.values()], number=True),
            Field("input", [_shaped(part.inputs) for part in parts.values()]),
            Field("target", [_shaped(part.targets) for part in parts.values()]),
            *_classes(data, parts),
        ]
    )
    below = [Text(f"{key}: {value}") for key, value in _told(data).items()]
    chosen = [
        Field("option", [option.name for option in options], "green"),
        Field("default", [_shown(option.default) for option in options], "dim"),
        Field("meaning", [option.meaning for option in options]),
    ]
    lines = [Text(line, no_wrap=True) for line in sample_lines(data, width)]
    return stack(heading(f"{data.name} · {data.task}"), "", table, "", *below, "", *lines, "", grid(chosen))


def dataset_data(data: Dataset, options: Sequence[Option]) -> dict[str, Any]:
    """The same as data, without the samples."""
    parts = {
        name: {
            "samples": len(part),
            "input": {"shape": list(part.inputs.shape[1:]), "dtype": str(part.inputs.dtype)},
            "target": {"shape": list(part.targets.shape[1:]), "dtype": str(part.targets.dtype)},
        }
        | ({"classes": _counts(data, part)} if data.task == "classification" else {})
        for name, part in (("train", data.train), ("test", data.test))
    }
    scale = data.scale and {"mean": data.scale.mean.tolist(), "std": data.scale.std.tolist()}
    head = {"name": data.name, "task": data.task, "target": data.target, "sizes": dict(data.sizes), "scale": scale}
    told = [{"name": option.name, "default": option.default, "meaning": option.meaning} for option in options]
    return head | {"source": data.source, "parts": parts, "options": told}


def _shaped(values: np.ndarray[Any, Any]) -> str:
    return f"{values.dtype} {text.shape(values.shape[1:])}"


def _counts(data: Dataset, part: Samples) -> list[int]:
    return np.bincount(part.targets, minlength=data.sizes["classes"]).tolist()


def _classes(data: Dataset, parts: dict[str, Samples]) -> list[Field]:
    """A column for how many samples each class has."""
    if data.task != "classification":
        return []
    counts = [_counts(data, part) for part in parts.values()]
    ranges = [str(min(each)) if min(each) == max(each) else f"{min(each)}–{max(each)}" for each in counts]
    return [Field("of each class", ranges, number=True)]


def _told(data: Dataset) -> dict[str, str]:
    sizes = {name: text.shape(value) if isinstance(value, tuple) else str(value) for name, value in data.sizes.items()}
    told = {"for models": ", ".join(f"{name}={value}" for name, value in sizes.items())}
    if data.scale is not None:
        mean, std = (_numbers(values) for values in (data.scale.mean, data.scale.std))
        told["normalised by the training part"] = f"mean {mean}, std {std}"
    return told | {"source": data.source}


def _numbers(values: np.ndarray[Any, Any]) -> str:
    return ", ".join(text.number(float(value)) for value in values.reshape(-1))


def _shown(default: Any) -> str:
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
