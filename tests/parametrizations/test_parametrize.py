"""What fanin.parametrize makes of models: kinds, factors, multipliers, values."""

from __future__ import annotations

import copy
from math import sqrt
from typing import Any

import pytest
import torch
from small_parametrized import Decoder, mlp, rates, tokens
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import fanin
from fanin.parametrizations import Parametrized, Tuned, complete_p

KINDS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def gpt2(width: int, layers: int = 2, heads: int = 2, **fields: Any) -> GPT2LMHeadModel:
    sizes = {"n_embd": width, "n_layer": layers, "n_head": heads, "vocab_size": 48, "n_positions": 8}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **fields)).eval()


def llama(width: int) -> LlamaForCausalLM:
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 1, "vocab_size": 48}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))


def kinds(record: Parametrized) -> dict[str, str]:
    return {each.name: each.dims.kind for each in record.tensors}


def test_kinds_are_told_by_the_forward_pass() -> None:
    record = fanin.parametrize(Decoder(32), base_width=8)
    told = kinds(record)
    assert told["tokens.weight"] == told["positions.weight"] == "table"
    assert told["blocks.0.query.weight"] == told["blocks.1.down.weight"] == "hidden"
    assert told["blocks.0.query.bias"] == told["norm.weight"] == "vector"
    assert told["head.weight"] == "output"
    assert told["head.bias"] == "fixed"
    assert kinds(fanin.parametrize(mlp(32), base_width=8)) == {
        "0.weight": "input",
        "0.bias": "vector",
        "2.weight": "hidden",
        "2.bias": "vector",
        "4.weight": "output",
        "4.bias": "fixed",
    }


@pytest.mark.parametrize("build", [mlp, Decoder, gpt2, llama], ids=lambda build: build.__name__)
def test_a_base_width_and_a_base_model_say_the_same(build: Any) -> None:
    heads = {} if build is mlp else {"base_head_size": {Decoder: 4, gpt2: 4, llama: 2}[build]}
    by_number = fanin.parametrize(build(32), base_width=8, **heads)
    by_model = fanin.parametrize(build(32), base=lambda: build(8))
    assert by_number.tensors == by_model.tensors
    assert by_number.multipliers == by_model.multipliers


@pytest.mark.parametrize("scheme", ["mup", "spectral", "complete-p", "depth-mup"])
@pytest.mark.parametrize("build", [mlp, Decoder, gpt2], ids=lambda build: build.__name__)
def test_at_the_base_everything_is_standard_bit_for_bit(build: Any, scheme: str) -> None:
    if build is mlp and scheme in ("complete-p", "depth-mup"):
        pytest.skip("no residual branches")
    model = build(16)
    before = copy.deepcopy(model)
    record = fanin.parametrize(model, scheme, base=lambda: build(16), at_base=True)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert not record.multipliers
    assert set(rates(model, record.parameter_groups(model, 0.1)).values()) == {0.1}
    batch = torch.randn(4, 10) if build is mlp else tokens()
    ours, standard = (getattr(out := each(batch), "logits", out) for each in (model, before))
    assert torch.equal(ours, standard)
    assert "standard parametrization" in record.notes[-1]


def test_drawn_at_the_base_is_what_materialize_draws() -> None:
    captured, plain = fanin.capture(lambda: Decoder(16)), fanin.capture(lambda: Decoder(16))
    fanin.parametrize(captured, base_width=16, seed=3)
    fanin.materialize(plain.model, plain.plan, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(captured.model.parameters(), plain.model.parameters(), strict=True))


def test_rescaled_and_drawn_values_have_the_records_std() -> None:
    rescaled, captured = gpt2(64), fanin.capture(lambda: gpt2(64))
    records = [fanin.parametrize(model, base=lambda: gpt2(16)) for model in (rescaled, captured)]
    assert records[0].tensors == records[1].tensors
    for model in (rescaled, captured.model):
        weights = dict(model.named_parameters())
        for name, std in (("transformer.h.0.mlp.c_fc.weight", 0.01), ("transformer.wte.weight", 0.02)):
            assert records[0][name].std == std
            assert abs(float(weights[name].detach().std()) / std - 1) < 5 / sqrt(2 * weights[name].numel())


def test_tied_embeddings_start_as_at_the_base_and_logits_are_divided() -> None:
    """USERS I1: the package's MuSharedReadout widens the table with the width; here it does not."""
    stds = {}
    for width in (16, 64, 128):
        model = gpt2(width)
        plain = copy.deepcopy(model)
        record = fanin.parametrize(model, base=lambda: gpt2(16), at_base=True)
        stds[width] = float(model.transformer.wte.weight.detach().std())
        assert model.lm_head.weight is model.transformer.wte.weight
        assert record["transformer.wte.weight"].factors.adam == 1.0
        plain.load_state_dict(model.state_dict())
        hidden = model.transformer(tokens()).last_hidden_state
        torch.testing.assert_close(model(tokens()).logits, plain.lm_head(hidden) * (16 / width))
    assert all(abs(std / 0.02 - 1) < 0.1 for std in stds.values())


def test_attention_scores_fall_as_one_over_the_size_of_heads() -> None:
    for build, scores in ((gpt2, 1.0), (llama, 1.0)):
        record = fanin.parametrize(build(64), base=lambda: build(16))  # noqa: B023
        factors = {each.factor for each in record.multipliers if each.why == "attention"}
        assert factors == {scores * sqrt(1 / 4)}
    more_heads = fanin.parametrize(gpt2(64, heads=8), base=lambda: gpt2(16, heads=2))
    assert not [each for each in more_heads.multipliers if each.why == "attention"]


def test_only_the_queries_of_a_packed_projection_are_multiplied() -> None:
    model = gpt2(32)
    fanin.parametrize(model, base=lambda: gpt2(8))
    packed = model.transformer.h[0].attn.c_attn
    x = torch.randn(2, 3, 32)
    plain = torch.addmm(packed.bias, x.view(-1, 32), packed.weight).view(2, 3, 96)
    torch.testing.assert_close(packed(x), torch.cat([plain[..., :32] * 0.5, plain[..., 32:]], -1))


def test_scores_that_t5_does_not_divide_get_both_factors() -> None:
    def t5(width: int) -> T5ForConditionalGeneration:
        config = T5Config(d_model=width, d_kv=width // 2, d_ff=width, num_layers=1, num_heads=2, vocab_size=48)
        return T5ForConditionalGeneration(config)

    record = fanin.parametrize(t5(64), base=lambda: t5(16))
    scores = [each.factor for each in record.multipliers if each.why == "attention"]
    assert scores == pytest.approx([0.25] * 3)


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.01), ("adamw", 0.01), ("sgd", 0.1)])
def test_absorbed_multipliers_train_the_same(optimizer: str, rate: float) -> None:
    """abc-symmetry: table 3 of Yang et al. is table 8 without the multiplier."""
    torch.manual_seed(1)
    hooked = Decoder(32).double()
    absorbed = copy.deepcopy(hooked)
    records = [
        fanin.parametrize(model, base=lambda: Decoder(8), multipliers=how)
        for model, how in ((hooked, "forward"), (absorbed, "absorbed"))
    ]
    assert {each.side for each in records[1].multipliers} == {"absorbed"}
    assert records[1]["head.weight"].factors.adam == 0.25
    assert records[1]["head.weight"].factors.sgd == 0.25
    assert records[1]["head.weight"].factors.init == 0.25
    for step in range(4):
        losses = []
        for model, record in zip((hooked, absorbed), records, strict=True):
            if step == 0:
                # Adam's decay is inside the gradient, where no symmetry holds.
                decay = 0.0 if optimizer == "adam" else 0.1
                groups = record.parameter_groups(model, rate, weight_decay=decay, optimizer=optimizer, eps=1e-6)
                model.steps = KINDS[optimizer](groups, lr=rate)
            loss = cross_entropy(model(tokens()).flatten(0, 1), tokens(1).flatten())
            model.steps.zero_grad()
            loss.backward()
            model.steps.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_complete_p_has_the_numbers_of_its_table() -> None:
    """Dey et al. 2025, table 1, at m_N = 4 and m_L = 8/2, for α = 1 and 0.5."""
    for alpha in (1.0, 0.5):
        model = gpt2(64, layers=8)
        record = fanin.parametrize(
            fanin.capture(lambda: gpt2(64, layers=8)), complete_p(alpha), base=lambda: gpt2(16, layers=2)
        )
        deep, branch = 4 ** (alpha - 1), 4**-alpha
        hidden, norm = record["transformer.h.5.mlp.c_fc.weight"], record["transformer.h.5.ln_1.weight"]
        assert hidden.std == 0.02 / 2
        assert (hidden.factors.adam, hidden.factors.adam_decay) == (deep / 4, 4.0)
        assert hidden.factors.eps == branch / 4
        assert (norm.factors.adam, norm.factors.eps) == (deep, branch / 4)
        for outside in ("transformer.wte.weight", "transformer.ln_f.weight"):
            assert (record[outside].factors.adam, record[outside].factors.eps) == (1.0, 1 / 4)
        # The authors' 1/√(2L) stays that of the base, 1/√4.
        assert record["transformer.h.5.mlp.c_proj.weight"].std == 0.02 / 2 / 2
        branches = [each for each in record.multipliers if each.why == "branch"]
        assert {each.factor for each in branches} == {branch}
        assert len(branches) == 16
        groups = record.parameter_groups(model, 1.0, eps=1e-8)
        assert {group["eps"] for group in groups} == {1e-8 / 4, 1e-8 * branch / 4}


def test_epsilon_falls_as_gradients_do() -> None:
    """CompleteP: Adam's ε stays the same share of every gradient, in blocks and outside."""
    words, wanted = torch.randint(48, (2, 2, 8), generator=torch.Generator().manual_seed(0))
    seen: list[dict[str, tuple[float, float]]] = []
    for width in (64, 256):
        captured = fanin.capture(lambda width=width: gpt2(width, tie_word_embeddings=False))
        record = fanin.parametrize(captured, "complete-p", base=lambda: gpt2(32, tie_word_embeddings=False))
        cross_entropy(captured.model(words).logits.flatten(0, 1), wanted.flatten()).backward()
        seen.append(
            {
                name: (float(parameter.grad.square().mean().sqrt()), record[name].factors.eps)
                for name, parameter in captured.model.named_parameters()
                if parameter.grad is not None and ".attn." not in name
            }
        )
    assert len(seen[0]) == 21
    for name, (gradient, eps) in seen[1].items():
        assert gradient / seen[0][name][0] == pytest.approx(eps / seen[0][name][1], rel=0.2), name


def test_depth_mup_scales_branches_and_adam_by_the_root() -> None:
    record = fanin.parametrize(Deep(8), "depth-mup", base=lambda: Deep(2))
    inside = record["blocks.5.up.weight"].factors
    assert (inside.adam, inside.sgd) == (0.5, 1.0)
    assert {each.factor for each in record.multipliers} == {0.5}
    assert record["tokens.weight"].factors.adam == 1.0


class Deep(Decoder):
    def __init__(self, depth: int) -> None:
        super().__init__(16)
        block = type(self.blocks[0])
        self.blocks = nn.ModuleList(block(16) for _ in range(depth))


def test_spectral_start_is_the_bound_of_the_paper() -> None:
    record = fanin.parametrize(mlp(64), "spectral", base=lambda: mlp(16))
    told = {each.name: each for each in record.tensors}
    # σ ∝ min(1, √(fan_out/fan_in))/√fan_in: hidden as muP, readout 1/m, input as it is.
    assert told["2.weight"].factors.init == 0.5
    assert told["4.weight"].factors.init == 0.25
    assert told["0.weight"].factors.init == 1.0
    assert {name: each.factors.sgd for name, each in told.items()} == {
        "0.weight": 4.0,
        "0.bias": 4.0,
        "2.weight": 1.0,
        "2.bias": 4.0,
        "4.weight": 0.25,
        "4.bias": 1.0,
    }
    assert not record.multipliers
    tied = fanin.parametrize(gpt2(32), "spectral", base=lambda: gpt2(8))
    assert [each.factor for each in tied.multipliers if each.why == "readout"] == [0.25]


def test_zero_starts() -> None:
    model = gpt2(32, tie_word_embeddings=False)
    fanin.parametrize(model, base=lambda: gpt2(8, tie_word_embeddings=False), zero_readout=True, zero_query=True)
    assert not model.lm_head.weight.any()
    packed = model.transformer.h[1].attn.c_attn.weight
    assert not packed[:, :32].any()
    assert packed[:, 32:].all()
    captured = fanin.capture(lambda: gpt2(32, tie_word_embeddings=False))
    fanin.parametrize(captured, base_width=32, zero_readout=True, zero_query=True)
    assert not captured.model.lm_head.weight.any()
    assert not captured.model.transformer.h[1].attn.c_attn.weight[:, :32].any()
    assert captured.model.transformer.h[1].attn.c_attn.weight[:, 32:].all()


def test_multipliers_to_tune() -> None:
    model, tuned = gpt2(16), Tuned(input=3.0, output=0.5, attention=2.0)
    record = fanin.parametrize(model, base_width=16, tuned=tuned)
    assert sorted((each.why, each.factor) for each in record.multipliers) == [
        ("attention", 2.0),
        ("attention", 2.0),
        ("input", 3.0),
        ("input", 3.0),
        ("readout", 0.5),
    ]
    looked = model.transformer.wte(tokens())
    torch.testing.assert_close(looked, 3 * model.transformer.wte.weight[tokens()])


def test_recurrent_and_convolutional_models() -> None:
    class Reader(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.table, self.cell = nn.Embedding(48, width), nn.LSTM(width, width, batch_first=True)
            self.head = nn.Linear(width, 48)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(self.table(x))[0])

    for base in ({"base_width": 8}, {"base": lambda: Reader(8)}):
        record = fanin.parametrize(Reader(32), **base)
        assert kinds(record)["cell.weight_hh_l0"] == kinds(record)["cell.weight_ih_l0"] == "hidden"
        assert record["cell.weight_hh_l0"].std == pytest.approx(1 / sqrt(3 * 32))
        assert record["cell.weight_hh_l0"].factors.adam == 0.25

    def image(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5),
        )  # fmt: skip

    record = fanin.parametrize(image(32), base_width=8, inputs=torch.randn(2, 3, 8, 8))
    assert [each.dims.kind for each in record.tensors] == [
        *("input", "vector", "vector", "vector", "hidden", "vector", "output", "fixed")
    ]


def test_a_base_depth_says_what_a_shallower_base_says() -> None:
    """GPT-2 divides its outputs by √(2L): L is the base's."""
    by_number = fanin.parametrize(gpt2(32, layers=4), "complete-p", base_width=8, base_depth=2, base_head_size=4)
    by_model = fanin.parametrize(gpt2(32, layers=4), "complete-p", base=lambda: gpt2(8, layers=2))
    assert by_number["transformer.h.3.mlp.c_proj.weight"].std == pytest.approx(0.005, rel=1e-10)
    assert by_number.tensors == by_model.tensors
    assert by_number.multipliers == by_model.multipliers
