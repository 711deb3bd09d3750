"""`./dev coverage`: how much of transformers and of torch.nn fanin understands; `--write` renews docs/coverage.md.

Results are kept in a file as they come, so that a sweep that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from layers import layers
from measure import of_model
from page import page, summary
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from types_of_models import model_types
from workers import measure_all

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "coverage.md"
ROWS = ROOT / ".coverage-types.jsonl"

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev coverage", description=__doc__)
    parser.add_argument("types", nargs="*", help="model types of transformers; by default all of them")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once (2)")
    parser.add_argument("--limit", type=float, default=60, help="seconds after which a type is given up (60)")
    parser.add_argument("--again", action="store_true", help="measure also what an earlier sweep has measured")
    parser.add_argument("--rows", type=Path, default=ROWS, help="the file of results, one line of JSON a type")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/coverage.md")
    arguments = parser.parse_args()
    wanted = arguments.types or model_types()
    known = {} if arguments.again else read(arguments.rows)
    sweep([name for name in wanted if name not in known], arguments)
    measured = read(arguments.rows)
    rows = [measured[name] for name in wanted if name in measured]
    of_layers = {name: of_model(layer.make, layer.inputs) for name, layer in layers()}
    Console().print(summary(rows, of_layers))
    if arguments.write:
        PAGE.write_text(page(rows, of_layers), encoding="utf-8")
    return 0


def sweep(types: list[str], arguments: argparse.Namespace) -> None:
    """Measure `types`, appending each result to the file; the line below the bar tells what came last."""
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress, arguments.rows.open("a", encoding="utf-8") as file:
        task = progress.add_task("", total=len(types))

        def done(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()
            progress.update(task, advance=1, description=row["type"])

        measure_all(types, arguments.jobs, arguments.limit, done)


def read(path: Path) -> dict[str, Row]:
    """The latest result of each type in a file of results."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {row["type"]: row for row in map(json.loads, lines)}


if __name__ == "__main__":
    raise SystemExit(main())
