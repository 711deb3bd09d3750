"""Other kernels for the same sums: oneDNN's for dense layers, and images in the order N, H, W, C."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from fanin.race.engines.method import Method

_LARGE = 1 << 14  # weights; with fewer, what a call costs is more than what it saves


def has_dense(model: nn.Module) -> bool:
    """Whether oneDNN's dense layer is there and the model has a use for it."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and any(_is_large(module) for module in model.modules())


def has_filters(model: nn.Module) -> bool:
    """Whether the model has convolutions of images."""
    return any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in model.modules())


def placed(model: nn.Module, method: Method) -> nn.Module:
    """The model, which is the engine's own, with filters in the order and dense layers on the kernels of the method."""
    if method.onednn:
        for module in model.modules():
            if _is_large(module):
                module.forward = partial(_dense, module)  # pyright: ignore[reportAttributeAccessIssue]
    return model.to(memory_format=torch.channels_last) if method.channels_last else model  # pyright: ignore[reportCallIssue]


def images(inputs: Tensor, method: Method) -> Tensor:
    """Inputs in the order the method wants."""
    if method.channels_last and inputs.ndim == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def _is_large(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a dense layer, with torch's own `forward`, that gains by oneDNN."""
    return type(module) is nn.Linear and module.weight.numel() >= _LARGE and _fits(module.weight, module.bias)


def _dense(module: nn.Linear, inputs: Tensor) -> Tensor:
    if torch.is_autocast_enabled("cpu") or not _fits(inputs, module.weight, module.bias):
        return functional.linear(inputs, module.weight, module.bias)
    return _Dense.apply(inputs, module.weight, module.bias)


def _fits(*tensors: Tensor | None) -> bool:
    return all(
        tensor is None
        or (
            type(tensor) in (Tensor, nn.Parameter)
            and tensor.dtype == torch.float32
            and tensor.device.type == "cpu"
            and tensor.layout == torch.strided
            and tensor.ndim > 0
            and tensor.numel() > 0
            and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # pyright: ignore
        )
        for tensor in tensors
    )


class _Dense(torch.autograd.Function):
    """y = x Wᵀ + b; ∂x = g W, ∂W = gᵀ x, ∂b = Σ g."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.biased = bias is not None
        return _product(_rows(inputs), weight, bias).view(*inputs.shape[:-1], weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        rows = _rows(gradient)
        return (
            _product(rows, weight.t(), None).view(inputs.shape) if ctx.needs_input_grad[0] else None,
            _product(rows.t().contiguous(), _rows(inputs).t(), None) if ctx.needs_input_grad[1] else None,
            rows.sum(0) if ctx.biased and ctx.needs_input_grad[2] else None,
        )


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
