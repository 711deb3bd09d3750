"""A report as a file for people: HTML, PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanin.checking.stored import checked_report, stored_report
from fanin.pages import report_page, report_png
from fanin.plans import Plan
from fanin.plans.page import page_rows
from fanin.weights.atomic import atomic_file

Data = Mapping[str, Any]


def write_html(data: Data, path: str | Path, before: str | Path | Data | None) -> Path:
    """Write the page of a report, whole or not at all."""
    earlier = _earlier(before)
    return _written(path, report_page(_paged(data), None if earlier is None else _paged(earlier)).encode())


def write_png(data: Data, path: str | Path, before: str | Path | Data | None) -> Path:
    """Write the plots of a report, whole or not at all."""
    return _written(path, report_png(data, _earlier(before)))


def _earlier(before: str | Path | Data | None) -> Data | None:
    if before is None:
        return None
    return stored_report(before) if isinstance(before, str | Path) else checked_report(before, "before=")


def _paged(data: Data) -> Data:
    """The data with the plan in words."""
    plan = data.get("plan")
    return data if plan is None else {**data, "plan": page_rows(Plan.from_json(json.dumps(plan)).steps)}


def _written(path: str | Path, content: bytes) -> Path:
    with atomic_file(path) as file:
        file.write(content)
    return Path(path)
