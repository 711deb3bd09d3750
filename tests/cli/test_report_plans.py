"""The plan's table, as text."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from math import prod

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from fanin.axes import Axes
from fanin.initializers import Constant, Initializer, Normal, Uniform
from fanin.plans import Plan
from fanin.plans.steps import Draw, Step, Unknown
from fanin.report.differences import difference_data, difference_report
from fanin.report.layout import Field
from fanin.report.plans import plan_report

RELU, ZERO = "ReLU follows: gain √2", "biases start at zero"
CONV, DENSE = Axes.conv((8, 1, 3, 3)), Axes.linear((10, 784))


def drawn(
    name: str, shape: tuple[int, ...], law: Initializer, why: str, role: str = "", axes: Axes | None = None
) -> Step:
    return Step(name, shape, "float32", "parameter", Draw(law), why, role=role, axes=axes)


STEPS = (
    drawn("conv1.weight", (8, 1, 3, 3), Normal(std=0.4714), RELU, "convolution", CONV),
    drawn("conv1.bias", (8,), Constant(0.0), ZERO, "bias"),
    replace(
        drawn("fc.weight", (10, 784), Uniform(-0.0875, 0.0875), RELU, "projection", DENSE), aliases=("head.weight",)
    ),
    Step("steps", (), "int64", "buffer", Draw(Constant(0.0)), "counts batches"),
)
PLAN = Plan(STEPS, "tiny", "he")

WIDE = """\
tiny · recipe he

tensor          shape  role         fan in → out  initializer          std  why
───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
conv1.weight  8×1×3×3  convolution        9 → 72  normal            0.4714  ReLU follows: gain √2
conv1.bias          8  bias                       zeros                  0  biases start at zero
fc.weight      10×784  projection       784 → 10  uniform ±0.0875  0.05052  ReLU follows: gain √2; also head.weight
steps              ()                             zeros                  0  counts batches

4 tensors, 7,920 parameters
"""

NARROW = """\
tiny · recipe he

tensor        role         fan in → out  initializer          std  why
──────────────────────────────────────────────────────────────────────
conv1.weight  convolution        9 → 72  normal            0.4714  [1]
conv1.bias    bias                       zeros                  0  [2]
fc.weight     projection       784 → 10  uniform ±0.0875  0.05052  [3]
steps                                    zeros                  0  [4]

[1] ReLU follows: gain √2
[2] biases start at zero
[3] ReLU follows: gain √2; also head.weight
[4] counts batches

4 tensors, 7,920 parameters
"""


def shown(report: RenderableType, width: int) -> str:
    console = Console(width=width, file=StringIO(), highlight=False)
    console.print(report)
    assert isinstance(console.file, StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize(("width", "golden"), [(140, WIDE), (70, NARROW)])
def test_plan_as_text(width: int, golden: str) -> None:
    assert shown(plan_report(PLAN, width), width) == golden


def test_the_total_is_the_sum_of_the_printed_shapes() -> None:
    printed = shown(plan_report(PLAN, 140), 140)
    shapes = [prod(map(int, line.split()[1].split("×"))) for line in printed.splitlines()[4:7]]
    assert f"{sum(shapes):,} parameters" in printed


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = replace(STEPS[0], name="transformer.h.11.attention.self.query_key_value_projection.weight")
    printed = shown(plan_report(replace(PLAN, steps=(long, *STEPS)), width), width)
    assert max(map(cell_len, printed.splitlines())) <= width
    names = [line.split()[0] for line in printed.splitlines()[4:9]]
    assert len(set(names)) == 5
    assert names[0].startswith("transf")
    assert names[0].endswith("weight")


def test_what_nobody_understood_is_named() -> None:
    lost = Step("rope.table", (4,), "float32", "buffer", Unknown(), "")
    printed = shown(plan_report(replace(PLAN, steps=(*STEPS, lost), notes=("stride ignored",)), 140), 140)
    assert re.search(r"^rope\.table +4 +UNKNOWN$", printed, re.MULTILINE)
    assert "nobody could say where rope.table comes from\n" in printed
    assert "note: stride ignored\n" in printed


def test_difference_shows_only_what_changes() -> None:
    other = replace(PLAN.override({"conv1.weight": Uniform(-0.1, 0.1)}), recipe="mine")
    assert shown(difference_report(PLAN, other, 80), 80) == (
        "tiny: he → mine\n\n"
        "tensor        role         he         std  mine              std   std ×  why\n"
        "─────────────────────────────────────────────────────────────────────────────\n"
        "conv1.weight  convolution  normal  0.4714  uniform ±0.1  0.05774  0.1225  [1]\n\n"
        "[1] set by hand\nsource: override\n\n"
        "3 of 4 tensors the same\n"
    )
    data = difference_data(PLAN, other)
    assert list(data["changed"]) == ["conv1.weight"]
    assert [side["action"]["law"] for side in data["changed"]["conv1.weight"]] == ["Normal", "Uniform"]


def test_difference_names_tensors_that_only_one_plan_has() -> None:
    printed = shown(difference_report(PLAN, replace(PLAN, steps=STEPS[:3], recipe="less"), 80), 80)
    assert re.search(r"^steps +zeros +0 +absent +\[1\]$", printed, re.MULTILINE)


def test_equal_plans_have_no_table() -> None:
    assert shown(difference_report(PLAN, PLAN, 80), 80) == "tiny: he → he\n\n4 of 4 tensors the same\n"


def test_sources_that_differ_stand_beside_their_reasons() -> None:
    laws = {"conv1.weight": Uniform(-0.1, 0.1), "fc.weight": Normal(std=0.5)}
    other = PLAN.override(laws)
    steps = [replace(step, source="He 2015") if step.name == "conv1.bias" else step for step in other.steps]
    steps = [replace(step, action=Draw(Constant(1.0))) if step.name == "conv1.bias" else step for step in steps]
    printed = shown(difference_report(PLAN, replace(other, steps=tuple(steps)), 100), 100)
    assert "[2] biases start at zero — He 2015\nsource: override\n" in printed


LONG = [f"model.layers.0.self_attn.{part}_projection.weight" for part in ("query", "key")]


def test_names_that_elide_to_the_same_are_broken_instead() -> None:
    field = Field("tensor", LONG)
    (query, key) = field.narrowed(24).cells
    assert query == "model.layers.0.\n self_attn.\n query_projection.weight"
    assert query != key
    assert Field("tensor", LONG[:1]).narrowed(24).cells == ["model.laye…ection.weight"]
