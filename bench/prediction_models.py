"""The models of `./dev bench predictions`: one of each family for all recipes, and one for each recipe of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "recipes"))

WIDTH, TOKENS, BATCH, WORDS = 256, 16, 4, 8192


@dataclass(frozen=True, slots=True)
class Net:
    """A model and its inputs by seed; `recipes` that are meant for it, all where empty."""

    make: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Any]
    recipes: tuple[str, ...] = ()


def _normal(*shape: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: torch.randn(shape, generator=generator)


def _words(*shape: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: torch.randint(3, WORDS, shape, generator=generator)


def _named(**parts: Callable[[torch.Generator], Any]) -> Callable[[torch.Generator], dict[str, Any]]:
    return lambda generator: {name: part(generator) for name, part in parts.items()}


def mlp(activation: Callable[[], nn.Module], depth: int = 4, width: int = 1024) -> nn.Module:
    parts = [part for _ in range(depth) for part in (nn.Linear(width, width), activation())]
    return nn.Sequential(*parts, nn.Linear(width, 256))


def cnn() -> nn.Module:
    """Convolutions with borders, strides and groups, both poolings."""
    return nn.Sequential(
        *(nn.Conv2d(3, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(256, 256, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(256), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 256)),
    )


class Block(nn.Module):
    """Two convolutions with batch norms and a skip; ReLU behind the sum."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()
        self.shortcut = None
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.shortcut is None else self.shortcut(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + skip)


class Stem(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 128, 7, 2, 3, bias=False), nn.BatchNorm2d(128), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


class ResNet(nn.Module):
    """ResNet-18's stem and blocks, at 128 and 256 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem()
        self.layer1 = nn.Sequential(Block(128, 128, 1), Block(128, 128, 1))
        self.layer2 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(256, 256)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.layer2(self.layer1(self.stem(x)))).flatten(1))


def encoder(norm_first: bool, activation: str = "relu") -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        WIDTH, 4, 4 * WIDTH, dropout=0.1, activation=activation, batch_first=True, norm_first=norm_first
    )
    return nn.Sequential(
        nn.Embedding(WORDS, WIDTH),
        nn.TransformerEncoder(layer, 3, enable_nested_tensor=False, norm=nn.LayerNorm(WIDTH) if norm_first else None),
        nn.Linear(WIDTH, WORDS),
    )


class Recurrent(nn.Module):
    """Two recurrent layers and a head on every step."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.embed = nn.Linear(64, WIDTH)
        self.rnn = kind(WIDTH, WIDTH, num_layers=2, batch_first=True, **options)
        self.head = nn.Linear(WIDTH, 256)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0])


def _hf(name: str, kind: str = "", **options: Any) -> Callable[[], nn.Module]:
    """A model of transformers, built from its configuration alone."""

    def make() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{name}Config")(**options)
        return getattr(transformers, kind or f"{name}Model")(config)

    return make


def _page(name: str) -> Callable[[], nn.Module]:
    """A model of docs/recipes/models.py."""

    def make() -> nn.Module:
        from importlib import import_module

        return getattr(import_module("models"), name)()

    return make


_SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": WORDS}
_MARKS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

NETS: Mapping[str, Net] = {
    "MLP, ReLU": Net(lambda: mlp(nn.ReLU), _normal(16, 1024)),
    "MLP, tanh": Net(lambda: mlp(nn.Tanh), _normal(16, 1024)),
    "MLP, GELU": Net(lambda: mlp(nn.GELU), _normal(16, 1024)),
    "CNN": Net(cnn, _normal(BATCH, 3, 16, 16)),
    "ResNet": Net(ResNet, _normal(BATCH, 3, 32, 32)),
    "transformer, post-norm": Net(lambda: encoder(False), _words(BATCH, TOKENS)),
    "transformer, pre-norm": Net(lambda: encoder(True, "gelu"), _words(BATCH, TOKENS)),
    "GPT-2": Net(
        _hf("GPT2", "GPT2LMHeadModel", n_embd=WIDTH, n_layer=3, n_head=4, n_positions=32, vocab_size=WORDS),
        _words(BATCH, TOKENS),
    ),
    "Llama": Net(
        _hf("Llama", "LlamaForCausalLM", **_SIZES, num_key_value_heads=2, intermediate_size=512),
        _words(BATCH, TOKENS),
    ),
    "BERT": Net(_hf("Bert", "BertForMaskedLM", **_SIZES, intermediate_size=1024), _words(BATCH, TOKENS)),
    "ViT": Net(
        _hf(
            "ViT",
            "ViTForImageClassification",
            hidden_size=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=1024,
            image_size=32,
            patch_size=8,
        ),
        _normal(BATCH, 3, 32, 32),
    ),
    "LSTM": Net(lambda: Recurrent(nn.LSTM), _normal(BATCH, TOKENS, 64)),
    "GRU": Net(lambda: Recurrent(nn.GRU), _normal(BATCH, TOKENS, 64)),
    "RNN, tanh": Net(lambda: Recurrent(nn.RNN), _normal(BATCH, TOKENS, 64)),
    "RNN, ReLU": Net(lambda: Recurrent(nn.RNN, nonlinearity="relu"), _normal(BATCH, TOKENS, 64)),
    "SIREN": Net(_page("siren"), _normal(64, 2), ("siren",)),
    "DCGAN": Net(_page("dcgan"), _normal(32, 16, 1, 1), ("dcgan",)),
    "DiT": Net(
        _page("dit"),
        _named(
            images=_normal(BATCH, 4, 8, 8),
            times=_normal(BATCH),
            labels=lambda generator: torch.randint(11, (BATCH,), generator=generator),
        ),
        ("dit",),
    ),
    "Fixup": Net(_page("fixup"), _normal(BATCH, 3, 16, 16), ("fixup", "skipinit")),
    "ReZero": Net(_page("rezero"), _normal(BATCH, 8, 32), ("rezero", "skipinit")),
    "CaiT": Net(_page("layer_scale"), _normal(BATCH, 8, 32), ("layerscale",)),
    "T5": Net(
        _hf(
            "T5",
            "T5ForConditionalGeneration",
            d_model=WIDTH,
            d_kv=64,
            num_heads=4,
            d_ff=1024,
            num_layers=2,
            vocab_size=WORDS,
            decoder_start_token_id=0,
        ),
        _named(input_ids=_words(BATCH, TOKENS), decoder_input_ids=_words(BATCH, TOKENS)),
        ("t5",),
    ),
    "ModernBERT": Net(
        _hf(
            "ModernBert",
            "ModernBertForMaskedLM",
            **_SIZES,
            intermediate_size=512,
            cls_token_id=1,
            sep_token_id=2,
            **_MARKS,
        ),
        _words(BATCH, TOKENS),
        ("modernbert",),
    ),
    "CLIP": Net(
        _hf(
            "CLIP",
            text_config={**_SIZES, **_MARKS, "intermediate_size": 1024, "projection_dim": 128},
            vision_config={
                "hidden_size": WIDTH,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "intermediate_size": 1024,
                "image_size": 32,
                "patch_size": 8,
                "projection_dim": 128,
            },
            projection_dim=128,
        ),
        _named(input_ids=_words(BATCH, TOKENS), pixel_values=_normal(BATCH, 3, 32, 32)),
        ("clip",),
    ),
    "Whisper": Net(
        _hf(
            "Whisper",
            encoder_layers=2,
            decoder_layers=2,
            d_model=WIDTH,
            encoder_ffn_dim=1024,
            decoder_ffn_dim=1024,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            vocab_size=WORDS,
            decoder_start_token_id=3,
            max_source_positions=16,
            num_mel_bins=40,
            **_MARKS,
        ),
        _named(input_features=_normal(BATCH, 40, 32), decoder_input_ids=_words(BATCH, TOKENS)),
        ("whisper",),
    ),
    "ConvNeXt": Net(
        _hf("ConvNext", "ConvNextForImageClassification", hidden_sizes=[64, 128, 192, 256], depths=[1, 1, 2, 1]),
        _normal(BATCH, 3, 64, 64),
        ("convnext",),
    ),
    "EfficientNet": Net(
        _hf(
            "EfficientNet",
            "EfficientNetForImageClassification",
            width_coefficient=1.0,
            depth_coefficient=0.5,
            hidden_dim=1280,
        ),
        _normal(BATCH, 3, 32, 32),
        ("efficientnet",),
    ),
    "HF ResNet-50": Net(
        _hf("ResNet", "ResNetForImageClassification", depths=[2, 2, 2, 2], embedding_size=64),
        _normal(BATCH, 3, 64, 64),
        ("resnet", "native"),
    ),
    "RWKV": Net(
        _hf(
            "Rwkv",
            "RwkvForCausalLM",
            num_hidden_layers=3,
            hidden_size=WIDTH,
            attention_hidden_size=WIDTH,
            intermediate_size=1024,
            vocab_size=WORDS,
            use_cache=False,
        ),
        _words(BATCH, TOKENS),
        ("rwkv",),
    ),
    "Mamba": Net(
        _hf("Mamba", "MambaForCausalLM", num_hidden_layers=3, hidden_size=WIDTH, vocab_size=WORDS, **_MARKS),
        _words(BATCH, TOKENS),
        ("mamba",),
    ),
    "Mamba-2": Net(
        _hf(
            "Mamba2",
            "Mamba2ForCausalLM",
            num_hidden_layers=3,
            hidden_size=WIDTH,
            num_heads=8,
            head_dim=64,
            state_size=16,
            n_groups=1,
            vocab_size=WORDS,
            chunk_size=16,
            **_MARKS,
        ),
        _words(BATCH, TOKENS),
        ("mamba2",),
    ),
}
