"""The defect corpus: one seeded defect for each issue that an audit claims to catch, with the rule and the tensor.

An issue is a number of USERS.md (A1 … L5), "M4.n" for line n of METHODS.md §4, "M0.1" for its table of fans.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers as hf
from safetensors.torch import save_file
from torch import nn

import fanin
from fanin.initializers import Normal, TruncatedNormal

Built = tuple[Any, dict[str, Any]]


class Case(NamedTuple):
    """One defect: what `audit` is called with, and what it must say."""

    name: str
    issue: str
    build: Callable[[Path], Built]
    rule: str
    tensor: str
    cause: str = ""


def mlp() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    fanin.initialize(model, "he")
    return model


def gpt2(**options: Any) -> hf.GPT2LMHeadModel:
    config = hf.GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=99, n_positions=16, bos_token_id=0, eos_token_id=0, **options
    )
    return hf.GPT2LMHeadModel(config)


def llama(width: int = 32, layers: int = 2, **options: Any) -> hf.LlamaForCausalLM:
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=3 * width,
            vocab_size=99,
            **options,
        )
    )


def mixtral() -> hf.MixtralForCausalLM:
    return hf.MixtralForCausalLM(
        hf.MixtralConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=64,
            vocab_size=99,
            num_local_experts=4,
            num_key_value_heads=2,
        )
    )


def t5(**options: Any) -> hf.T5ForConditionalGeneration:
    return hf.T5ForConditionalGeneration(
        hf.T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, vocab_size=99, **options)
    )


def damaged(model: nn.Module, name: str, write: Callable[[torch.Tensor], Any], **options: Any) -> Built:
    """The model after `write` has been at one of its tensors."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        write(tensors[name])
    return model, options


def spiked(_: Path) -> Built:
    def write(tensor: torch.Tensor) -> None:
        nn.init.normal_(tensor, 0, 0.02)
        tensor.view(-1)[[3, 500, 7000]] = -2.0

    return damaged(mlp().bfloat16(), "2.weight", write)


def clamped(_: Path) -> Built:
    model = mlp()
    plan = fanin.plan(model, "he").override({"2.weight": TruncatedNormal(std=0.02)})
    fanin.materialize(model, plan)
    parent = plan["2.weight"].initializer.parent[1]
    return damaged(model, "2.weight", lambda w: w.normal_(0, parent).clamp_(-2 * parent, 2 * parent), plan=plan)


def outlying(_: Path) -> Built:
    def write(tensor: torch.Tensor) -> None:
        nn.init.normal_(tensor, 0, 0.001)
        tensor[5, 7] = 2.0

    return damaged(mlp(), "2.weight", write)


def never_cut_plan(_: Path) -> Built:
    law = TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0)
    model = mlp()
    plan = fanin.plan(model, "he").override({"2.weight": law})
    return fanin.materialize(model, plan), {"plan": plan}


def never_cut(_: Path) -> Built:
    model = mlp()
    plan = fanin.plan(model, "he").override({"2.weight": TruncatedNormal(std=0.02, corrected=False)})
    fanin.materialize(model, plan)
    return damaged(model, "2.weight", lambda w: nn.init.trunc_normal_(w, std=0.0176), plan=plan)


def uncorrected(_: Path) -> Built:
    model = mlp()
    plan = fanin.plan(model, "he").override({"2.weight": TruncatedNormal(std=0.02)})
    fanin.materialize(model, plan)
    return damaged(model, "2.weight", lambda w: nn.init.trunc_normal_(w, 0, 0.02, -0.04, 0.04), plan=plan)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 256, 3)
        self.depthwise = nn.Conv2d(256, 256, 3, groups=256)
        self.up = nn.ConvTranspose2d(256, 32, 3)
        self.head = nn.Conv2d(32, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(self.depthwise(self.stem(x).relu()).relu()).relu())


IMAGES = torch.zeros(1, 3, 8, 8)


def convolutions(recipe: str = "he") -> tuple[Convolutions, fanin.Plan]:
    model = Convolutions()
    return model, fanin.initialize(model, recipe, IMAGES)


def grouped(_: Path) -> Built:
    model, _ = convolutions()
    write = lambda w: nn.init.kaiming_normal_(w, mode="fan_out")  # noqa: E731
    return damaged(model, "depthwise.weight", write, inputs=IMAGES)


def grouped_plan(_: Path) -> Built:
    model, plan = convolutions()
    write = lambda w: nn.init.kaiming_normal_(w, mode="fan_out")  # noqa: E731
    return damaged(model, "depthwise.weight", write, plan=plan)


def transposed(_: Path) -> Built:
    model, plan = convolutions()
    return damaged(model, "up.weight", nn.init.kaiming_normal_, plan=plan)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(64, 192)
        self.out = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (4, 16)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


def packed(_: Path) -> Built:
    model = nn.Sequential(nn.Linear(64, 64), Packed(), nn.Linear(64, 64))
    return damaged(model, "1.qkv.weight", nn.init.xavier_normal_, inputs=torch.zeros(1, 8, 64))


def stacked(_: Path) -> Built:
    return damaged(mixtral(), "model.layers.0.mlp.experts.down_proj", nn.init.kaiming_normal_)


class Scan(nn.Module):
    """A state-space layer whose A is allocated and never written, as remote code has it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 16)
        self.A_log = nn.Parameter(torch.empty(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) * torch.exp(-torch.exp(self.A_log))


def garbage(tensor: torch.Tensor) -> None:
    bits = torch.arange(tensor.numel(), dtype=torch.int64) * 2654435761 % 2**31
    tensor.copy_(bits.to(torch.int32).view(torch.float32).nan_to_num(1e37).view_as(tensor))


def drawn_lora(_: Path) -> Built:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(gpt2(), LoraConfig(r=8, target_modules=["c_attn"], fan_in_fan_out=True))
    for name, tensor in model.named_parameters():
        if "lora_B" in name:
            nn.init.kaiming_uniform_(tensor, 5**0.5)
    return model, {}


def seeded_layers(_: Path) -> Built:
    model = llama()
    for name, tensor in model.named_parameters():
        if "layers" in name and tensor.ndim == 2:
            nn.init.normal_(
                tensor, 0, 0.02, generator=torch.Generator().manual_seed(sum(name.split(".", 3)[3].encode()))
            )
    return model, {}


def deep_copied(_: Path) -> Built:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2), {
        "inputs": torch.zeros(1, 5, 32)
    }


def partitioned(_: Path) -> Built:
    model = mlp()
    model[2].weight = nn.Parameter(torch.empty(0))
    return model, {"inputs": None}


def overwritten(folder: Path) -> Built:
    model = gpt2()
    for tensor in model.parameters():
        tensor.data.add_(0.003 * torch.rand_like(tensor))
    path = folder / "pretrained.safetensors"
    fanin.save(model, path)
    write = lambda w: w.normal_(0, 0.02)  # noqa: E731
    return damaged(model, "transformer.h.1.mlp.c_fc.weight", write, reference=path)


class TiedLanguageModel(nn.Module):
    """A language model of one layer with torch's default embedding tied to its head."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(200, 64)
        self.norm = nn.LayerNorm(64)
        self.body = nn.Linear(64, 64)
        self.head = nn.Linear(64, 200, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(self.table(ids))))


IDS = torch.zeros(1, 4, dtype=torch.int64)


def dead_rule(_: Path) -> Built:
    model = mlp()
    recipe = fanin.recipes.named("he").override({"lm_hed": Normal(std=0.01)})
    return model, {"plan": fanin.initialize(model, recipe)}


def new_rows(_: Path) -> Built:
    model = gpt2()
    before = {"transformer.wte.weight": model.transformer.wte.weight.detach()[:90].clone()}
    with torch.no_grad():
        model.transformer.wte.weight[90:] = 0
    return model, {"reference": before}


def no_base_shapes(_: Path) -> Built:
    import mup

    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), mup.MuReadout(64, 10)), {}


def residual(_: Path) -> Built:
    model = llama(width=128, layers=4)
    for layer in model.model.layers:
        nn.init.normal_(layer.mlp.up_proj.weight, 0, 0.02 / 8**0.5)
    return model, {}


def residual_file(folder: Path) -> Built:
    model, _ = residual(folder)
    path = folder / "model.safetensors"
    fanin.save(model, path)
    return path, {}


def clip(_: Path) -> Built:
    text = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    return hf.CLIPTextModel(hf.CLIPTextConfig(**text, **special, vocab_size=99)), {}


def rwkv(_: Path) -> Built:
    config = hf.RwkvConfig(hidden_size=32, num_hidden_layers=2, vocab_size=99, context_length=16)
    return fanin.capture(lambda: hf.RwkvForCausalLM(config)), {}


def mamba(_: Path) -> Built:
    config = hf.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=99, bos_token_id=0, eos_token_id=0)
    return fanin.capture(lambda: hf.MambaForCausalLM(config)), {}


def siglip(_: Path) -> Built:
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = hf.SiglipVisionConfig(**size, image_size=32, patch_size=8)
    return fanin.capture(lambda: hf.SiglipVisionModel(config)), {}


def chrono(_: Path) -> Built:
    model = nn.LSTM(16, 32)
    with torch.no_grad():
        for bias in (model.bias_ih_l0, model.bias_hh_l0):
            bias.zero_()
            bias[32:64] = torch.log(torch.linspace(1.5, 99, 32))
            bias[:32] = -bias[32:64]
    return model, {}


def same_draw(first: str, second: str) -> Callable[[Path], Built]:
    def build(_: Path) -> Built:
        model = llama()
        return damaged(model, second, lambda w: w.copy_(model.get_parameter(first)))

    return build


def upcycled(_: Path) -> Built:
    return damaged(mixtral(), "model.layers.0.mlp.experts.gate_up_proj", lambda w: w.copy_(w[:1].expand_as(w)))


def gemma(_: Path) -> Built:
    model = hf.GemmaForCausalLM(
        hf.GemmaConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            intermediate_size=64,
            vocab_size=99,
        )
    )
    return damaged(model, "model.layers.0.input_layernorm.weight", nn.init.ones_)


def padded(_: Path) -> Built:
    model = nn.Sequential(nn.Embedding(100, 32, padding_idx=3), nn.Linear(32, 8))
    return damaged(model, "0.weight", lambda w: w.normal_(), inputs=IDS)


def wide(_: Path) -> Built:
    return damaged(mlp(), "2.weight", lambda w: w[64:].copy_(w[:64]))


def untied(_: Path) -> Built:
    model = gpt2()
    model.lm_head.weight = nn.Parameter(torch.randn(99, 32) * 0.02)
    return model, {}


def tied_by_hand(_: Path) -> Built:
    model = gpt2(tie_word_embeddings=False)
    model.lm_head.weight = model.transformer.wte.weight
    return model, {}


def tied_file(folder: Path) -> Built:
    torch.manual_seed(1)
    tensors = {
        "model.embed_tokens.weight": torch.randn(99, 32) * 0.02,
        "model.layers.0.mlp.up_proj.weight": torch.randn(64, 32) * 0.02,
        "model.layers.0.mlp.down_proj.weight": torch.randn(32, 64) * 0.02,
        "lm_head.weight": torch.randn(99, 32) * 0.02,
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": True}), encoding="utf-8")
    return folder / "model.safetensors", {}


def sharded_file(folder: Path) -> Built:
    tensors = {name: tensor.detach().clone() for name, tensor in llama().state_dict().items()}
    broken = "model.layers.1.mlp.down_proj.weight"
    tensors[broken][3, 4] = float("nan")
    names = sorted(tensors)
    where = {
        name: f"model-0000{1 + (place >= len(names) // 2)}-of-00002.safetensors" for place, name in enumerate(names)
    }
    for file in set(where.values()):
        save_file({name: tensors[name] for name in names if where[name] == file}, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder, {}


def reset_by_torch(_: Path) -> Built:
    model = llama()
    plan = fanin.initialize(model, "native")
    model.model.layers[1].mlp.down_proj.reset_parameters()
    return model, {"plan": plan}


def swapped_conv1d(_: Path) -> Built:
    model, name = gpt2(), "transformer.h.0.mlp.c_fc.weight"
    plan = fanin.plan(model, "native").override({name: Normal(std=(2 / 32) ** 0.5)})
    fanin.materialize(model, plan)
    return damaged(model, name, nn.init.kaiming_normal_, plan=plan)


def split_tie(_: Path) -> Built:
    model = TiedLanguageModel()
    plan = fanin.initialize(model, "he", IDS)
    model.head.weight = nn.Parameter(model.table.weight.detach().clone())
    return model, {"plan": plan}


def planless(_: Path) -> Built:
    model = mlp()
    plan = fanin.initialize(model, "he")
    model.append(nn.Linear(10, 10))
    fanin.initialize(model[5], "he")
    return model, {"plan": plan}


HEAD = "lm_head.weight"
LORA_B = "base_model.model.transformer.h.0.attn.c_attn.lora_B.default.weight"
CASES = (
    Case("spikes at -2 in bfloat16", "A1", spiked, "spikes", "2.weight"),
    Case("clamped at two sigmas", "A7", clamped, "spikes", "2.weight"),
    Case("an outlier of 2000 sigmas", "A2", outlying, "outliers", "2.weight"),
    Case("absolute bounds in the plan", "A5", never_cut_plan, "truncation", "2.weight"),
    Case("absolute bounds in the values", "A5", never_cut, "truncation", "2.weight"),
    Case("cut without correction", "A6", uncorrected, "std", "2.weight", "cut at ±2σ without correction"),
    Case("depthwise fan-out", "C1", grouped, "fans", "depthwise.weight"),
    Case("depthwise fan-out, planned", "C2", grouped_plan, "std", "depthwise.weight", "counted over all groups"),
    Case("transposed convolution", "C3", transposed, "std", "up.weight", "were swapped"),
    Case("packed queries, keys, values", "C4", packed, "fans", "1.qkv.weight"),
    Case("GPT-2's Conv1D", "M0.1", swapped_conv1d, "std", "transformer.h.0.mlp.c_fc.weight", "stored [in, out]"),
    Case("stacked experts", "M0.1", stacked, "fans", "model.layers.0.mlp.experts.down_proj"),
    Case("never written", "D1", lambda _: (fanin.capture(Scan), {}), "unwritten", "A_log"),
    Case("stale memory", "D2", lambda _: damaged(mlp(), "2.weight", garbage), "uninitialised", "2.weight"),
    Case("reset by torch's own", "D3", reset_by_torch, "std", "model.layers.1.mlp.down_proj.weight"),
    Case(
        "garbage frequencies",
        "D4",
        lambda _: damaged(llama(), "model.rotary_emb.inv_freq", lambda b: b.fill_(3e-5)),
        "buffers",
        "model.rotary_emb.inv_freq",
    ),
    Case(
        "drawn LoRA B", "D5", drawn_lora, "lora-b", "base_model.model.transformer.h.0.attn.c_attn.lora_B.default.weight"
    ),
    Case("layers of one seed", "E3", seeded_layers, "copies", "model.layers.1.self_attn.q_proj.weight"),
    Case("deep-copied layers", "E2", deep_copied, "copies", "layers.1.self_attn.in_proj_weight"),
    Case("partitioned away", "E8", partitioned, "empty", "2.weight"),
    Case("initialized after the load", "F1", overwritten, "overwritten", "transformer.h.1.mlp.c_fc.weight"),
    Case(
        "a head of NaN",
        "F2",
        lambda _: damaged(llama(), HEAD, lambda w: w.fill_(float("nan"))),
        "non-finite",
        HEAD,
    ),
    Case("a head of 1e37", "F2", lambda _: damaged(llama(), HEAD, lambda w: w[5].fill_(1e37)), "uninitialised", HEAD),
    Case("a renamed tensor", "F5", dead_rule, "dead-rule", "lm_hed"),
    Case("T5's untied head", "F6", lambda _: (t5(tie_word_embeddings=False), {}), "head", "shared.weight"),
    Case("a tied unit embedding", "I1", lambda _: (TiedLanguageModel(), {"inputs": IDS}), "head", "table.weight"),
    Case("unwritten new rows", "G3", new_rows, "new-rows", "transformer.wte.weight"),
    Case("no base shapes", "I2", no_base_shapes, "mup", "0.weight"),
    Case("the factor on w3", "K2", residual, "residual-scale", "model.layers.0.mlp.up_proj.weight"),
    Case("the factor on w3, in a file", "K2", residual_file, "residual-scale", "model.layers.0.mlp.up_proj.weight"),
    Case("CLIP's factor on q, k, v", "M4.3", clip, "known-defect", "encoder.layers.0.self_attn.k_proj.weight"),
    Case("RWKV's time_first", "M4.2", rwkv, "known-defect", "rwkv.blocks.0.attention.time_first"),
    Case("Mamba's linear layers", "M4.4", mamba, "known-defect", "backbone.embeddings.weight"),
    Case("transformers' lecun_normal_", "M4.1", siglip, "known-defect", "embeddings.patch_embedding.weight"),
    Case("both LSTM biases", "M4.16", chrono, "forget-bias", "bias_hh_l0"),
    Case(
        "one seed for q and k",
        "L2",
        same_draw("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"),
        "copies",
        "model.layers.0.self_attn.k_proj.weight",
    ),
    Case(
        "w1 and w3",
        "L4",
        same_draw("model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        "copies",
        "model.layers.0.mlp.up_proj.weight",
    ),
    Case("upcycled experts", "L5", upcycled, "experts", "model.layers.0.mlp.experts.gate_up_proj"),
    Case("widened without noise", "L5", wide, "twins", "2.weight"),
    Case(
        "a norm of zeros",
        "D2",
        lambda _: damaged(llama(), "model.layers.0.input_layernorm.weight", nn.init.zeros_),
        "norm-scale",
        "model.layers.0.input_layernorm.weight",
    ),
    Case("Gemma's norm of ones", "F3", gemma, "norm-scale", "model.layers.0.input_layernorm.weight"),
    Case("a padding row", "F3", padded, "padding", "0.weight"),
    Case("a constant", "D2", lambda _: damaged(mlp(), "2.weight", lambda w: w.fill_(0.01)), "constant", "2.weight"),
    Case("zeros", "D1", lambda _: damaged(mlp(), "2.weight", nn.init.zeros_), "constant", "2.weight"),
    Case("a lost tie", "D4", untied, "ties", HEAD),
    Case("a tie too many", "I1", tied_by_hand, "ties", "transformer.wte.weight"),
    Case("a tie of the plan", "I1", split_tie, "ties", "head.weight"),
    Case("a tie in a file", "G2", tied_file, "ties", HEAD),
    Case("NaN in a shard", "F2", sharded_file, "non-finite", "model.layers.1.mlp.down_proj.weight"),
    Case(
        "underflow",
        "A7",
        lambda _: damaged(mlp().half(), "2.weight", lambda w: w.normal_(0, 1e-5)),
        "underflow",
        "2.weight",
    ),
    Case("overflow", "A7", lambda _: damaged(mlp().half(), "4.bias", lambda b: b.fill_(6e4)), "overflow", "4.bias"),
    Case(
        "integers read as floats",
        "D1",
        lambda _: damaged(
            mlp(),
            "2.weight",
            lambda w: w.copy_(torch.arange(w.numel(), dtype=torch.int32).view(torch.float32).view_as(w)),
        ),
        "denormal",
        "2.weight",
    ),
    Case(
        "variances of zero",
        "D4",
        lambda _: damaged(nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16)), "1.running_var", nn.init.zeros_),
        "buffers",
        "1.running_var",
    ),
    Case("a layer added after the plan", "E4", planless, "unplanned", "5.weight"),
)
