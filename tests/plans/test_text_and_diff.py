"""The printed plan and the difference of two."""

import pytest

from fanin.axes import Axes
from fanin.errors import PlanError, UnknownNameError
from fanin.initializers import Constant, Normal, Uniform
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.plans.text import plan_table


def step(name, action=None, shape=(3, 4), **fields):
    fields = {"dtype": "float32", "kind": "parameter", "action": action or Keep(), "why": "because"} | fields
    return Step(name, shape, **fields)


PLAN = Plan(
    (
        step(
            "fc1.weight",
            Draw(Normal(std=0.0505)),
            (500, 784),
            role="projection",
            axes=Axes.linear((500, 784)),
            why="relu follows: gain 1.414 over fan-in 784",
        ),
        step("fc1.bias", Draw(Constant(0.0)), (500,), role="bias", why="a bias starts at 0"),
        step("table", Copy("model.gguf", "t"), (9, 4)),
        step("order", Replay(()), (9,), kind="buffer"),
        step("count", shape=(), kind="buffer"),
        step("odd", Unknown()),
    ),
    "Net",
    "he",
    ("something to know",),
)


def test_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    lines = str(PLAN).splitlines()
    assert lines[0] == "Net · recipe he"
    assert lines[1].split() == ["tensor", "shape", "role", "fan", "in", "→", "out", "values", "std", "why"]
    assert lines[3].split("  ")[0] == "fc1.weight"
    for part in (
        "500×784",
        "projection",
        "784 → 500",
        "normal",
        "0.0505",
        "relu follows: gain 1.414 over fan-in 784",
    ):
        assert part in lines[3]
    assert "zeros" in lines[4]
    assert "copy t of model.gguf" in lines[5]
    assert "computed" in lines[6]
    assert "scalar" in lines[7]
    assert "keep" in lines[7]
    assert "UNKNOWN" in lines[8]
    assert lines[-2].startswith("total 6")
    assert "2 draw, 1 copy, 1 replay, 1 keep, 1 unknown" in lines[-2]
    assert lines[-2].endswith("392,548 in parameters, 10 in buffers")
    assert lines[-1] == "note: something to know"


@pytest.mark.parametrize("width", [40, 50, 60, 72, 80, 100, 120, 200])
def test_no_line_is_wider_than_asked(width):
    lines = plan_table(PLAN.steps, (), width).splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0][:5] for line in lines[2:8]] == ["fc1.w", "fc1.b", "table", "order", "count", "odd"]


def test_columns_are_aligned():
    lines = plan_table(PLAN.steps, (), 200).splitlines()
    column = lines[0].index("values")
    assert lines[2][column:].startswith("normal")
    assert lines[2][column - 1] == " "
    assert len({line.index("because") for line in lines if "because" in line}) == 1


def test_an_empty_plan_prints():
    assert "total 0" in str(Plan(()))


def test_mapping():
    tied = Plan((step("a", aliases=("b",)), step("c")))
    assert list(tied) == ["a", "c"]
    assert len(tied) == 2
    assert tied["b"] is tied["a"]
    assert "b" in tied
    assert tied.get("b") is tied["a"]
    assert tied.get("d") is None
    assert PLAN.unknown == ("odd",)
    with pytest.raises(UnknownNameError, match=r"unknown tensor 'fc1.wight'; did you mean 'fc1.weight'"):
        PLAN["fc1.wight"]
    with pytest.raises(PlanError, match="two steps of the plan claim the tensor 'b'"):
        Plan((step("a", aliases=("b",)), step("b")))


def test_override():
    changed = PLAN.override({"odd": Normal(std=2.0)}, why="I say so")
    assert (changed["odd"].std, changed["odd"].why, changed["odd"].source) == (2.0, "I say so", "override")
    assert changed["fc1.bias"] is PLAN["fc1.bias"]
    assert PLAN.unknown == ("odd",)
    with pytest.raises(UnknownNameError, match="unknown tensor 'even'"):
        PLAN.override({"even": Normal()})


def test_diff():
    other = Plan(
        (
            step("fc1.weight", Draw(Normal(std=0.101)), (500, 784)),
            step("fc1.bias", Draw(Constant(0.0)), (500,), why="another reason is no difference"),
            step("table", Draw(Uniform(-1.0, 1.0)), (9, 4)),
            step("order", Replay(()), (9,), kind="buffer", dtype="int64"),
            step("new", Unknown()),
        )
    )
    found = PLAN.diff(other)
    assert [step.name for step in found.added] == ["new"]
    assert [step.name for step in found.removed] == ["count", "odd"]
    assert [change.after.name for change in found.changed] == ["fc1.weight", "table", "order"]
    assert found.changed[0].std_ratio == pytest.approx(2.0)
    assert found.changed[1].std_ratio is None
    assert str(found).splitlines() == [
        "+ new: UNKNOWN float32[3, 4]",
        "- count: keep float32[]",
        "- odd: UNKNOWN float32[3, 4]",
        "~ fc1.weight: normal, std 0.0505 → normal, std 0.101  (std × 2)",
        "~ table: copy t of model.gguf → uniform ±1, std 0.5774",
        "~ order: computed float32[9] → computed int64[9]",
    ]


def test_no_difference():
    same = PLAN.diff(PLAN)
    assert not same
    assert str(same) == "no difference"


def test_a_constant_has_no_std_to_compare():
    before, after = Plan((step("a", Draw(Constant(1.0))),)), Plan((step("a", Draw(Normal())),))
    assert before.diff(after).changed[0].std_ratio is None
