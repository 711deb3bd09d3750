"""Transfer: a CNN that knows the digits 0–4 learns 5–9 from a few samples with a new head; against from scratch."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from reporting import COLOURS, Claim, Row, options, panels, report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import fanin
from fanin.data import Dataset, Samples
from fanin.race import RaceResult, Settings

NAME = "transfer"
MODEL = "cnn:depth=6,width=24,pool_after=2-4,norm=batch,head=average"
ENGINE = "threads"  # one for all machines: a probe may choose another, whose sums round otherwise
CLASSES, OLD, NEW = 5, range(5), range(5, 10)
TUNED, SCRATCH = "fine-tuned", ("native", "auto")


@dataclass(frozen=True, slots=True)
class Form:
    """What is trained: the first model, then on so many samples of each class."""

    shots: tuple[int, ...]
    pretraining: int  # steps
    steps: int
    rates: tuple[float, ...]
    models: int  # trained on 0–4, from as many seeds


FULL = Form((2, 5, 20), 300, 60, (0.001, 0.003, 0.01), 4)
FEW = 5  # of each class: up to here the claim is made
QUICK = Form((FEW,), 120, 40, (0.003,), 1)


def main(argv: Sequence[str] | None = None) -> int:
    chosen = options(NAME, __doc__, argv, seeds=8, quick_seeds=3)
    form = QUICK if chosen.quick else FULL
    digits = fanin.data.load("mnist,size=14")
    old, new = only(digits, OLD), only(digits, NEW)
    factory = fanin.models.factory(MODEL, old.sizes)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{seed}.safetensors" for seed in range(form.models)]
        pretrained = [pretrain(factory, old, form, seed, file) for seed, file in enumerate(files)]
        settings = Settings(form.steps, 16, "adam", rates=form.rates, evaluate_every=form.steps // 5)
        starts = {TUNED: partial(tuned, files), **{name: name for name in SCRATCH}}
        races = {
            shots: fanin.compare(
                factory, few(new, shots), starts, chosen.seeds, settings=settings, pilots=1, engine=ENGINE
            )
            for shots in form.shots
        }
    return report(
        NAME,
        chosen,
        _picture(races),
        rows=[_row(shots, race, start) for shots, race in races.items() for start in race.starts],
        claims=[_claim(shots, race) for shots, race in races.items() if shots <= FEW],
        numbers={"accuracy on 0–4": pretrained, "races": {shots: race.to_dict() for shots, race in races.items()}},
    )


def only(data: Dataset, labels: range) -> Dataset:
    """The samples of some classes, which are counted from 0 then."""

    def chosen(part: Samples) -> Samples:
        kept = np.isin(part.targets, labels)
        return Samples(part.inputs[kept], part.targets[kept] - labels.start)

    sizes = {**data.sizes, "classes": len(labels)}
    return replace(data, train=chosen(data.train), test=chosen(data.test), sizes=sizes)


def few(data: Dataset, shots: int) -> Dataset:
    """The first so many training samples of each class: the order takes the classes in turn."""
    count = shots * data.sizes["classes"]
    return replace(data, train=Samples(data.train.inputs[:count], data.train.targets[:count]))


def pretrain(factory: Callable[[], nn.Module], data: Dataset, form: Form, seed: int, file: Path) -> float:
    """Train from `auto`, save to `file`, and say the accuracy on the test part."""
    captured = fanin.capture(factory)
    model = fanin.materialize(captured.model, fanin.plan(captured, "auto"), seed=seed)
    inputs, targets = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.targets)
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(form.pretraining):
        batch = torch.randint(len(targets), (64,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(model(inputs[batch]), targets[batch]).backward()
        optimizer.step()
    fanin.save(model, file)
    with torch.no_grad():
        right = model.eval()(torch.from_numpy(data.test.inputs)).argmax(1) == torch.from_numpy(data.test.targets)
    return float(right.float().mean())


def tuned(files: Sequence[Path], model: nn.Module, seed: int, inputs: Tensor) -> None:
    """The values of one of the files, and a new head that is zero."""
    fanin.load(model, files[seed % len(files)], strict=True)
    fanin.new_head(model, CLASSES, inputs=inputs[:2], override_keep=True)


def _row(shots: int, race: RaceResult, start: str) -> Row:
    found = next(row for row in race.standings if row.start == start)
    low, high = found.interval or (found.lowest, found.highest)
    told = {"accuracy": f"{found.score:.1%}", "95 % interval": f"{low:.1%}–{high:.1%}"}
    return {"samples of each class": shots, "start": start, "rate": found.rate, **told}


def _claim(shots: int, race: RaceResult) -> Claim:
    """The fine-tuned model is better than the better of the two from scratch, on every seed."""
    scores: dict[str, list[float]] = {start: [run.final_score for run in race.of(start)] for start in race.starts}
    best = [max(pair) for pair in zip(*(scores[start] for start in SCRATCH), strict=True)]
    won = sum(ours > theirs for ours, theirs in zip(scores[TUNED], best, strict=True))
    text = (
        f"{shots} samples of each class: fine-tuned is more accurate than from scratch, with the same samples and steps"
    )
    told = f"{np.mean(scores[TUNED]):.1%} against {np.mean(best):.1%}, better on {won} of {len(best)} seeds"
    return Claim(text, told, won == len(best))


def _picture(races: dict[int, RaceResult]) -> Figure:
    figure, (panel,) = panels(1)
    for start, colour in zip((TUNED, *SCRATCH), COLOURS, strict=False):
        found: list[Any] = [next(row for row in race.standings if row.start == start) for race in races.values()]
        panel.plot(list(races), [100 * row.score for row in found], "o-", color=colour, label=start)
        low, high = zip(*(row.interval or (row.lowest, row.highest) for row in found), strict=True)
        panel.fill_between(list(races), 100 * np.array(low), 100 * np.array(high), color=colour, alpha=0.15)
    panel.set(xlabel="training samples of each class, 5–9", ylabel="test accuracy (%)", ylim=(0, 100))
    panel.legend()
    return figure


if __name__ == "__main__":
    sys.exit(main())
