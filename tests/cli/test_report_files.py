"""`fanin check` and `fanin plan`: the page, the plots, the events, one line, and an earlier run beside this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

MODEL = "mlp:64-64-64-64-10"


def test_check_writes_what_is_asked_for(fanin, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, plots = tmp_path / "report.html", tmp_path / "report.png"
    done = fanin("check", MODEL, "--recipe", "he", "--html", page, "--png", plots)
    assert "verdict: healthy" in done.out
    data = json.loads(page.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0])
    assert [layer["name"] for layer in data["layers"]] == ["fc1", "act1", "fc2", "act2", "fc3", "act3", "fc4"]
    assert [row["name"] for row in data["plan"]][:2] == ["fc1.weight", "fc1.bias"]
    assert plots.read_bytes().startswith(b"\x89PNG")


def test_check_writes_events(fanin, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    fanin("check", MODEL, "--tensorboard", tmp_path / "events")
    assert [path.name.startswith("events.out") for path in (tmp_path / "events").iterdir()] == [True]


def test_what_json_printed_is_the_run_before(fanin, tmp_path: Path) -> None:
    stored = tmp_path / "old.json"
    stored.write_text(fanin("check", MODEL, "--recipe", "ggml-mnist", "--json").out, encoding="utf-8")
    page = tmp_path / "report.html"
    fanin("check", MODEL, "--recipe", "he", "--html", page, "--before", stored)
    data = json.loads(page.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0])
    old = json.loads(stored.read_text(encoding="utf-8"))
    assert data["two"] is True
    assert [layer["before"]["forward"]["second"] for layer in data["layers"]] == pytest.approx(
        [layer["forward"]["second"] for layer in old["layers"]], rel=1e-4
    )
    assert [row["name"] for row in data["plan"] if row["change"]][:1] == ["fc1.weight"]


def test_before_needs_a_page_or_plots(fanin, tmp_path: Path) -> None:
    stored = tmp_path / "old.json"
    stored.write_text("{}", encoding="utf-8")
    done = fanin("check", MODEL, "--before", stored)
    assert done.code == 2
    assert "--before shows an earlier run in the page or the plots: add --html FILE or --png FILE" in done.err


def test_before_must_be_a_report(fanin, tmp_path: Path) -> None:
    stored, page = tmp_path / "old.json", tmp_path / "report.html"
    stored.write_text("{}", encoding="utf-8")
    done = fanin("check", MODEL, "--html", page, "--before", stored)
    assert done.code == 2
    assert "is no report of fanin (its JSON has no 'fanin_report')" in done.error
    assert not page.exists()


def test_one_line(fanin) -> None:
    done = fanin("check", MODEL, "--recipe", "he", "--summary")
    assert done.out.startswith("fanin check ")
    assert done.out.count("\n") == 1
    assert ": healthy; 7 layers; loss " in done.out


def test_markdown(fanin) -> None:
    done = fanin("check", MODEL, "--recipe", "he", "--markdown")
    assert "| `fc1` | weight |" in done.out


def test_plan_has_a_page(fanin, tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    done = fanin("plan", "mnist-cnn", "--recipe", "he", "--html", page)
    assert "6 tensors, 9,098 parameters" in done.out
    assert "relu follows: gain 1.414 over fan-in 9" in page.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_one_sentence(fanin, tmp_path: Path) -> None:
    done = fanin("plan", "mnist-cnn", "--html", tmp_path / "nowhere" / "plan.html")
    assert done.code == 2
    assert "plan.html: cannot be written" in done.error
