"""A race as a table: how soon each recipe reaches the target."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from fanin.race import RaceResult, Standing
from fanin.report.layout import Field, grid, heading, stack, widest_fitting

BAR = 24


def race_report(result: RaceResult, width: int, model: str = "") -> RenderableType:
    """One row per recipe: median steps to the target and their range over the seeds, final accuracy, failed runs."""
    rows, target = result.standings, f"{result.settings.target:.0%}"
    best = min((row.steps_to_target for row in rows if row.steps_to_target is not None), default=None)
    base = [
        Field("recipe", [row.recipe for row in rows], "green"),
        Field(f"steps to {target}", [_steps(row) for row in rows], number=True),
        Field("range", [_range(row) for row in rows], "dim", number=True),
        Field("accuracy at the end", [_accuracy(row) for row in rows], number=True),
        Field("failed", [f"{row.failures} of {_runs(row)}" for row in rows], number=True),
    ]
    bars = Field("", [_bar(row, result.settings.steps) for row in rows], "cyan")
    styles = ["bold" if best is not None and row.steps_to_target == best else "" for row in rows]
    settings = result.settings
    how = Text(
        f"{settings.optimizer}, learning rate {settings.rate:g}, {settings.steps} steps of "
        f"{settings.batch_size} samples; "
        f"medians over {_runs(rows[0])} seeds; a seed's order of samples is the same for all recipes",
        style="dim",
    )
    return stack(
        heading(f"{model or result.model} · steps to {target} accuracy"),
        "",
        grid(widest_fitting([[*base, bars], base], width), styles),
        "",
        how,
    )


def _runs(row: Standing) -> int:
    return row.reached + row.slow + row.failures


def _steps(row: Standing) -> str:
    return "not reached" if row.steps_to_target is None else f"{row.steps_to_target:g}"


def _range(row: Standing) -> str:
    if row.spread is None:
        return ""
    least, most = row.spread
    return f"{least}" if least == most else f"{least}–{most}"


def _accuracy(row: Standing) -> str:
    return f"{row.accuracy:.1%} ({row.lowest:.1%}–{row.highest:.1%})"


def _bar(row: Standing, steps: int) -> str:
    return "" if row.steps_to_target is None else "━" * max(1, round(BAR * row.steps_to_target / steps))
