"""A race as a table: how soon each start reaches the target, and what the paired tests say."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from fanin.race import RaceResult, Standing
from fanin.race.output import how
from fanin.race.words import level_text, score_text
from fanin.report.layout import Field, grid, heading, stack, widest_fitting

BAR = 24
MANY = 3  # starts; of more each pair has a sentence of its own


def race_report(result: RaceResult, width: int, model: str = "") -> RenderableType:
    """One row per start: learning rate, median steps to the target and their range, final score, failed runs."""
    rows, asked = result.standings, result.objective
    level = level_text(result.target, asked)
    best = min((row.steps_to_target for row in rows if row.steps_to_target is not None), default=None)
    start = Field("start", [row.start for row in rows], "green")
    rate = Field("rate", [f"{row.rate:g}" for row in rows], number=True)
    steps = Field(f"steps to {score_text(result.target, asked)}", [_steps(row) for row in rows], number=True)
    spread = Field("range", [_range(row) for row in rows], "dim", number=True)
    seconds = Field("seconds", [_seconds(row) for row in rows], "dim", number=True)
    score = Field(f"{asked.score_name} at the end", [_score(row, result) for row in rows], number=True)
    failed = Field("failed", [f"{row.failures} of {row.runs}" for row in rows], number=True)
    bars = Field("", [_bar(row, result.settings.steps) for row in rows], "cyan")
    base = [start, rate, steps, spread, score, failed]
    timed = [start, rate, steps, spread, seconds, score, failed]
    choices = [[*timed, bars], timed, base] if any(map(_seconds, rows)) else [[*base, bars], base]
    hidden = len(rows) > MANY and result.too_few is not None  # a warning says it once for all pairs
    styles = ["bold" if best is not None and row.steps_to_target == best else "" for row in rows]
    return stack(
        heading(f"{model or result.model}{' on ' * bool(result.data)}{result.data} · steps to {level}"),
        "",
        grid(widest_fitting(choices, width), styles),
        "",
        *(Text(sentence) for sentence in (() if hidden else result.verdicts)),
        *(Text(warning, style="yellow") for warning in result.warnings),
        Text(how(result.to_dict()), style="dim"),
    )


def _steps(row: Standing) -> str:
    return "not reached" if row.steps_to_target is None else f"{row.steps_to_target:g}"


def _seconds(row: Standing) -> str:
    return "" if row.seconds_to_target is None else f"{row.seconds_to_target:.2g}"


def _range(row: Standing) -> str:
    if row.spread is None:
        return ""
    least, most = row.spread
    return f"{least}" if least == most else f"{least}–{most}"


def _score(row: Standing, result: RaceResult) -> str:
    shown = _number(row.score, result)
    if row.interval is None:
        return shown
    low, high = (_number(value, result) for value in row.interval)
    return f"{shown} ({low}–{high})"


def _number(value: float, result: RaceResult) -> str:
    return f"{value:.1%}" if result.objective.higher_is_better else f"{value:.3g}"


def _bar(row: Standing, steps: int) -> str:
    return "" if row.steps_to_target is None else "━" * max(1, round(BAR * row.steps_to_target / steps))
