"""docs/coverage.md: totals first, then what is not understood, with the reason of each."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]


def is_built(row: Row) -> bool:
    """transformers itself can build the type."""
    return "unbuildable" not in row


def has_forward(row: Row) -> bool:
    """The class says what a forward pass is, so that there is something to trace."""
    return not row.get("no_forward")


def is_captured(row: Row) -> bool:
    """Every parameter and buffer has a law or a true reason."""
    return row.get("unknown_count") == 0


def is_traced(row: Row) -> bool:
    """The forward pass was followed to its end, and every parameter that it reached has a role."""
    followed = "stopped" in row and row["stopped"] is None
    return followed and has_forward(row) and not row["without_role_count"]


def is_complete(row: Row) -> bool:
    """Captured, and traced if there is anything to trace."""
    return is_captured(row) and (is_traced(row) or not has_forward(row))


def shares(rows: Sequence[Row]) -> tuple[float, float]:
    """The percentages that the project promises: captured of all types, traced of those that have a forward pass."""
    built = [row for row in rows if is_built(row)]
    runs = [row for row in built if has_forward(row)]
    return _percent(sum(map(is_captured, built)), len(built)), _percent(sum(map(is_traced, runs)), len(runs))


def shortfall(row: Row) -> str:
    """Why a type is not captured or not traced completely."""
    for key in ("died", "capture_failed", "trace_failed", "stopped"):
        if row.get(key):
            return str(row[key])
    reasons = [f"no law for {name}" for name in row["unknown"][:1]]
    reasons += [f"no role for {row['without_role_count']}: {name}" for name in row["without_role"][:1]]
    return "; ".join(reasons)


def summary(rows: Sequence[Row], of_layers: Mapping[str, Row]) -> str:
    """The totals in lines, as Markdown."""
    built = [row for row in rows if is_built(row)]
    runs = [row for row in built if has_forward(row)]
    seconds = sorted(row["trace_s"] for row in built if "trace_s" in row)
    complete = [name for name, row in of_layers.items() if is_captured(row) and is_traced(row)]
    return "\n".join(
        (
            f"- **captured completely: {_share(map(is_captured, built), len(built))}**",
            f"- **traced, with a role for every parameter that the forward reaches: "
            f"{_share(map(is_traced, runs), len(runs))}**",
            f"- layer classes of torch.nn with parameters, captured and traced: {_share(complete, len(of_layers))}",
            f"- CPU seconds to trace a type: median {_middle(seconds):.2f}, largest {max(seconds, default=0):.1f}",
        )
    )


def page(rows: Sequence[Row], of_layers: Mapping[str, Row]) -> str:
    """The whole page."""
    failures = [row for row in rows if is_built(row) and not is_complete(row)]
    still = [row for row in rows if is_built(row) and not has_forward(row)]
    unbuilt = [row for row in rows if not is_built(row)]
    partly = [row for row in rows if is_built(row) and is_traced(row) and row["unreached_count"]]
    return _PAGE.format(
        summary=summary(rows, of_layers),
        built=sum(map(is_built, rows)),
        made=_made(rows),
        still=_table(
            ("type", "class", "captured"), ((row["type"], row["model"], _YES[is_captured(row)]) for row in still)
        ),
        failures=_table(("type", "class", "captured", "traced", "why"), map(_failure, failures)),
        partly=_table(("type", "parameters", "not reached", "the first"), map(_unreached, partly)),
        unbuilt=_table(("type", "what transformers says"), ((row["type"], row["unbuildable"]) for row in unbuilt)),
        layers=", ".join(of_layers),
    )


def _failure(row: Row) -> tuple[str, ...]:
    return row["type"], row.get("model", "–"), _YES[is_captured(row)], _YES[is_traced(row)], shortfall(row)


def _unreached(row: Row) -> tuple[str, ...]:
    return row["type"], str(row["parameters"]), str(row["unreached_count"]), f"`{row['unreached'][0]}`"


def _share(found: Iterable[object], of: int) -> str:
    count = sum(map(bool, found))
    return f"{count} of {of} ({_percent(count, of):.1f} %)"


def _percent(count: int, of: int) -> float:
    return 100 * count / max(of, 1)


def _middle(ordered: Sequence[float]) -> float:
    return ordered[len(ordered) // 2] if ordered else 0.0


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    anywhere = _FOLDERS.sub("", text)
    shown = " ".join(anywhere.replace("|", "\\|").replace("<", "&lt;").split())
    return shown if len(shown) <= _WIDEST else f"{shown[:_WIDEST]}…"


def _made(rows: Sequence[Row]) -> str:
    import transformers

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    commits = ", ".join(dict.fromkeys(row.get("commit") or "earlier code" for row in rows))
    return (
        f"{datetime.datetime.now(datetime.UTC).date()}, transformers {transformers.__version__}, "
        f"torch {torch.__version__}, Python {platform.python_version()}, {cpu}, {os.cpu_count()} cores"
        + (f", fanin at {commits}" if commits else "")
    )


_YES = {True: "yes", False: "no"}
_WIDEST = 240
# Where packages lie on the machine that measured is nobody's business.
_FOLDERS = re.compile(r"/[^\s'\"]*/site-packages/")
_PAGE = """# Coverage

How much of the models that people use fanin understands. Renew with `./dev coverage --again --write`
(or `./dev coverage --failed --write` after a repair, which measures again only what falls short).

{summary}

Counted are the {built} model types of transformers that it can build itself from their default config (or with the
few fields that `tools/model_coverage/types_of_models.py` adds, where the default config is refused or its layers do not
fit each other). *Captured completely* means that each parameter and buffer
has the law that its authors wrote, or values computed as they compute them. *Traced* means that a forward pass on
made-up inputs was followed to its end and that each parameter it reached has a role other than unknown; types
without a forward pass of their own are left out there. Measured {made}.

## What is not understood

{failures}

## Without a forward pass

Their classes have none: users call `generate`, `encode`, `decode` or the parts. The uses of their parameters come from
the classes of the modules.

{still}

## Traced, with parameters that the made-up inputs do not reach

Their roles and axes come from the classes of their modules, and `notes` says so. Pass `inputs=` that reach them.

{partly}

## What transformers cannot build

{unbuilt}

## Layer classes of torch.nn

{layers}.
"""
