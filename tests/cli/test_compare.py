"""`fanin compare`: a race from a line, its files, its resumption, its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import fanin as library
from fanin.race.engines import train_lanes

pytest.importorskip("sklearn")  # ships the digits

Command = Callable[..., Any]
FAST = ("--data", "digits,train=200,test=100", "--steps", 10, "--seeds", 2, "--engine", "sequential")
MODEL = "mlp:64-16-10"


def test_a_race_is_told(fanin: Command) -> None:
    done = fanin("compare", MODEL, *FAST, "--recipes", "auto,native", "--rate", 0.1)
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0].startswith(f"{MODEL} on digits")
    assert lines[2].split()[:2] == ["start", "rate"]
    assert [line.split()[0] for line in lines[4:6]] == ["auto", "native"]
    assert "no difference shown" in done.out
    assert "with 2 seeds and one pair of starts no difference can be significant" in done.out


def test_json_is_the_result(fanin: Command) -> None:
    done = fanin("compare", "mlp", *FAST, "-r", "he", "--rates", "0.01,0.1", "--json")
    result = library.RaceResult.from_dict(done.json)
    assert result.settings.rates == (0.01, 0.1)
    assert result.starts == ("he",)
    assert result.choices[0].trials
    assert result.command == (
        "fanin compare mlp --data digits,train=200,test=100 --recipes he --seeds 2 --steps 10 --batch 64 "
        "--optimizer sgd --rates 0.01,0.1"
    )


def test_the_command_of_a_result_does_it_again(fanin: Command) -> None:
    first = fanin("compare", MODEL, *FAST, "-r", "he,lsuv", "--rate", 0.1, "--clip", 1, "--target", 0.5, "--json").json
    again = fanin(*first["command"].split()[1:], "--engine", "sequential", "--json").json
    assert again["runs"] == first["runs"]
    assert again["target"] == first["target"] == 0.5


def test_options_of_a_recipe_stay_with_it(fanin: Command) -> None:
    done = fanin("compare", MODEL, *FAST, "-r", "gpt2,std=0.05,he", "--rate", 0.1, "--json")
    assert [row["start"] for row in done.json["standings"]] == ["gpt2,std=0.05", "he"]


def test_files_are_written(fanin: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    single = tmp_path / "a.html", tmp_path / "a.json"
    outputs = ("-o", single[0], "-o", single[1], "-o", f"{tmp_path / 'all'}/")
    done = fanin("compare", MODEL, *FAST, "-r", "he,native", "--rate", 0.1, *outputs)
    assert done.code == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "race.html",
        "race.json",
        "race.md",
        "race.png",
    ]
    stored = library.RaceResult.from_json(single[1].read_text())
    assert stored == library.RaceResult.from_json((tmp_path / "all" / "race.json").read_text())
    assert stored.verdicts[0] in " ".join(done.out.split())
    assert "fanin compare" in single[0].read_text()
    assert (tmp_path / "all" / "race.png").read_bytes().startswith(b"\x89PNG")
    assert "| `he` |" in (tmp_path / "all" / "race.md").read_text()


def test_ctrl_c_keeps_and_says_and_the_next_call_goes_on(
    fanin: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("compare", MODEL, *FAST, "-r", "he,native", "--rate", 0.1, "--resume", tmp_path / "kept")
    whole = fanin(*words[:-2], "--json").json

    def stopped(*arguments: Any, **options: Any) -> Any:
        for done, pair in enumerate(train_lanes(*arguments, **options)):
            if done == 3:
                raise KeyboardInterrupt
            yield pair

    with monkeypatch.context() as patched:
        patched.setattr("fanin.race.trainer.train_lanes", stopped)
        done = fanin(*words, "-o", tmp_path / "part.json")
    assert done.code == 130
    told = " ".join(done.err.split())
    assert told == f"Interrupted: 3 of 4 runs are finished; --resume {tmp_path / 'kept'} goes on from there."
    assert done.out.splitlines()[4].split()[0] == "he"  # the partial table
    assert len(json.loads((tmp_path / "part.json").read_text())["runs"]) == 3
    again = fanin(*words, "--json")
    assert again.code == 0
    assert again.json["runs"] == whole["runs"]


def test_ctrl_c_before_anything_is_finished(fanin: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("fanin.race.trainer.train_lanes", stopped)
    done = fanin("compare", MODEL, *FAST, "-r", "he")
    assert done.code == 130
    assert done.out == ""
    told = " ".join(done.err.split())
    assert told == "Interrupted: 0 of 2 runs are finished; with --resume PLACE they would be kept."


def test_quick_is_quick(fanin: Command) -> None:
    result = library.RaceResult.from_dict(
        fanin("compare", MODEL, "--data", "digits", "-r", "he", "--quick", "--json").json
    )
    assert (result.settings.steps, result.seeds) == (20, (0, 1))
    assert result.settings == replace(library.race.Settings(), steps=20, evaluate_every=1)


def test_a_budget_chooses_the_steps(fanin: Command) -> None:
    words = ("--data", "digits,train=200,test=100", "--seeds", 1, "-r", "he", "--rate", 0.1, "--json")
    result = fanin("compare", MODEL, *words, "--budget", "2s").json
    assert result["settings"]["steps"] > 5
    assert fanin("compare", MODEL, *words, "--budget", "0.00001m").error.startswith("a budget of 0.0006 s is too small")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--recipes", "auot"), "unknown recipe 'auot'; did you mean 'auto'?"),
        (("--recipes", "he,he"), "a race needs one or more different recipes, got ['he', 'he']"),
        (("--rates", "0.1,0.1"), "rates must differ, got [0.1, 0.1]"),
        (("--rates", "0.1,-1"), "rates must be positive, got -1.0"),
        (("--rate", "-1"), "learning_rate must be positive, got -1.0"),
        (("--rate", "0.1", "--rates", "0.1,0.2"), "give one of them"),
        (("--budget", "5s"), "--budget chooses the steps of a run: give it or --steps"),
        (("--engine", "warp"), "unknown engine 'warp'"),
        (("--device", "abacus"), "device 'abacus' cannot be used here"),
        (("--optimizer", "lion"), "unknown optimizer 'lion'. Known: adam, adamw, sgd."),
        (("--data", "digist"), "unknown data set 'digist'; did you mean 'digits'?"),
        (("-o", "a.xyz"), "a.xyz: a race is written as .html, .json, .md, .png, and the suffix '.xyz' is none of them"),
        (("-o", "nowhere/a.html"), "nowhere/a.html: cannot be written: there is no folder"),
    ],
)
def test_bad_input(words: tuple[str, ...], message: str, fanin: Command) -> None:
    done = fanin("compare", MODEL, *FAST, *words)
    assert done.code == 2
    assert message in done.error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seeds", "0"), "0 is not in the range x>=1"),
        (("--recipes", "he,,auto"), "'he,,auto' is not names of recipes joined by commas, as auto,he,native"),
        (("--rates", "a,b"), "'a,b' is not numbers joined by commas, as 0.01,0.03,0.1"),
        (("--budget", "soon"), "'soon' is not a time, as 60s, 5m or 1h"),
    ],
)
def test_bad_words(words: tuple[str, ...], message: str, fanin: Command) -> None:
    done = fanin("compare", MODEL, *FAST, *words)
    assert done.code == 2
    assert message in " ".join(done.err.split())


def test_models_and_data_that_do_not_fit(fanin: Command) -> None:
    done = fanin("compare", "mlp:63-10", *FAST, "-r", "he")
    assert done.error == "mlp: a sample has 64 features (1×8×8), but the first of the widths is 63"
    done = fanin("compare", "hf:gpt2,n_layer=1,n_embd=8,n_head=1", *FAST, "-r", "he")
    assert "does not take the inputs [2, 1, 8, 8] (float32) of digits" in done.error
    done = fanin("compare", "mlp:64-9", *FAST, "-r", "he")
    assert done.error == "mlp: there are 10 classes, but the last of the widths is 9"
    assert "unknown model 'mpl'" in fanin("compare", "mpl", *FAST, "-r", "he").error


def test_a_missing_package_is_named(fanin: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanin.data.needs.find_spec", lambda name, *_: None)
    done = fanin("compare", MODEL, "--data", "mnist", "-r", "he", "--quick")
    assert done.code == 2
    assert "pip install 'fanin[" in done.error


def test_the_store_of_another_race(fanin: Command, tmp_path: Path) -> None:
    words = (*FAST, "-r", "he", "--rate", 0.1, "--resume", tmp_path / "kept")
    assert fanin("compare", MODEL, *words).code == 0
    done = fanin("compare", "mlp:64-17-10", *words)
    assert done.code == 2
    assert f"{tmp_path / 'kept'} holds the runs of another race: its model is {MODEL}" in done.error


def test_progress_shows_phases_runs_and_who_leads() -> None:
    from io import StringIO

    from rich.console import Console

    from fanin.cli import race_progress
    from fanin.race import Moment

    file = StringIO()
    console = Console(file=file, force_terminal=True, width=140, color_system=None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(race_progress, "terminal", lambda **_: console)
        with race_progress.race_progress() as watch:
            watch(Moment("rates", 0.5, 3, 12))
            watch(Moment("race", 0.25, 4, 16, "auto 91%"))
    assert "Racing" in file.getvalue()
    assert "4 of 16 runs" in file.getvalue()
    assert "best so far: auto 91%" in file.getvalue()
