"""Healthy models: nothing above info is said of them, fresh or drawn by a recipe or trained."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

import fanin

LISTED = runpy.run_path(str(Path(__file__).with_name("healthy.py")))
MODELS = LISTED["MODELS"]


def grave(report: fanin.Report) -> list[str]:
    return [str(finding) for finding in report.findings if finding.severity != "info"]


@pytest.mark.parametrize("name", MODELS)
def test_healthy_models(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS[name]()
    report = fanin.audit(model)
    assert grave(report) == []
    assert report.verdict == "healthy"
    assert len(report.parameters) == sum(1 for _ in model.parameters())


def test_list_is_as_long_as_promised() -> None:
    assert len(MODELS) >= 30


@pytest.mark.parametrize("recipe", ["he", "gpt2", "orthogonal"])
def test_drawn_by_a_recipe_and_held_against_its_plan(recipe: str) -> None:
    model = MODELS["GPT-2"]()
    plan = fanin.initialize(model, recipe)
    assert grave(fanin.audit(model, plan)) == []


def test_trained_models_raise_no_warning(tmp_path: Path) -> None:
    model = LISTED["trained"]()
    report = fanin.audit(model)
    assert grave(report) == []
    assert "trained" in {finding.rule for finding in report.findings}
    fanin.save(model, tmp_path / "trained.safetensors")
    assert grave(fanin.audit(tmp_path / "trained.safetensors")) == []
    plan = fanin.plan(model, "he")
    assert grave(fanin.audit(model, plan)) == []


def test_adapters_in_training_are_not_taken_for_drawn_ones() -> None:
    peft = pytest.importorskip("peft")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = peft.LoraConfig(r=8, target_modules=["c_attn"], fan_in_fan_out=True)
        model = peft.get_peft_model(MODELS["GPT-2"](), options)
        moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(moving, 3e-3)
        for _ in range(30):
            ids = torch.randint(99, (4, 16))
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        second = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
        for parameter in second:  # the size that a draw of 0.02 has is passed on the way
            parameter.data.mul_(0.02 / parameter.data.std())
        assert grave(fanin.audit(model)) == []
        for parameter in second:
            torch.nn.init.normal_(parameter, 0, 0.02)
        assert {finding.rule for finding in fanin.audit(model).findings if finding.severity == "error"} == {"lora-b"}


def test_files_of_fresh_models(tmp_path: Path) -> None:
    for name in ("GPT-2", "Llama", "convolutions"):
        path = tmp_path / f"{name}.safetensors"
        fanin.save(MODELS[name](), path)
        assert grave(fanin.audit(path)) == [], name


def test_scales_that_the_code_adds_one_to_are_zero_under_any_plan() -> None:
    model = MODELS["Gemma 2"]()
    assert grave(fanin.audit(model, fanin.initialize(model, "gpt2"))) == []


def test_heavy_laws_of_a_plan_are_not_taken_for_training() -> None:
    model = MODELS["mnist-fc"]()
    law = fanin.initializers.Sparse(sparsity=0.9, std=0.1)
    plan = fanin.plan(model, "he")
    plan = plan.override({step.name: law for step in plan.steps if len(step.shape) == 2})
    fanin.materialize(model, plan)
    assert {finding.rule for finding in fanin.audit(model, plan).findings} == set()
    weight = next(parameter for parameter in model.parameters() if parameter.ndim == 2)
    weight.data.mul_(1.5)
    assert {finding.rule for finding in fanin.audit(model, plan).findings} == {"std"}
