"""Reports that were stored as JSON, read back for a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanin.errors import DataError
from fanin.plans import Plan

REPORT_VERSION = 1
_LISTS = {
    "findings": ("severity", "tensor", "seen", "expected", "cause", "remedy"),
    "layers": ("name", "verdict"),
    "parameters": ("name",),
}
"""The lists of a report, and the texts that each of their entries has."""


def stored_report(path: str | Path) -> dict[str, Any]:
    """The report in a JSON file (`Report.to_json`, `fanin check --json`), checked.

    Raises:
        DataError: it cannot be read, is no report, or one of another version.
    """
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON, so it is no report of fanin: {error}") from error
    return checked_report(data, str(path))


def checked_report(data: Any, where: str) -> dict[str, Any]:
    """The data, which must be a report's.

    Raises:
        DataError: it is not; says which field.
    """
    if not isinstance(data, Mapping) or "fanin_report" not in data:
        raise DataError(
            f"{where} is no report of fanin (its JSON has no 'fanin_report'): write one with `fanin check … --json`"
        )
    if data["fanin_report"] != REPORT_VERSION:
        raise DataError(f"{where}: report version {data['fanin_report']!r}, but this fanin reads {REPORT_VERSION}")
    if not isinstance(data.get("verdict"), str):
        raise DataError(f"{where} is damaged: 'verdict' must be a string")
    if not _is_number(data.get("loss")):
        raise DataError(f"{where} is damaged: 'loss' must be a number or null")
    for name, texts in _LISTS.items():
        _check_rows(data.get(name), name, texts, where)
    if data.get("plan") is not None:
        Plan.from_json(json.dumps(data["plan"]))
    return dict(data)


def _check_rows(rows: Any, name: str, texts: tuple[str, ...], where: str) -> None:
    if not isinstance(rows, list):
        raise DataError(f"{where} is damaged: {name!r} must be a list")
    for place, row in enumerate(rows):
        missing = [text for text in texts if not isinstance(row, dict) or not isinstance(row.get(text), str)]
        if missing:
            raise DataError(f"{where} is damaged: {name}[{place}] has no text {missing[0]!r}")
        for side in ("forward", "gradient"):
            moments = row.get(side, {})
            if moments is not None and not (isinstance(moments, Mapping) and _is_number(moments.get("second"))):
                raise DataError(
                    f"{where} is damaged: {side!r} of {name}[{place}] must hold a number 'second', or be null"
                )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
