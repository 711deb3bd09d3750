"""Small models of every kind, and the ways to shard them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import fanin


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=24, n_head=3, vocab_size=101, n_positions=16))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=2, hidden_size=24, intermediate_size=36, num_attention_heads=6, num_key_value_heads=2,
        vocab_size=97, max_position_embeddings=16, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def moe() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        num_hidden_layers=1, hidden_size=16, intermediate_size=20, num_attention_heads=4, num_key_value_heads=2,
        num_local_experts=3, num_experts_per_tok=2, vocab_size=53, max_position_embeddings=16,
    )  # fmt: skip
    return MixtralForCausalLM(config)


def resnet18() -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[2, 2, 2, 2], layer_type="basic", num_labels=7
    )
    return ResNetForImageClassification(config)


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(31, 10)
        self.lstm = nn.LSTM(10, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(24, 31)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0])


def mamba() -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(num_hidden_layers=2, hidden_size=16, state_size=4, vocab_size=61, time_step_rank=3)
    return MambaForCausalLM(config)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": gpt2,
    "llama": llama,
    "moe": moe,
    "resnet18": resnet18,
    "lstm": Lstm,
    "mamba": mamba,
}
RECIPES = ("native", "orthogonal")


@cache
def plan_of(model: str, recipe: str) -> fanin.Plan:
    return fanin.plan(MODELS[model], recipe)


def real(model: str) -> nn.Module:
    return MODELS[model]()


def shard(model: nn.Module, how: str, world: int) -> nn.Module:
    """`model` sharded over all ranks: "fsdp", "hsdp" or "fsdp-tp"."""
    if how == "fsdp":
        return _fully_sharded(model, init_device_mesh("cpu", (world,), mesh_dim_names=("dp",)))
    if how == "hsdp":
        return _fully_sharded(model, init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("replicate", "shard")))
    mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("dp", "tp"))
    _tensor_parallel(model, mesh["tp"])
    return _fully_sharded(model, mesh["dp"])


def _fully_sharded(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    for layers in (child for child in model.modules() if isinstance(child, nn.ModuleList)):
        for layer in layers:
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _tensor_parallel(model: nn.Module, mesh: DeviceMesh) -> None:
    """Linear layers by torch's own styles in turn; other tensors split along their first two dimensions in turn."""
    tied = _tied(model)
    modules = [module for module in model.modules() if not any(id(p) in tied for p in module.parameters(recurse=False))]
    for number, module in enumerate(modules):
        if isinstance(module, nn.Linear):
            parallelize_module(module, mesh, ColwiseParallel() if number % 2 else RowwiseParallel())
            continue
        for key, parameter in list(module.named_parameters(recurse=False)):
            if parameter.ndim > 1:
                placement = Shard(number % 2 if parameter.shape[1] > 1 else 0)  # torch gathers no doubly empty shards
                split = distribute_tensor(parameter.detach(), mesh, [placement], src_data_rank=None)
                module.register_parameter(key, nn.Parameter(split, parameter.requires_grad))


def _tied(model: nn.Module) -> set[int]:
    seen: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        seen[id(parameter)] = seen.get(id(parameter), 0) + 1
    return {key for key, count in seen.items() if count > 1}
