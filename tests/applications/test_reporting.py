"""What applications share: options, tables, JSON beside the picture, and the part of a page that is made anew."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "applications.py"


@pytest.fixture
def reporting(load):
    return load("reporting")


def finish(reporting, folder: Path, *, holds: bool = True) -> int:
    chosen = reporting.options("depth", "…", ["--quick", "--output", str(folder)], seeds=4)
    figure, (left, _) = reporting.panels(2)
    reporting.draw_runs(left, [1, 2], [[3.0, 2.0], [3.5, 1.0]], "he", reporting.COLOURS[0])
    return reporting.report(
        "depth",
        chosen,
        figure,
        rows=[{"start": "he", "accuracy": 0.91234, "steps": 40}, {"start": "native", "accuracy": 0.1, "steps": "—"}],
        claims=[reporting.Claim("he trains", "0.91", True), reporting.Claim("native does not", "0.10", holds)],
        numbers={"losses": [3.0, 2.0]},
    )


def test_options_know_seeds_and_command_of_both_forms(reporting) -> None:
    full = reporting.options("depth", "…", [], seeds=4, quick_seeds=2)
    quick = reporting.options("depth", "…", ["--quick"], seeds=4, quick_seeds=2)
    assert (full.seeds, full.command) == (4, "python examples/applications/depth.py --seeds 4")
    assert (quick.seeds, quick.command) == (2, "python examples/applications/depth.py --quick --seeds 2")
    assert reporting.options("depth", "…", ["--quick", "--seeds", "3"], seeds=4).seeds == 3


def test_no_seed_is_refused(reporting, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        reporting.options("depth", "…", ["--seeds", "0"], seeds=4)
    assert stopped.value.code == 2
    assert "--seeds must be at least 1, got 0" in capsys.readouterr().err


def test_report_leaves_picture_and_numbers(reporting, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(reporting, tmp_path / "new") == 0
    found = json.loads((tmp_path / "new" / "depth.json").read_text())
    assert (found["reached"], found["quick"], found["seeds"]) == (True, True, 1)
    assert found["command"] == "python examples/applications/depth.py --quick --seeds 1"
    assert found["numbers"] == {"losses": [3.0, 2.0]}
    assert found["claims"][0] == {"text": "he trains", "measured": "0.91", "reached": True}
    assert "torch 2" in found["machine"]
    assert (tmp_path / "new" / "depth.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines() == [
        "| start | accuracy | steps |",
        "| --- | ---: | ---: |",
        "| he | 0.912 | 40 |",
        "| native | 0.1 | — |",
        "he trains: yes (0.91)",
        "native does not: yes (0.10)",
    ]


def test_a_claim_that_does_not_hold_is_told_and_ends_with_1(
    reporting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finish(reporting, tmp_path, holds=False) == 1
    assert json.loads((tmp_path / "depth.json").read_text())["reached"] is False
    assert capsys.readouterr().out.endswith("native does not: NO (0.10)\n")


def test_numbers_that_are_not_finite_leave_no_file(reporting, tmp_path: Path) -> None:
    figure, _ = reporting.panels(1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        reporting.save("depth", tmp_path, figure, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_page_is_renewed_between_its_markers_only(reporting, tmp_path: Path) -> None:
    finish(reporting, tmp_path)
    found = json.loads((tmp_path / "depth.json").read_text())
    renewed = runpy.run_path(str(TOOL))["renewed"]
    page = "# Depth\n\n<!-- measured -->\nold\n<!-- end -->\n\nLimits.\n"
    after = renewed(page, found)
    assert after.startswith("# Depth\n\n<!-- measured -->\n\nMeasured 20")
    assert after.endswith("\n<!-- end -->\n\nLimits.\n")
    assert "\nold\n" not in after
    assert "| he trains | 0.91 | yes |" in after
    assert "| he | 0.912 | 40 |" in after
    assert renewed(after, found) == after
    with pytest.raises(SystemExit, match=r"depth\.md needs one <!-- measured -->"):
        renewed("# Depth\n", found)
