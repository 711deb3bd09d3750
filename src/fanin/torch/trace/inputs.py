"""Inputs for a model that came without any."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from fanin.models.inputs import example_inputs

# Sides of images that published networks want; a flattened map fits only its own.
_SIDES = (32, 28, 64, 224, 96, 128, 227, 299, 256, 48, 16, 8)
_LENGTHS = (64, 1024, 128, 256, 16000, 16, 8)
_VOLUMES = (32, 64, 16)


def guesses(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Inputs that `model` may accept, the likeliest first, each with a description."""
    known = example_inputs(model, 2)
    if known is not None:
        yield _described(known), known
    for inputs in (_audio(model), _dummy(model)):
        if inputs is not None:
            yield _described(inputs), inputs
    required = _required(model)
    for tensor in _firsts(model):
        inputs = (tensor,) * required
        yield _described(inputs), inputs


def _audio(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """Speech models of transformers: a second of waveform, or as many frames as the encoder has positions."""
    config: Any = getattr(model, "config", None)
    match getattr(model, "main_input_name", None):
        case "input_values":
            return {"input_values": torch.zeros(2, 16000)}
        case "input_features" if hasattr(config, "num_mel_bins") and hasattr(config, "max_source_positions"):
            frames = torch.zeros(2, config.num_mel_bins, 2 * config.max_source_positions)
            tokens = {"decoder_input_ids": torch.zeros(2, 8, dtype=torch.long)}
            return {"input_features": frames} | (tokens if getattr(config, "is_encoder_decoder", False) else {})
        case _:
            return None


def _dummy(model: nn.Module) -> Any:
    try:
        dummy = getattr(model, "dummy_inputs", None)
    except Exception:  # a property of the user's class may raise anything; then there are none
        return None
    return dummy if isinstance(dummy, dict) else None


def _firsts(model: nn.Module) -> Iterator[torch.Tensor]:
    """Tensors that the first layer with parameters accepts."""
    for module in model.modules():
        match module:
            case nn.Embedding() | nn.EmbeddingBag():
                yield torch.zeros(2, 8, dtype=torch.long)
            case nn.Linear():
                yield from (torch.zeros(2, module.in_features), torch.zeros(2, 8, module.in_features))
            case nn.MultiheadAttention():
                yield torch.zeros(2, 8, module.embed_dim)
            case nn.RNNBase():
                yield torch.zeros(2, 8, module.input_size)
            case nn.RNNCellBase():
                yield torch.zeros(2, module.input_size)
            case nn.LayerNorm() | nn.RMSNorm():
                yield torch.zeros(2, *module.normalized_shape)
            case nn.GroupNorm():
                yield torch.zeros(2, module.num_channels, 8)
            case nn.modules.batchnorm._BatchNorm():  # pyright: ignore[reportPrivateUsage]
                yield from _images(module.num_features, _rank(module))
            case nn.modules.conv._ConvNd():  # pyright: ignore[reportPrivateUsage]
                yield from _images(int(module.in_channels), _rank(module))
            case _:
                continue
        return


def _images(channels: int, rank: int) -> Iterator[torch.Tensor]:
    sides = {0: (1,), 1: _LENGTHS, 2: _SIDES, 3: _VOLUMES}[rank]
    for side in sides:
        yield torch.zeros(2, channels, *((side,) * rank))


def _rank(module: nn.Module) -> int:
    """Spatial dimensions, by the digit in the class's name; BatchNorm1d also takes plain features."""
    name = next((cls.__name__ for cls in type(module).__mro__ if cls.__name__[-2:] in ("1d", "2d", "3d")), "2d")
    return 0 if name == "BatchNorm1d" else int(name[-2])


def _required(model: nn.Module) -> int:
    parameters = inspect.signature(model.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    return max(1, len(required))


def _described(inputs: Any) -> str:
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    return ", ".join(f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}" for tensor in tensors)
