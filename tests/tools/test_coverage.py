"""The sweep behind docs/coverage.md: which layers it knows, what it counts, and that it survives what it runs."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

FOLDER = Path(__file__).parents[2] / "tools" / "model_coverage"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    mine = {path.stem for path in FOLDER.glob("*.py")}
    yield importlib.import_module
    for name in mine & set(sys.modules):
        del sys.modules[name]


ARGUMENTS = [(), (2,), (2, 2), (2, 1, 1), ((2, 2),), (2, (2, 2)), ([2], 2), (0.1, 0.2), (nn.ReLU(),)]


def parameters_of(cls):
    """How many parameters the class holds, built with the first arguments that it takes; None if it takes none."""
    for arguments in ARGUMENTS:
        try:
            return len(list(cls(*arguments).parameters()))
        except (TypeError, ValueError, AttributeError, AssertionError):
            continue
    return None


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_layer_class_with_parameters_is_measured(tool):
    known = {name for name, _ in tool("layers").layers()}
    classes = {name: cls for name, cls in vars(nn).items() if isinstance(cls, type) and issubclass(cls, nn.Module)}
    others = {name: parameters_of(cls) for name, cls in classes.items() if name not in known}
    assert known <= set(classes)
    assert {name for name, count in others.items() if count} == set()
    assert {name for name, count in others.items() if count is None} == {"RNNBase", "RNNCellBase"}


def test_layers_are_captured_and_traced_completely(tool):
    measure, page = tool("measure"), tool("page")
    for name, layer in tool("layers").layers():
        row = measure.of_model(layer.make, layer.inputs)
        assert page.is_captured(row), (name, row)
        assert page.is_traced(row), (name, row)
        assert row["unreached"] == [], name


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.empty = nn.Parameter(torch.empty(3))

    def forward(self, x):
        raise RuntimeError("on purpose")


def test_what_falls_short_is_said(tool):
    measure, page = tool("measure"), tool("page")
    row = measure.of_model(Odd, (torch.zeros(3),))
    assert row["unknown_count"] == 1
    assert row["trace_failed"].endswith("the forward pass failed in Odd: RuntimeError: on purpose")
    assert not page.is_captured(row)
    assert not page.is_traced(row)
    assert measure.of_model(lambda: nn.Linear(3, None))["unbuildable"].startswith("TypeError: ")


DONE = {
    "type": "done",
    "model": "Done",
    "unknown": [],
    "unknown_count": 0,
    "trace_s": 0.25,
    "stopped": None,
    "parameters": 3,
    "unreached": ["a.weight"],
    "unreached_count": 1,
    "without_role": [],
    "without_role_count": 0,
}
ROWS = [
    DONE,
    DONE | {"type": "stops", "stopped": "the forward pass failed | here"},
    DONE | {"type": "no-role", "without_role": ["b (sigmoid)"], "without_role_count": 1},
    {"type": "hangs", "died": "more than 60 s"},
    {"type": "part", "unbuildable": "has no model of its own"},
]


def test_totals_and_reasons(tool):
    text = tool("page").page(ROWS, {"Linear": DONE})
    assert "captured completely: 3 of 4 (75.0 %)" in text
    assert "for every parameter that the forward reaches: 1 of 4 (25.0 %)" in text
    assert "layer classes of torch.nn with parameters, captured and traced: 1 of 1 (100.0 %)" in text
    assert "| stops | Done | yes | no | the forward pass failed \\| here |" in text
    assert "| no-role | Done | yes | no | no role for 1: b (sigmoid) |" in text
    assert "| hangs | – | no | no | more than 60 s |" in text
    assert "| done | 3 | 1 | `a.weight` |" in text
    assert "| part | has no model of its own |" in text
    assert str(Path.home()) not in text


def test_types_without_a_forward_pass_are_listed_apart(tool):
    page = tool("page")
    still = DONE | {"type": "still", "no_forward": True}
    text = page.page([*ROWS, still], {"Linear": DONE})
    assert "captured completely: 4 of 5 (80.0 %)" in text
    assert "for every parameter that the forward reaches: 1 of 4 (25.0 %)" in text
    assert "| still | Done | yes |" in text
    assert page.is_complete(still)
    assert page.shares([*ROWS, still]) == (80.0, 25.0)


def test_a_process_that_dies_or_hangs_is_replaced(tool, tmp_path, monkeypatch):
    workers = tool("workers")
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, sys, time\n"
        "for line in sys.stdin:\n"
        "    name = line.strip()\n"
        "    os._exit(1) if name == 'dies' else time.sleep(60 if name == 'hangs' else 0)\n"
        "    print(json.dumps({'type': name}), flush=True)\n"
    )
    monkeypatch.setattr(workers, "WORKER", script)
    rows = []
    workers.measure_all(["a", "dies", "b", "hangs", "c"], 1, 3.0, rows.append)
    assert rows == [
        {"type": "a"},
        {"type": "dies", "died": "the process crashed"},
        {"type": "b"},
        {"type": "hangs", "died": "more than 3 s"},
        {"type": "c"},
    ]


def test_a_sweep_goes_on_where_it_stopped(tool, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ({"type": "a", "n": 1}, {"type": "b"}, {"type": "a"})))
    spec = importlib.util.spec_from_file_location("coverage_main", FOLDER / "__main__.py")
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    assert main.read(path) == {"a": {"type": "a"}, "b": {"type": "b"}}
    assert main.read(tmp_path / "none") == {}
