"""Models with nothing wrong: name → a function that makes one, and what to trace it with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import nn

import fanin

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
GROUPED = SIZES | {"num_key_value_heads": 2}
BOTH_SIDES = {
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 64 for side in ("encoder", "decoder")},
    "d_model": 32,
    "vocab_size": 99,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 1}


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, groups=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def of(model: Any, config: Any, **sizes: Any) -> Callable[[], nn.Module]:
    return lambda: model(config(**sizes))


TORCH = {
    "Linear": lambda: nn.Linear(64, 64),
    "MLP": lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
    "convolutions": convolutional,
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(64, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4)),
    "GroupNorm": lambda: nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(4, 32), nn.ReLU(), nn.Conv2d(32, 8, 1)),
    "LSTM": lambda: nn.LSTM(32, 64, 2),
    "GRU": lambda: nn.GRU(32, 64, bidirectional=True),
    "RNN": lambda: nn.RNN(32, 64),
    "MultiheadAttention": lambda: nn.MultiheadAttention(64, 4),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(64, 4, 128),
    "Transformer": lambda: nn.Transformer(32, 4, 2, 2, 64, batch_first=True),
    "Embedding": lambda: nn.Embedding(100, 32, padding_idx=0),
    "EmbeddingBag": lambda: nn.Sequential(nn.EmbeddingBag(100, 32), nn.Linear(32, 5)),
    "Bilinear": lambda: nn.Bilinear(16, 16, 32),
    "PReLU": lambda: nn.Sequential(nn.Linear(32, 32), nn.PReLU(), nn.Linear(32, 4)),
}
TRANSFORMERS = {
    "GPT-2": of(
        hf.GPT2LMHeadModel, hf.GPT2Config, n_embd=32, n_layer=2, n_head=4, vocab_size=99, n_positions=64, **SPECIAL
    ),
    "Llama": of(hf.LlamaForCausalLM, hf.LlamaConfig, **SIZES),
    "BERT": of(hf.BertForMaskedLM, hf.BertConfig, **SIZES),
    "BERT, classifier": of(hf.BertForSequenceClassification, hf.BertConfig, **SIZES),
    "RoBERTa": of(hf.RobertaModel, hf.RobertaConfig, **SIZES),
    "T5": of(
        hf.T5ForConditionalGeneration,
        hf.T5Config,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        vocab_size=99,
    ),
    "Mistral": of(hf.MistralForCausalLM, hf.MistralConfig, **GROUPED),
    "Qwen3": of(hf.Qwen3ForCausalLM, hf.Qwen3Config, **GROUPED, head_dim=8),
    "Gemma 2": of(hf.Gemma2ForCausalLM, hf.Gemma2Config, **GROUPED, head_dim=8),
    "Phi": of(hf.PhiForCausalLM, hf.PhiConfig, **SIZES),
    "OPT": of(
        hf.OPTForCausalLM,
        hf.OPTConfig,
        hidden_size=32,
        word_embed_proj_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        vocab_size=99,
    ),
    "BLOOM": of(hf.BloomForCausalLM, hf.BloomConfig, hidden_size=32, n_layer=2, n_head=4, vocab_size=99),
    "GPT-NeoX": of(hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, **SIZES),
    "Mixtral": of(hf.MixtralForCausalLM, hf.MixtralConfig, **GROUPED, num_local_experts=4),
    "OLMo 2": of(hf.Olmo2ForCausalLM, hf.Olmo2Config, **SIZES),
    "Falcon": of(hf.FalconForCausalLM, hf.FalconConfig, **SIZES),
    "ALBERT": of(hf.AlbertModel, hf.AlbertConfig, **SIZES, embedding_size=32),
    "DeBERTa": of(hf.DebertaV2Model, hf.DebertaV2Config, **SIZES),
    "BART": of(hf.BartForConditionalGeneration, hf.BartConfig, **BOTH_SIDES),
    "Whisper": of(hf.WhisperForConditionalGeneration, hf.WhisperConfig, **BOTH_SIDES),
    "ViT": of(
        hf.ViTForImageClassification,
        hf.ViTConfig,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    ),
    "ResNet": of(
        hf.ResNetForImageClassification,
        hf.ResNetConfig,
        embedding_size=16,
        hidden_sizes=[16, 32, 32, 32],
        depths=[1, 1, 1, 1],
    ),
    "ConvNeXt": of(
        hf.ConvNextForImageClassification, hf.ConvNextConfig, hidden_sizes=[16, 32, 32, 32], depths=[1, 1, 1, 1]
    ),
    "Swin": of(
        hf.SwinForImageClassification,
        hf.SwinConfig,
        image_size=32,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 4],
        window_size=4,
    ),
    "wav2vec 2.0": of(
        hf.Wav2Vec2Model,
        hf.Wav2Vec2Config,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=(16, 16),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    ),
}
OWN = {name: (lambda name=name: fanin.models.build(name)) for name in ("mnist-fc", "mnist-cnn", "mlp:784-500-10")}
MODELS: dict[str, Callable[[], nn.Module]] = {**TORCH, **TRANSFORMERS, **OWN}


def trained() -> nn.Module:
    """A small model after enough steps for its weights to be no law's any more, its norms moved."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.LayerNorm(128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.LayerNorm(128),
        nn.ReLU(),
        nn.Linear(128, 8),
    )
    fanin.initialize(model, "he")
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    inputs = torch.randn(128, 64, generator=generator)
    labels = (inputs[:, :8] * 3).argmax(1)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model
