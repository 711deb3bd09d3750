"""Every sequence builder works with all of fanin: plans, materialize, check, count, capture, symbolic tracing."""

import pytest
import torch
from torch import fx, nn

import fanin
from fanin.models import example_inputs

SPECS = [
    "rnn:width=16,activation=relu",
    "lstm:width=16,depth=2",
    "lstm:vocabulary=20,width=16",
    "gru:width=16,bidirectional=true,norm=layer",
    "seq2seq:vocabulary=20,width=16,cell=gru",
    "transformer:vocabulary=20,width=16,depth=2,heads=4",
    "transformer:vocabulary=20,width=16,depth=2,heads=4,placement=post,activation=relu,norm=layer",
    "transformer:vocabulary=20,width=16,depth=2,heads=4,kv_heads=2,norm=rms,activation=swiglu,position=rotary,"
    "tied=false,bias=false",
    "transformer:vocabulary=20,width=16,depth=2,heads=4,experts=3,norm=none,position=none",
    "forecaster:width=16,channels=2,lookback=24,patch=8,stride=4",
    "forecaster:width=16,channels=2,lookback=16,kind=lstm,levels=last",
]
RECIPES = ["native", "auto", "gpt2", "llama", "small-init", "lstm", "chrono", "irnn"]


def called(model, inputs):
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


@pytest.fixture(params=SPECS)
def spec(request):
    return request.param


def test_plans_of_every_recipe_are_complete(spec):
    captured = fanin.capture(fanin.models.factory(spec))
    stored = {name for name, _ in (*captured.model.named_parameters(), *captured.model.named_buffers())}
    inputs = example_inputs(captured.model, 2)
    for recipe in RECIPES:
        plan = fanin.plan(captured, recipe, inputs=inputs)
        assert set(plan) == stored
        assert {step.role for step in plan.values()} & {"unknown", "packed"} == set()
        model = fanin.materialize(fanin.capture(fanin.models.factory(spec)).model, plan, seed=1)
        assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_start_by_auto_is_healthy(spec):
    model = fanin.models.build(spec)
    fanin.initialize(model, "auto", seed=0)
    assert fanin.check(model, example_inputs(model, 16)).verdict == "healthy"


def test_symbolic_tracing_with_the_own_layers_as_leaves(spec):
    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            own = type(m).__module__.startswith("fanin.models.layers.")
            return own or super().is_leaf_module(m, module_qualified_name)

    model = fanin.models.build(spec).eval()
    inputs = example_inputs(model, 3)
    assert torch.equal(called(fx.GraphModule(model, Tracer().trace(model)), inputs), called(model, inputs))


def test_counts_of_spec_and_of_captured_model_agree(spec):
    found = fanin.count(fanin.models.build(spec), batch=2)
    assert found == fanin.count(fanin.capture(fanin.models.factory(spec)), batch=2)
    assert found.macs
    assert found.parameters == sum(each.numel() for each in fanin.models.build(spec).parameters())


def test_sizes_of_data_fit_what_a_spec_leaves_open():
    sizes = {"shape": (3, 8, 8), "classes": 5, "inputs": 24}
    assert fanin.models.factory("gru:width=6", sizes)()(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    tokens = torch.zeros(2, 9, dtype=torch.long)
    for spec in ("lstm:width=6", "transformer:width=8,depth=1,heads=2"):
        assert fanin.models.factory(spec, {"vocabulary": 11, "context": 9})()(tokens).shape == (2, 9, 11)
    windows = {"lookback": 20, "horizon": 3, "channels": 2}
    for kind in ("lstm", "patch"):
        assert fanin.models.factory(f"forecaster:kind={kind}", windows)()(torch.zeros(2, 20, 2)).shape == (2, 3, 2)


def test_residual_outputs_of_gpt2_are_divided_by_the_root_of_their_number():
    plan = fanin.plan(fanin.models.build("transformer:depth=3"), "gpt2")
    scaled = {name for name, step in plan.items() if step.std == pytest.approx(0.02 / 6**0.5)}
    assert scaled == {
        f"blocks.{block}.{layer}.weight" for block in range(3) for layer in ("attention.output", "feedforward.down")
    }
