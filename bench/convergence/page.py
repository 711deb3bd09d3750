"""docs/convergence.md: an introduction by hand, then what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rows import table

from convergence.racing import Raced
from convergence.starts import ANYINIT, AUTO, DEFAULT
from convergence.verdicts import WANTED, Verdict, reached, verdicts
from fanin.race import Standing

PAGE = Path(__file__).parents[2] / "docs" / "convergence.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"


def renew(text: str) -> None:
    """Put what was measured into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}", encoding="utf-8")


def section(raced: Sequence[Raced]) -> tuple[str, bool]:
    """The measured part in Markdown, and whether `auto` does against torch's default what it promises."""
    every = [verdict for each in raced for verdict in verdicts(each)]
    parts = [
        "### Every start on every task",
        table(_HEAD, (line for each in raced for line in _lines(each))),
        "### `auto` against torch's default",
        table(
            _DEFAULT_HEAD, ([*_cells(each), "yes" if each.deep else ""] for each in every if each.against == DEFAULT)
        ),
        _summary([each for each in every if each.against == DEFAULT]),
        "### `auto` against the others",
        table(
            _OTHERS_HEAD, ([each.task, each.against, *_cells(each)[1:]] for each in every if each.against != DEFAULT)
        ),
    ]
    return "\n\n".join(parts), reached(every)


_HEAD = ["task", "start", "rate", "steps to target", "range", "reached", "final score", "95 %", "failed"]
_VERDICT_HEAD = ["`auto` is", "p", "seeds better", "worse", "by", "at the end it is", "p"]
_DEFAULT_HEAD = ["task", *_VERDICT_HEAD, "deep, unnormalised"]
_OTHERS_HEAD = ["task", "against", *_VERDICT_HEAD]


def _lines(raced: Raced) -> list[list[str]]:
    percent = raced.result.objective.higher_is_better
    goal = _score(raced.result.target, percent)
    named = f"{raced.task.name} ({raced.result.objective.score_name} {goal})"
    lines = [[named, row.start, *_numbers(row, percent)] for row in raced.result.standings]
    return lines if not raced.anyinit else [*lines, [named, f"{ANYINIT}: {raced.anyinit}", *[""] * (len(_HEAD) - 2)]]


def _numbers(row: Standing, percent: bool) -> list[str]:
    interval = "" if row.interval is None else " – ".join(_score(each, percent) for each in row.interval)
    return [
        f"{row.rate:g}",
        "never" if row.steps_to_target is None else f"{row.steps_to_target:g}",
        "" if row.spread is None else "{} – {}".format(*row.spread),
        f"{row.reached} of {row.runs}",
        _score(row.score, percent),
        interval,
        f"{row.failures} of {row.runs}",
    ]


def _score(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.3f}"


def _cells(each: Verdict) -> list[str]:
    by = "steps" if each.measure == "steps" else "final score"
    said, end = (f"**{word}**" if word == "worse" else word for word in (each.said, each.end))
    return [each.task, said, f"{each.p:.2g}", str(each.wins), str(each.losses), by, end, f"{each.end_p:.2g}"]


def _summary(found: Sequence[Verdict]) -> str:
    count = {word: sum(each.said == word for each in found) for word in ("better", "even", "worse")}
    deep = [each for each in found if each.deep]
    won = sum(each.said == "better" for each in deep)
    return (
        f"`{AUTO}` is significantly better on {count['better']} of {len(found)} tasks ({WANTED} wanted), among them "
        f"{won} of the {len(deep)} deep unnormalised ones; no difference is shown on {count['even']}, and it is "
        f"significantly worse on {count['worse']} (none wanted)."
    )
