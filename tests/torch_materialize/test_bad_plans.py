"""What materialize refuses, in which words, and that the model is then untouched."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from fanin.errors import ArgumentError, PlanError, WeightsError
from fanin.initializers import Constant, Normal, Orthogonal
from fanin.initializers.blocks import Blocks
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize
from fanin.torch.replay import MAX_LINES


def plan_with(**changes):
    """The plan of a linear layer with another `weight` step."""
    plan = capture(lambda: nn.Linear(3, 4)).plan
    return replace(plan, steps=(replace(plan["weight"], **changes), plan["bias"]))


def program(*lines):
    return Replay(tuple(lines))


ZEROS = ("zeros.default", ((4, 3),), (("dtype", ("dtype", "float32")),))
CASES = {
    "shape": (
        lambda: plan_with(shape=(4, 5)),
        "'weight': the plan has shape (4, 5) and dtype float32, the model (4, 3) and float32",
    ),
    "dtype": (
        lambda: plan_with(dtype="bfloat16"),
        "'weight': the plan has shape (4, 3) and dtype bfloat16, the model (4, 3) and float32",
    ),
    "name": (
        lambda: plan_with(name="wight"),
        "the plan is for another model: the plan has no step for 'weight'; the model has no tensor 'wight'. "
        "Plan this model, or materialize the planned one",
    ),
    "unknown": (
        lambda: plan_with(action=Unknown(), why="nobody wrote it"),
        "the plan does not know where the values of 1 tensors come from: weight (nobody wrote it). "
        "Give them a law with plan.override({name: initializer}), or pass allow_unknown=True to leave them as they are",
    ),
    "tied": (
        lambda: Plan((replace(plan_with()["weight"], aliases=("bias",)),)),
        "'bias', 'weight' are one tensor in the plan (tied), but separate in the model: tie them",
    ),
    "law on a wrong rank": (
        lambda: plan_with(action=Draw(Orthogonal(rows=(0, 1)))),
        "'weight' cannot be written: Orthogonal",
    ),
    "part outside": (
        lambda: plan_with(action=Draw(Blocks(Normal(), (((4, 0), (1, 3), Constant(0.0)),)))),
        "'weight' cannot be written: region start (4, 0) size (1, 3) leaves the tensor (4, 3)",
    ),
    "huge constant": (lambda: plan_with(action=Draw(Constant(1e300))), "'weight' cannot be written: Constant: 1e+300"),
    "file": (lambda: plan_with(action=Copy("no/such.safetensors", "w")), "no/such.safetensors"),
    "operator": (
        lambda: plan_with(action=program(("from_file.default", ("/etc/passwd",), ()))),
        "'weight': the plan asks to run 'from_file.default', which is not among the operators that plans may run",
    ),
    "namespace": (
        lambda: plan_with(action=program(("__class__.default", (), ()))),
        "'weight': the plan asks to run '__class__.default', which is not among the operators that plans may run",
    ),
    "overload": (
        lambda: plan_with(action=program(("add.__class__", (), ()))),
        "'weight': the plan asks to run 'add.__class__', which torch",
    ),
    "random operator": (
        lambda: plan_with(action=program(("randn.default", ((4, 3),), ()))),
        "'weight': the plan asks to run 'randn.default', which is not among",
    ),
    "size": (
        lambda: plan_with(action=program(("zeros.default", ((1 << 40,),), ()))),
        "'weight': line 0 of the program, 'zeros.default', makes 1099511627776 elements; allowed are 4194304",
    ),
    "size of a product": (
        lambda: plan_with(
            action=program(("zeros.default", ((4000, 1),), ()), ("expand.default", (("$", 0), (4000, 4000)), ()))
        ),
        "'weight': line 1 of the program, 'expand.default', makes 16000000 elements; allowed are 4194304",
    ),
    "size of a draw": (
        lambda: plan_with(
            action=program(("draw", ((("law", "Normal"),), (1 << 40,), "float32", "", 0), ()))
        ),
        "makes 1099511627776 elements",
    ),
    "memory of others": (
        lambda: plan_with(action=program(ZEROS, ("as_strided.default", (("$", 0), (4, 3), (3, 1), 1000), ()))),
        "'weight': the program views elements 1000 to 1011 of memory that has 12",
    ),
    "result shape": (
        lambda: plan_with(action=program(("zeros.default", ((3, 4),), ()))),
        "'weight': its program computes shape (3, 4), but the tensor has (4, 3)",
    ),
    "no tensor": (
        lambda: plan_with(action=program(("tensor", ("else",), ()))),
        "'weight': its program reads 'else', which the plan does not have",
    ),
    "circle": (
        lambda: plan_with(action=program(("tensor", ("weight",), ()), ("neg.default", (("$", 0),), ()))),
        "the programs of 'weight' read each other in a circle: none can be first",
    ),
    "malformed": (lambda: plan_with(action=program(("zeros.default",))), "line 0 of the program is not [operator"),
    "empty": (lambda: plan_with(action=program()), f"a program has from 1 to {MAX_LINES} lines, this one has 0"),
    "forward reference": (
        lambda: plan_with(action=program(("neg.default", (("$", 5),), ()))),
        "'weight': line 0 of the program, 'neg.default', fails: 5",
    ),
    "literal": (
        lambda: plan_with(action=program(("data", ("float32", (4, 3), "!!"), ()))),
        "'weight': a literal of the program is not base64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused_in_clear_words_and_untouched(name):
    make, text = CASES[name]
    model = nn.Linear(3, 4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises((PlanError, WeightsError), match=re.escape(text)):
        materialize(model, make())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", CASES)
def test_a_meta_model_stays_on_meta(name):
    model = capture(lambda: nn.Linear(3, 4)).model
    held = model.weight
    with pytest.raises((PlanError, WeightsError)):
        materialize(model, CASES[name][0]())
    assert model.weight is held
    assert held.is_meta


def test_keep_needs_values():
    captured = capture(lambda: nn.Linear(3, 4))
    steps = tuple(replace(step, action=Keep()) for step in captured.plan.steps)
    text = "'weight': its values are to be kept, but it is on the meta device and has none: load or draw them"
    with pytest.raises(PlanError, match=re.escape(text)):
        materialize(captured.model, replace(captured.plan, steps=steps))


def test_only_constants_fit_integers():
    model = nn.Module()
    model.register_buffer("count", torch.zeros(3, dtype=torch.int64))
    plan = Plan((Step("count", (3,), "int64", "buffer", Draw(Normal()), ""),))
    with pytest.raises(PlanError, match=r"'count': Normal\(mean=0, std=1\) cannot be drawn in dtype torch\.int64"):
        materialize(model, plan)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed):
    with pytest.raises(ArgumentError, match="seed must be from 0 to"):
        materialize(nn.Linear(3, 4), plan_with(), seed=seed)


def test_devices_that_cannot_be_used():
    with pytest.raises(PlanError, match="the meta device holds no values"):
        materialize(nn.Linear(3, 4), plan_with(), device="meta")
    with pytest.raises(PlanError, match="the device 'nowhere' cannot be used"):
        materialize(nn.Linear(3, 4), plan_with(), device="nowhere")


def test_tied_in_the_model_alone():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    plan = capture(lambda: nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))).plan
    model[1].weight = model[0].weight
    text = "'0.weight', '1.weight' are one tensor in the model (tied), but separate steps of the plan"
    with pytest.raises(PlanError, match=re.escape(text)):
        materialize(model, plan)


def test_overlapping_tensors():
    model = nn.Module()
    model.w = nn.Parameter(torch.zeros(4, 3))
    model.register_buffer("row", model.w.data[1])
    plan = Plan(
        (
            Step("w", (4, 3), "float32", "parameter", Draw(Normal()), ""),
            Step("row", (3,), "float32", "buffer", Draw(Normal()), ""),
        )
    )
    with pytest.raises(PlanError, match="'w' and 'row' overlap in memory without being the same tensor"):
        materialize(model, plan)


def test_sparse_and_wrapped_tensors():
    plan = Plan((Step("w", (2, 2), "float32", "parameter", Draw(Constant(1.0)), ""),))
    model = nn.Module()
    model.w = nn.Parameter(torch.eye(2).to_sparse())
    with pytest.raises(PlanError, match="'w' is sparse_coo: only dense tensors can be written"):
        materialize(model, plan)
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model.w = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(PlanError, match="'w' is a FakeTensor, whose memory is not its own"):
        materialize(model, plan)


def test_a_program_that_fails_on_its_values_leaves_the_model_untouched():
    factor = ("linalg_cholesky_ex.default", (("$", 1),), (("check_errors", True),))
    lines = (("eye.default", (3,), ()), ("neg.default", (("$", 0),), ()), factor, ("mul.Tensor", (("$", 2, 0), 2), ()))
    model = nn.Module()
    model.a, model.w = nn.Linear(5, 5), nn.Parameter(torch.ones(3, 3))
    before = model.a.weight.clone()
    weight = Step("w", (3, 3), "float32", "parameter", program(*lines), "")
    steps = [replace(step, name=f"a.{step.name}") for step in capture(lambda: nn.Linear(5, 5)).plan.steps]
    with pytest.raises(PlanError, match=r"line 2 of the program, 'linalg_cholesky_ex.default', fails"):
        materialize(model, Plan((weight, *steps)))
    assert torch.equal(model.a.weight, before)


# Whether these indices lie within the table is seen from the values alone.
CHOICE = (
    ("tensor", ("places.weight",), ()),
    ("mul.Tensor", (("$", 0), 1e6), ()),
    ("_to_copy.default", (("$", 1),), (("dtype", ("dtype", "int64")),)),
    ("ones.default", ((4,),), (("dtype", ("dtype", "float32")),)),
    ("index.Tensor", (("$", 3), (("$", 2),)), ()),
)


@pytest.mark.parametrize("hops", [0, 1])
def test_a_program_that_fails_on_values_drawn_for_others_leaves_the_model_untouched(hops):
    model = nn.Module()
    model.first, model.places, model.between = (nn.Linear(3, 4, bias=False) for _ in range(3))
    model.chosen = nn.Parameter(torch.ones(4, 3))
    names = ["places.weight", "between.weight"]
    steps = [Step(name, (4, 3), "float32", "parameter", Draw(Normal()), "") for name in ("first.weight", names[0])]
    copied = program(("tensor", (names[0],), ()), ("alias.default", (("$", 0),), ()))
    steps.append(Step(names[1], (4, 3), "float32", "parameter", copied, ""))
    lines = (("tensor", (names[hops],), ()), *CHOICE[1:])
    steps.append(Step("chosen", (4, 3), "float32", "parameter", program(*lines), ""))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    versions = [parameter._version for parameter in model.parameters()]
    with pytest.raises(PlanError, match=r"line 4 of the program, 'index\.Tensor', fails: index -?\d+ is out of bounds"):
        materialize(model, Plan(tuple(steps)))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [parameter._version for parameter in model.parameters()] == versions
