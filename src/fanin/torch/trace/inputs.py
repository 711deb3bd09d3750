"""Inputs for a model that came without any."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from fanin.models.inputs import example_inputs
from fanin.models.signature import Failure, signature_inputs

# Sides of images that published networks want; a flattened map fits only its own.
_SIDES = (32, 28, 64, 224, 96, 128, 227, 299, 256, 48, 16, 8)
_LENGTHS = (64, 1024, 128, 256, 16000, 16, 8)
_VOLUMES = (32, 64, 16)


def guesses(model: nn.Module) -> Generator[tuple[str, Any], Failure]:
    """Inputs that `model` may accept, the likeliest first, each with a description; it may be sent how one failed."""
    dtype = next((each.dtype for each in model.parameters() if each.is_floating_point()), torch.float32)
    made = _made(model)
    inputs: Any = next(made, None)
    while inputs is not None:
        inputs = tree_map(partial(_in_dtype, dtype), inputs)
        failure = yield _described(inputs), inputs
        try:
            inputs = made.send(failure)
        except StopIteration:
            return


def _made(model: nn.Module) -> Generator[Any, Failure]:
    found = yield from signature_inputs(model)
    if found:
        return
    for inputs in (example_inputs(model, 2), _dummy(model)):
        if inputs is not None:
            yield inputs
    required = _required(model)
    for tensor in _firsts(model):
        yield (tensor,) * required


def _in_dtype(dtype: torch.dtype, leaf: Any) -> Any:
    """Signals in the dtype of the weights, as a model in half precision wants them."""
    signal = isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
    return torch.empty_like(leaf, dtype=dtype, device="meta") if signal else leaf


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
        return ", ".join(f"{name} {_shape(value)}" for name, value in inputs.items())
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    return ", ".join(f"{str(tensor.dtype).removeprefix('torch.')} {_shape(tensor)}" for tensor in tensors)


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
