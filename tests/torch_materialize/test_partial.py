"""A part of a model, by qualified name: the values that the whole one has."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from fanin.errors import PlanError
from fanin.initializers import Normal
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize
from fanin.torch.tensors import stored_tensors
from fanin.weights import write_safetensors


def whole():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32)
    return nn.ModuleDict(
        {"embed": nn.Embedding(50, 16), "body": nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)}
    )


def stage(first, last):
    """Layers first … last−1, under their names in the whole model."""
    model = whole()
    del model["embed"]
    for number in range(3):
        if not first <= number < last:
            model["body"].layers[number] = nn.Identity()
    return model


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("parts", [(0, 1), (1, 3)])
def test_a_pipeline_stage_gets_the_values_of_the_whole(parts, device):
    """Here the later layers are copies of the first one, which another stage holds."""
    plan = capture(whole).plan
    assert any(isinstance(step.action, Replay) for step in plan.steps)
    full = {item.name: item.tensor for item in stored_tensors(materialize(whole(), plan, seed=3))}
    part = stored_tensors(materialize(stage(*parts).to(device), plan, seed=3, partial=True))
    assert 0 < len(part) < len(full)
    assert all(torch.equal(item.tensor, full[item.name]) for item in part)


def test_a_whole_model_is_asked_for_unless_one_says_partial():
    plan = capture(whole).plan
    with pytest.raises(PlanError, match=r"the model has no tensor 'embed\.weight'.*or pass partial=True if it is a"):
        materialize(stage(0, 3), plan)


def test_what_the_plan_lacks_stays_an_error():
    plan = capture(lambda: nn.Linear(3, 4)).plan
    model = nn.Linear(3, 4)
    model.extra = nn.Parameter(torch.zeros(3))
    with pytest.raises(PlanError, match="the plan has no step for 'extra'") as caught:
        materialize(model, plan, partial=True)
    assert "partial=True" not in str(caught.value)


def step(name, action, aliases=()):
    return Step(name, (6,), "float32", "parameter", action, "", aliases=aliases)


def program(source, *lines):
    return Replay((("tensor", (source,), ()), *lines))


DOUBLE = ("mul.Tensor", (("$", 0), 2.0), ())
SAME = ("alias.default", (("$", 0),), ())


def holding(*names):
    model = nn.Module()
    for name in names:
        model.register_parameter(name, nn.Parameter(torch.zeros(6)))
    return model


def test_programs_read_through_chains_of_tensors_elsewhere(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"f": torch.arange(6.0).numpy()})
    plan = Plan(
        (
            step("a", Draw(Normal())),
            step("b", program("a", SAME)),
            step("c", program("b", DOUBLE)),
            step("d", program("c", SAME)),
            step("e", program("d", DOUBLE)),
            step("f", Copy(str(tmp_path / "a.safetensors"), "f")),
            step("g", program("f", DOUBLE)),
        )
    )
    full = materialize(holding(*"abcdefg"), plan, seed=1)
    assert torch.equal(full.e, 4 * full.a)
    assert float(full.a.detach().abs().min()) > 0
    for names in ("e", "d", "ce", "be", "g", "eg"):
        part = materialize(holding(*names), plan, seed=1, partial=True)
        assert all(torch.equal(getattr(part, name), getattr(full, name)) for name in names)


def test_values_kept_elsewhere_cannot_be_read():
    plan = Plan((step("a", Keep()), step("b", program("a", SAME)), step("c", program("b", DOUBLE))))
    text = (
        "'b' is computed from 'a', which this part of the model does not hold and the plan has no values for: give "
        "either of them a law with plan.override"
    )
    model = holding("c")
    with pytest.raises(PlanError, match=re.escape(text)):
        materialize(model, plan, partial=True)
    assert model.c.tolist() == [0.0] * 6


def test_a_stage_may_hold_a_tied_tensor_under_its_second_name():
    plan = Plan((step("embed", Draw(Normal()), aliases=("head",)),))
    full = materialize(holding("embed"), plan, seed=1, partial=True)
    assert torch.equal(materialize(holding("head"), plan, seed=1, partial=True).head, full.embed)
    with pytest.raises(PlanError, match="'embed', 'head' are one tensor in the plan"):
        materialize(holding("embed", "head"), plan, partial=True)


def test_unknown_tensors_of_other_parts_do_not_matter():
    plan = Plan((step("a", Unknown()), step("b", Draw(Normal()))))
    assert float(materialize(holding("b"), plan, partial=True).b.detach().abs().min()) > 0
    with pytest.raises(PlanError, match="1 tensors come from: a"):
        materialize(holding("a", "b"), plan, partial=True)
