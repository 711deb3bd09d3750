"""Sizes in which transformers' models were published: the fields of their configs, and how many parameters they have.

Dimensions are those of each model's `config.json`, compared with a second public copy or table:

- Llama 3.x, Mistral, Mixtral, Qwen3 0.6B and 1.7B, GPT-2 small and medium: mlc-ai/mlc-llm at 79d603f,
  python/mlc_llm/model/model_preset.py; Llama 405B and the larger Qwen3: Lightning-AI/litgpt at 2685705,
  litgpt/config.py; both copy the published files
- Mamba: table "Pretrained Models" in the README of state-spaces/mamba at e9594ce
- GPT-2: Radford et al. 2019, table 2; BERT: Devlin et al. 2018 (arXiv 1810.04805), section 3; ViT: Dosovitskiy et al.
  2020 (arXiv 2010.11929), table 1

Counts of parameters are those of the published weights, tied tensors once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """One published size.

    Attributes:
        origin: whose config it is.
        parameters: how many the published model has, tied ones once.
        fields: of the config; all others as transformers has them.
    """

    origin: str
    parameters: int
    fields: Mapping[str, Any]


def _llama3(hidden: int, mlp: int, layers: int, heads: int, factor: float, *, tied: bool = False) -> dict[str, Any]:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    return {
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_parameters": rope,
        "tie_word_embeddings": tied,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
    }


def _qwen3(hidden: int, mlp: int, layers: int, heads: int, *, tied: bool = False) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "max_window_layers": layers,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        "tie_word_embeddings": tied,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
    }


def _mistral(vocabulary: int, theta: float, window: int | None) -> dict[str, Any]:
    return {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": vocabulary,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "sliding_window": window,
        "tie_word_embeddings": False,
    }


def _gpt2(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": 1024, "vocab_size": 50257}


def _mamba(width: int, layers: int) -> dict[str, Any]:
    return {"hidden_size": width, "num_hidden_layers": layers, "vocab_size": 50280, "state_size": 16, "expand": 2}


def _encoder(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


def _bert(width: int, layers: int, heads: int) -> dict[str, Any]:
    return _encoder(width, layers, heads) | {"vocab_size": 30522, "max_position_embeddings": 512}


def _vit(width: int, layers: int, heads: int) -> dict[str, Any]:
    return _encoder(width, layers, heads) | {"image_size": 224, "patch_size": 16, "num_labels": 1000}


PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "llama": {
        "1b": Preset("Llama 3.2 1B", 1_235_814_400, _llama3(2048, 8192, 16, 32, 32.0, tied=True)),
        "3b": Preset("Llama 3.2 3B", 3_212_749_824, _llama3(3072, 8192, 28, 24, 32.0, tied=True)),
        "8b": Preset("Llama 3.1 8B", 8_030_261_248, _llama3(4096, 14336, 32, 32, 8.0)),
        "70b": Preset("Llama 3.1 70B", 70_553_706_496, _llama3(8192, 28672, 80, 64, 8.0)),
        "405b": Preset("Llama 3.1 405B", 405_853_388_800, _llama3(16384, 53248, 126, 128, 8.0)),
    },
    "qwen3": {
        "0.6b": Preset("Qwen3-0.6B", 596_049_920, _qwen3(1024, 3072, 28, 16, tied=True)),
        "1.7b": Preset("Qwen3-1.7B", 1_720_574_976, _qwen3(2048, 6144, 28, 16, tied=True)),
        "4b": Preset("Qwen3-4B", 4_022_468_096, _qwen3(2560, 9728, 36, 32, tied=True)),
        "8b": Preset("Qwen3-8B", 8_190_735_360, _qwen3(4096, 12288, 36, 32)),
        "14b": Preset("Qwen3-14B", 14_768_307_200, _qwen3(5120, 17408, 40, 40)),
        "32b": Preset("Qwen3-32B", 32_762_123_264, _qwen3(5120, 25600, 64, 64)),
    },
    "mistral": {
        "7b": Preset("Mistral-7B-v0.1", 7_241_732_096, _mistral(32000, 10000.0, 4096)),
        "7b-v0.3": Preset("Mistral-7B-v0.3", 7_248_023_552, _mistral(32768, 1000000.0, None)),
    },
    "mixtral": {
        "8x7b": Preset(
            "Mixtral-8x7B-v0.1",
            46_702_792_704,
            _mistral(32000, 1000000.0, None)
            | {"num_local_experts": 8, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.02},
        ),
    },
    "gpt2": {
        "small": Preset("gpt2", 124_439_808, _gpt2(768, 12, 12)),
        "medium": Preset("gpt2-medium", 354_823_168, _gpt2(1024, 24, 16)),
        "large": Preset("gpt2-large", 774_030_080, _gpt2(1280, 36, 20)),
        "xl": Preset("gpt2-xl", 1_557_611_200, _gpt2(1600, 48, 25)),
    },
    "mamba": {
        "130m": Preset("mamba-130m-hf", 129_135_360, _mamba(768, 24)),
        "370m": Preset("mamba-370m-hf", 371_516_416, _mamba(1024, 48)),
        "790m": Preset("mamba-790m-hf", 793_204_224, _mamba(1536, 48)),
        "1.4b": Preset("mamba-1.4b-hf", 1_372_178_432, _mamba(2048, 48)),
        "2.8b": Preset("mamba-2.8b-hf", 2_768_345_600, _mamba(2560, 64)),
    },
    "bert": {
        "base": Preset("bert-base-uncased", 109_514_298, _bert(768, 12, 12)),
        "large": Preset("bert-large-uncased", 335_174_458, _bert(1024, 24, 16)),
    },
    "vit": {
        "base": Preset("vit-base-patch16-224", 86_567_656, _vit(768, 12, 12)),
        "large": Preset("vit-large-patch16-224", 304_326_632, _vit(1024, 24, 16)),
    },
}
