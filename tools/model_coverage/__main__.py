"""`./dev coverage`: how much of transformers and of torch.nn fanin understands; `--write` renews docs/coverage.md.

Results are kept in a file as they come, so that a sweep that was cut off goes on where it stopped. The exit status is 1
where all types were measured and fewer are understood than the project promises.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from layers import layers
from measure import of_model
from page import is_built, is_complete, page, shares, summary
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from types_of_models import model_types
from workers import measure_all

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "coverage.md"
ROWS = ROOT / ".coverage-types.jsonl"

# Percentages: captured, traced.
PROMISED = (99, 75)

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev coverage", description=__doc__)
    parser.add_argument("types", nargs="*", help="model types of transformers; by default all of them")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once (2)")
    parser.add_argument("--limit", type=float, default=60, help="seconds after which a type is given up (60)")
    parser.add_argument("--again", action="store_true", help="measure also what an earlier sweep has measured")
    parser.add_argument("--failed", action="store_true", help="measure again what fell short")
    parser.add_argument("--rows", type=Path, default=ROWS, help="the file of results, one line of JSON a type")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/coverage.md")
    arguments = parser.parse_args()
    wanted = arguments.types or model_types()
    known = {} if arguments.again else read(arguments.rows)
    if arguments.failed:
        known = {name: row for name, row in known.items() if not is_built(row) or is_complete(row)}
    sweep([name for name in wanted if name not in known], arguments)
    measured = read(arguments.rows)
    rows = [measured[name] for name in wanted if name in measured]
    of_layers = {name: of_model(layer.make, layer.inputs) for name, layer in layers()}
    Console().print(summary(rows, of_layers))
    if arguments.write:
        PAGE.write_text(page(rows, of_layers), encoding="utf-8")
    return int(len(rows) == len(model_types()) and below_promise(rows))


def below_promise(rows: list[Row]) -> bool:
    return any(share < promised for share, promised in zip(shares(rows), PROMISED, strict=True))


def sweep(types: list[str], arguments: argparse.Namespace) -> None:
    """Measure `types`, appending each result to the file; the line below the bar tells what came last."""
    commit = head()
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress, arguments.rows.open("a", encoding="utf-8") as file:
        task = progress.add_task("", total=len(types))

        def done(row: Row) -> None:
            file.write(json.dumps(row | {"commit": commit}) + "\n")
            file.flush()
            progress.update(task, advance=1, description=row["type"])

        measure_all(types, arguments.jobs, arguments.limit, done)


def head() -> str:
    """The commit that is measured, with a plus where files have changed since; empty outside of a repository."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=False)
    return found.stdout.strip() + ("+" if changed.stdout else "")


def read(path: Path) -> dict[str, Row]:
    """The latest result of each type in a file of results."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {row["type"]: row for row in map(json.loads, lines)}


if __name__ == "__main__":
    raise SystemExit(main())
