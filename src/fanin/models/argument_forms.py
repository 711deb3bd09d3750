"""The tensors that arguments of transformers models take, in the shapes that the config tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fanin.models.config_fields import AUDIO, IMAGE, TEXT, Fields

BATCH = 2
LENGTH = 16
_FRAMES = 8
SHORT = 200
_WAVE = 23040
# Where the config does not say how large images are: multiples of the usual patches and windows.
_SIDES = ((384, 384), (560, 560), (1536, 1536))


# Each argument's tensor in the shapes that models take it in, the most frequent first.
Maker = Callable[["Sizes"], list[Any]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the shapes of inputs are made of: the config, the arguments of forward, and placeholders among tokens."""

    config: Any
    arguments: frozenset[str]
    annotations: dict[str, str]
    placeholders: tuple[tuple[int, int], ...] = ()
    widths: tuple[tuple[str, int], ...] = ()

    @property
    def text(self) -> Fields:
        return Fields(self.config, TEXT)

    @property
    def image(self) -> Fields:
        return Fields(self.config, IMAGE)

    @property
    def audio(self) -> Fields:
        return Fields(self.config, AUDIO)

    @property
    def length(self) -> int:
        """Tokens in a row, placeholders included."""
        return LENGTH + sum(count for _, count in self.placeholders)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Time, height and width of an image in patches, for models that take patches in a row."""
        side = 2 * self.image.number("spatial_merge_size", "merge_kernel_size", "downsample_factor", default=2)
        return 1, side, side


def signal(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def tokens(sizes: Sizes, name: str = "") -> list[Any]:
    vocabulary = sizes.text.number("vocab_size", "text_vocab_size", "n_vocab", default=64)
    row = (torch.arange(LENGTH) + 5) % vocabulary
    fillers = [torch.full((count,), token) for token, count in sizes.placeholders]
    rows = torch.cat((row[:4], *fillers, row[4:])).repeat(BATCH, 1)
    if name == "input_ids" and "decoder_input_ids" in sizes.arguments:
        return [rows]
    codebooks = _codebooks(sizes)
    if not codebooks:
        return [rows]
    codes = row.clamp(max=30)
    columns = [codes[:, None].expand(BATCH, -1, count).clone() for count in (codebooks, codebooks + 1)]
    flat, step = codes.repeat(BATCH * codebooks, 1), codes[:codebooks].repeat(BATCH, 1)
    return [rows, codes.expand(BATCH, codebooks, -1).clone(), *columns, step, flat]


def _codebooks(sizes: Sizes) -> int:
    """How many codes stand at one place of a sequence, of models whose tokens are sounds."""
    names = ["num_codebooks", "n_codebooks", "num_vq", "num_quantizers"]
    text = getattr(sizes.config, "text_config", None)
    if text is not None:  # then others belong to the sounds that it reads
        return next((number for part in (sizes.config, text) for number in _own(part, names)), 0)
    # Where there are images, channels are theirs.
    return sizes.text.number(*names, *([] if "pixel_values" in sizes.arguments else ["num_channels"]), default=0)


def _own(config: Any, names: list[str]) -> list[int]:
    return [value for name in names if isinstance(value := getattr(config, name, None), int)]


def _row(value: int) -> Maker:
    return lambda sizes: [torch.full((BATCH, sizes.length), value)]


def types(sizes: Sizes) -> list[Any]:
    marks = [torch.ones(count, dtype=torch.long) for _, count in sizes.placeholders]
    rest = torch.zeros(LENGTH, dtype=torch.long)
    return [torch.cat((rest[:4], *marks, rest[4:])).repeat(BATCH, 1)]


def _images(sizes: Sizes) -> list[Any]:
    channels = sizes.image.number("num_channels", "in_channels", "in_chans", "image_channels", default=3)
    if sizes.arguments & _GRIDS:
        return _patches(sizes, channels)
    side = sizes.image.pair("image_size", "img_size", "input_size", "max_img_size", default=_side_of_codes(sizes))
    frames = sizes.image.number("num_frames", "frames_per_clip", default=_FRAMES)
    flat, video = signal(BATCH, channels, *side), signal(BATCH, frames, channels, *side)
    several = [signal(BATCH, 2, channels, *side), signal(BATCH, 1, 4, channels, *side)]
    temporal = sizes.image.has("num_frames", "frames_per_clip", "tubelet_size")
    others = [signal(BATCH, channels, *other) for other in ((side[0] // 2, side[1]), *_SIDES)]
    if temporal:
        # Frames may also stand in the batch.
        return [video, flat, *([signal(frames, channels, *side)] * sizes.image.has("num_frames")), *several, *others]
    return [flat, video, *_cut(sizes, channels), *several, *others]


def _side_of_codes(sizes: Sizes) -> int:
    """The side of images that a model cuts into a fixed number of codes, halving them between its levels."""
    codes, levels = getattr(sizes.config, "num_patches", None), getattr(sizes.config, "channel_multiplier", None)
    return codes * 2 ** (len(levels) - 1) if codes and levels else 224


def _cut(sizes: Sizes, channels: int) -> list[Any]:
    """Images that were cut into patches before, where the config shows that the model takes such."""
    patch = sizes.image.number("patch_size", default=14)
    forms: list[Any] = []
    if sizes.image.has("num_position_embeddings"):
        count = sizes.image.number("num_position_embeddings", default=1)
        forms.append(signal(BATCH, count, patch * patch * channels))
    if sizes.image.has("temporal_patch_size"):
        forms.append(signal(BATCH, sizes.image.number("temporal_patch_size", default=1), patch, patch, channels))
    return forms


def _patches(sizes: Sizes, channels: int) -> list[Any]:
    time, rows, columns = sizes.grid
    count = BATCH * time * rows * columns
    patch = sizes.image.number("patch_size", "encoder_patch_size", default=14)
    depth = sizes.image.number("temporal_patch_size", default=1)
    values = channels * depth * patch * patch
    if "target_sizes" in sizes.arguments:
        return [signal(1, channels, patch, count * patch)]
    return [
        signal(count, values),
        signal(count, channels, patch, patch),
        signal(BATCH, count // BATCH, values),
        signal(count, channels, depth, patch, patch),
        signal(1, count, channels, patch, patch),
        signal(count, *(patch * sizes.image.number("spatial_merge_size", default=2),) * 2, channels),
    ]


def _mel(sizes: Sizes) -> list[Any]:
    names = ("num_mel_bins", "n_mels", "feature_size", "input_feat_per_channel", "feature_projection_input_dim")
    bins = sizes.audio.number(*names, "num_mel", "input_feat_size", "feat_dim", "input_dim", default=80)
    bins *= sizes.audio.number("num_stacked_frames", default=1)
    if "feature_lens" in sizes.arguments:
        return [signal(bins, BATCH * SHORT)]
    frames = 2 * sizes.audio.number("max_source_positions", default=0) or 800
    if "input_values" in sizes.arguments and sizes.audio.has("hop_length"):
        frames = _WAVE // sizes.audio.number("hop_length", default=1)  # the same sound as a wave
    shapes = ((bins, frames), (frames, bins), (1, frames, bins), (1, 1001, 64), (frames, 128))
    return [signal(BATCH, *shape) for shape in shapes]


def _frames(sizes: Sizes) -> list[int]:
    return [
        max(form.shape[1:]) if form.dim() == 4 else form.shape[axis]
        for form, axis in zip(_mel(sizes), (2, 1, 2, 2, 1), strict=True)
    ]


def _wave(sizes: Sizes) -> list[Any]:
    frames = sizes.audio.number("max_length", default=1024)
    bins = sizes.audio.number("num_mel_bins", default=80)
    tokens = torch.arange(LENGTH).repeat(BATCH, 1)
    return [signal(BATCH, _WAVE), signal(BATCH, 1, _WAVE), signal(BATCH, frames, bins), tokens]


def _past(sizes: Sizes) -> int:
    lags = getattr(sizes.config, "lags_sequence", None) or [0]
    return sizes.text.number("context_length", default=64) + max(lags)


def _series(sizes: Sizes) -> list[Any]:
    channels = sizes.text.number("num_input_channels", "input_size", default=1)
    if sizes.config.model_type.startswith("timesfm"):
        return [[signal(_past(sizes)) for _ in range(BATCH)], signal(BATCH, _past(sizes))]
    several = signal(BATCH, _past(sizes), channels)
    return [signal(BATCH, _past(sizes)), several] if channels == 1 else [several]


def _observed(sizes: Sizes) -> list[Any]:
    return [torch.ones(form.shape) for form in _series(sizes) if isinstance(form, torch.Tensor)]


def _future(sizes: Sizes) -> int:
    return sizes.text.number("prediction_length", default=8)


def _grid(sizes: Sizes) -> list[Any]:
    return [torch.tensor([sizes.grid] * BATCH)]


def width(sizes: Sizes) -> int:
    return sizes.text.number("encoder_hidden_size", "cross_attention_hidden_size", "hidden_size", "d_model", default=64)


def states(sizes: Sizes) -> list[Any]:
    if sizes.arguments & _GRIDS:
        return _patches(sizes, sizes.image.number("in_channels", "num_channels", "in_chans", default=3))[:1]
    noise = ("mel_dim",) if "quantized_code" in sizes.arguments else ()
    features = sizes.audio.number(*noise, "input_dim", "input_size", "input_feat_size", default=width(sizes))
    channels = sizes.image.number("in_channels", "num_channels", "in_chans", default=3)
    image = signal(BATCH, channels, *sizes.image.pair("image_size", default=224))
    return [signal(BATCH, LENGTH, features), signal(BATCH, LENGTH, width(sizes)), image]


def _sequence(*names: str) -> Maker:
    """A signal [batch, length, width], its width under one of `names` or the model's own."""
    return lambda sizes: [signal(BATCH, LENGTH, sizes.text.number(*names, default=width(sizes)))]


def _present(sizes: Sizes) -> list[Any]:
    """Which patches there are, or which images, for a model that acts on what two cameras show."""
    count = 2 if "action_embeds" in sizes.arguments else sizes.grid[1] * sizes.grid[2]
    return [torch.ones(BATCH, count, dtype=torch.long)]


# Arguments that say how an image falls into patches, which come in a row then.
_GRIDS = frozenset(
    ("grid_thw", "image_grid_thw", "image_grid_hw", "spatial_shapes", "target_sizes", "pixel_position_ids")
)

MAKERS: dict[str, Maker] = {
    "input_ids": lambda sizes: tokens(sizes, "input_ids"),
    **dict.fromkeys(("decoder_input_ids", "qformer_input_ids", "protein_input_ids"), tokens),
    **dict.fromkeys(("audio_input_ids", "audio_codes", "codes"), lambda sizes: tokens(sizes)[::-1]),
    **dict.fromkeys(("attention_mask", "protein_attention_mask", "qformer_attention_mask"), _row(1)),
    "mm_token_type_ids": types,
    **dict.fromkeys(("pixel_values", "image", "pixel_values_videos", "prompt_pixel_values", "prompt_masks"), _images),
    **dict.fromkeys(("grid_thw", "image_grid_thw"), _grid),
    "image_grid_hw": lambda sizes: [_grid(sizes)[0][:, 1:]],
    "spatial_shapes": lambda sizes: [_grid(sizes)[0][:, 1:]],
    "target_sizes": lambda sizes: [_grid(sizes)[0][:, 1:]],
    "pixel_attention_mask": _present,
    "merge_sizes": lambda sizes: [torch.ones(BATCH, dtype=torch.long)],
    "input_features": _mel,
    "audio_mel": _mel,
    "input_features_mask": lambda sizes: [torch.ones(BATCH, frames, dtype=torch.long) for frames in _frames(sizes)],
    "audio_mel_mask": lambda sizes: [torch.zeros(BATCH, frames, dtype=torch.bool) for frames in _frames(sizes)],
    "feature_lens": lambda sizes: [torch.full((BATCH,), SHORT)],
    "mask": lambda sizes: [torch.ones(BATCH, LENGTH, dtype=torch.bool)],
    "image_attention_mask": lambda sizes: [torch.ones(BATCH, sizes.length, 2, dtype=torch.long)],
    "is_longer": lambda sizes: [torch.zeros(BATCH, 1, dtype=torch.bool)],
    "spectrogram": lambda sizes: [signal(BATCH, 64, sizes.audio.number("model_in_dim", "num_mel_bins", default=80))],
    "mel_spectrogram": lambda sizes: [signal(BATCH, sizes.audio.number("mel_dim", "num_mel_bins", default=80), 64)],
    "latents": lambda sizes: [signal(BATCH, sizes.audio.number("latent_dim", "hidden_size", default=64), 32)],
    "input_values": _wave,
    "decoder_input_values": lambda sizes: [signal(BATCH, LENGTH, sizes.audio.number("num_mel_bins", default=80))],
    "past_values": _series,
    "past_observed_mask": _observed,
    "past_values_padding": lambda sizes: [torch.zeros(BATCH, _past(sizes), dtype=torch.long)],
    "freq": lambda sizes: [torch.zeros(BATCH, 1, dtype=torch.long)],
    "past_time_features": lambda sizes: [
        signal(BATCH, _past(sizes), sizes.text.number("num_time_features", default=0))
    ],
    "future_values": lambda sizes: [signal(BATCH, _future(sizes))],
    "future_time_features": lambda sizes: [
        signal(BATCH, _future(sizes), sizes.text.number("num_time_features", default=0))
    ],
    "states": _sequence("state_dim"),
    "actions": _sequence("act_dim"),
    "rewards": lambda sizes: [signal(BATCH, LENGTH, 1)],
    "returns_to_go": lambda sizes: [signal(BATCH, LENGTH, 1)],
    "timesteps": lambda sizes: [torch.arange(LENGTH).repeat(BATCH, 1)],
    "bbox": lambda sizes: [torch.zeros(BATCH, LENGTH, 4, dtype=torch.long), signal(BATCH, LENGTH, 4)],
    "visual_feats": lambda sizes: [signal(BATCH, LENGTH, sizes.image.number("visual_feat_dim", default=2048))],
    "visual_pos": lambda sizes: [signal(BATCH, LENGTH, 4)],
    "flattened_patches": lambda sizes: [
        torch.ones(BATCH, 64, 2 + sizes.image.number("patch_embed_hidden_size", default=768))
    ],
    "encoder_hidden_states": _sequence("encoder_hidden_size", "cross_attention_hidden_size"),
    "hidden_states": states,
    "context": states,
    "inputs_embeds": _sequence(),
    "query_embeds": _sequence(),
    "last_hidden_state": lambda sizes: [
        signal(BATCH, count, sizes.text.number("input_size", default=width(sizes))) for count in (LENGTH, 1)
    ],
    "pixel_position_ids": lambda sizes: [torch.zeros(BATCH, sizes.grid[1] * sizes.grid[2], 2, dtype=torch.long)],
    "aspect_ratio_ids": lambda sizes: [torch.ones(BATCH, 1, dtype=torch.long)],
    "aspect_ratio_mask": lambda sizes: [torch.ones(BATCH, 1, 4, dtype=torch.long)],
    "cross_attention_mask": lambda sizes: [torch.ones(BATCH, sizes.length, 1, 4, dtype=torch.long)],
    "task_inputs": lambda sizes: [torch.zeros(BATCH, sizes.text.number("task_seq_len", default=77), dtype=torch.long)],
    "image_sizes": lambda sizes: [torch.tensor([sizes.image.pair("image_size", default=224)] * BATCH)],
}
