"""The types whose native plans are compared with their constructors: a wide choice, each small enough for a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fanin.models.huggingface import type_factory

Options = dict[str, Any]

_HIDDEN: Options = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT: Options = _HIDDEN | {"intermediate_size": 96, "vocab_size": 400}
_BERT: Options = _TEXT | {"max_position_embeddings": 40}
_LLAMA: Options = _TEXT | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_MOE: Options = _LLAMA | {"moe_intermediate_size": 16, "num_experts_per_tok": 2}
_VIT: Options = _HIDDEN | {"intermediate_size": 96, "image_size": 32, "patch_size": 8}
_BART: Options = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 400,
}  # fmt: skip
_T5: Options = {"d_model": 64, "d_kv": 8, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 400}
_GPT2: Options = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 400, "n_positions": 40}
_WAVE: Options = _HIDDEN | {
    "intermediate_size": 96, "vocab_size": 32, "conv_dim": [16] * 3, "conv_stride": [5, 2, 2],
    "conv_kernel": [10, 3, 2],
    "num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_SERIES: Options = {
    "prediction_length": 8, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
}  # fmt: skip

TYPES: dict[str, dict[str, Options]] = {
    "text, encoder": {
        "bert": _BERT,
        "albert": _BERT | {"embedding_size": 16},
        "electra": _BERT | {"embedding_size": 16},
        "distilbert": {"dim": 64, "hidden_dim": 96, "n_layers": 2, "n_heads": 4, "vocab_size": 400},
        "deberta-v2": _BERT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "fnet": {key: value for key, value in _BERT.items() if key != "num_attention_heads"},
        "funnel": {"vocab_size": 400, "block_sizes": [1, 1, 1], "d_model": 64, "n_head": 4, "d_head": 8, "d_inner": 96},
        "xlnet": {"vocab_size": 400, "d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 96},
        "modernbert": _BERT | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
                               "sep_token_id": 2},
        "big_bird": _BERT,
        "convbert": _BERT | {"embedding_size": 16},
        "esm": _BERT | {"pad_token_id": 1, "position_embedding_type": "absolute"},
    },
    "text, decoder": {
        "gpt2": _GPT2,
        "gptj": _GPT2 | {"rotary_dim": 4},
        "gpt_neo": {"hidden_size": 64, "num_layers": 2, "attention_types": [[["global", "local"], 1]],
                    "num_heads": 4, "vocab_size": 400},
        "gpt_neox": _BERT,
        "opt": _HIDDEN | {"ffn_dim": 96, "vocab_size": 400, "word_embed_proj_dim": 64, "max_position_embeddings": 40},
        "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 400},
        "llama": _LLAMA,
        "gemma2": _LLAMA | {"head_dim": 8},
        "falcon": _HIDDEN | {"vocab_size": 400},
        "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 400},
        "olmo2": _LLAMA,
        "apertus": _LLAMA,
    },
    "mixture of experts": {
        "mixtral": _LLAMA | {"num_local_experts": 4},
        "qwen2_moe": _MOE | {"num_experts": 4, "shared_expert_intermediate_size": 16},
        "deepseek_v3": _MOE | {"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "kv_lora_rank": 8,
                               "q_lora_rank": 8,
                               "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
                               "first_k_dense_replace": 1,
                               "num_key_value_heads": 4},
        "switch_transformers": _T5 | {"num_decoder_layers": 2, "num_experts": 4},
    },
    "state space, recurrent": {
        "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 400},
        "mamba2": {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 400, "num_heads": 16,
                   "head_dim": 8, "n_groups": 2},
        "falcon_mamba": {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 400},
        "rwkv": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 400, "attention_hidden_size": 64},
        "recurrent_gemma": _HIDDEN | {"intermediate_size": 96, "vocab_size": 400, "lru_width": 64,
                                      "num_hidden_layers": 3},
        "jamba": _LLAMA | {"num_hidden_layers": 4, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
                           "mamba_d_state": 4},
        "encodec": {"num_filters": 4, "hidden_size": 16, "codebook_size": 16, "codebook_dim": 16,
                    "upsampling_ratios": [4, 2],
                    "target_bandwidths": [3.0]},
    },
    "encoder and decoder": {
        "t5": _T5,
        "bart": _BART,
        "m2m_100": _BART,
        "marian": _BART | {"max_position_embeddings": 40, "pad_token_id": 0, "decoder_start_token_id": 0},
        "whisper": _BART | {"max_source_positions": 20, "max_target_positions": 20, "pad_token_id": 5,
                            "bos_token_id": 6,
                            "eos_token_id": 7, "decoder_start_token_id": 8},
        "time_series_transformer": _SERIES,
    },
    "images": {
        "vit": _VIT,
        "vit_mae": _VIT | {"decoder_hidden_size": 64, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 4,
                           "decoder_intermediate_size": 48},
        "beit": _VIT | {"use_relative_position_bias": True},
        "swin": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "image_size": 32, "patch_size": 4,
                 "window_size": 4},
        "swinv2": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "image_size": 32, "patch_size": 4,
                   "window_size": 4},
        "convnext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        "resnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1]},
        "regnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1], "groups_width": 8},
        "mobilenet_v2": {"depth_multiplier": 0.25, "tf_padding": False},
        "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
        "segformer": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 4, 4]},
        "dinov2": _HIDDEN | {"image_size": 32, "patch_size": 8},
        "poolformer": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        "bit": {"num_groups": 4, "embedding_size": 8, "hidden_sizes": [32, 64], "depths": [1, 1]},
    },
    "images and text": {
        "clip": {"text_config": _TEXT | {"eos_token_id": 2}, "vision_config": _VIT, "projection_dim": 24},
        "siglip": {"text_config": _TEXT, "vision_config": _VIT},
        "blip": {"text_config": _TEXT | {"encoder_hidden_size": 64}, "vision_config": _VIT, "projection_dim": 24},
        "perceiver": {"num_latents": 16, "d_latents": 32, "d_model": 64, "num_blocks": 1,
                      "num_self_attends_per_block": 2,
                      "num_self_attention_heads": 4, "num_cross_attention_heads": 4, "vocab_size": 400},
    },
    "detection": {
        "yolos": _VIT | {"image_size": [32, 32], "num_detection_tokens": 10},
        "rt_detr": {"d_model": 64, "encoder_hidden_dim": 64, "encoder_ffn_dim": 96, "encoder_attention_heads": 4,
                    "num_queries": 10,
                    "decoder_in_channels": [64, 64, 64], "decoder_ffn_dim": 96, "decoder_layers": 2,
                    "decoder_attention_heads": 4, "num_denoising": 4, "encoder_in_channels": [16, 32, 64],
                    "backbone_config": {"model_type": "rt_detr_resnet", "embedding_size": 8,
                                        "hidden_sizes": [8, 16, 32, 64],
                                        "depths": [1, 1, 1, 1], "out_features": ["stage2", "stage3", "stage4"]}},
    },
    "audio": {
        "wav2vec2": _WAVE,
        "hubert": _WAVE,
        "wavlm": _WAVE,
        "audio-spectrogram-transformer": _HIDDEN | {"intermediate_size": 96, "max_length": 64, "num_mel_bins": 32},
        "speecht5": {"hidden_size": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
                     "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "conv_dim": [16] * 7,
                     "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
                     "speech_decoder_prenet_units": 16,
                     "speech_decoder_postnet_units": 16, "speaker_embedding_dim": 16},
        "univnet": {"model_hidden_channels": 8, "kernel_predictor_hidden_channels": 8},
        "vits": {"hidden_size": 64, "num_hidden_layers": 2, "ffn_dim": 96, "flow_size": 64,
                 "upsample_initial_channel": 32,
                 "spectrogram_bins": 33, "duration_predictor_filter_channels": 16,
                 "posterior_encoder_num_wavenet_layers": 2,
                 "prior_encoder_num_wavenet_layers": 1},
    },
    "diffusion, time, control": {
        "qwen2_5_omni_dit": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16,
                             "emb_dim": 16,
                             "num_embeds": 33, "enc_emb_dim": 16, "enc_dim": 16, "enc_channels": [16, 16, 16, 16, 48],
                             "enc_attention_channels": 8, "enc_se_channels": 8},
        "patchtst": {"d_model": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 96},
        "decision_transformer": {"hidden_size": 64, "n_layer": 2, "n_head": 4},
    },
}  # fmt: skip


def types() -> dict[str, str]:
    """Each type with the group that it stands for."""
    return {name: group for group, members in TYPES.items() for name in members}


def factory(model_type: str) -> Callable[[], nn.Module]:
    """The factory of a small model of the type."""
    return type_factory(model_type, TYPES[types()[model_type]][model_type])
