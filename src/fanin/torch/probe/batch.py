"""The batch and the loss of a probe: checked, spread into arguments, moved nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from fanin.errors import DataError

Loss = Callable[[Any], Tensor] | Tensor | None
_SEED = 20240229
_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of forward: a mapping is keywords, a tuple or list is positions."""
    if isinstance(inputs, Mapping):
        return (), {str(name): value for name, value in cast("Mapping[Any, Any]", inputs).items()}
    return (tuple(cast("tuple[Any, ...]", inputs)), {}) if isinstance(inputs, tuple | list) else ((inputs,), {})


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in cast("list[Any]", value):
            yield from tensors_in(item)


def require_usable(model: nn.Module, inputs: Any) -> None:
    """Raise `DataError` unless the model can be run on these inputs."""
    require_values(model)
    _require_batch(inputs, next(model.parameters()).device)


def require_values(model: nn.Module) -> None:
    """Raise `DataError` unless the model has real, floating-point parameters with values."""
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if parameter.is_meta:
            raise DataError(
                f"parameter {name!r} is on the meta device and holds no values to check: "
                "give it some first, e.g. fanin.initialize(model, recipe='he')"
            )
        if parameter.is_complex():
            raise DataError(
                f"parameter {name!r} is {str(parameter.dtype).removeprefix('torch.')}: only signals of real numbers "
                "can be checked; fanin.plan and fanin.count take such a model"
            )
        if parameter.ndim > 1 and not parameter.is_floating_point():
            raise DataError(
                f"parameter {name!r} is quantized ({str(parameter.dtype).removeprefix('torch.')}): integers have no "
                "gradient and no scale of their own; check the model before it is quantized"
            )
    if not parameters:
        raise DataError(_without_parameters(model))


def _without_parameters(model: nn.Module) -> str:
    packed = [(name, m) for name, m in model.named_modules() if type(m).__module__.startswith(_QUANTIZED)]
    if packed:
        name, module = packed[0]
        return (
            f"module {name!r} ({type(module).__name__}) holds quantized weights, and no parameters: "
            "check the model before it is quantized"
        )
    return f"the model {type(model).__name__} has no parameters: there is nothing to check"


def _require_batch(inputs: Any, device: torch.device) -> None:
    batch = list(tensors_in(inputs))
    if not batch:
        raise DataError("the inputs hold no tensor: give a batch, a tuple of arguments or a dict of keywords")
    for tensor in batch:
        if tensor.numel() == 0:
            raise DataError(f"the batch is empty: shape {tuple(tensor.shape)}; give at least one sample")
        if tensor.device != device:
            raise DataError(
                f"the batch is on {tensor.device}, the model on {device}: move one, e.g. batch.to({str(device)!r})"
            )
        _require_finite(tensor)


def _require_finite(tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        return
    bad = ~torch.isfinite(tensor)
    if bool(bad.any()):
        first = tuple(bad.nonzero()[0].tolist())
        value = tensor[first].item()
        raise DataError(
            f"the batch holds {int(bad.sum())} non-finite values of {tensor.numel()}, the first ({value}) at index "
            f"{list(first)}: clean the data before checking the model"
        )


def scalar(loss: Loss, output: Any, *, frozen: bool = False) -> Tensor:
    """The number to differentiate; of a `frozen` model, a number without a gradient.

    A callable is applied to the model's output; integer labels mean cross entropy over the last dimension (over
    dimension 1 where the labels' shape says so). Without a loss it is Σ r·output with r ~ N(0, 1): its gradient
    with respect to the output is white, so that E‖∂/∂h‖² = ‖∂output/∂h‖² (Frobenius), independent of the outputs
    themselves. A sum of squares would weight directions by outputs that depend on the very weights in question.

    Raises:
        DataError: no floating-point output, labels that do not fit, or a loss that is not one number with a gradient.
    """
    if callable(loss) and not isinstance(loss, Tensor):
        return _with_gradient(_called(loss, output), frozen)
    floats = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
    if not floats:
        kinds = ", ".join(str(tensor.dtype) for tensor in tensors_in(output)) or type(output).__name__
        raise DataError(f"the model's output has no floating-point tensor to differentiate (seen: {kinds})")
    if isinstance(loss, Tensor):
        return _with_gradient(_cross_entropy(floats[0], loss), frozen)
    pulled = [_functional(tensor) for tensor in floats if tensor.requires_grad] or [floats[0].sum()]
    return _with_gradient(torch.stack(pulled).sum(), frozen)


def _called(loss: Callable[[Any], Any], output: Any) -> Tensor:
    try:
        value = loss(output)
    except Exception as error:
        raise DataError(
            f"the forward pass came through, but loss(output) failed: {type(error).__name__}: {error} "
            f"(output: {described(output) or type(output).__name__})"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        seen = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise DataError(f"loss(output) must return one number as a tensor, got {seen}: reduce it, e.g. with .mean()")
    return value.reshape(())


def described(value: Any) -> str:
    """Dtypes and shapes of the tensors in nested containers."""
    return ", ".join(f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in tensors_in(value))


def _with_gradient(value: Tensor, frozen: bool) -> Tensor:
    if not value.requires_grad and not frozen:
        raise DataError(
            "the loss does not depend on any parameter that requires grad: forward must not detach or use no_grad"
        )
    return value


def _functional(output: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float32)
    return (output * weights.to(output.device, output.dtype)).sum(
        dtype=torch.float64 if output.device.type == "cpu" else None
    )


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        raise DataError(f"labels must be integers, got {labels.dtype}: pass a callable loss for other targets")
    if logits.shape[:-1] == labels.shape:
        logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    elif logits.shape[:1] + logits.shape[2:] != labels.shape:
        raise DataError(
            f"labels of shape {tuple(labels.shape)} do not fit outputs of shape {tuple(logits.shape)}: "
            "expected one label per output row"
        )
    valid = labels[labels != -100]
    classes = logits.shape[1]
    if valid.numel() and (int(valid.min()) < 0 or int(valid.max()) >= classes):
        raise DataError(
            f"labels run from {int(valid.min())} to {int(valid.max())}, but the output has {classes} classes"
        )
    return nn.functional.cross_entropy(logits.float(), labels.long())
