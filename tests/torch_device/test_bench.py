"""The bench of devices claims nothing where there is none."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is something to measure")
def test_without_an_accelerator_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.setattr(sys, "argv", ["device.py"])
    runpy.run_path(str(BENCH / "device.py"), run_name="__main__")
    sys.modules.pop("rows")
    printed = capsys.readouterr().out
    assert printed == "not measured: torch has no accelerator here\n"
    assert printed in (BENCH.parent / "docs" / "devices.md").read_text(encoding="utf-8")
