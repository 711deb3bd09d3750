"""Language: a small GPT on the text of Python's help(), letter by letter, from torch's own start and from others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

from matplotlib.figure import Figure
from reporting import COLOURS, Claim, Row, draw_runs, options, panels, report

import fanin
from fanin.race import RaceResult, Run, Settings

NAME = "language"
STARTS = ("native", "gpt2", "small-init", "auto")
TIED, APART = "tied", "apart"  # the head is the embedding, as in GPT-2; or a matrix of its own


@dataclass(frozen=True, slots=True)
class Form:
    """What is trained: a decoder by AdamW, each start at its own learning rate."""

    model: str
    context: int
    windows: int
    steps: int
    look: int
    races: dict[str, tuple[str, ...]]


FULL = Form("width=64,depth=4,heads=4", 64, 120, 400, 10, {TIED: STARTS, APART: ("native", "auto")})
QUICK = Form("width=32,depth=2,heads=4", 32, 60, 80, 4, {TIED: STARTS})


def main(argv: Sequence[str] | None = None) -> int:
    chosen = options(NAME, __doc__, argv, seeds=8)
    form = QUICK if chosen.quick else FULL
    data = fanin.data.load(f"text,context={form.context},test={form.windows}")
    settings = Settings(
        form.steps, batch_size=16, optimizer="adamw", rates=(1e-3, 3e-3, 1e-2), evaluate_every=form.look
    )
    races = {
        head: fanin.compare(
            f"transformer:{form.model},tied={str(head == TIED).lower()}",
            data,
            starts,
            chosen.seeds,
            settings=settings,
            pilots=1,
        )
        for head, starts in form.races.items()
    }
    return report(
        NAME,
        chosen,
        picture(races),
        rows=[row for head, race in races.items() for row in table_of(head, race)],
        claims=claims_of(races[TIED]),
        numbers={
            "verdicts": {head: race.verdicts for head, race in races.items()},
            "races": {head: race.to_dict() for head, race in races.items()},
        },
    )


def wanted(race: RaceResult) -> float:
    """The loss that torch's own start ends with: the median over seeds."""
    return median(run.test_losses[-1] for run in race.of("native"))


def steps_to(run: Run, loss: float) -> float:
    """The first look at the test part with a loss as low, infinite if there was none."""
    return next((step for step, seen in zip(run.seen, run.test_losses, strict=True) if seen <= loss), inf)


def claims_of(race: RaceResult) -> list[Claim]:
    loss = wanted(race)

    def claim(start: str) -> Claim:
        steps = [steps_to(run, loss) for run in race.of(start)]
        sooner = sum(each < race.settings.steps for each in steps)
        measured = f"{median(steps):g} of {race.settings.steps} steps, sooner in {sooner} of {len(steps)} seeds"
        text = f"{start} reaches the loss that torch's own start ends with, {loss:.2f} nats, in fewer steps"
        return Claim(text, measured, sooner == len(steps))

    return [claim(start) for start in race.starts if start != "native"]


def table_of(head: str, race: RaceResult) -> list[Row]:
    loss = wanted(race)
    return [
        {
            "start": start,
            "head": head,
            "rate": runs[0].rate,
            "first loss": median(run.test_losses[0] for run in runs),
            "last loss": median(run.test_losses[-1] for run in runs),
            "steps to the last loss of native": said(median(steps_to(run, loss) for run in runs)),
        }
        for start, runs in ((start, race.of(start)) for start in race.starts)
    ]


def said(steps: float) -> str:
    """Steps in words."""
    return "never" if steps == inf else f"{steps:g}"


def picture(races: dict[str, RaceResult]) -> Figure:
    figure, axes = panels(len(races), sharey=True)
    for panel, (head, race) in zip(axes, races.items(), strict=True):
        for start in race.starts:
            runs = race.of(start)
            label = f"{start}, rate {runs[0].rate:g}"
            draw_runs(panel, runs[0].seen, [run.test_losses for run in runs], label, COLOURS[STARTS.index(start)])
        panel.set(title=f"head and embedding {head}", xlabel="steps", ylim=(None, 5))
        panel.legend()
    axes[0].set_ylabel("loss on the test part (nats)")
    return figure


if __name__ == "__main__":
    sys.exit(main())
