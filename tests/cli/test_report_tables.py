"""The tables of checks, races, files and the demo, from records made by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from io import StringIO
from math import inf
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from fanin.checking import Finding, LayerReport, Report
from fanin.checking.verdicts import Judged
from fanin.demo.drawn import Drawn, DrawnTensor
from fanin.demo.tables import drawn_report, written_report
from fanin.demo.written import WrittenFile
from fanin.race import RaceResult, Run, Settings
from fanin.race.constant import Level
from fanin.report.checks import check_report
from fanin.report.layout import Field, grid, natural_width, widest_fitting
from fanin.report.races import race_report
from fanin.torch.probe import LayerProbe
from fanin.torch.probe.moments import Moments


def shown(report: RenderableType, width: int) -> str:
    file = StringIO()
    Console(width=width, file=file, highlight=False).print(report)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def run(start: str, seed: int, reached: int | None, end: float, loss: float = 0.1) -> Run:
    """A run that reaches 90% after so many steps."""
    seen = (0, reached or 100, 200)
    return Run(start, seed, 0.05, (2.3, loss), seen, (2.3, 0.2, 0.2), (0.1, 0.9 if reached else 0.1, end))


RACE = RaceResult(
    "mnist-fc",
    Settings(steps=200),
    (
        run("he", 0, 40, 0.96),
        run("he", 1, 60, 0.95),
        run("he", 2, 50, 0.97),
        run("flat", 0, None, 0.1),
        run("flat", 1, 180, 0.91),
        run("flat", 2, None, 0.1, inf),
    ),
    level=Level(0.1, 0.03),
    data="mnist",
    seeds=(0, 1, 2),
    seconds_per_step=0.01,
)


def test_race_as_text() -> None:
    assert shown(race_report(RACE, 100), 100) == (
        "mnist-fc on mnist · steps to 90% accuracy\n\n"
        "start  rate  steps to 90%  range  seconds  accuracy at the end  failed\n"
        "──────────────────────────────────────────────────────────────────────────────\n"
        "he     0.05            50  40–60      0.5  96.0% (93.5%–98.5%)  0 of 3  ━━━━━━\n"
        "flat   0.05   not reached    180           37.0% (0.0%–100.0%)  2 of 3\n\n"
        "he and flat: no difference shown in steps to 90% accuracy (p = 0.25, 3 of 3 seeds)\n"
        "with 3 seeds and one pair of starts no difference can be significant (least possible p = 0.25): take\n"
        "6 seeds\n"
        "sgd, 200 steps of 64 samples; learning rate the same for all; steps are medians over 3 seeds, the\n"
        "score their mean with its 95% interval; a seed's order of samples is the same for all starts; the\n"
        "target is given; seconds are steps times what one takes here, and noisy\n"
    )


def test_many_pairs_that_too_few_seeds_cannot_tell_apart_are_not_listed() -> None:
    four = [run(start, seed, 40 + seed, 0.9) for start in ("a", "b", "c", "d") for seed in range(3)]
    text = shown(race_report(replace(RACE, runs=tuple(four)), 200), 200)
    assert "no difference shown" not in text
    assert "with 3 seeds and 6 pairs of starts no difference can be significant" in text
    enough = [run(start, seed, 40 + seed, 0.9) for start in ("a", "b", "c", "d") for seed in range(9)]
    assert "a and b: no difference shown" in shown(race_report(replace(RACE, runs=tuple(enough)), 200), 200)


def layer(name: str, second: float, verdict, **changes) -> LayerReport:
    seen = Moments(1000, 0.0, second, 1.0, 0.5, 0)
    measured = {
        "name": name,
        "kind": "weight",
        "type": "Linear",
        "shape": (10, 100),
        "units": 100,
        "dead": 3,
        "forward": seen,
        "expected_forward": 0.5,
        "gradient": seen,
        "expected_gradient": 0.25,
    }
    others = {field.name: None for field in fields(LayerProbe) if field.name not in measured}
    return LayerReport.of(Judged(LayerProbe(**{**measured, **others, **changes}), verdict))


FINDING = Finding(
    "vanishing", "error", "fc2.weight", "a ratio of 1e-06", "about 1", "weights too small", "fanin.initialize(model)"
)


def test_check_as_text() -> None:
    layers = (layer("fc1", 0.48, "healthy"), layer("fc2", 5e-7, "vanishing", dead=None, gradient=None))
    report = Report("vanishing", (FINDING,), layers, "fc2", 2.3)
    assert shown(check_report(report, 100, "mine"), 100) == (
        "mine · signal by layer\n\n"
        "layer  class   E[h²]  expected        std  zeros  E[g²]  expected      dead  verdict\n"
        "──────────────────────────────────────────────────────────────────────────────────────\n"
        "fc1    Linear   0.48       0.5     0.6928    50%   0.48      0.25  3 of 100  healthy\n"
        "fc2    Linear  5e-07       0.5  0.0007071    50%             0.25            vanishing\n\n"
        "verdict: vanishing, starting at fc2; loss 2.3\n\n"
        "error: fc2.weight: a ratio of 1e-06, expected about 1; weights too small.\n"
        "try: fanin.initialize(model)\n"
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_check_fits_the_terminal(width: int) -> None:
    layers = tuple(layer(f"transformer.h.{index}.attention.output.dense", 0.5, "healthy") for index in range(3))
    printed = shown(check_report(Report("healthy", (), layers), width), width)
    assert max(map(cell_len, printed.splitlines())) <= width
    assert printed.count("healthy") == 4
    assert len({line.split()[0] for line in printed.splitlines()[4:7]}) == 3


def test_drawn_weights_as_text() -> None:
    drawn = Drawn(None, 0, 0.0035, True, 6, (DrawnTensor("fc.weight", 6, 0.05, 0.0491),))
    assert shown(drawn_report(drawn, 80), 80) == (
        "tensor     values  std promised  std drawn\n"
        "──────────────────────────────────────────\n"
        "fc.weight       6          0.05     0.0491\n\n"
        "6 values in 3.5 ms; drawn again: the same bits\n"
    )
    assert "drawn again: OTHER BITS" in shown(drawn_report(replace(drawn, again_same=False), 80), 80)


def test_written_files_as_text() -> None:
    files = (WrittenFile(Path("a.gguf"), 2048, 4, True), WrittenFile(Path("b.gguf"), 10, 4, False))
    assert shown(written_report(files, 80), 80) == (
        "file     size  tensors  read back\n"
        "─────────────────────────────────────\n"
        "a.gguf  2 KiB        4  the same bits\n"
        "b.gguf   10 B        4  OTHER BITS\n"
    )


def test_words_in_brackets_are_not_markup() -> None:
    assert shown(grid([Field("[bold]", ["[red]x[/red]"])]), 40).split() == ["[bold]", "─" * 12, "[red]x[/red]"]


def test_the_first_choice_that_fits_is_taken() -> None:
    name, words, number = Field("n", ["a" * 30]), Field("w", ["b " * 30]), Field("x", ["1"], number=True)
    choices = [[name, words, number], [name, number], [number]]
    assert widest_fitting(choices, 200) == choices[0]
    assert widest_fitting(choices, natural_width(choices[1])) == choices[1]
    assert widest_fitting(choices, 5) == choices[2]
    assert widest_fitting([[name, words]], 60) == [name, words]  # the words wrap
    assert widest_fitting([[name, words]], 45)[0].width == 16  # the name gives way


def test_the_fastest_recipe_stands_out() -> None:
    file = StringIO()
    Console(width=100, file=file, force_terminal=True, color_system="standard", highlight=False).print(
        race_report(RACE, 100)
    )
    he, flat = file.getvalue().splitlines()[4:6]
    assert "\x1b[1;32mhe" in he
    assert "\x1b[32mflat" in flat
