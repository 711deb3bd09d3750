"""A report as HTML, Markdown, PNG, events, JSON and one line: the numbers in them are those measured."""

from __future__ import annotations

import base64
import json
import re
import struct
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import fanin
from fanin.pages.payload import calls, payload
from fanin.text_table import number


def embedded_data(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0])


def test_the_page_holds_what_was_measured(runs: Any, sick_page: Path) -> None:
    data = embedded_data(sick_page)
    assert [layer["name"] for layer in data["layers"]] == [layer.name for layer in runs.sick.layers]
    for shown, layer in zip(data["layers"], runs.sick.layers, strict=True):
        assert shown["forward"]["second"] == pytest.approx(layer.measured.forward.second, rel=1e-4)
        assert shown["verdict"] == layer.verdict
    stds = {row["name"]: row["std"] for row in data["plan"]}
    assert stds == {step.name: pytest.approx(step.std, rel=1e-4) for step in runs.sick.plan.steps}
    assert data["two"] is False


def test_the_page_joins_two_runs_by_name(runs: Any, compared_page: Path) -> None:
    data = embedded_data(compared_page)
    for shown, layer in zip(data["layers"], runs.sick.layers, strict=True):
        assert shown["before"]["forward"]["second"] == pytest.approx(layer.measured.forward.second, rel=1e-4)
    assert {row["change"] for row in data["plan"]} == {"", "was normal, std 0.01"}


def test_layers_called_twice_and_new_ones_find_their_own() -> None:
    layers = [{"name": "act", "verdict": "a"}, {"name": "act", "verdict": "b"}, {"name": "new", "verdict": "c"}]
    joined = payload({"layers": layers}, {"layers": layers[:2]})["layers"]
    assert [layer["before"] and layer["before"]["verdict"] for layer in joined] == ["a", "b", None]
    assert [layer["call"] for layer in calls(layers)] == [1, 2, 1]


def test_a_stored_run_compares_like_the_report_itself(runs: Any, tmp_path: Path, compared_page: Path) -> None:
    stored = tmp_path / "before.json"
    stored.write_text(runs.sick.to_json(), encoding="utf-8")
    written = runs.healthy.to_html(tmp_path / "page.html", before=stored)
    assert written.read_text(encoding="utf-8") == compared_page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON, so it is no report of fanin"),
        ("[1]", "is no report of fanin (its JSON has no 'fanin_report')"),
        ('{"fanin_report": 99}', "report version 99, but this fanin reads 1"),
        ('{"fanin_report": 1}', "is damaged: 'verdict' must be a string"),
        ('{"fanin_report": 1, "verdict": "dead", "findings": 5}', "is damaged: 'findings' must be a list"),
        (
            '{"fanin_report": 1, "verdict": "dead", "findings": [], "layers": [{"name": 3}], "parameters": []}',
            "is damaged: layers[0] has no text 'name'",
        ),
        ('{"fanin_report": 1, "verdict": "dead", "loss": "x"}', "is damaged: 'loss' must be a number or null"),
        (
            '{"fanin_report": 1, "verdict": "dead", "findings": [], "parameters": [], '
            '"layers": [{"name": "a", "verdict": "dead", "forward": 5}]}',
            "is damaged: 'forward' of layers[0] must hold a number 'second', or be null",
        ),
        (
            '{"fanin_report": 1, "verdict": "dead", "findings": [], "layers": [], "parameters": [], "plan": {}}',
            "not a fanin plan of version 1",
        ),
    ],
)
def test_what_is_no_report_is_refused(runs: Any, tmp_path: Path, content: str, told: str) -> None:
    stored, page = tmp_path / "before.json", tmp_path / "page.html"
    stored.write_text(content, encoding="utf-8")
    with pytest.raises(fanin.FaninError, match=re.escape(told)):
        runs.healthy.to_html(page, before=stored)
    assert not page.exists()


def test_a_report_without_a_plan_compares_too(runs: Any, tmp_path: Path) -> None:
    stored, data = tmp_path / "before.json", runs.sick.to_dict()
    del data["plan"]
    stored.write_text(json.dumps(data), encoding="utf-8")
    shown = embedded_data(runs.healthy.to_html(tmp_path / "page.html", before=stored))
    assert {row["change"] for row in shown["plan"]} == {""}
    with pytest.raises(fanin.DataError, match="before= is no report of fanin"):
        runs.healthy.to_html(tmp_path / "other.html", before=3)


def test_a_missing_report_is_named(runs: Any, tmp_path: Path) -> None:
    with pytest.raises(fanin.DataError, match=r"nowhere\.json cannot be read: No such file"):
        runs.healthy.to_html(tmp_path / "page.html", before=tmp_path / "nowhere.json")


def test_a_page_that_cannot_be_written_leaves_nothing(runs: Any, tmp_path: Path) -> None:
    with pytest.raises(fanin.WeightsError, match="cannot be written"):
        runs.healthy.to_html(tmp_path / "missing" / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_events_go_to_a_folder(runs: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(fanin.ArgumentError, match="file is a file; events are written into a folder"):
        runs.sick.to_tensorboard(tmp_path / "file")
    with pytest.raises(fanin.ArgumentError, match="events go to a folder or a SummaryWriter, got 3"):
        runs.sick.to_tensorboard(3)


def test_json_has_a_version_and_no_nan(runs: Any) -> None:
    data = json.loads(runs.sick.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["fanin_report"] == 1
    assert data == json.loads(json.dumps(runs.sick.to_dict()))


def test_the_policy_names_exactly_the_scripts_of_the_page(sick_page: Path) -> None:
    page = sick_page.read_text(encoding="utf-8")
    allowed = re.search(r"script-src (.*?);", page)
    assert allowed is not None
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    assert allowed[1].split() == [f"'sha256-{each}'" for each in hashes]
    assert "default-src 'none'" in page
    assert "unsafe" not in re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)[1]  # type: ignore[index]


def test_an_audit_has_a_page_without_layers(runs: Any, tmp_path: Path, opened: Any) -> None:
    report = replace(runs.sick, kind="audit", layers=(), loss=None, starts=None)
    there = opened(report.to_html(tmp_path / "audit.html"))
    assert there.said == []
    ids = there.page.evaluate("[...document.querySelectorAll('main > section')].map((section) => section.id)")
    assert ids == ["findings", "parameters", "plan"]
    assert there.page.inner_text(".what") == "FANIN AUDIT"


def test_a_plan_has_a_page(runs: Any, tmp_path: Path, opened: Any) -> None:
    there = opened(runs.healthy.plan.to_html(tmp_path / "plan.html"))
    assert there.said == []
    assert there.page.inner_text("h1") == "Net · recipe he"
    assert "19,434" in there.page.inner_text(".facts")
    there.page.fill("#plan input", "gain 1.414")
    assert there.page.locator("#plan .body .row:not([hidden])").count() == 9  # one before each of the nine ReLU


def test_a_report_without_measurements_has_a_page(tmp_path: Path, opened: Any) -> None:
    there = opened(fanin.Report("healthy", ()).to_html(tmp_path / "empty.html"))
    assert there.said == []
    assert "Nothing to report" in there.page.inner_text("main")


def test_markdown_tells_layers_and_findings(runs: Any) -> None:
    told = runs.sick.to_markdown()
    start = f"**▼ vanishing**, starting at `{runs.sick.starts}`; loss 2.303; 2 errors."
    assert told.startswith(f"## Net: fanin check\n\n{start}")
    rows = [line for line in told.splitlines() if line.startswith("| `")]
    assert len(rows) == len(runs.sick.layers)
    cells = [cell.strip() for cell in rows[-1].strip("|").split("|")]
    head = runs.sick.layers[-1].measured
    assert cells[:4] == ["`head`", "weight", number(head.forward.second), number(head.expected_forward)]
    assert f"- ✕ **error** `{runs.sick.findings[0].tensor}`:" in told
    assert '  Try: `fanin.initialize(model, recipe="he", inputs=inputs)`' in told


def test_a_bar_in_a_name_does_not_end_its_cell(runs: Any) -> None:
    layer = runs.sick.layers[0]
    odd = replace(layer, measured=replace(layer.measured, name="a|b"))
    assert "| `a\\|b` |" in replace(runs.sick, layers=(odd,)).to_markdown()


def test_one_line_for_logs(runs: Any) -> None:
    line = runs.sick.summary()
    assert line == f"fanin check Net: vanishing from {runs.sick.starts}; 25 layers; loss 2.303; 2 errors (vanishing)"
    assert runs.healthy.summary().startswith("fanin check Net: healthy; 25 layers; loss ")
    assert replace(runs.healthy, findings=()).summary().endswith("; no findings")
    assert "\n" not in replace(runs.sick, model="a\nb").summary()


def test_notebooks_show_the_sick_layers_first(runs: Any) -> None:
    html = runs.sick._repr_html_()
    assert html.index("blocks.2.norm") < html.index("blocks.0.norm")
    assert "<script" not in html
    assert len(html) < 20_000
    many = replace(runs.sick, layers=runs.sick.layers * 10)
    assert "and 200 more layers" in many._repr_html_()


def test_png_is_a_picture_of_the_curves(runs: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    content = runs.sick.to_png(tmp_path / "signal.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000
    assert struct.unpack(">II", content[16:24]) == (1170, 728)
    assert runs.sick.to_png(tmp_path / "two.png", before=runs.healthy).read_bytes() != content


def test_png_of_nothing_is_refused(runs: Any, tmp_path: Path) -> None:
    with pytest.raises(fanin.ArgumentError, match="the report has no layers"):
        replace(runs.sick, layers=()).to_png(tmp_path / "signal.png")


@pytest.mark.parametrize(
    ("module", "method", "told"),
    [
        ("matplotlib.figure", "to_png", r"need the package 'matplotlib', .*pip install 'fanin\[plots\]'"),
        ("torch.utils.tensorboard", "to_tensorboard", r"need the package 'tensorboard', .*'fanin\[tensorboard\]'"),
    ],
)
def test_missing_packages_are_named(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, method: str, told: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(fanin.MissingExtraError, match=told):
        getattr(runs.sick, method)(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_events_are_read_back(runs: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs.sick.to_tensorboard(tmp_path, step=7)
    read = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    read.Reload()
    for layer in runs.sick.layers:
        (event,) = read.Scalars(f"forward/second/{layer.name}")
        assert (event.step, event.value) == (7, pytest.approx(layer.measured.forward.second, rel=1e-6))
    (loss,) = read.Scalars("fanin/loss")
    assert loss.value == pytest.approx(runs.sick.loss)
    shown = runs.sick.to_dict()["layers"][0]["forward"]["histogram"]
    histogram = read.Histograms("forward/blocks.0.norm")[0].histogram_value
    assert list(histogram.bucket) == shown["counts"]
    assert histogram.bucket_limit[-1] == pytest.approx(shown["high"])
    assert histogram.num == sum(shown["counts"])
    assert "parameter/gradient_rms/head.weight" in read.Tags()["scalars"]
    assert "parameter/update_adam/head.weight" in read.Tags()["scalars"]


def test_a_writer_stays_open(runs: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        runs.sick.to_tensorboard(writer, step=0)
        runs.healthy.to_tensorboard(writer, step=1)
        writer.add_scalar("mine", 5.0)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [event.step for event in read.Scalars("fanin/loss")] == [0, 1]
    assert read.Scalars("mine")[0].value == 5.0
