"""From a model and a recipe to a complete plan."""

import pytest
import torch
from torch import nn

from fanin.errors import ArgumentError, PlanError, UnknownNameError
from fanin.initializers import Constant, Normal
from fanin.plans import Plan
from fanin.plans.steps import Draw, Keep, Unknown
from fanin.recipes import Recipe, Rule, has_role, is_called, names
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize
from fanin.torch.planning import initialize, plan
from fanin.torch.tensors import stored_tensors


class Mixed(nn.Module):
    """A bit of everything."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.out = nn.Linear(4, 3)
        self.tied = nn.Linear(4, 3)
        self.tied.weight = self.out.weight
        self.gamma = nn.Parameter(torch.full((4,), 1e-6))
        self.register_buffer("order", torch.arange(3), persistent=False)
        nn.init.normal_(self.out.weight, std=0.25)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.tanh(self.up(x)).mean((2, 3)) * self.gamma
        return self.out(x) + self.tied(x)


THIRD = capture(lambda: nn.Conv2d(1, 8, 3)).plan["weight"].initializer


def on_meta():
    with torch.device("meta"):
        return Mixed()  # Mixed().to("meta") would untie


FORMS = {
    "factory": lambda: Mixed,
    "captured": lambda: capture(Mixed),
    "module": Mixed,
    "meta module": on_meta,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("recipe", names())
def test_nothing_is_dropped(form, recipe):
    made = plan(FORMS[form](), recipe)
    assert list(made) == [stored.name for stored in stored_tensors(Mixed())]
    assert made["tied.weight"] is made["out.weight"]
    assert made["out.weight"].aliases == ("tied.weight",)
    assert not made["order"].persistent
    assert (made.model, made.recipe) == ("Mixed", recipe)
    assert all(step.why for step in made.values())
    assert Plan.from_json(made.to_json()) == made


@pytest.mark.parametrize("form", FORMS)
def test_roles_axes_and_laws_of_he(form):
    made = plan(FORMS[form](), "he")
    assert {name: step.role for name, step in made.items()} == {
        "gamma": "scale",
        "order": "buffer",
        "conv.weight": "convolution",
        "conv.bias": "bias",
        "norm.weight": "norm scale",
        "norm.bias": "norm shift",
        "norm.running_mean": "buffer",
        "norm.running_var": "buffer",
        "norm.num_batches_tracked": "buffer",
        "up.weight": "transposed convolution",
        "up.bias": "bias",
        "out.weight": "head",
        "out.bias": "bias",
        "tied.bias": "bias",
    }
    assert made["conv.weight"].std == pytest.approx((2 / 9) ** 0.5)
    assert made["up.weight"].axes.fans == (8, 16)
    assert made["up.weight"].std == pytest.approx(1.592537 / 8**0.5, rel=1e-6)
    assert made["out.weight"].std == pytest.approx(0.5)
    assert made["norm.running_var"].action == Draw(Constant(1.0))


def test_native_of_a_constructor_is_what_it_wrote():
    made = plan(Mixed)
    assert made["out.weight"].initializer == Normal(std=0.25)
    assert made["gamma"].initializer == Constant(1e-6)
    assert made["conv.weight"].initializer == THIRD
    assert THIRD.high == pytest.approx(1 / 3)
    assert made["conv.weight"].role == "convolution"


def test_native_of_a_built_module_is_its_reset_code_and_what_it_holds():
    made = plan(Mixed())
    assert made["conv.weight"].initializer == THIRD
    assert made["conv.weight"].why.endswith("(its reset code, re-run: its constructor is not known)")
    assert made["out.weight"].std == pytest.approx(0.5 / 3**0.5)  # not what the constructor drew, as `why` says
    for name in ("gamma", "order"):
        assert isinstance(made[name].action, Keep)
        assert made[name].why == (
            "the model has values, and no code to draw them is known: they are taken for the authors'"
        )


def test_native_of_a_meta_module_does_not_make_up_values():
    made = plan(on_meta())
    assert made.unknown == ("gamma", "order")
    assert made["gamma"].why.endswith("plan the function that makes the model instead")
    with pytest.raises(PlanError, match="gamma"):
        materialize(on_meta(), made)


def test_reset_code_runs_as_constructors_do_children_first():
    made = plan(nn.MultiheadAttention(8, 2))
    assert made["out_proj.bias"].initializer == Constant(0.0)  # Linear draws it, then the attention zeroes it


def test_reset_code_that_raises_leaves_the_values():
    class Broken(nn.Linear):
        def reset_parameters(self):
            if getattr(self, "built", False):
                raise RuntimeError("not again")
            super().reset_parameters()
            self.built = True

    made = plan(Broken(3, 2))
    assert all(isinstance(step.action, Keep) for step in made.values())
    assert "not again" in made.notes[0]


def test_planning_a_module_leaves_it_alone():
    model = Mixed().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seed = torch.get_rng_state()
    plan(model, "he")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(seed, torch.get_rng_state())
    assert model.training


def test_native_of_a_built_transformers_model_is_its_own_law():
    transformers = pytest.importorskip("transformers")
    fields = {"vocab_size": 99, "bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, **fields))
    made = plan(model)
    assert made.unknown == ()
    assert made["transformer.h.0.mlp.c_fc.weight"].initializer == Normal(std=0.02)
    assert made["transformer.h.0.mlp.c_proj.weight"].std == pytest.approx(0.01)
    assert made["transformer.wte.weight"].aliases == ("lm_head.weight",)
    tables = plan(model, "he")
    assert tables["transformer.wpe.weight"].std == pytest.approx(32**-0.5)


def test_what_a_recipe_has_no_rule_for_takes_the_native_law_and_says_so():
    made = plan(Mixed, "xavier")
    assert made["gamma"].initializer == Constant(1e-6)
    assert made["gamma"].why.startswith("xavier has no rule for a scale; ")


def test_a_recipe_that_matches_nothing_says_so_loudly():
    nothing = Recipe("typo", (Rule(is_called("layer.*"), lambda _: Constant(0.0), "?"),))
    made = plan(Mixed, nothing)
    assert "NO RULE of the recipe 'typo' matched any tensor: the plan is the model's own" in made.notes
    assert made["out.weight"].initializer == Normal(std=0.25)
    assert not any("NO RULE" in note for note in plan(Mixed, "native").notes)


def test_a_pass_that_was_not_followed_says_so():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 6))
    made = plan(model, "he")
    assert any("the forward pass was not followed to its end" in note for note in made.notes)
    assert any(note.startswith("the forward pass never reached 1.weight, 1.bias: ") for note in made.notes)
    assert made["1.weight"].why == "what follows is not known: gain 1 over fan-in 5"


def test_inputs_are_used():
    made = plan(Mixed, "he", torch.zeros(1, 1, 9, 9))
    assert made.notes == ()


def test_bad_arguments():
    with pytest.raises(UnknownNameError, match="unknown recipe 'hee'; did you mean 'he'"):
        plan(Mixed, "hee")
    with pytest.raises(ArgumentError, match="recipe must be a name or a Recipe, got int"):
        plan(Mixed, 3)
    with pytest.raises(
        ArgumentError, match="expected a module, a captured model or a function that makes one, got str"
    ):
        plan("mnist-fc")
    bad = Recipe("bad", (Rule(has_role("bias"), lambda tensor: Normal(std=tensor.contracted.fan_in), "?"),))
    with pytest.raises(ArgumentError, match=r"recipe 'bad' cannot initialize 'conv.bias'"):
        plan(Mixed, bad)


@pytest.mark.parametrize("recipe", names())
def test_initialize_writes_what_its_plan_says(recipe):
    model = Mixed()
    made = initialize(model, recipe, seed=3)
    again = materialize(Mixed(), plan(Mixed(), recipe), seed=3)
    assert made == plan(Mixed(), recipe)
    for name, tensor in model.state_dict().items():
        if not isinstance(made[name].action, Keep | Unknown):
            assert torch.equal(tensor, again.state_dict()[name])


def test_initialize_defaults_to_he_and_takes_a_captured_model():
    captured = capture(Mixed)
    made = initialize(captured)
    assert made.recipe == "he"
    assert not captured.model.conv.weight.is_meta
    with pytest.raises(ArgumentError, match="initialize writes into a module or a captured model, not into a function"):
        initialize(lambda: Mixed())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, input):
        return input + self.down(torch.relu(self.up(input)))


def test_branches_are_counted_where_the_model_itself_is_the_container():
    blocks = [Residual() for _ in range(4)]
    made = plan(nn.Sequential(nn.Linear(4, 8), *blocks, nn.Linear(8, 3)), "fixup", inputs=torch.ones(2, 4))
    assert made["1.up.weight"].std == pytest.approx((2 / 8) ** 0.5 * 4**-0.5)
    assert made["1.down.weight"].initializer == Constant(0.0)
