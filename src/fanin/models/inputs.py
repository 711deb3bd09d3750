"""Example inputs for models whose input is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.catalogue import factory
from fanin.models.layers.images import AsImages
from fanin.models.sample import Sample

Inputs = torch.Tensor | dict[str, torch.Tensor]
_TOKENS = 16


def example_inputs(model: str | nn.Module, batch: int = 1) -> Inputs | None:
    """A batch that `model` accepts, or None where its input is not known.

    Always the same values: images and features uniform in [0, 1), tokens uniform over the vocabulary.

    Args:
        model: a spec as `factory` takes it (nothing is allocated), or a module.
        batch: number of samples.

    Returns:
        a tensor [batch, …] for built-in models; {"input_ids": [batch, 16]} or {"pixel_values": [batch, C, H, W]}
        for transformers models; on the CPU, or on the device of the module.

    Raises:
        ArgumentError: batch below 1; and as `factory`.

    >>> example_inputs("mnist-fc", 32).shape
    torch.Size([32, 784])
    """
    if batch < 1:
        raise ArgumentError(f"batch must be at least 1, got {batch}")
    if isinstance(model, str):
        make = factory(model)
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            built = make()
        return _inputs(built, batch, torch.device("cpu"))
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    return _inputs(model, batch, device)


def _inputs(model: nn.Module, batch: int, device: torch.device) -> Inputs | None:
    match getattr(model, "sample", None):
        case Sample() as sample:
            return _drawn(sample, batch, device)
        case Mapping() as samples if samples and all(isinstance(each, Sample) for each in samples.values()):
            return {name: _drawn(each, batch, device) for name, each in samples.items()}
        case _:
            pass
    first = next(iter(model.children()), None)
    if isinstance(first, AsImages):
        return _uniform((batch, *first.shape), device)
    if isinstance(first, nn.Flatten):
        dense = next((module for module in model.children() if isinstance(module, nn.Linear)), None)
        return None if dense is None else _uniform((batch, dense.in_features), device)
    return _transformers_inputs(model, batch, device)


def _transformers_inputs(model: nn.Module, batch: int, device: torch.device) -> dict[str, torch.Tensor] | None:
    config: Any = getattr(model, "config", None)
    kind = getattr(model, "main_input_name", None)
    if kind == "input_ids" and isinstance(getattr(config, "vocab_size", None), int):
        tokens = torch.randint(config.vocab_size, (batch, _TOKENS), generator=_generator()).to(device)
        sides = ("input_ids", "decoder_input_ids") if getattr(config, "is_encoder_decoder", False) else ("input_ids",)
        return dict.fromkeys(sides, tokens)
    size = getattr(config, "image_size", None)
    if kind == "pixel_values" and isinstance(size, int):
        return {kind: _uniform((batch, getattr(config, "num_channels", 3), size, size), device)}
    return None


def _drawn(sample: Sample, batch: int, device: torch.device) -> torch.Tensor:
    shape = (batch, *sample.shape)
    if sample.tokens is not None:
        return torch.randint(sample.tokens, shape, generator=_generator()).to(device)
    low, high = sample.range
    return low + (high - low) * _uniform(shape, device)


def _uniform(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.rand(shape, generator=_generator()).to(device)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
