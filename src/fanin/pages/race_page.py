"""A race as one HTML file: curves with bands, the tables, what the tests say, how to do it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fanin.pages import assets
from fanin.pages.escaping import text
from fanin.pages.frame import Part, page
from fanin.text_table import number

Data = Mapping[str, Any]
_COLOURS = 7
_CURVES = "Medians over the seeds; bands from the least to the greatest; the dashed line is the target."
_TESTS = "Exact signed-rank tests, seed by seed; p corrected for the number of pairs (Holm)."
_RATES = "Mean held-out loss of pilot runs: a quarter of the steps, then all of them for the better half."


def race_page(data: Data, panels: Sequence[Data], facts: Sequence[tuple[str, str]], how: str) -> str:
    """The page of a race.

    Args:
        data: `RaceResult.to_dict()`.
        panels: of curves; {"title", "logarithmic", "target", "curves": [{"start", "steps", "median", "low", "high"}]}.
        facts: pairs of words for the head.
        how: the numbers' origin in one paragraph.
    """
    title = " on ".join(filter(None, (data["model"], data["data"])))
    drawn = {"signs": {}, "panels": [panel for panel in panels if panel["curves"]]}
    standings, pairs = data["standings"], data["comparisons"]
    parts = [Part("result", "Result", "", _standings(data), len(standings))]
    parts += [Part("curves", "Curves", _CURVES)] if standings else []
    parts += [Part("tests", "Tests", _TESTS, _tests(pairs), len(pairs))] if pairs else []
    tried = [choice for choice in data["choices"] if choice["trials"]]
    parts += [Part("rates", "Learning rates", _RATES, _rates(tried))] if tried else []
    parts += [Part("how", "How", "", _how(data, how))]
    scripts = assets.scripts(assets.RACE_SCRIPTS)
    return page(f"{title} · fanin compare", _header(title, data, facts), parts, drawn, data["made_with"], scripts)


def _header(title: str, data: Data, facts: Iterable[tuple[str, str]]) -> str:
    told = "".join(
        f"<li{' class=unsure' * ('no difference' in sentence)}>{text(sentence)}</li>" for sentence in data["verdicts"]
    )
    pairs = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts)
    notes = "".join(f"<li>{text(note)}</li>" for note in data["warnings"])
    return "\n".join(
        [
            '<p class="what">fanin compare</p>',
            f"<h1>{text(title)}</h1>",
            f'<ul class="tell">{told}</ul>' if told else "",
            f'<dl class="facts">{pairs}</dl>',
            f'<ul class="notes">{notes}</ul>' if notes else "",
        ]
    )


def _table(heads: Sequence[str], rows: Iterable[str], left: frozenset[int] = frozenset()) -> str:
    shown = "".join(
        f'<th scope="col"{" class=left" * (place in left)}>{text(head)}</th>' for place, head in enumerate(heads)
    )
    return (
        f'<div class="card wide-table"><table class="plain"><thead><tr>{shown}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _standings(data: Data) -> str:
    rows = data["standings"]
    best = min((row["steps_to_target"] for row in rows if row["steps_to_target"] is not None), default=None)
    heads = (
        "start",
        "learning rate",
        f"steps to {data['target_text']}",
        "range",
        "seconds",
        f"final {data['score_name']}",
        "failed",
    )
    shown = [
        _standing(place, row, best is not None and row["steps_to_target"] == best) for place, row in enumerate(rows)
    ]
    return _table(heads, shown)


def _standing(place: int, row: Data, best: bool) -> str:
    swatch = f'<span class="swatch s{place % _COLOURS}" aria-hidden="true"></span>'
    steps = "not reached" if row["steps_to_target"] is None else f"{row['steps_to_target']:g}"
    spread = "" if row["spread"] is None else "–".join(map(str, dict.fromkeys(row["spread"])))
    seconds = "" if row["seconds_to_target"] is None else f"{row['seconds_to_target']:.2g}"
    failed = f"{row['stuck'] + row['diverged']} of {row['runs']}"
    cells = (f"{row['rate']:g}", steps, spread, seconds, row["score_text"], failed)
    told = "".join(f"<td>{text(cell)}</td>" for cell in cells)
    return f"<tr{' class=best' * best}><td>{swatch}{text(row['start'])}</td>{told}</tr>"


def _tests(pairs: Iterable[Data]) -> str:
    heads = ("measure", "better", "worse", "p", "p corrected", "better on", "effect")
    return _table(heads, map(_pair, pairs), frozenset({1, 2}))


def _pair(found: Data) -> str:
    measure = "steps to the target" if found["measure"] == "steps" else "final score"
    names = "".join(f'<td class="left"><code>{text(found[name])}</code></td>' for name in ("better", "worse"))
    chosen = ' class="chosen"' if found["significant"] else ""
    odds = f"<td>{found['p']:.2g}</td><td{chosen}>{found['corrected']:.2g}</td>"
    seeds = f"<td>{found['wins']} of {found['seeds']} seeds</td><td>{found['effect']:.2f}</td>"
    return f"<tr><td>{measure}</td>{names}{odds}{seeds}</tr>"


def _rates(choices: Sequence[Data]) -> str:
    rates = sorted({trial["rate"] for choice in choices for trial in choice["trials"]})
    return _table(("start", *(f"{rate:g}" for rate in rates)), (_tried(choice, rates) for choice in choices))


def _tried(choice: Data, rates: Sequence[float]) -> str:
    areas: dict[float, list[str]] = {rate: [] for rate in rates}
    for trial in choice["trials"]:
        areas[trial["rate"]].append("diverged" if trial["area"] is None else number(trial["area"]))
    cells = "".join(
        f"<td{' class=chosen' * (rate == choice['rate'])}>{text(' → '.join(areas[rate]))}</td>" for rate in rates
    )
    return f"<tr><td>{text(choice['start'])}</td>{cells}</tr>"


def _how(data: Data, how: str) -> str:
    settings = {name: value for name, value in data["settings"].items() if value not in (None, [])}
    pairs = [*settings.items(), ("seeds", ", ".join(map(str, data["seeds"]))), ("engine", data["engine"])]
    listed = "".join(f"<dt>{text(name.replace('_', ' '))}</dt><dd>{text(_plain(value))}</dd>" for name, value in pairs)
    again = f"<pre>{text(data['command'])}</pre>" if data["command"] else ""
    return f'<div class="card how"><p>{text(how)}.</p><dl>{listed}</dl>{again}</div>'


def _plain(value: Any) -> str:
    return ", ".join(f"{each:g}" for each in value) if isinstance(value, list) else str(value)
