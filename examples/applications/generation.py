"""DCGAN on Fashion-MNIST, from the start of its paper, torch's default and `auto`, with batch norm and without."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import torch
from adversaries.judge import Judge, judge_of
from adversaries.picture import picture, smooth
from adversaries.training import Run, Trained, noise, train
from numpy import median
from reporting import Claim, Row, options, report
from torch import Tensor, nn

import fanin

NAME = "generation"
STARTS = ("dcgan", "native", "auto")
NORMS = ("batch", "none")
PILOT = 1000  # the seed of the run that chooses a rate


@dataclass(frozen=True, slots=True)
class Form:
    """What is trained: DCGANs on images of this side, and how."""

    size: int
    images: int
    width: int
    latent: int
    steps: int
    rates: tuple[float, ...]
    judge_steps: int
    norms: tuple[str, ...] = NORMS
    batch: int = 64


FULL = Form(14, 20000, 16, 32, 600, (0.0005, 0.002), 400)
QUICK = Form(14, 2000, 8, 16, 300, (0.002,), 150, NORMS[:1])


def main(argv: Sequence[str] | None = None) -> int:
    chosen = options(NAME, __doc__, argv, seeds=3)
    form = QUICK if chosen.quick else FULL
    data = fanin.data.load(f"fashion-mnist,train={form.images},test=2000,size={form.size}")
    real, held_out = (torch.tensor(data.scale.raw(part.inputs) * 2 - 1).float() for part in (data.train, data.test))
    judge = judge_of(real, torch.from_numpy(data.train.targets), held_out, steps=form.judge_steps)
    grey = torch.rand(held_out.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ends = {"real images": judge.distance(real[: len(held_out)]), "noise": judge.distance(grey)}
    trained = [
        _raced(form, norm, start, data.sizes, real, judge, chosen.seeds) for norm in form.norms for start in STARTS
    ]
    return report(
        NAME,
        chosen,
        picture(trained, real),
        rows=[_row(each) for each in trained],
        claims=_claims(trained, ends),
        numbers={"form": asdict(form), "distances of others": ends, "trained": [_numbers(each) for each in trained]},
    )


def _raced(
    form: Form, norm: str, start: str, sizes: Mapping[str, Any], real: Tensor, judge: Judge, seeds: int
) -> Trained:
    """One pilot run for each rate, then all seeds at the best of them."""

    def run(rate: float, seed: int) -> Run:
        model = _started(
            fanin.models.factory(f"dcgan:width={form.width},latent={form.latent},norm={norm}", sizes), start, seed
        )
        return train(model, real, judge, steps=form.steps, rate=rate, batch=form.batch, seed=seed)

    rates = form.rates
    rate = rates[0] if len(rates) == 1 else min(rates, key=lambda rate: run(rate, PILOT).distances[-1])
    return Trained(norm, start, rate, tuple(run(rate, seed) for seed in range(seeds)))


def _started(build: Callable[[], nn.Module], start: str, seed: int) -> nn.Module:
    captured = fanin.capture(build)
    inputs = noise(8, captured.model.latent, torch.Generator().manual_seed(0))
    return fanin.materialize(captured.model, fanin.plan(captured, start, inputs), seed=seed)


def _row(each: Trained) -> Row:
    low, high = each.finals[0], each.finals[-1]
    return {
        "norm": each.norm,
        "start": each.start,
        "rate": each.rate,
        "distance untrained": float(median([run.distances[0] for run in each.runs])),
        "distance at the end": f"{median(each.finals):.0f} ({low:.0f}–{high:.0f})",
        "classes": f"{median([run.classes for run in each.runs]):.0f}",
        "collapsed": f"{each.collapsed} of {len(each.runs)}",
    }


def _claims(trained: Sequence[Trained], ends: Mapping[str, float]) -> list[Claim]:
    normed = [each for each in trained if each.norm == "batch"]
    farthest = max(each.finals[-1] for each in normed)
    near = min(ends["noise"], *(run.distances[0] for each in normed for run in each.runs)) / 2
    guessing = 2 * log(2)
    least = max(min(smooth(run.discriminator)) for each in normed for run in each.runs)
    collapsed = sum(each.collapsed for each in normed)
    runs = sum(len(each.runs) for each in normed)
    return [
        Claim(
            "with batch norm every generator learns, from every start: less than half as far from real images as noise "
            "and as any untrained one",
            f"the farthest {farthest:.0f}, half of the nearest of those {near:.0f}",
            farthest < near,
        ),
        Claim(
            "and every discriminator tells real from made better than by guessing at some time",
            f"least loss {least:.2f} or less, guessing {guessing:.2f}",
            least < guessing,
        ),
        Claim("and none collapses to fewer than five classes", f"{collapsed} of {runs} runs", not collapsed),
    ]


def _numbers(each: Trained) -> dict[str, Any]:
    kept = ("seed", "seen", "distances", "classes", "discriminator", "generator")
    runs = [{name: getattr(run, name) for name in kept} for run in each.runs]
    return {"norm": each.norm, "start": each.start, "rate": each.rate, "runs": runs}


if __name__ == "__main__":
    sys.exit(main())
