"""What a race found: every run, and what follows from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fanin.errors import DataError
from fanin.race.choice import Choice
from fanin.race.comparing import Comparison, comparisons
from fanin.race.constant import Level
from fanin.race.curves import band, score_on_test, training_loss
from fanin.race.objective import Objective, objective
from fanin.race.output import markdown, write_page
from fanin.race.run import Run
from fanin.race.settings import Settings
from fanin.race.standing import Standing, standing
from fanin.race.words import level_text, power_note, score_text, verdicts

FORM = 1
NO_LEVEL = Level(0.0, 0.0)
TargetRule = Literal["given", "data", "runs"]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """All runs of a race, start by start in the order given.

    Attributes:
        model: its name.
        settings: the numbers of the training, with the steps that were run.
        runs: one entry for each start and seed; fewer where the race was interrupted.
        target: the score that "steps to the target" is about.
        target_rule: where it comes from: "given", the "data" set's own, or chosen from the "runs": 95 % of the
            way from what a constant reaches to where the median start's median run ends.
        level: what predicting a constant would reach.
        task: "classification", "tokens" or "regression".
        data: the data set's name.
        seeds: all that were asked for.
        choices: the learning rate of each start, and what it was chosen from.
        seconds_per_step: of one run while all its seeds train together by this engine on this machine; noisy.
        engine: what trained the runs.
        made_with: versions and machine.
        command: that does it again, where all of it has a name.
        notes: what a reader should know.

    >>> from torch import eye, nn
    >>> from fanin.race import Settings, compare
    >>> inputs, labels = eye(4), eye(4).argmax(1)
    >>> data = (inputs, labels), (inputs, labels)
    >>> settings = Settings(steps=3, learning_rate=0.1)
    >>> result = compare(lambda: nn.Linear(4, 4), data, ["he", "xavier"], 2, settings=settings)
    >>> result.starts, [(run.seed, len(run.losses)) for run in result.of("he")]
    (('he', 'xavier'), [(0, 3), (1, 3)])
    >>> RaceResult.from_json(result.to_json()) == result
    True
    """

    model: str
    settings: Settings
    runs: tuple[Run, ...]
    target: float = 0.9
    target_rule: TargetRule = "given"
    level: Level = NO_LEVEL
    task: str = "classification"
    data: str = ""
    seeds: tuple[int, ...] = ()
    choices: tuple[Choice, ...] = ()
    seconds_per_step: float | None = None
    engine: str = ""
    made_with: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()

    @property
    def starts(self) -> tuple[str, ...]:
        """The starts in the order given."""
        return tuple(dict.fromkeys((*(choice.start for choice in self.choices), *(run.start for run in self.runs))))

    @property
    def objective(self) -> Objective:
        """Loss and score."""
        return objective(self.task)

    @property
    def complete(self) -> bool:
        """Whether all runs are there."""
        return len(self.runs) >= len(self.starts) * len(self.seeds)

    def of(self, start: str) -> tuple[Run, ...]:
        """The runs of one start."""
        return tuple(run for run in self.runs if run.start == start)

    @property
    def standings(self) -> tuple[Standing, ...]:
        """One standing for each start that has a run, in the order given."""
        return tuple(
            standing(self.of(start), self.target, self.objective, self.level, self.seconds_per_step)
            for start in self.starts
            if self.of(start)
        )

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Paired tests between all pairs of starts, on the steps to the target and on the final score."""
        runs = {start: self.of(start) for start in self.starts if self.of(start)}
        return comparisons(runs, self.target, self.objective)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What the tests say, one sentence for each pair."""
        rows = {row.start: row for row in self.standings}
        return verdicts(self.comparisons, rows, self.target, self.objective)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notes, and whether there are enough seeds to tell anything."""
        return self.notes if self.too_few is None else (*self.notes, self.too_few)

    @property
    def too_few(self) -> str | None:
        """That there are too few seeds for any difference to be significant; None where there are enough."""
        counts = [row.runs for row in self.standings]
        return power_note(len(counts), min(counts)) if counts else None

    def to_dict(self) -> dict[str, Any]:
        """JSON form: what was measured, then what follows from it."""
        return {
            "fanin_race": FORM,
            "model": self.model,
            "data": self.data,
            "task": self.task,
            "settings": self.settings.to_dict(),
            "seeds": list(self.seeds),
            "target": self.target,
            "target_rule": self.target_rule,
            "target_text": level_text(self.target, self.objective),
            "score_name": self.objective.score_name,
            "level": asdict(self.level),
            "engine": self.engine,
            "seconds_per_step": self.seconds_per_step,
            "made_with": self.made_with,
            "command": self.command,
            "notes": list(self.notes),
            "choices": [choice.to_dict() for choice in self.choices],
            "standings": [asdict(row) | {"runs": row.runs, "score_text": self._score(row)} for row in self.standings],
            "comparisons": [asdict(each) | {"significant": each.significant} for each in self.comparisons],
            "verdicts": list(self.verdicts),
            "warnings": list(self.warnings),
            "runs": [run.to_dict() for run in self.runs],
        }

    def to_json(self) -> str:
        """`to_dict` as text; `from_json` reads it."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RaceResult:
        """The result of that JSON form; what follows from the runs is computed anew.

        Raises:
            DataError: it is not the JSON of a race.
        """
        if data.get("fanin_race") != FORM:
            raise DataError(f"this is not the JSON of a race: 'fanin_race' is {data.get('fanin_race')!r}, not {FORM}")
        plain = ("model", "target", "target_rule", "task", "data", "seconds_per_step", "engine", "made_with", "command")
        try:
            return cls(
                settings=Settings(**data["settings"]),
                runs=tuple(map(Run.from_dict, data["runs"])),
                level=Level(**data["level"]),
                seeds=tuple(data["seeds"]),
                choices=tuple(map(Choice.from_dict, data["choices"])),
                notes=tuple(data["notes"]),
                **{name: data[name] for name in plain},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the JSON of this race is damaged ({type(error).__name__}: {error})") from None

    @classmethod
    def from_json(cls, text: str) -> RaceResult:
        """The result that `to_json` wrote.

        Raises:
            DataError: it is not the JSON of a race.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise DataError(f"this is not JSON: {error}") from None
        if not isinstance(data, dict):
            raise DataError(f"this is not the JSON of a race, but of a {type(data).__name__}")
        return cls.from_dict(data)

    def to_markdown(self) -> str:
        """What the tests say and the standings, as Markdown."""
        return markdown(self.to_dict())

    def to_html(self, path: str | Path) -> Path:
        """Write the race as one HTML file that needs no network: curves with bands, tables, tests, how to do it again.

        Raises:
            WeightsError: the file cannot be written.
        """
        asked, starts = self.objective, [row.start for row in self.standings]
        scale = 100 if asked.higher_is_better else 1
        losses = [band(start, *training_loss(self.of(start), self.settings)) for start in starts]
        scores = [band(start, *score_on_test(self.of(start), scale)) for start in starts]
        panels = [
            {"title": _titled("Training loss", asked.loss_unit), "logarithmic": True, "target": None, "curves": losses},
            {
                "title": _titled(f"Test {asked.score_name}", "%" if asked.higher_is_better else ""),
                "logarithmic": not asked.higher_is_better,
                "target": scale * self.target,
                "curves": scores,
            },
        ]
        return write_page(self.to_dict(), panels, path)

    def _score(self, row: Standing) -> str:
        asked = self.objective
        interval = "" if row.interval is None else "{}–{}".format(*(score_text(end, asked) for end in row.interval))
        return f"{score_text(row.score, asked)}{f' ({interval})' if interval else ''}"

    def __str__(self) -> str:
        numbers = self.settings
        level = level_text(self.target, self.objective)
        head = f"{self.model}: {numbers.optimizer}, {numbers.steps} steps of {numbers.batch_size} samples"
        title = f"{'start':<16}{'rate':>8}{'steps to ' + level:>24}{'final ' + self.objective.score_name:>24}  failed"
        return "\n".join([head, title, *(self._line(row) for row in self.standings), *self.verdicts])

    def _line(self, row: Standing) -> str:
        steps = "not reached" if row.steps_to_target is None else f"{row.steps_to_target:g}"
        return f"{row.start:<16}{row.rate:>8.3g}{steps:>24}{self._score(row):>24}  {row.failures} of {row.runs}"


def _titled(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name
