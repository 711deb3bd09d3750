"""Packed tensors in plans: a recipe is asked about every block, and its answers become one law."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.graph import Graph, Part, Use
from fanin.initializers import Blocks, Constant, Normal, Orthogonal
from fanin.plans import Plan
from fanin.recipes import Recipe, Rule, TensorInfo, has_role, named
from fanin.recipes.packed import blocks_of, choose
from fanin.torch.materialize import materialize
from fanin.torch.planning import initialize, plan


class Interleaved(nn.Module):
    """Queries, keys and values of each head side by side, as in GPT-NeoX."""

    def __init__(self, heads=4, size=8, width=64):
        super().__init__()
        self.heads, self.size = heads, size
        self.packed = nn.Linear(width, 3 * heads * size)

    def forward(self, x):
        packed = self.packed(x).unflatten(-1, (self.heads, 3 * self.size)).transpose(1, 2)
        return F.scaled_dot_product_attention(*packed.chunk(3, -1))

    def part(self, tensor, which):
        return tensor.unflatten(0, (self.heads, 3, self.size))[:, which].flatten(0, 1)


X = torch.zeros(2, 5, 64)
QUERY, KEY, VALUE = "attention query", "attention key", "attention value"


def recipe(**laws):
    rules = [Rule(has_role(*roles), lambda _, law=law: law, why) for why, (roles, law) in laws.items()]
    return Recipe("mine", tuple(rules), source="me")


def test_blocks_that_agree_are_one_law():
    made = plan(Interleaved(), "lecun", X)
    step = made["packed.weight"]
    assert step.initializer == Normal(std=0.125)
    assert (step.role, step.axes.fans, step.std) == ("packed", (64, 32), 0.125)
    assert step.why == "attention query, key, value: unit variance out of unit variance in: fan-in 64"
    assert made["packed.bias"].initializer == Constant(0.0)
    assert made["packed.bias"].why == "a bias starts at 0"


def test_each_block_has_its_own_fans():
    # torch reads (64, 96) off the shape; each of the three projections is 64 → 32
    assert plan(Interleaved(), "xavier", X)["packed.weight"].std == pytest.approx((2 / (64 + 32)) ** 0.5)


def test_a_matrix_law_sees_each_block_as_one_matrix():
    model = Interleaved()
    made = initialize(model, "orthogonal", X)
    for which in range(3):
        block = model.part(model.packed.weight, which).detach()
        assert torch.allclose(block @ block.T, torch.eye(32), atol=1e-5)
    first, second = (model.part(model.packed.weight, which).detach() for which in (0, 1))
    assert (first @ second.T).abs().max() > 0.1
    law = made["packed.weight"].initializer
    assert len(law.parts) == 3
    assert made["packed.weight"].std == pytest.approx(model.packed.weight.std().item(), rel=0.01)


def test_blocks_that_differ():
    mine = recipe(small=((QUERY, KEY), Normal(std=0.5)), none=((VALUE,), Constant(0.0)))
    model = Interleaved()
    step = initialize(model, mine, X)["packed.weight"]
    assert step.initializer == Blocks(Normal(std=0.5), (((16, 0), (8, 64), Constant(0.0), (24, 64), (4, 1)),))
    assert step.why == "attention query, key: small; attention value: none"
    assert step.source == "recipe mine 1: me"
    assert step.std == pytest.approx(0.5 * (2 / 3) ** 0.5)
    assert model.part(model.packed.weight, 2).abs().max() == 0
    assert model.part(model.packed.weight, 0).std().item() == pytest.approx(0.5, rel=0.1)


def test_elementwise_values_do_not_depend_on_the_packing():
    # the law of a block takes the random numbers of the whole tensor at their own places
    half, whole = Interleaved(), Interleaved()
    initialize(half, recipe(a=((QUERY, KEY), Normal(std=0.5)), b=((VALUE,), Constant(0.0))), X, seed=3)
    initialize(whole, recipe(a=((QUERY, KEY, VALUE), Normal(std=0.5))), X, seed=3)
    for which in (0, 1):
        assert torch.equal(half.part(half.packed.weight, which), whole.part(whole.packed.weight, which))


def test_a_block_without_a_rule_keeps_what_the_authors_give_it():
    made = plan(Interleaved, recipe(none=((VALUE,), Constant(0.0))), X)
    law = made["packed.weight"].initializer
    assert law == Blocks(made_by_authors(), (((16, 0), (8, 64), Constant(0.0), (24, 64), (4, 1)),))
    assert "attention query, key: no rule: as the model's own code has it" in made["packed.weight"].why


def made_by_authors():
    return plan(Interleaved, "native", X)["packed.weight"].initializer


def test_authors_whose_values_are_no_law_keep_all_of_it():
    tensor = TensorInfo("w", (4, 2), "float32", "parameter", "packed", uses(QUERY, VALUE))
    choice = choose(recipe(none=((VALUE,), Constant(0.0))), tensor, Graph(tensor.uses))
    assert choice.initializer is None
    assert choice.why.endswith("the authors' values cannot be split, so all of them stay")


def test_without_any_rule_the_authors_decide():
    made, native = plan(Interleaved, recipe(a=(("slope",), Constant(0.0))), X), plan(Interleaved, "native", X)
    assert made["packed.weight"].initializer == native["packed.weight"].initializer
    assert made["packed.weight"].why.startswith("mine has no rule for a packed tensor; ")


def uses(*roles, height=2, width=2):
    return tuple(
        Use("w", "linear", role=role, parts=(Part((height * place, 0), (height, width)),))
        for place, role in enumerate(roles)
    )


def test_blocks_of_a_bias_know_the_role_of_their_weight():
    weights = uses(QUERY, KEY, VALUE)
    biases = tuple(Use("b", "bias", parts=(Part((2 * i,), (2,)),), partner="w") for i in range(3))
    tensor = TensorInfo("b", (6,), "float32", "parameter", "bias", biases)
    told = blocks_of(tensor, Graph(weights + biases))
    assert [(block.tensor.shape, block.tensor.partner_role) for block in told] == [
        ((2,), QUERY),
        ((2,), KEY),
        ((2,), VALUE),
    ]


def test_several_rectangles_are_joined_along_their_run():
    parts = (Part((0, 0), (2, 4)), Part((5, 0), (1, 4)))
    rest = (Part((2, 0), (3, 4)),)
    tensor = TensorInfo(
        "w",
        (6, 4),
        "float32",
        "parameter",
        "projection",
        (Use("w", "linear", parts=parts), Use("w", "linear", parts=rest)),
    )
    assert [block.tensor.shape for block in blocks_of(tensor, Graph(tensor.uses))] == [(3, 4), (3, 4)]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_gates_are_asked_one_by_one(kind):
    def forget(tensor):
        return (
            tensor.role == "bias" and tensor.gate in ("forget", "update") and tensor.partner_role == "recurrent input"
        )

    mine = Recipe(
        "mine",
        (
            Rule(forget, lambda _: Constant(1.0), "remembers"),
            Rule(has_role("bias"), lambda _: Constant(0.0), "silent"),
            Rule(has_role("recurrent hidden"), lambda tensor: Orthogonal(1.0), lambda tensor: f"turns {tensor.shape}"),
            Rule(
                has_role("recurrent input"), lambda tensor: Normal(std=tensor.contracted.fan_in**-0.5), "keeps variance"
            ),
        ),
    )
    model = kind(16, 8)
    made = initialize(model, mine, torch.zeros(3, 2, 16))
    expected = torch.zeros(len(model.bias_ih_l0))
    expected[8:16] = 1
    assert torch.equal(model.bias_ih_l0, expected)
    assert not model.bias_hh_l0.any()
    for block in model.weight_hh_l0.detach().split(8):
        assert torch.allclose(block @ block.T, torch.eye(8), atol=1e-5)
    assert made["weight_ih_l0"].initializer == Normal(std=0.25)
    assert (made["weight_hh_l0"].axes.fans, made["weight_hh_l0"].why) == ((8, 8), "turns (8, 8)")
    gates = {nn.LSTM: "input, cell, output: silent; forget: remembers", nn.GRU: "reset, new: silent; update: remembers"}
    assert made["bias_ih_l0"].why == gates[kind]


def test_a_packed_plan_survives_json_and_writes_the_same_bits():
    mine = recipe(a=((QUERY,), Orthogonal()), b=((KEY,), Normal(std=0.5)), c=((VALUE,), Constant(0.0)))
    model, again = Interleaved(), Interleaved()
    made = plan(model, mine, X)
    materialize(model, made, seed=5)
    materialize(again, Plan.from_json(made.to_json()), seed=5)
    assert torch.equal(model.packed.weight, again.packed.weight)


def test_many_heads_are_told_in_one_line():
    made = plan(Interleaved(heads=96, size=2, width=16), "orthogonal", torch.zeros(2, 5, 16))
    step = made["packed.weight"]
    assert len(step.initializer.parts) == 3
    assert len(step.initializer.describe()) < 400
    assert len(made.to_json()) < 6000
    assert all(len(line) < 400 for line in str(made).splitlines())


def test_an_interleaved_matrix_is_filled_about_as_fast_as_a_plain_one():
    law = Blocks(Normal(), tuple(((8 * i, 0), (8, 512), Normal(std=2.0), (16, 512), (96, 1)) for i in range(2)))
    from time import process_time

    from fanin.random import Region, Stream

    out, stream, region = np.empty((1536, 512), np.float32), Stream(1), Region.whole((1536, 512))

    def seconds(law):
        start = process_time()
        law.fill(out, stream, region, threads=1)
        return process_time() - start

    seconds(law)
    plain, packed = (min(seconds(each) for _ in range(5)) for each in (Normal(), law))
    assert packed < 10 * plain


@pytest.mark.parametrize("name", ["he", "xavier", "lecun", "orthogonal"])
def test_named_recipes_cover_packed_models(name):
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    made = plan(layer, name, torch.zeros(2, 5, 16))
    assert made["self_attn.in_proj_weight"].source.startswith(f"recipe {name}")
    assert named(name).choose(TensorInfo("b", (3,), "float32", "parameter", "bias")) is not None
