"""SIREN: a picture as a network of sines from places to grey, from its own start and from others.

Sitzmann et al. 2020 (arXiv 2006.09661) start the layers so that what enters each sine has unit variance. With torch's
default the sines turn many times between neighbouring places, and no learning rate gets past a grey square. `auto`
reads ω off the layers and gives them that start without being told.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, log10

import numpy as np
import torch
from matplotlib.figure import Figure
from reporting import COLOURS, Claim, Row, draw_runs, options, panels, report

import fanin
from fanin.race import RaceResult, Settings

NAME = "picture"
OMEGA = 30.0
STARTS = ("siren", "native", "auto", "xavier")
CLEAR, GREY = 30.0, 15.0


@dataclass(frozen=True, slots=True)
class Form:
    """What is raced: sides of the picture, and the network and its training on all pixels at once by Adam."""

    size: int
    width: int
    depth: int
    steps: int
    rates: tuple[float, ...]
    starts: tuple[str, ...]


FULL = Form(64, 64, 4, 300, (0.0003, 0.001, 0.003, 0.01), STARTS)
QUICK = Form(24, 48, 4, 150, (0.003,), STARTS[:3])


def main(argv: Sequence[str] | None = None) -> int:
    chosen = options(NAME, __doc__, argv, seeds=8, quick_seeds=2)
    form = QUICK if chosen.quick else FULL
    data = fanin.data.load(f"picture,size={form.size},held_out=false")
    model = f"siren:width={form.width},depth={form.depth},omega={OMEGA:g}"
    settings = Settings(form.steps, form.size**2, "adam", rates=form.rates, evaluate_every=max(1, form.steps // 30))
    race = fanin.compare(model, data, form.starts, chosen.seeds, settings=settings, pilots=1)
    return report(
        NAME,
        chosen,
        _picture(race, data, model),
        rows=[_row(race, start) for start in race.starts],
        claims=_claims(race),
        numbers={"size": form.size, "race": race.to_dict()},
    )


def psnr(rmse: float) -> float:
    """Peak signal over noise in dB, where grey goes from −1 to 1.

    >>> round(psnr(0.02), 6)
    40.0
    """
    return 20 * log10(2 / rmse) if isfinite(rmse) else -inf


def fit(model: torch.nn.Module, data: fanin.data.Dataset, steps: int, rate: float) -> np.ndarray:
    """The picture [size, size] that the model shows after the race's training."""
    places, grey = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.targets)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        loss = (model(places) - grey).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return _square(model(places).numpy())


def _square(grey: np.ndarray) -> np.ndarray:
    side = round(len(grey) ** 0.5)
    return grey.reshape(side, side)


def _finals(race: RaceResult, start: str) -> list[float]:
    return sorted(psnr(run.final_score) for run in race.of(start))


def _row(race: RaceResult, start: str) -> Row:
    finals = _finals(race, start)
    spread = f"{np.median(finals):.1f} ({finals[0]:.1f}–{finals[-1]:.1f})"
    return {"start": start, "rate": race.of(start)[0].rate, "PSNR, dB": spread}


def _claims(race: RaceResult) -> list[Claim]:
    default = _finals(race, "native")
    return [
        _clear(race, "siren", "the start of SIREN brings"),
        _clear(race, "auto", "`auto`, from the layers' code alone, brings"),
        Claim(
            f"torch's default leaves every seed below {GREY:g} dB at its best rate",
            f"native {default[-1]:.1f} dB or less on {len(default)} seeds",
            default[-1] < GREY,
        ),
    ]


def _clear(race: RaceResult, start: str, what: str) -> Claim:
    finals = _finals(race, start)
    measured = f"{start} {finals[0]:.1f} dB or more on {len(finals)} seeds"
    return Claim(f"{what} every seed above {CLEAR:g} dB", measured, finals[0] > CLEAR)


def _picture(race: RaceResult, data: fanin.data.Dataset, model: str) -> Figure:
    figure, (curves, *images) = panels(2 + len(race.starts))
    for start, colour in zip(race.starts, COLOURS, strict=False):
        runs = race.of(start)
        draw_runs(curves, runs[0].seen, [[psnr(score) for score in run.scores] for run in runs], start, colour)
    curves.set(xlabel="step", ylabel="PSNR, dB")
    curves.legend(fontsize=8)
    build = fanin.models.factory(model, data.sizes)
    shown = {"picture": _square(data.train.targets)}
    for start in race.starts:
        captured = fanin.capture(build)
        plan = fanin.plan(captured, start, torch.from_numpy(data.train.inputs[:4]))
        fanin.materialize(captured.model, plan, seed=0)
        shown[start] = fit(captured.model, data, race.settings.steps, race.of(start)[0].rate)
    for panel, (title, grey) in zip(images, shown.items(), strict=True):
        panel.imshow(grey, cmap="gray", vmin=-1, vmax=1)
        panel.set_title(title)
        panel.axis("off")
    return figure


if __name__ == "__main__":
    sys.exit(main())
