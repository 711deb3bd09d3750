"""The model types of the installed transformers, and how each is built where its default config does not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fanin import FaninError
from fanin.models import factory


def model_types() -> list[str]:
    from transformers import CONFIG_MAPPING

    return sorted(CONFIG_MAPPING.keys())


def build(model_type: str) -> Callable[[], nn.Module]:
    """The factory of a type: its default config, with the fields of `FIELDS` where transformers itself asks for more.

    Raises:
        Exception: whatever transformers says about the config.
    """
    fields = FIELDS.get(model_type)
    if fields is None:
        return factory(f"hf:{model_type}")
    from transformers import CONFIG_MAPPING

    from fanin.models.huggingface import model_of

    config = CONFIG_MAPPING[model_type](**(fields() if callable(fields) else fields))
    return lambda: model_of(f"hf:{model_type}", config)


def why_not(make: Callable[[], nn.Module]) -> str | None:
    """Why transformers itself cannot build the model (on `meta`), or None if it can."""
    import torch

    try:
        with torch.device("meta"):
            make()
    except FaninError as error:
        return str(error)
    except Exception as error:  # whatever a constructor raises is the answer
        return f"{type(error).__name__}: {error}"
    return None


def _resnet() -> dict[str, Any]:
    from transformers import ResNetConfig

    return {"use_timm_backbone": False, "backbone": None, "backbone_config": ResNetConfig(out_features=["stage4"])}


# Half of each head is rotated, in the three sections that the type's default names.
_HALF = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}

_SECTIONS = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [16, 24, 24]}

Fields = dict[str, Any] | Callable[[], dict[str, Any]]


def _uvdoc() -> dict[str, Any]:
    from transformers import UVDocBackboneConfig

    stages = [f"stage{number}" for number in range(1, 7)]
    return {"backbone_config": UVDocBackboneConfig(out_features=stages)}


# Fields without which transformers refuses to build the type, or with whose defaults its own forward pass cannot run
# (layers of different widths); each is the least that it asks for.
FIELDS: dict[str, Fields] = {
    "autoformer": {"prediction_length": 24},
    "informer": {"prediction_length": 24},
    "time_series_transformer": {"prediction_length": 24},
    "conditional_detr": _resnet,
    "dab-detr": _resnet,
    "deformable_detr": _resnet,
    "detr": _resnet,
    "table-transformer": _resnet,
    "esm": {"vocab_size": 33, "pad_token_id": 1},
    "emu3": {"pad_token_id": 0},
    "llama4": {"pad_token_id": 0},
    "dots3_note": {"pad_token_id": 0},
    "blip-2": {"image_token_index": 9},
    "instructblip": {"image_token_index": 9},
    "instructblipvideo": {"video_token_index": 9},
    "deepseek_v2": {"num_experts_per_tok": 6, "n_routed_experts": 64, "q_lora_rank": None},
    "glm4v_text": {"rope_parameters": _HALF},
    "glm4v": {"text_config": {"rope_parameters": _HALF}},
    "glm46v": {"text_config": {"model_type": "glm4v_text", "rope_parameters": _HALF}},
    "glmga": {"text_config": {"model_type": "glm4v_text", "rope_parameters": _HALF}},
    "glm4v_moe_text": {"head_dim": 128, "rope_parameters": _HALF},
    "glm4v_moe": {"text_config": {"head_dim": 128, "rope_parameters": _HALF}},
    "glm_image_text": {"rope_parameters": _HALF},
    "glm_image": {"text_config": {"rope_parameters": _HALF}},
    "qwen3_omni_moe_text": {"head_dim": 128},
    "qwen3_omni_moe_thinker": {"text_config": {"head_dim": 128}},
    "step3p5": {"sliding_window": 512},
    "step3p7": {"text_config": {"model_type": "step3p5", "sliding_window": 512}},
    "pix2struct_text_model": {"initializer_range": 0.02},
    "xmod": {"default_language": "en_XX"},
    "ministral": {"head_dim": 128},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "hunyuan_vl_text": {"head_dim": 128, "rope_parameters": _SECTIONS},
    "deepseek_ocr2_vision": {"sam_config": {"downsample_channels": [512, 4096]}},
    "llama4_vision_model": {"intermediate_size": 3072},
    "lw_detr": {"projector_scale_factors": [1.0]},
    "pp_doclayout_v2": {"class_thresholds": [0.5] * 25, "class_order": list(range(25))},
    "uvdoc": _uvdoc,
}
