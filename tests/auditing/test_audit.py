"""The call itself: what it takes, what it refuses, what it leaves alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fanin
from fanin import ArgumentError, PlanError, TraceError, WeightsError
from fanin.cli import run


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def rules(report: fanin.Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def test_report_is_json_and_a_record() -> None:
    model = mlp()
    plan = fanin.initialize(model, "he")
    model[2].weight.data[0, 0] = float("nan")
    report = fanin.audit(model, plan)
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["kind"], data["model"], data["verdict"]) == ("audit", "Sequential", "error")
    assert data["findings"][0]["rule"] == "non-finite"
    parameters = {each["name"]: each for each in data["parameters"]}
    assert parameters["2.weight"]["non_finite"] == 1
    assert parameters["2.weight"]["planned_std"] == plan["2.weight"].std
    assert parameters["0.weight"]["std"] == pytest.approx(float(model[0].weight.detach().std(correction=0)))
    assert "2.weight" in str(report)


def test_model_is_left_alone() -> None:
    model = mlp()
    model[0].register_forward_hook(lambda *_: pytest.fail("no forward pass is run on values"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    seen: list[tuple[int, int]] = []
    fanin.audit(model, progress=lambda done, whole: seen.append((done, whole)))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] == sum(tensor.nbytes for tensor in model.parameters())


def test_captured_models_plans_and_meta_models() -> None:
    law = fanin.initializers.TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0)
    captured = fanin.capture(mlp)
    assert fanin.audit(captured).verdict == "healthy"
    plan = fanin.plan(captured, "he").override({"2.weight": law})
    for subject in (plan, captured):
        report = fanin.audit(subject, None if subject is plan else plan)
        assert [finding.tensor for finding in report.findings] == ["2.weight"]
        assert rules(report) == {"truncation"}
    with torch.device("meta"):
        model = mlp()
    assert fanin.audit(model, plan).findings[0].rule == "truncation"


def test_laws_too_small_for_their_dtype() -> None:
    plan = fanin.plan(lambda: mlp().half(), "he").override({"2.weight": fanin.initializers.Normal(std=1e-7)})
    assert rules(fanin.audit(plan)) == {"underflow"}


@pytest.mark.parametrize("write", [nn.init.normal_, nn.init.ones_])
def test_a_planned_constant_that_was_written_over(write: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model = mlp()
    plan = fanin.initialize(model, "he")
    write(model[0].bias)
    (found,) = fanin.audit(model, plan).findings
    assert (found.rule, found.tensor) == ("std", "0.bias")
    assert found.cause == "the plan has one value for all of it: another init wrote over it, or it was changed since"


def test_wrapped_models_have_their_own_names() -> None:
    model = mlp()
    model[2].weight.data[5] = model[2].weight.data[6]
    report = fanin.audit(torch.compile(model))
    assert [finding.tensor for finding in report.findings] == ["2.weight"]


def test_tensors_that_cannot_be_read_are_named() -> None:
    model = mlp()
    model.register_buffer("mask", torch.eye(3).to_sparse())
    assert any("mask was not read" in note for note in fanin.audit(model).notes)


def test_ledger_as_a_reference(tmp_path: Path) -> None:
    fanin.save(mlp(), tmp_path / "w.safetensors")
    model = mlp()
    ledger = fanin.load(model, tmp_path / "w.safetensors")
    assert fanin.audit(model, reference=ledger).verdict == "healthy"
    nn.init.kaiming_uniform_(model[2].weight)
    report = fanin.audit(model, reference=ledger)
    assert [finding.tensor for finding in report.findings if finding.rule == "overwritten"] == ["2.weight"]
    assert "marked by" in next(each.cause for each in report.findings if each.rule == "overwritten")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_reference_that_lost_digits_on_the_way(dtype: torch.dtype) -> None:
    model = mlp()
    reference = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    findings = fanin.audit(model.to(dtype).float(), reference=reference).findings
    assert {(each.rule, each.severity) for each in findings} == {("overwritten", "warning")}
    name = str(dtype).removeprefix("torch.")
    assert findings[0].cause == f"the loaded values were rounded to {name} and widened again"


def test_repeated_layers_are_told_once() -> None:
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(6)])
    for layer in model:
        nn.init.constant_(layer.weight, 0.5)
    report = fanin.audit(model)
    assert len(report.findings) == 1
    assert "5 more like it, to 5.weight" in report.findings[0].seen


@pytest.mark.parametrize("given", [3, None, [1, 2], {"weight": torch.ones(2)}])
def test_what_is_no_model(given: object) -> None:
    with pytest.raises(ArgumentError, match=r"audit takes a module, a captured model, a plan, weights or their path"):
        fanin.audit(given)


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"plan must be a fanin.Plan, got str"):
        fanin.audit(mlp(), "he")
    with pytest.raises(ArgumentError, match=r"reference is a path, a mapping of tensors or a Ledger, not a int"):
        fanin.audit(mlp(), reference=3)
    with pytest.raises(ArgumentError, match=r"reference has no tensor of the model's names \(it has other\)"):
        fanin.audit(mlp(), reference={"other": torch.ones(2)})
    with pytest.raises(WeightsError, match=r"no.safetensors"):
        fanin.audit(tmp_path / "no.safetensors")
    with pytest.raises(TraceError):
        fanin.audit(mlp(), inputs=torch.zeros(2, 3))
    with pytest.raises(PlanError, match=r"lazy tensor"):
        fanin.audit(nn.LazyLinear(3))


def test_a_model_that_cannot_run_is_audited_by_its_classes() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layer = nn.Embedding(50, 16, padding_idx=1), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not today")

    model = Odd()
    nn.init.normal_(model.table.weight)
    report = fanin.audit(model)
    assert rules(report) >= {"padding"}
    assert report.notes


def test_files_take_the_memory_of_one_tensor(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    reader = (
        "import sys,resource,torch,fanin\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "fanin.audit(torch.nn.Linear(8, 8)); before = peak()\n"
        "report = fanin.audit(sys.argv[1]); sys.stdout.write(f'{report.verdict} {peak() - before}')\n"
    )
    layer = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0))
    save_file({f"layers.{n}.mlp.up_proj.weight": layer.roll(n, 1) for n in range(96)}, path)
    del layer
    done = subprocess.run([sys.executable, "-c", reader, path], check=True, capture_output=True, text=True)
    verdict, kilobytes = done.stdout.split()
    assert verdict == "healthy"
    assert int(kilobytes) < 120_000  # of 400 MB
    path.unlink()


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = mlp()
    plan = fanin.initialize(model, "he")
    Path("plan.json").write_text(plan.to_json(), encoding="utf-8")
    fanin.save(model, "good.safetensors")
    nn.init.normal_(model[2].weight)
    fanin.save(model, "bad.safetensors")
    assert run(["audit", "good.safetensors", "--plan", "plan.json", "--reference", "good.safetensors"]) == 0
    assert "verdict: healthy" in capsys.readouterr().out
    assert run(["audit", "bad.safetensors", "--plan", "plan.json", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [(each["rule"], each["tensor"]) for each in data["findings"]] == [("std", "2.weight")]
    assert run(["audit", "bad.safetensors", "--plan", "plan.json", "--fail-on", "never"]) == 0
    assert re.search(r"error: 2.weight \[std\]", capsys.readouterr().out)
    assert run(["audit", "missing.safetensors"]) == 2
    assert run(["audit", "good.safetensors", "--plan", "bad.safetensors"]) == 2
    assert "cannot be read as a plan" in capsys.readouterr().err


def test_command_on_models(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["audit", "mlp:64-32-10"]) == 0
    assert run(["audit", "mlp:64-32-10", "--drawn", "--recipe", "he"]) == 0
    fanin.save(fanin.models.build("mnist-fc"), tmp_path / "w.safetensors")
    assert run(["audit", "mnist-fc", "--weights", str(tmp_path / "w.safetensors")]) == 0
    assert capsys.readouterr().out.count("verdict: healthy") == 3
