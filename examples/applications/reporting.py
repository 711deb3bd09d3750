"""What every application shares: its options, its table, and its result as a picture beside a JSON file.

A script's `main(argv)` reads `options`, trains, and ends with `return report(NAME, chosen, figure, ...)`:

    python examples/applications/depth.py                     the full form, minutes
    python examples/applications/depth.py --quick             the reduced form, seconds, which checks the same claims
    python examples/applications/depth.py --output FOLDER     where depth.png and depth.json go
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#1b6ca8", "#e07a2f", "#6a994e", "#8e5ea2", "#bc4749", "#7f7f7f")

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said, what was measured, and whether that bears it out."""

    text: str
    measured: str
    reached: bool

    def __str__(self) -> str:
        return f"{self.text}: {'yes' if self.reached else 'NO'} ({self.measured})"


def options(
    name: str, description: str | None, argv: Sequence[str] | None, *, seeds: int, quick_seeds: int = 1
) -> argparse.Namespace:
    """The options of a script: quick, output, seeds; and `command` and `started`, which `report` writes down."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=description)
    parser.add_argument("--quick", action="store_true", help="the reduced form: smaller, shorter, the same claims")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where PNG and JSON go; here")
    parser.add_argument("--seeds", type=int, help=f"how many; {seeds}, or {quick_seeds} with --quick")
    chosen = parser.parse_args(arguments)
    chosen.seeds = (quick_seeds if chosen.quick else seeds) if chosen.seeds is None else chosen.seeds
    if chosen.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {chosen.seeds}")
    told = ["--quick"] * chosen.quick + ["--seeds", str(chosen.seeds)]
    chosen.command = shlex.join(["python", f"examples/applications/{name}.py", *told])
    chosen.started = time.perf_counter()
    return chosen


def report(
    name: str,
    chosen: argparse.Namespace,
    figure: Figure,
    *,
    rows: Sequence[Row],
    claims: Sequence[Claim],
    numbers: Mapping[str, Any],
) -> int:
    """Print the table and the claims, write NAME.png and NAME.json; 0 if every claim holds, else 1."""
    found = {
        "name": name,
        "command": chosen.command,
        "quick": chosen.quick,
        "seeds": chosen.seeds,
        "date": str(datetime.date.today()),
        "machine": machine(),
        "minutes": round((time.perf_counter() - chosen.started) / 60, 1),
        "reached": all(claim.reached for claim in claims),
        "claims": [asdict(claim) for claim in claims],
        "table": [dict(row) for row in rows],
        "numbers": numbers,
    }
    save(name, chosen.output, figure, found)
    print(table(rows), *claims, sep="\n")
    return 0 if found["reached"] else 1


def save(name: str, output: Path, figure: Figure, numbers: Mapping[str, Any]) -> None:
    """Write NAME.png and NAME.json into the folder `output`, which is made where it is missing."""
    lines = (f"{json.dumps(key)}: {json.dumps(_rounded(value), allow_nan=False)}" for key, value in numbers.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / f"{name}.png", dpi=110)
    (output / f"{name}.json").write_text(text, encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Floats to five digits: more of them are noise, and would be most of the file."""
    if isinstance(value, float) and isfinite(value):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def machine() -> str:
    """The machine in one line, without its name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    threads = torch.get_num_threads()
    of_torch = f"{threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"
    return f"{cpu}, {of_torch}, Python {platform.python_version()}, {platform.system()}"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, everything behind the first column to the right."""
    head = list(rows[0])
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([_cell(row[name]) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def panels(columns: int, *, height: float = 3.4, **sharing: Any) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels in a row."""
    figure = Figure(figsize=(max(5.2, 4.2 * columns), height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **sharing)[0]
    for panel in axes:
        panel.grid(alpha=0.3)
    return figure, list(axes)


def draw_runs(panel: Axes, steps: Sequence[float], runs: Sequence[Sequence[float]], label: str, colour: str) -> None:
    """The median of the runs (one for each seed) as a line, and the band from the least to the greatest.

    A run that diverged may be shorter than the others: the line ends where the first one does.
    """
    columns = list(zip(*runs, strict=False))
    shown = steps[: len(columns)]
    panel.plot(shown, [median(values) for values in columns], label=label, color=colour)
    panel.fill_between(
        shown, [min(values) for values in columns], [max(values) for values in columns], color=colour, alpha=0.2, lw=0
    )
