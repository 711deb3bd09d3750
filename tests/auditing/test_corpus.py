"""Every seeded defect is caught with the right rule and tensor, nothing else above info is said, and remedies mend."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import fanin

CASES = runpy.run_path(str(Path(__file__).with_name("corpus.py")))["CASES"]
ELSEWHERE = {"mup", "empty", "dead-rule"}
"""Rules whose remedy needs what only the user has: base shapes, DeepSpeed, the name that was meant."""


def made(case: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    if case.rule == "mup":
        pytest.importorskip("mup")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return case.build(folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_defect_is_caught(case: Any, tmp_path: Path) -> None:
    model, options = made(case, tmp_path)
    report = fanin.audit(model, **options)
    grave = [finding for finding in report.findings if finding.severity != "info"]
    assert {finding.rule for finding in grave} == {case.rule}, "\n".join(map(str, grave))
    assert grave[0].tensor == case.tensor
    assert case.cause in grave[0].cause
    assert report.verdict == grave[0].severity
    if case.rule not in ELSEWHERE and not isinstance(model, Path):
        after = mended(model, options, grave[0].remedy)
        left = {(each.rule, each.tensor) for each in after.findings if each.severity != "info"}
        assert (case.rule, case.tensor) not in left, grave[0].remedy


def mended(model: Any, options: dict[str, Any], remedy: str) -> fanin.Report:
    """The report after the remedy ran."""
    plan = options.get("plan", getattr(model, "plan", None))
    names = {"inputs": None, **options, "plan": plan, "model": model, "fanin": fanin, "torch": torch}
    with torch.no_grad():
        exec(remedy, names)
    kept = options if names["plan"] is plan else options | {"plan": names["plan"]}
    drawn = isinstance(model, fanin.Captured) and not next(model.model.parameters()).is_meta
    return fanin.audit(model.model if drawn else model, **kept)


def test_corpus_is_as_large_as_promised() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)
