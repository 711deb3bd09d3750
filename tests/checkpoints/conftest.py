"""Small models of every kind, their plans, and what their values must be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import fanin
from fanin.plans import Plan

logging = pytest.importorskip("transformers.utils.logging")


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """transformers without bars and advice."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.set_verbosity(before)
    logging.enable_progress_bar()


@dataclass(eq=False)
class Sample:
    """A constructor, its plan, and the values that the plan gives under a seed."""

    build: Callable[[], nn.Module]
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        self.plan = fanin.capture(self.build).plan

    def values(self, seed: int, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
        """What materialize writes, by name, each stored tensor once; floating ones as `.to(dtype)` leaves them."""
        held = fanin.materialize(self.build(), self.plan, seed=seed).state_dict()
        return {
            step.name: held[step.name].to(dtype) if dtype and held[step.name].is_floating_point() else held[step.name]
            for step in self.plan.steps
            if step.persistent
        }


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=2, vocab_size=1000, n_positions=64, **ends))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 333}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))


def mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 200}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4}
    return MixtralForCausalLM(MixtralConfig(**sizes, **heads))


def resnet() -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(
        ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10)
    )


def mamba() -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=200, state_size=8))


def lstm() -> nn.Module:
    return nn.ModuleDict(
        {
            "body": nn.LSTM(20, 30, num_layers=2, bidirectional=True),
            "norm": nn.BatchNorm1d(60),
            "head": nn.Linear(60, 5),
        }
    )


BUILDERS = {each.__name__: each for each in (gpt2, llama, mixtral, resnet, mamba, lstm)}
_samples: dict[str, Sample] = {}


@pytest.fixture(params=BUILDERS)
def sample(request: pytest.FixtureRequest) -> Sample:
    """Each of the models."""
    return sample_of(request.param)


def sample_of(name: str) -> Sample:
    """A model by name, captured once."""
    if name not in _samples:
        _samples[name] = Sample(BUILDERS[name])
    return _samples[name]


@pytest.fixture
def small() -> Sample:
    """GPT-2 with two layers: 0.9 MB in float32, one tied tensor."""
    return sample_of("gpt2")


@pytest.fixture(name="read")
def _read() -> Callable[[Path], dict[str, torch.Tensor]]:
    """Reads a checkpoint."""
    return read


@pytest.fixture(name="same_bits")
def _same_bits() -> Callable[..., bool]:
    """Compares two checkpoints."""
    return same_bits


@pytest.fixture(name="sample_of")
def _sample_of() -> Callable[[str], Sample]:
    """Gives a model by name."""
    return sample_of


def read(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, found as transformers finds them."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return load_file(folder / "model.safetensors")
    weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    files = {name: load_file(folder / name) for name in sorted(set(weight_map.values()))}
    assert {key: name for name, held in files.items() for key in held} == weight_map
    return {key: files[name][key] for key, name in weight_map.items()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two checkpoints have the same names, dtypes, shapes and bits."""
    return one.keys() == other.keys() and all(
        (a.dtype, a.shape) == (b.dtype, b.shape) and raw(a) == raw(b)
        for a, b in ((one[name], other[name]) for name in one)
    )


def raw(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor's values."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
