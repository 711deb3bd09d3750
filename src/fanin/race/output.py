"""What a race is written as: a page and Markdown, from its JSON form and its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fanin.pages.race_markdown import race_markdown
from fanin.pages.race_page import race_page
from fanin.weights.atomic import atomic_file

Data = Mapping[str, Any]
_RULES = {
    "given": "given",
    "data": "the data set's own",
    "runs": "95% of the way from a constant to where the median start's median run ends",
}


def how(data: Data) -> str:
    """How the numbers of a race came about, in one paragraph."""
    numbers, seeds = data["settings"], max((row["runs"] for row in data["standings"]), default=0)
    chosen = any(choice["trials"] for choice in data["choices"])
    parts = [
        f"{numbers['optimizer']}, {_counted(numbers['steps'], 'step')} of {_counted(numbers['batch_size'], 'sample')}",
        f"learning rate {'chosen for each start on training samples' if chosen else 'the same for all'}",
        f"steps are medians over {_counted(seeds, 'seed')}, the score their mean with its 95% interval",
        "a seed's order of samples is the same for all starts",
        f"the target is {_RULES[data['target_rule']]}",
    ]
    if any(row["seconds_to_target"] is not None for row in data["standings"]):
        parts.append("seconds are steps times what one takes here, and noisy")
    if len(data["verdicts"]) > 1:
        parts.append("p after Holm's correction")
    return "; ".join(parts)


def write_page(data: Data, panels: Sequence[Data], path: str | Path) -> Path:
    """Write the page of a race.

    Raises:
        WeightsError: the file cannot be written.
    """
    numbers = data["settings"]
    facts = [
        ("starts", str(len(data["standings"]))),
        ("seeds", str(len(data["seeds"]))),
        ("target", data["target_text"]),
        ("steps", f"{numbers['steps']:,} of {numbers['batch_size']}"),
        ("optimizer", numbers["optimizer"]),
    ]
    page = race_page(data, panels, facts, how(data))
    with atomic_file(path) as file:
        file.write(page.encode())
    return Path(path)


def markdown(data: Data) -> str:
    """The race as Markdown."""
    return race_markdown(data, how(data))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
