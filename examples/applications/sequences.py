"""What recurrent networks remember: LSTM gate biases on a long copy task, and the IRNN on rows of digits.

The copy task (Arjovsky et al. 2016, arXiv 1511.06464) asks for ten symbols after a delay; without memory nothing beats
10·ln 8/(delay + 20) nats a token. A forget gate at bias 0 forgets half of its cell at each step, at bias 1 a quarter;
chrono (Tallec & Ollivier 2018, arXiv 1804.11188) draws ln U(1, t_max − 1), here with t_max = 3/2 delay. The
IRNN (Le, Jaitly & Hinton 2015, arXiv 1504.00941) starts a ReLU network's state matrix as the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean

import torch
from reporting import COLOURS, Claim, Row, draw_runs, options, panels, report
from torch import nn

import fanin
from fanin.race import RaceResult, Settings
from fanin.race.run import Run

NAME = "sequences"
SYMBOLS = 10


@dataclass(frozen=True, slots=True)
class Form:
    """The delay and the training of the copy task, and the training on digits."""

    delay: int
    copying: Settings
    digits: Settings
    engine: str

    @property
    def forgetful(self) -> float:
        """Cross entropy, nats a token, of who remembers nothing."""
        return SYMBOLS * log(8) / (self.delay + 2 * SYMBOLS)


def _copying(steps: int) -> Settings:
    return Settings(
        steps=steps, batch_size=50, optimizer="adam", learning_rate=3e-3, clip=1.0, evaluate_every=steps // 20
    )


def _digits(steps: int, rates: tuple[float, ...]) -> Settings:
    return Settings(steps=steps, optimizer="adam", rates=rates, clip=1.0, evaluate_every=steps // 10)


FULL = Form(100, _copying(1500), _digits(300, (3e-4, 1e-3, 3e-3)), "auto")
QUICK = Form(30, _copying(300), _digits(100, (1e-3,)), "sequential")


def forget_bias_1(model: nn.Module, seed: int, inputs: torch.Tensor) -> None:
    """The weights of the constructor; biases 0 but 1 in forget gates (Jozefowicz et al. 2015), once."""
    for layer in model.modules():
        if isinstance(layer, nn.LSTM):
            for name, tensor in layer.named_parameters():
                if name.startswith("bias"):
                    nn.init.zeros_(tensor)
            nn.init.ones_(layer.bias_ih_l0.data[layer.hidden_size : 2 * layer.hidden_size])


def copying(form: Form, seeds: int) -> RaceResult:
    """LSTMs that differ in their gates' biases."""
    starts = {
        "no forget bias": "native",
        "forget bias 1": forget_bias_1,
        "chrono": f"chrono,t_max={1.5 * form.delay:g}",
    }
    data = f"copy,delay={form.delay},train=5000,test=500"
    return fanin.compare("lstm:width=64", data, starts, seeds, settings=form.copying, engine=form.engine)


def digits(form: Form, seeds: int) -> dict[str, RaceResult]:
    """Recurrent networks that read an image row by row."""

    def race(activation: str, starts: dict[str, str]) -> RaceResult:
        model = f"rnn:width=100,activation={activation}"
        return fanin.compare(model, "mnist", starts, seeds, settings=form.digits, pilots=1, engine=form.engine)

    return {"tanh": race("tanh", {"tanh": "native"}), "relu": race("relu", {"ReLU": "native", "IRNN": "irnn"})}


def mean_test_loss(run: Run) -> float:
    """Over the looks at the test data: lower is sooner."""
    return fmean(run.test_losses)


def lead(better: Sequence[Run], worse: Sequence[Run]) -> list[float]:
    """How much lower the mean test loss is, seed by seed."""
    return [mean_test_loss(other) - mean_test_loss(run) for run, other in zip(better, worse, strict=True)]


def claims(form: Form, copied: RaceResult, read: dict[str, RaceResult]) -> list[Claim]:
    """What must hold on every seed."""
    last = [run.test_losses[-1] for run in copied.of("chrono")]
    made = [
        Claim(
            f"with chrono the LSTM remembers over {form.delay} steps: its loss is below {form.forgetful:.4f}",
            f"at most {max(last):.4f} nats a token",
            max(last) < form.forgetful,
        )
    ]
    relu, tanh = read["relu"], read["tanh"]
    for better, worse, leads in (
        ("chrono", "forget bias 1", lead(copied.of("chrono"), copied.of("forget bias 1"))),
        ("forget bias 1", "no forget bias", lead(copied.of("forget bias 1"), copied.of("no forget bias"))),
        ("IRNN", "ReLU with torch's start", lead(relu.of("IRNN"), relu.of("ReLU"))),
        ("IRNN", "tanh with torch's start", lead(relu.of("IRNN"), tanh.of("tanh"))),
    ):
        least, greatest = min(leads), max(leads)
        made.append(
            Claim(
                f"{better} learns sooner than {worse} on every seed",
                f"mean test loss lower by {least:.4f} to {greatest:.4f} nats",
                least > 0,
            )
        )
    return made


def rows(form: Form, copied: RaceResult, read: dict[str, RaceResult]) -> list[Row]:
    """Lines of the table."""
    made: list[Row] = []
    for task, race in (
        (f"copy, delay {form.delay}", copied),
        ("rows of MNIST", read["tanh"]),
        ("rows of MNIST", read["relu"]),
    ):
        for start in race.starts:
            runs = race.of(start)
            ends = [run.test_losses[-1] for run in runs]
            made.append(
                {
                    "task": task,
                    "start": start,
                    "rate": f"{runs[0].rate:g}",
                    "test loss, nats": f"{fmean(ends):.4f}",
                    "least – greatest": f"{min(ends):.4f} – {max(ends):.4f}",
                    "test accuracy": f"{fmean(run.final_score for run in runs):.1%}",
                }
            )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Race, draw, report."""
    chosen = options(NAME, __doc__, argv, seeds=4)
    form = QUICK if chosen.quick else FULL
    copied, read = copying(form, chosen.seeds), digits(form, chosen.seeds)
    figure, (left, right) = panels(2)
    for start, colour in zip(copied.starts, COLOURS, strict=False):
        runs = copied.of(start)
        draw_runs(left, runs[0].seen, [run.test_losses for run in runs], start, colour)
    left.axhline(form.forgetful, color="black", lw=0.8, ls="--", label="no memory")
    left.set(
        title=f"LSTM, copy after {form.delay} steps",
        xlabel="steps",
        ylabel="test loss, nats a token",
        ylim=(0.0, 1.5 * form.forgetful),
    )
    shown = [(start, race.of(start)) for race in read.values() for start in race.starts]
    for (start, runs), colour in zip(shown, COLOURS, strict=False):
        draw_runs(right, runs[0].seen, [run.scores for run in runs], start, colour)
    right.set(title="RNN, rows of MNIST", xlabel="steps", ylabel="test accuracy", ylim=(0, 1))
    for panel in (left, right):
        panel.legend(frameon=False)
    return report(
        NAME,
        chosen,
        figure,
        rows=rows(form, copied, read),
        claims=claims(form, copied, read),
        numbers={"copy": copied.to_dict()} | {name: race.to_dict() for name, race in read.items()},
    )


if __name__ == "__main__":
    raise SystemExit(main())
