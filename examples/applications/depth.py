"""Plain networks of 100 layers, without norms or shortcuts, on MNIST: which starts train at all.

torch's default (`native`) loses the signal on the way and stays at chance. `auto` keeps signal and gradient: ReLU in
mirrored pairs, tanh at its critical point with orthogonal weights, kernels at their centre, as a plain delta-orthogonal
start has them (Xiao et al. 2018, arXiv 1806.05393). LSUV (Mishkin & Matas 2015, arXiv 1511.06422) sets scales alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from reporting import COLOURS, Claim, draw_runs, options, panels, report
from torch import nn

import fanin
from fanin.race import RaceResult, Settings, Standing
from fanin.torch.init import delta_orthogonal_

NAME = "depth"
DATA = "mnist,size=14"
TRAINED = 0.5
FULL = Settings(steps=240, optimizer="adam", rates=(1e-4, 3e-4, 1e-3), evaluate_every=20)
QUICK = Settings(steps=60, optimizer="adam", learning_rate=5e-4, evaluate_every=20)


def delta_orthogonal(model: nn.Module, seed: int, inputs: torch.Tensor) -> None:
    """Orthogonal matrices, in kernels at their centre; biases 0."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.parameters():
        if tensor.ndim > 1:
            delta_orthogonal_(tensor, generator=generator)
        else:
            nn.init.zeros_(tensor)


def lsuv_from_auto(model: nn.Module, seed: int, inputs: torch.Tensor) -> None:
    """LSUV, with the weights of `auto` in place of plain orthogonal ones."""
    fanin.lsuv(model, inputs, recipe="auto", seed=seed)


STARTS: dict[str, Any] = {
    "native": "native",
    "auto": "auto",
    "delta-orthogonal": delta_orthogonal,
    "lsuv": "lsuv",
    "lsuv from auto": lsuv_from_auto,
}


@dataclass(frozen=True, slots=True)
class Net:
    """A plain network of 100 layers, the starts that train it, and those that are shown beside them."""

    title: str
    model: str
    trained_by: tuple[str, ...]
    beside: tuple[str, ...] = ("lsuv",)

    def race(self, seeds: int, settings: Settings, *, quick: bool) -> RaceResult:
        """All its starts; `native` is always among them."""
        names = ("native", *self.trained_by, *(() if quick else self.beside))
        starts = {name: STARTS[name] for name in names}
        engine = "sequential" if quick else "auto"
        return fanin.compare(
            self.model, DATA, starts, seeds, settings=settings, pilots=1, name=self.title, engine=engine
        )


def nets(width: int, channels: int) -> tuple[Net, ...]:
    """Dense and convolutional, ReLU and tanh."""
    dense, convolutional = f"mlp:depth=100,width={width}", f"cnn:depth=100,width={channels},stride_at=1-2"
    relu, tanh = ("auto", "lsuv from auto"), ("auto", "delta-orthogonal")
    return (
        Net("MLP, ReLU", dense, relu),
        Net("MLP, tanh", f"{dense},activation=tanh", tanh),
        Net("CNN, ReLU", convolutional, relu),
        Net("CNN, tanh", f"{convolutional},activation=tanh", tanh),
    )


def claims(found: Sequence[tuple[Net, RaceResult]]) -> list[Claim]:
    """What must hold of all networks."""
    rows = [(net, row) for net, race in found for row in race.standings]
    native = [(net, row) for net, row in rows if row.start == "native"]
    made = [
        Claim(
            "torch's default stays at chance on every seed of every network",
            ", ".join(f"{net.title}: at most {row.highest:.0%}" for net, row in native),
            all(row.stuck + row.diverged == row.runs for _, row in native),
        )
    ]
    for start in ("auto", "delta-orthogonal", "lsuv from auto"):
        trained = [(net, row) for net, row in rows if row.start == start]
        made.append(
            Claim(
                f"{start} trains to more than {TRAINED:.0%} on every seed",
                ", ".join(f"{net.title}: at least {row.lowest:.0%}" for net, row in trained),
                all(row.lowest > TRAINED for _, row in trained),
            )
        )
    alone = [(net, row) for net, row in rows if row.start == "lsuv" and "ReLU" in net.title]
    if alone:
        made.append(
            Claim(
                "LSUV as published leaves chance where ReLU follows",
                ", ".join(f"{net.title}: {row.lowest:.0%} to {row.highest:.0%}" for net, row in alone),
                all(row.failures == 0 for _, row in alone),
            )
        )
    return made


def line(net: Net, row: Standing) -> dict[str, object]:
    """A line of the table."""
    ends = f"{row.lowest:.1%} – {row.highest:.1%}"
    return {
        "network": net.title,
        "start": row.start,
        "rate": f"{row.rate:g}",
        "test accuracy": f"{row.score:.1%}",
        "least – greatest": ends,
        "at chance": f"{row.failures} of {row.runs}",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Race, draw, report."""
    chosen = options(NAME, __doc__, argv, seeds=4)
    settings = QUICK if chosen.quick else FULL
    made = nets(64, 8) if chosen.quick else nets(64, 16)
    found = [(net, net.race(chosen.seeds, settings, quick=chosen.quick)) for net in made]
    figure, axes = panels(len(found), sharey=True)
    for panel, (net, race) in zip(axes, found, strict=True):
        for name in race.starts:
            runs = race.of(name)
            draw_runs(panel, runs[0].seen, [run.scores for run in runs], name, COLOURS[list(STARTS).index(name)])
        panel.set(title=f"{net.title}, 100 layers", xlabel="steps", ylim=(0, 1))
        panel.legend(frameon=False, loc="center right")
    axes[0].set_ylabel("test accuracy")
    return report(
        NAME,
        chosen,
        figure,
        rows=[line(net, row) for net, race in found for row in race.standings],
        claims=claims(found),
        numbers={net.title: race.to_dict() for net, race in found},
    )


if __name__ == "__main__":
    raise SystemExit(main())
