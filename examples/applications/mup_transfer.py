"""muP: the best learning rate of a narrow decoder is that of a wide one; under standard parametrization it falls."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from threading import Lock

import torch
from matplotlib.figure import Figure
from reporting import COLOURS, Claim, Row, options, panels, report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import fanin

NAME = "mup_transfer"
SCHEMES = ("standard", "muP")
STARTING = Lock()  # models are made one at a time

Losses = Mapping[str, Mapping[int, list[float]]]


@dataclass(frozen=True, slots=True)
class Form:
    """What is trained: decoders of 2 layers with 4 heads on the text of Python's help(), by Adam at a constant rate."""

    widths: tuple[int, ...]
    steps: int
    powers: tuple[int, ...]  # of 2: learning rates
    batch: int = 8
    context: int = 32


FULL = Form((64, 128, 256, 512), 120, tuple(range(-12, -3)))
QUICK = Form((32, 128), 60, tuple(range(-9, -3)))


def main(argv: Sequence[str] | None = None) -> int:
    chosen = options(NAME, __doc__, argv, seeds=2)
    form, seeds = QUICK if chosen.quick else FULL, range(chosen.seeds)
    data = fanin.data.load(f"text,context={form.context},train=4000,test=1")
    samples = torch.tensor(data.train.inputs), torch.tensor(data.train.targets)

    def loss(run: tuple[str, int, int, int]) -> float:
        scheme, width, power, seed = run
        with STARTING:
            model, optimizer = started(data.sizes["vocabulary"], form, width, scheme, 2.0**power, seed)
        return trained(model, optimizer, *samples, form, seed)

    with one_thread_each() as pool:
        runs = list(product(SCHEMES, form.widths, form.powers, seeds))
        found = dict(zip(runs, pool.map(loss, runs), strict=True))
    losses = {
        scheme: {
            w: [mean([found[scheme, w, power, seed] for seed in seeds]) for power in form.powers] for w in form.widths
        }
        for scheme in SCHEMES
    }
    best = {scheme: {w: form.powers[row.index(min(row))] for w, row in of.items()} for scheme, of in losses.items()}
    numbers = {"form": asdict(form), "log2_best_rate": best, "losses": finite(losses)}
    rows, claims = table_of(form, losses, best), claims_of(form, best)
    return report(NAME, chosen, picture(form, losses), rows=rows, claims=claims, numbers=numbers)


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """Runs side by side on all cores, each with one thread of torch's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # which new threads take over
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def started(
    vocabulary: int, form: Form, width: int, scheme: str, rate: float, seed: int
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model with torch's own start, as it is or scaled from the least width, and its optimizer."""

    def captured(width: int) -> fanin.Captured:
        sizes = {"width": width, "depth": 2, "heads": 4, "context": form.context, "tied": False}
        return fanin.capture(lambda: fanin.models.transformer(vocabulary, **sizes))

    wide, base = captured(width), form.widths[0]
    if scheme == "standard":
        model = fanin.materialize(wide.model, wide.plan, seed=seed)
        return model, torch.optim.Adam(model.parameters(), lr=rate)
    record = fanin.parametrize(wide, "mup", base=captured(base), at_base=width == base, seed=seed)
    return wide.model, torch.optim.Adam(record.parameter_groups(wide.model, lr=rate), lr=rate)


def trained(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor, form: Form, seed: int
) -> float:
    """The mean loss of the last quarter of the steps; the order of samples is that of the seed."""
    order, losses = torch.Generator().manual_seed(seed), []
    for _ in range(form.steps):
        batch = torch.randint(len(inputs), (form.batch,), generator=order)
        loss = cross_entropy(model(inputs[batch]).flatten(0, 1), targets[batch].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return mean(losses[-form.steps // 4 :])


def mean(losses: Sequence[float]) -> float:
    return math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else math.inf


def finite(losses: Losses) -> dict[str, dict[int, list[float | None]]]:
    """The losses for JSON: null where a run diverged."""
    return {
        scheme: {width: [loss if math.isfinite(loss) else None for loss in row] for width, row in of.items()}
        for scheme, of in losses.items()
    }


def claims_of(form: Form, best: Mapping[str, Mapping[int, int]]) -> list[Claim]:
    narrow, wide = form.widths[0], form.widths[-1]
    moved = {scheme: abs(best[scheme][wide] - best[scheme][narrow]) for scheme in SCHEMES}
    told = {scheme: f"2^{best[scheme][narrow]} at {narrow}, 2^{best[scheme][wide]} at {wide}" for scheme in SCHEMES}
    return [
        Claim("muP: the best rate moves by at most one step of the grid", told["muP"], moved["muP"] <= 1),
        Claim("standard: it moves by more", told["standard"], moved["standard"] > 1),
    ]


def table_of(form: Form, losses: Losses, best: Mapping[str, Mapping[int, int]]) -> list[Row]:
    return [
        {
            "parametrization": scheme,
            "width": width,
            "best rate": f"2^{best[scheme][width]}",
            "loss there": min(losses[scheme][width]),
            f"loss at the best rate of width {form.widths[0]}": losses[scheme][width][
                form.powers.index(best[scheme][form.widths[0]])
            ],
        }
        for scheme, width in product(SCHEMES, form.widths)
    ]


def picture(form: Form, losses: Losses) -> Figure:
    figure, axes = panels(2, sharey=True)
    rates = [2.0**power for power in form.powers]
    for panel, scheme in zip(axes, SCHEMES, strict=True):
        for colour, width in zip(COLOURS, form.widths, strict=False):
            row = losses[scheme][width]
            panel.plot(rates, row, marker=".", color=colour, label=f"width {width}")
            panel.plot(rates[row.index(min(row))], min(row), marker="o", color=colour, markersize=9)
        panel.set(title=scheme, xscale="log", xlabel="Adam's learning rate")
    axes[0].set_ylabel(f"loss (nats), last quarter of {form.steps} steps")
    axes[1].legend()
    return figure


if __name__ == "__main__":
    sys.exit(main())
