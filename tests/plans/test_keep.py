"""Protected tensors: one mark that every pass honours, and the marks of transformers and of models' code."""

import copy
import pickle

import pytest
import torch
from torch import nn

import fanin
from fanin.errors import ArgumentError, PlanError, UnknownNameError
from fanin.plans.steps import Draw, Keep, Unknown
from fanin.torch.protection import protections


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(self.body(self.table(ids)))


IDS = torch.arange(5)


@pytest.fixture
def model():
    return Tied()


def values(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before, model):
    return [name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)]


@pytest.mark.parametrize("recipe", ["native", "he", "xavier", "orthogonal", "ggml-mnist"])
def test_no_recipe_touches_what_is_kept(model, recipe):
    names = fanin.keep(model, "body.0", "body.1")
    assert names == (
        "body.0.weight",
        "body.0.bias",
        "body.1.weight",
        "body.1.bias",
        "body.1.running_mean",
        "body.1.running_var",
        "body.1.num_batches_tracked",
    )
    before = values(model)
    plan = fanin.initialize(model, recipe, IDS, seed=3)
    assert {name for name in plan if isinstance(plan[name].action, Keep)} >= set(names)
    assert plan["body.0.weight"].why == "marked keep: its values stay as they are"
    assert plan["body.0.weight"].source == "fanin.keep"
    assert plan["body.0.weight"].role  # a kept tensor is understood all the same
    assert not {*changed(before, model)} & {*names}
    assert "body.3.weight" in changed(before, model)


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        (("body.0.bias",), ("body.0.bias",)),
        (("*.bias",), ("body.0.bias", "body.1.bias", "body.3.bias")),
        (("body.[03]",), ("body.0.weight", "body.0.bias", "body.3.weight", "body.3.bias")),
        (("head",), ("table.weight",)),
        (("table", "head.weight"), ("table.weight",)),
    ],
)
def test_names_patterns_and_ties(model, chosen, kept):
    assert fanin.keep(model, *chosen) == kept


def test_modules_and_tensors_of_the_model(model):
    assert fanin.keep(model, model.body[3]) == ("body.3.weight", "body.3.bias")
    assert fanin.keep(model, model.head.weight) == ("table.weight",)
    assert len(fanin.keep(Tied())) == len(fanin.plan(Tied(), inputs=IDS))


def test_a_tensor_marked_under_one_of_its_names_is_kept_under_all(model):
    fanin.keep(model, "head.weight")
    assert set(protections(model)) == {"table.weight", "head.weight"}
    plan = fanin.plan(model, "he", IDS)
    assert isinstance(plan["table.weight"].action, Keep)
    assert plan["head.weight"] is plan["table.weight"]


def test_unkeep_takes_it_back(model):
    fanin.keep(model, "body", "table")
    assert fanin.unkeep(model, "body.3") == ("body.3.weight", "body.3.bias")
    assert fanin.unkeep(model, "body.3") == ()
    assert isinstance(fanin.plan(model, "he", IDS)["body.3.weight"].action, Draw)
    fanin.unkeep(model)
    assert protections(model) == {}


def test_an_unknown_name_marks_nothing(model):
    with pytest.raises(UnknownNameError, match="unknown tensor or module 'boddy'; did you mean 'body'"):
        fanin.keep(model, "head", "boddy")
    with pytest.raises(ArgumentError, match="the model holds no tensor of the Linear that is to be kept"):
        fanin.keep(model, "head", nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="keep takes names, modules and tensors, not int"):
        fanin.keep(model, "head", 3)
    with pytest.raises(ArgumentError, match="expected a module or a captured model, got str"):
        fanin.keep("model")
    assert protections(model) == {}


def test_the_mark_goes_with_copies_and_pickles_and_not_with_the_state(model):
    fanin.keep(model, "body.0")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.double()):
        assert set(protections(twin)) == {"body.0.weight", "body.0.bias"}
    assert set(model.state_dict()) == set(Tied().state_dict())
    fresh = Tied()
    fresh.load_state_dict(model.state_dict())
    assert protections(fresh) == {}
    copied = copy.deepcopy(model)
    fanin.unkeep(copied)
    assert protections(model)


def test_materialize_refuses_to_write_over_what_is_kept(model):
    plan = fanin.plan(Tied, "he", IDS)
    fanin.keep(model, "body.0.weight")
    before = values(model)
    with pytest.raises(PlanError) as caught:
        fanin.materialize(model, plan)
    assert str(caught.value) == (
        "the plan would write 'body.0.weight', whose values are protected (marked keep: its values stay as they are): "
        "plan this model, so that the plan keeps them, give them up with fanin.unkeep, or pass override_keep=True"
    )
    assert changed(before, model) == []
    fanin.materialize(model, plan, override_keep=True)
    assert "body.0.weight" in changed(before, model)
    assert protections(model)  # the mark stays


def test_a_plan_of_a_captured_model_keeps_for_a_real_one(model):
    captured = fanin.capture(Tied)
    fanin.keep(captured, "body")
    plan = fanin.plan(captured, "he", IDS)
    before = values(model)
    fanin.materialize(model, plan)
    assert changed(before, model) == ["table.weight", "head.weight"]
    with pytest.raises(PlanError, match=r"'body\.0\.weight': its values are to be kept, but it is on the meta device"):
        fanin.materialize(captured.model, plan)


def test_without_values_there_is_nothing_to_refuse():
    captured = fanin.capture(Tied)
    fanin.keep(captured, "body")
    made = fanin.materialize(captured.model, captured.plan)
    before = values(made)
    fanin.initialize(made, "he", IDS, seed=1)  # now there are values, and the mark still stands
    assert changed(before, made) == ["table.weight", "head.weight"]


def test_a_plan_of_kept_tensors_alone_says_nothing_about_rules(model):
    fanin.keep(model)
    plan = fanin.plan(model, "he", IDS)
    assert not [note for note in plan.notes if "RULE" in note]
    assert all(isinstance(plan[name].action, Keep) for name in plan)


class Step(nn.Module):
    """Mamba's time step: a bias that its model's general init must leave alone."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 3)
        with torch.no_grad():
            self.project.bias.copy_(torch.linspace(-4, -2, 3))
        self.project.bias._no_reinit = True

    def forward(self, x):
        return nn.functional.softplus(self.project(x))


X = torch.zeros(2, 4)


def test_no_reinit_keeps_the_law_of_the_code():
    plan = fanin.plan(Step, "he", X)
    assert plan["project.bias"].action == fanin.capture(Step).plan["project.bias"].action
    assert plan["project.bias"].why.startswith("marked _no_reinit: no general rule may write it; ")
    assert isinstance(plan["project.weight"].action, Draw)
    made = fanin.materialize(Step(), plan)  # the law is kept, not the values: any model may get it
    assert torch.allclose(made.project.bias, torch.linspace(-4, -2, 3))


@pytest.mark.parametrize("recipe", ["native", "he"])
def test_no_reinit_keeps_the_values_of_a_real_model(recipe):
    model = Step()
    plan = fanin.initialize(model, recipe, X)
    assert isinstance(plan["project.bias"].action, Keep)
    assert torch.equal(model.project.bias, torch.linspace(-4, -2, 3))
    assert fanin.unkeep(model) == ("project.bias",)
    assert isinstance(fanin.plan(model, "he", X)["project.bias"].action, Draw)


def test_no_reinit_without_values_or_constructor_is_unknown():
    with torch.device("meta"):
        model = Step()
    step = fanin.plan(model, "he", torch.empty(2, 4, device="meta"))["project.bias"]
    assert isinstance(step.action, Unknown)
    assert step.why == (
        "marked _no_reinit: no general rule may write it, and it is a meta tensor whose constructor is not known: plan "
        "the function that makes the model instead"
    )


def test_loaded_values_are_kept_and_the_missing_head_is_drawn(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11, n_positions=6)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    loaded = transformers.GPT2ForSequenceClassification.from_pretrained(tmp_path, num_labels=3, pad_token_id=0)
    before = values(loaded)
    plan = fanin.initialize(loaded, "he", {"input_ids": torch.zeros(1, 4, dtype=torch.long)})
    assert changed(before, loaded) == ["score.weight"]
    assert plan["transformer.wte.weight"].why == "its values were loaded: they stay as they are"
    assert (
        "16 of 17 tensors hold values that transformers loaded, and keep them; fanin.unkeep(model) gives them up"
        in (plan.notes)
    )
    with pytest.raises(PlanError, match="whose values are protected"):
        fanin.materialize(loaded, fanin.plan(lambda: transformers.GPT2ForSequenceClassification(loaded.config)))
    fanin.unkeep(loaded)
    assert isinstance(fanin.plan(loaded, "native")["transformer.wte.weight"].action, Draw)


def test_a_fresh_transformers_model_is_not_taken_for_a_loaded_one():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11, n_positions=6)
    model = transformers.GPT2LMHeadModel(config)
    assert all(getattr(module, "_is_hf_initialized", False) for module in model.modules())
    assert protections(model) == {}
    assert isinstance(fanin.plan(model, "native")["transformer.wte.weight"].action, Draw)


def test_the_mark_of_loading_protects_values_only_where_there_are_any():
    model = nn.Linear(4, 3, device="meta")
    model.weight._is_hf_initialized = True
    assert protections(model) == {}
    real = nn.Linear(4, 3)
    real.weight._is_hf_initialized = True
    assert set(protections(real)) == {"weight"}
    real.weight._is_hf_initialized = False
    assert protections(real) == {}
