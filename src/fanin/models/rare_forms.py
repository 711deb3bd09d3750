"""The tensors that few transformers models take: parts of detectors and decoders that run on another part's output."""

from __future__ import annotations

from typing import Any

import torch

from fanin.models.argument_forms import BATCH, LENGTH, SHORT, Maker, Sizes, signal, tokens, types, width
from fanin.models.config_fields import Fields

_SIDE = 4


def _maps(sizes: Sizes, *sides: int) -> list[Any]:
    """Maps [batch, width, side, side]; the last has as many places as a row of tokens."""
    return [[signal(BATCH, width(sizes), side, side) for side in sides]]


def _documents(sizes: Sizes) -> int:
    return sizes.text.number("n_docs", default=1)


def _context(sizes: Sizes) -> list[Any]:
    return [torch.ones(BATCH * _documents(sizes), LENGTH, dtype=torch.long)]


def _samples(sizes: Sizes) -> list[Any]:
    return [torch.full((BATCH,), 800 * sizes.audio.number("hop_length", default=160))]


def _patches(sizes: Sizes) -> list[Any]:
    """The features of another encoder, in a row or as a map."""
    return [signal(BATCH, LENGTH, width(sizes)), signal(BATCH, width(sizes), 2 * _SIDE, 2 * _SIDE)]


def _of_layers(sizes: Sizes) -> list[Any]:
    """The states of several layers of another model, side by side."""
    layers = getattr(sizes.config, "target_layer_ids", None) or [0]
    return [signal(BATCH, LENGTH, len(layers) * width(sizes))]


def _actions(sizes: Sizes) -> list[Any]:
    """As wide as the part that acts, not as the one that sees."""
    return [signal(BATCH, LENGTH, Fields(sizes.config, ("dit",)).number("hidden_size", default=width(sizes)))]


def _wide(name: str) -> Maker:
    return lambda sizes: [signal(BATCH, LENGTH, sizes.text.number(name, default=width(sizes)))]


RARE: dict[str, Maker] = {
    "backbone_features": lambda sizes: _maps(sizes, 4 * _SIDE, 2 * _SIDE, _SIDE),
    "vision_features": lambda sizes: _maps(sizes, _SIDE),
    "vision_pos_embeds": lambda sizes: _maps(sizes, _SIDE),
    "text_features": lambda sizes: [signal(BATCH, LENGTH, width(sizes))],
    "context_input_ids": _context,
    "context_attention_mask": _context,
    "doc_scores": lambda sizes: [signal(BATCH, _documents(sizes))],
    "chunk_sample_lengths": _samples,
    "patch_embeds": _patches,
    "patch_ids": lambda sizes: [torch.arange(LENGTH).repeat(BATCH, 1)],
    "num_patches": lambda sizes: [LENGTH],
    "pooled_patches_idx": lambda sizes: [torch.zeros(LENGTH, _SIDE, dtype=torch.long)],
    "context_hidden_states": _of_layers,
    "image_embeds_position_mask": types,
    "thinker_reply_part": _wide("embedding_size"),
    "generation_steps": lambda sizes: [1],
    "condition_vector": lambda sizes: [signal(BATCH, SHORT, sizes.audio.number("mel_dim", default=80))],
    "speaker_embedding": lambda sizes: [signal(BATCH, LENGTH, sizes.audio.number("enc_emb_dim", default=192))],
    "quantized_code": lambda sizes: [
        tokens(sizes)[0][:, : LENGTH // sizes.audio.number("repeats", default=1)],
    ],
    "action_embeds": _actions,
    "time_step": lambda sizes: [signal(BATCH)],
}
