"""The frame of the command: help, version, unknown verbs, interruption, tracebacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import click
import pytest

import fanin as library
from fanin.cli import app, options
from fanin.cli.printing import plain

VERBS = ["plan", "init", "check", "count", "models", "recipes", "demo", "completion"]


def test_help_lists_every_verb_and_the_exit_codes(fanin) -> None:
    done = fanin("--help")
    assert done.code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in done.out
    assert "Exit codes: 0 fine, 1 findings, 2 bad input." in done.out


def test_help_names_every_form_and_completion_every_model(fanin) -> None:
    shown = fanin("--help").out
    forms = ("resnet18", "resnet:depth=20,norm=none", "mlp:784-500-10", "path.py:function", "hf:TYPE", "config.json")
    assert all(form in shown for form in (*forms, "`fanin models`"))
    assert {name for name in options.MODELS if name.endswith(":")} == {
        f"{x}:" for x in (*library.models.FAMILIES, "hf")
    }
    assert {name for name in options.MODELS if not name.endswith(":")} == set(library.models.names())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_debug(fanin, verb: str) -> None:
    done = fanin(verb, "-h")
    assert done.code == 0
    assert done.out.startswith("Usage: fanin ")
    assert "--debug" in done.out


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "completion"])
def test_every_verb_that_reports_offers_json(fanin, verb: str) -> None:
    assert "--json" in fanin(verb, "-h").out


def test_version(fanin) -> None:
    assert fanin("--version").out == f"fanin {library.__version__}\n"


def test_an_unknown_verb_is_bad_input_with_the_nearest_named(fanin) -> None:
    done = fanin("plon")
    assert done.code == 2
    assert done.error.startswith("unknown verb 'plon'; did you mean 'plan'?")


def test_an_unknown_option_is_bad_input(fanin) -> None:
    done = fanin("plan", "mnist-fc", "--nonsense")
    assert done.code == 2
    assert "No such option" in done.err


def test_debug_shows_the_traceback_and_the_sentence(fanin) -> None:
    done = fanin("recipes", "xaver", "--debug")
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert done.err.endswith("\n")
    assert "did you mean 'xavier'?" in done.err.splitlines()[-1]


def test_an_unexpected_error_is_not_hidden(fanin, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(library.recipes, "named", broken)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        fanin("recipes", "he")


def test_interruption_says_so_and_ends_with_130(fanin, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app.Verbs, "get_command", lambda *_: interrupted)
    done = fanin("plan")
    assert done.code == 130
    assert done.err.strip() == "Interrupted."


def test_ctrl_c_in_a_real_process_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef model():\n    print('ready', flush=True)\n    time.sleep(60)\n")
    command = [sys.executable, "-m", "fanin", "plan", "slow.py:model"]
    # A test run started in the background ignores SIGINT, and children inherit that.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=tmp_path, stdout=-1, stderr=-1, text=True, preexec_fn=heed) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.strip() == "Interrupted."


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m fanin recipes | head -n 1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout


def test_no_color_and_no_escape_codes_in_a_pipe(fanin) -> None:
    assert "\x1b" not in fanin("recipes").out


@pytest.mark.parametrize(("setting", "coloured"), [({"NO_COLOR": "1"}, False), ({}, True)])
def test_no_color_is_respected_on_a_terminal(setting: dict[str, str], coloured: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    script = "import pty, sys; pty.spawn([sys.executable, '-m', 'fanin', 'recipes'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "100", **setting},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    colours = [code for code in done.stdout.split("\x1b[")[1:] if code.split("m")[0] in {"32", "36", "1;36"}]
    assert bool(colours) == coloured


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(fanin, shell: str) -> None:
    done = fanin("completion", shell)
    assert done.code == 0
    assert "_FANIN_COMPLETE" in done.out


def test_completion_offers_verbs_models_and_recipes() -> None:
    def completed(words: str, position: int) -> str:
        setting = {"_FANIN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        command = [sys.executable, "-m", "fanin"]
        return subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True).stdout

    assert "plain,plan" in completed("fanin pl", 1)
    assert "plain,mnist-cnn" in completed("fanin plan mn", 2)
    assert "plain,xavier" in completed("fanin plan mnist-fc -r xa", 4)


def test_json_knows_no_nan() -> None:
    assert plain({"a": [float("nan"), 1.5, (float("inf"),)], "b": "x"}) == {"a": [None, 1.5, [None]], "b": "x"}
