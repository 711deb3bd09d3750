"""`assert_healthy`: silent on healthy models, an AssertionError with the findings' text on others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fanin


def model_and_batch() -> tuple[nn.Sequential, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    batch, labels = torch.randn(16, 16, generator=generator), torch.randint(10, (16,), generator=generator)
    fanin.initialize(model, "he", batch)
    return model, batch, labels


def test_a_healthy_model_passes_and_is_left_alone() -> None:
    model, batch, labels = model_and_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    report = fanin.assert_healthy(model, batch, labels)
    assert report.verdict == "healthy"
    assert report.loss is not None
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_sick_model_fails_with_what_is_wrong() -> None:
    model, batch, labels = model_and_batch()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    with pytest.raises(AssertionError) as caught:
        fanin.assert_healthy(model, batch, labels)
    error = caught.value
    assert isinstance(error, fanin.UnhealthyError)
    assert isinstance(error, fanin.FaninError)
    assert str(error).startswith("Sequential is symmetric: ")
    assert "0.weight" in str(error)
    assert all(f"[{finding.rule}] {finding}" in str(error) for finding in error.findings)


def test_findings_can_be_allowed_by_rule_and_by_tensor() -> None:
    model, batch, labels = model_and_batch()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    with pytest.raises(fanin.UnhealthyError) as caught:
        fanin.assert_healthy(model, batch, labels)
    findings = list(caught.value.findings)
    rules = tuple(finding.rule for finding in findings)
    fanin.assert_healthy(model, batch, labels, allow=rules)
    fanin.assert_healthy(model, batch, labels, allow=tuple(f"{each.rule}:{each.tensor}" for each in findings))
    fanin.assert_healthy(model, batch, labels, allow=["*"])
    with pytest.raises(fanin.UnhealthyError):
        fanin.assert_healthy(model, batch, labels, allow=tuple(f"{rule}:elsewhere" for rule in rules))


def test_a_plan_is_compared() -> None:
    model, batch, labels = model_and_batch()
    plan = fanin.plan(model, "he", batch)
    fanin.materialize(model, plan, seed=1)
    fanin.assert_healthy(model, batch, labels, plan=plan)
    with torch.no_grad():
        model[0].weight.mul_(1.2)
    with pytest.raises(fanin.UnhealthyError, match="off-plan"):
        fanin.assert_healthy(model, batch, labels, plan=plan)


def test_allow_takes_a_sequence_of_rules() -> None:
    model, batch, _ = model_and_batch()
    for wrong in ("twins", 3, (1, 2)):
        with pytest.raises(fanin.ArgumentError, match="allow takes a tuple of rules"):
            fanin.assert_healthy(model, batch, allow=wrong)


def test_made_up_inputs_will_do() -> None:
    model, _, _ = model_and_batch()
    assert any("made up" in note for note in fanin.assert_healthy(model).notes)
