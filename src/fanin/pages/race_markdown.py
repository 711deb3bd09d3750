"""A race as Markdown, for pull requests and logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fanin.pages.markdown import code, plain

Data = Mapping[str, Any]


def race_markdown(data: Data, how: str) -> str:
    """What the tests say, the standings as a table, how the numbers came about.

    Args:
        data: `RaceResult.to_dict()`.
        how: the numbers' origin in one paragraph.
    """
    title = " on ".join(filter(None, (data["model"], data["data"])))
    parts = [
        f"## {plain(title)}: fanin compare",
        "\n".join(f"- {plain(sentence)}" for sentence in data["verdicts"]),
        _table(data),
        *(f"Note: {plain(note)}" for note in data["warnings"]),
        plain(how) + ".",
        f"    {data['command']}" if data["command"] else "",
        f"Made with {plain(data['made_with'])}.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(data: Data) -> str:
    heads = (
        "start",
        "rate",
        f"steps to {plain(data['target_text'])}",
        "range",
        f"final {data['score_name']}",
        "failed",
    )
    rows = [f"| {' | '.join(heads)} |", "|---|--:|--:|--:|--:|--:|", *map(_row, data["standings"])]
    return "\n".join(rows)


def _row(row: Data) -> str:
    steps = "not reached" if row["steps_to_target"] is None else f"{row['steps_to_target']:g}"
    spread: Sequence[int] = row["spread"] or ()
    cells = (
        code(row["start"]).replace("|", "\\|"),
        f"{row['rate']:g}",
        steps,
        "–".join(map(str, dict.fromkeys(spread))),
        row["score_text"],
        f"{row['stuck'] + row['diverged']} of {row['runs']}",
    )
    return f"| {' | '.join(cells)} |"
