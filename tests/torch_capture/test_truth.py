"""The comparison of native plans with constructors: a few types agree, and the comparison sees what does not."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import fanin
from fanin.initializers import Constant, Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.initializers.blocks import Blocks
from fanin.plans.steps import Draw, Replay
from fanin.torch.tensors import stored_tensors

TOOLS = Path(__file__).parents[2] / "tools" / "model_coverage"
FAST = ("gpt2", "t5", "mamba", "rwkv", "siglip", "resnet", "encodec", "xlnet", "funnel", "hubert")
MODULES = ("truth_statistics", "truth_compare", "truth_models", "truth", "truth_page")


@pytest.fixture(scope="module", name="tool")
def _tool():
    before = dict.fromkeys(MODULES)
    sys.path.insert(0, str(TOOLS))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(TOOLS))
        for name in before:
            sys.modules.pop(name, None)


def verdict_of(tool, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            return tool.truth.truth(name, tool.truth_models.types()[name], tool.truth_models.factory(name))
        finally:
            logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", FAST)
def test_the_native_plan_is_what_the_constructor_draws(name, tool):
    verdict = verdict_of(tool, name)
    assert verdict.mismatches == ()
    assert not verdict.plan.unknown
    assert verdict.tensors == sum(map(verdict.count, ("drawn", "computed", "deterministic")))
    assert 0 < verdict.largest < tool.truth.LIMIT


def test_the_table_is_wide(tool):
    types = tool.truth_models.types()
    assert len(types) >= 60
    assert len(set(types.values())) >= 8
    assert set(FAST) <= set(types)


def test_the_page_counts_what_is_in_the_table(tool):
    page = tool.truth.PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.-]+)` \|.*\| (\d+) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == list(tool.truth_models.types())
    assert all(count == "0" for _, count in rows)
    assert "Mismatches: **0**" in page
    made = tool.truth_page.page([verdict_of(tool, "rwkv")])
    row = next(line for line in page.splitlines() if line.startswith("| `rwkv` |"))
    assert row in made
    assert "RWKV-4 has log(0.3)" in made


def sample(law, shape, seed=0):
    """What the plan of one tensor says of a constructor that draws `law`."""
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.empty(shape))
    fanin.materialize(model, one_step(law, shape), seed=seed)
    return model.w.detach()


def one_step(law, shape):
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.empty(shape))
    plan = fanin.capture(lambda: type("Net", (torch.nn.Module,), {"__init__": _holder(shape)})()).plan
    return plan.override({"w": law})


def _holder(shape):
    def init(self):
        torch.nn.Module.__init__(self)
        self.w = torch.nn.Parameter(torch.zeros(shape))

    return init


SHAPE = (400, 300)
LAWS = {
    "normal": Normal(std=0.02),
    "uniform": Uniform(-0.1, 0.3),
    "cut": TruncatedNormal(std=0.02, corrected=False),
    "corrected and lopsided": TruncatedNormal(mean=0.1, std=0.02, lower=-1.0, upper=3.0),
    "orthogonal": Orthogonal(1.5),
    "blocks": Blocks(Normal(std=0.5), (((0, 0), (100, 300), Uniform(-1.0, 1.0)), ((50, 0), (10, 300), Constant(2.0)))),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_sample_of_the_law_agrees(name, tool):
    law = LAWS[name]
    plan = one_step(law, SHAPE)
    found = tool.truth_compare.compare(plan, "w", {"w": sample(law, SHAPE, 1)}, {"w": sample(law, SHAPE, 2)})
    assert found.mismatch == ""
    assert found.kind == "drawn"
    assert found.deviations
    assert max(found.deviations.values()) < 5


WRONG = {
    "std + 2 %": (Normal(std=0.02), Normal(std=0.0204), "std"),
    "mean": (Normal(std=0.02), Normal(0.0005, 0.02), "mean"),
    "uniform for normal": (Normal(std=0.02), Uniform(-0.02 * 3**0.5, 0.02 * 3**0.5), "shape"),
    "cut for uncut": (Normal(std=0.02), TruncatedNormal(std=0.02, lower=-3.0, upper=3.0), "ends"),
    "uncut for cut": (TruncatedNormal(std=0.02, lower=-3.0, upper=3.0), Normal(std=0.02), "ends"),
    "bounds a little wide": (Uniform(-1.0, 1.0), Uniform(-1.0, 1.0003), "ends"),
    "bounds a little narrow": (Uniform(-1.0, 1.0), Uniform(-1.0, 0.9995), "ends"),
    "one block": (LAWS["blocks"], Blocks(Normal(std=0.5), (((0, 0), (60, 300), Uniform(-1.0, 1.0)),)), ""),
    "not orthogonal": (Orthogonal(1.5), Normal(std=1.5 / 20), ""),
    "another constant": (LAWS["blocks"], Blocks(Normal(std=0.5), (((0, 0), (100, 300), Uniform(-1.0, 1.0)),)), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_constructor_that_draws_otherwise_is_seen(name, tool):
    law, real, statistic = WRONG[name]
    values = {"w": sample(law, SHAPE, 1)}, {"w": sample(real, SHAPE, 2)}
    found = tool.truth_compare.compare(one_step(law, SHAPE), "w", *values)
    off = {key for key, value in found.deviations.items() if value > tool.truth.LIMIT}
    assert found.mismatch or any(key == f"{statistic} of the constructor" for key in off)
    assert not any(key.endswith("of the plan") for key in off)


def computed():
    model = torch.nn.Linear(30, 40)
    model.norm = torch.nn.Parameter(model.weight.detach().norm(dim=1))
    model.noise = torch.nn.Parameter(torch.rand(500).exp().log1p())
    model.ramp = torch.nn.Parameter(torch.arange(5.0) / 3)
    return model


def test_computed_tensors_are_recomputed_from_the_constructors(tool):
    captured = fanin.capture(computed)
    ours = fanin.materialize(captured.model, captured.plan)
    held = [{item.name: item.tensor.detach().clone() for item in stored_tensors(model)} for model in (ours, computed())]
    compare = tool.truth_compare.compare
    assert isinstance(captured.plan["noise"].action, Replay)
    kinds = {name: compare(captured.plan, name, *held).kind for name in held[0]}
    assert kinds == {
        "weight": "drawn",
        "bias": "drawn",
        "norm": "computed",
        "noise": "computed",
        "ramp": "deterministic",
    }
    assert not any(compare(captured.plan, name, *held).mismatch for name in held[0])
    held[1]["norm"] *= 1.001
    held[1]["ramp"][2] += 1e-6
    held[1]["noise"] *= 1.2
    assert compare(captured.plan, "norm", *held).mismatch == "not the same function of the other tensors"
    assert compare(captured.plan, "ramp", *held).mismatch == "the values differ"
    assert max(compare(captured.plan, "noise", *held).deviations.values()) > 5


def test_a_step_that_nobody_knows_is_a_mismatch(tool):
    plan = fanin.capture(lambda: torch.nn.Linear(3, 2)).plan
    unknown = replace(plan["weight"], action=fanin.plans.steps.Unknown(), why="nobody wrote it")
    values = {"weight": torch.zeros(2, 3)}
    found = tool.truth_compare.compare({"weight": unknown}, "weight", values, values)
    assert (found.kind, found.mismatch) == ("unknown", "nobody wrote it")


def test_pooled_tensors_show_a_small_error(tool):
    model = lambda: torch.nn.Sequential(*(torch.nn.Embedding(100, 100) for _ in range(20)))  # noqa: E731
    plan = fanin.capture(model).plan
    torch.manual_seed(5)
    real = {name: tensor.detach() * 1.01 for name, tensor in model().named_parameters()}
    (together,) = tool.truth_compare.pooled(plan, real)
    assert together.name == "all 20 tensors of Normal(mean=0, std=1)"
    assert together.deviations["std"] > tool.truth.LIMIT
    alone = tool.truth_compare.compare(plan, "0.weight", {"0.weight": real["0.weight"] / 1.01}, real)
    assert alone.deviations["std of the constructor"] < tool.truth.LIMIT
    assert isinstance(plan["0.weight"].action, Draw)
