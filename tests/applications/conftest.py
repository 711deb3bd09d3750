"""How tests run an application: its own file, its reduced form, and the JSON that it leaves."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "applications"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """load("depth"): the script as a module; it and what it shares with others are forgotten afterwards."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def quick(load: Callable[[str], ModuleType], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """quick("depth", "--seeds", "1"): run the reduced form, check that it leaves torch as it was, return its JSON."""

    def run(name: str, *more: str) -> dict[str, Any]:
        main = load(name).main
        state, threads = torch.get_rng_state(), torch.get_num_threads()
        status = main(["--quick", "--output", str(tmp_path), *more])
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == threads
        found = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert status == (0 if found["reached"] else 1)
        assert found["claims"]
        assert found["reached"] == all(claim["reached"] for claim in found["claims"])
        return found

    return run
