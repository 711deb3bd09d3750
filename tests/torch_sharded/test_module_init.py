"""module_init: the values of a plan, module by module, for the callbacks of other frameworks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedModel

import fanin
from fanin.errors import PlanError
from fanin.initializers import Normal
from fanin.plans.steps import Keep, Replay
from fanin.torch.pieces import pieces_of
from fanin.torch.tensors import stored_tensors


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.norm = nn.Linear(4, 6), nn.LayerNorm(4)


class Net(nn.Module):
    """Tied tensors, a bare parameter, a computed buffer and a tensor computed from one of another module."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.scale = nn.Parameter(torch.ones(3) / 3)
        self.register_buffer("table", torch.arange(5.0).cos(), persistent=False)
        self.twin = nn.Linear(4, 6)
        with torch.no_grad():
            self.twin.weight.copy_(self.blocks[0].up.weight * 2)
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight


def blank():
    with torch.device("meta"):
        return Net()


@pytest.fixture(scope="module")
def plan():
    made = fanin.plan(Net)
    assert isinstance(made["twin.weight"].action, Replay)
    return made


@pytest.fixture(scope="module")
def truth(plan):
    return bits(fanin.materialize(Net(), plan, seed=9))


def bits(model):
    return {item.name: item.tensor.detach().clone() for item in stored_tensors(model)}


def assert_same(model, truth):
    found = bits(model)
    assert found.keys() == truth.keys()
    for name, values in truth.items():
        assert torch.equal(found[name], values), name


@pytest.mark.parametrize("make", [blank, Net], ids=["meta", "real"])
def test_apply_gives_the_values_of_materialize(plan, truth, make):
    model = make()
    objects = [id(parameter) for parameter in model.parameters()]
    model.apply(fanin.module_init(model, plan, seed=9))
    assert_same(model, truth)
    assert [id(parameter) for parameter in model.parameters()] == objects
    assert model.head.weight is model.embedding.weight


def test_any_order_and_one_module_alone(plan, truth):
    model = blank()
    init = fanin.module_init(model, plan, seed=9, device="cpu")
    init(model.twin)
    assert torch.equal(model.twin.weight, truth["twin.weight"])
    left = [item.name for item in stored_tensors(model) if item.tensor.is_meta]
    assert "blocks.0.up.weight" in left, "what a program reads is computed beside the model"
    for module in reversed(list(model.modules())):
        init(module)
    assert_same(model, truth)


def test_wrapping_a_module_afterwards_changes_nothing(plan, truth):
    model = blank()
    init = fanin.module_init(model, plan, seed=9)
    model.blocks[0] = torch.compile(model.blocks[0])
    nn.Sequential(nn.ModuleDict({"inner": model})).apply(init)
    assert_same(model, truth)


@pytest.mark.parametrize("use_orig_params", [False, True])
def test_fsdp1_param_init_fn(world, plan, truth, use_orig_params):
    """Rank 1 of 2; FSDP1 flattens and cuts what `param_init_fn` wrote. Its flat parameters hold those values."""
    flats = []
    for start, arguments in ((blank, True), (Net, False)):
        with world(1, (2,)):
            model = start()
            if arguments:
                init = fanin.module_init(model, plan, seed=9, device="cpu")
            else:
                init = None
                fanin.materialize(model, plan, seed=9)
            wrapped = FullyShardedDataParallel(
                model,
                param_init_fn=init,
                auto_wrap_policy=ModuleWrapPolicy({Block}),
                use_orig_params=use_orig_params,
                device_id=torch.device("cpu"),
            )
            flats.append([parameter.detach().clone() for parameter in wrapped.parameters()])
            assert torch.equal(model.table, truth["table"])
    assert len(flats[0]) == len(flats[1]) > 2
    assert all(torch.equal(one, other) for one, other in zip(*flats, strict=True))
    assert sum(flat.numel() for flat in flats[0]) > 0


def test_fsdp1_models_are_refused_after_wrapping(world, plan):
    with world(0, (2,)):
        wrapped = FullyShardedDataParallel(Net(), device_id=torch.device("cpu"))
        for verb in (fanin.plan, partial(fanin.materialize, plan=plan), partial(fanin.module_init, plan=plan)):
            with pytest.raises(PlanError, match=r"FSDP1 has wrapped the model and packed its tensors.*param_init_fn="):
                verb(wrapped)
        outer = nn.ModuleDict({"body": wrapped})
        with pytest.raises(PlanError, match=r"FSDP1 has wrapped 'body'"):
            fanin.plan(outer)


def test_fsdp2_modules(world, plan, truth):
    with world(1, (2,)) as mesh:
        model = fully_shard(blank(), mesh=mesh)
        model.apply(fanin.module_init(model, plan, seed=9))
        for item in stored_tensors(model):
            for piece in pieces_of(item.tensor):
                where = tuple(slice(a, a + n) for a, n in zip(piece.region.start, piece.region.size, strict=True))
                assert torch.equal(piece.memory, truth[item.name][where]), item.name


def test_kept_tensors_stay(plan, truth):
    model = Net()
    fanin.keep(model, "blocks.0")
    loaded = model.blocks[1].norm.weight
    loaded._is_hf_initialized = True
    before = bits(model)
    model.apply(fanin.module_init(model, plan, seed=9))
    kept = {name for name in before if name.startswith("blocks.0")} | {"blocks.1.norm.weight"}
    for name, values in bits(model).items():
        assert torch.equal(values, (before if name in kept else truth)[name]), name


def test_what_a_program_reads_may_be_kept(plan):
    """`twin` is computed from a weight of another module, which the plan leaves as it is."""
    kept = replace(plan["blocks.0.up.weight"], action=Keep())
    steps = tuple(kept if step.name == kept.name else step for step in plan.steps)
    model = Net()
    fanin.module_init(model, replace(plan, steps=steps))(model.twin)
    assert torch.equal(model.twin.weight, 2 * model.blocks[0].up.weight)


def test_tensors_that_are_not_tied_yet(plan):
    """Two names of one tensor in the plan, which the model ties only after its weights are initialized."""

    class Two(nn.Module):
        def __init__(self, tied):
            super().__init__()
            self.one = nn.Parameter(torch.randn(5))
            self.other = self.one if tied else nn.Parameter(torch.zeros(5))

    made = fanin.plan(lambda: Two(tied=True))
    model = Two(tied=False)
    fanin.module_init(model, made, seed=9)(model)
    expected = fanin.materialize(Two(tied=True), made, seed=9).one
    assert torch.equal(model.one, expected)
    assert torch.equal(model.other, expected)


def test_a_module_that_is_not_the_models(plan):
    init = fanin.module_init(blank(), plan)
    init(nn.ReLU())
    with pytest.raises(PlanError, match=r"'weight' of a Linear was not in the model when fanin"):
        init(nn.Linear(2, 2))


def test_what_cannot_be_written_is_said_at_once(plan):
    with pytest.raises(PlanError, match=r"has no step for 'weight', 'bias'. Plan this model"):
        fanin.module_init(nn.Linear(2, 2), plan)
    with pytest.raises(PlanError, match=r"'weight': the plan has shape \(2, 2\)"):
        fanin.module_init(nn.Linear(3, 2), fanin.plan(nn.Linear(2, 2)))
    with torch.device("meta"):
        bare = nn.ParameterDict({"w": nn.Parameter(torch.empty(3))})
    with pytest.raises(PlanError, match="does not know where the values of 1 tensors come from: w"):
        fanin.module_init(bare, fanin.plan(bare))
    with pytest.raises(fanin.ArgumentError, match="seed"):
        fanin.module_init(Net(), plan, seed=-1)


CONFIG = LlamaConfig(
    vocab_size=31,
    hidden_size=12,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)


@pytest.fixture(scope="module")
def llama_plan():
    made = fanin.plan(lambda: LlamaForCausalLM(CONFIG), "native")
    return made.override({"model.layers.0.mlp.up_proj.weight": Normal(std=0.5)})


@pytest.fixture(scope="module")
def llama_truth(llama_plan):
    return bits(fanin.materialize(LlamaForCausalLM(CONFIG), llama_plan, seed=9))


def with_our_init(model, plan):
    """transformers asks each part of a model that is a `PreTrainedModel` to initialize its modules."""
    init = fanin.module_init(model, plan, seed=9)
    for part in model.modules():
        if isinstance(part, PreTrainedModel):
            part._init_weights = init
    return model


def test_transformers_init_weights(llama_plan, llama_truth):
    model = with_our_init(LlamaForCausalLM(CONFIG), llama_plan)
    before = bits(model)
    model.init_weights()
    assert_same(model, before)  # transformers has marked every module as initialized
    for module in model.modules():
        module._is_hf_initialized = False
    model.init_weights()
    assert_same(model, llama_truth)
    assert model.lm_head.weight is model.model.embed_tokens.weight


class OurConfig(PreTrainedConfig):
    model_type = "ours"
    tie_word_embeddings = True


class Ours(PreTrainedModel):
    """A model of one's own in transformers' way; its head is tied only after its weights are initialized."""

    config_class = OurConfig
    _tied_weights_keys = {"head.weight": "embedding.weight"}  # noqa: RUF012
    plan: fanin.Plan | None = None
    init = None

    def __init__(self, config):
        super().__init__(config)
        self.embedding, self.body = nn.Embedding(9, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 9, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding

    def _init_weights(self, module):
        if self.plan is not None:
            self.init = self.init or fanin.module_init(self, self.plan, seed=9)
            self.init(module)


@pytest.fixture
def our_truth(monkeypatch):
    """The values of a plan, which is `Ours.plan` from here on."""
    plan = fanin.plan(lambda: Ours(OurConfig()), "he")
    truth = bits(fanin.materialize(Ours(OurConfig()), plan, seed=9))
    monkeypatch.setattr(Ours, "plan", plan)
    return truth


def test_transformers_constructor_calls_init_weights(our_truth):
    model = Ours(OurConfig())
    assert_same(model, our_truth)
    assert model.head.weight is model.embedding.weight


def test_transformers_keeps_what_was_loaded(our_truth, tmp_path):
    state = {name: torch.full_like(values, 0.25) for name, values in our_truth.items()}
    source = Ours(OurConfig())
    source.save_pretrained(
        tmp_path, state_dict={name: values for name, values in state.items() if name != "body.weight"}
    )
    found = bits(Ours.from_pretrained(tmp_path))
    assert torch.equal(found.pop("body.weight"), our_truth["body.weight"]), "what the file lacks is drawn"
    assert all(bool((values == 0.25).all()) for values in found.values())
