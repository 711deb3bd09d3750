"""Run a model once forward and backward, and measure the signal of every layer beside what theory expects."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fanin.errors import DataError
from fanin.torch.probe.batch import Loss, arguments, require_usable, scalar, tensors_in
from fanin.torch.probe.guard import untouched
from fanin.torch.probe.handlers import HANDLERS
from fanin.torch.probe.laws import Laws
from fanin.torch.probe.layers import LayerProbe, Layers
from fanin.torch.probe.moments import Moments, Twins, moments, twins, varying
from fanin.torch.probe.signal import sweep
from fanin.torch.probe.tape import Tape, WeightUse


@dataclass(frozen=True, slots=True)
class ParameterProbe:
    """One parameter: moments of its values and of its gradient (None where unused or frozen), and its twins."""

    name: str
    values: Moments
    gradient: Moments | None
    trainable: bool
    twins: Twins | None


@dataclass(frozen=True, slots=True)
class Probe:
    """All that one forward and backward pass says. `inputs` is the first floating-point input: moments, varying."""

    layers: tuple[LayerProbe, ...]
    parameters: Mapping[str, ParameterProbe]
    inputs: tuple[Moments, float | None] | None
    loss: float


def probe(model: nn.Module, inputs: Any, loss: Loss = None, laws: Laws | None = None) -> Probe:
    """Measure one forward and backward pass in training mode; the model is left exactly as it was.

    Args:
        model: any module with values (not meta).
        inputs: a batch; a tuple of positional or a mapping of keyword arguments.
        loss: callable on the output, integer labels (cross entropy), or None for a random linear functional.
        laws: (mean, std) that the theory shall use for parameters, by name, instead of their values' moments.

    Raises:
        DataError: a batch or a model that cannot be run forward and backward.

    >>> seen = probe(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.ones(3, 4))
    >>> [layer.kind for layer in seen.layers]
    ['weight', 'activation', 'weight']
    """
    require_usable(model, inputs)
    named = list(model.named_parameters())
    tape = Tape(named, laws or {}, HANDLERS)
    layers = Layers(model, tape)
    with untouched(model), _released(tape, layers):
        output = _forward(model, inputs, tape)
        tape.close(tensors_in(output))
        value = scalar(loss, output)
        del output
        gradients = _gradients(named, value)
        sweep(tape.records)
        return Probe(
            tuple(row.measured() for row in layers.rows),
            {name: _parameter(name, dict(named), gradients, tape) for name, _ in named},
            next((_input(tensor) for tensor in tensors_in(inputs) if tensor.is_floating_point()), None),
            float(value.detach()),
        )


@contextmanager
def _released(tape: Tape, layers: Layers) -> Generator[None]:
    with ExitStack() as stack:
        stack.callback(lambda: [handle.remove() for handle in (*tape.handles, *layers.handles)])
        layers.attach()
        yield


def _forward(model: nn.Module, inputs: Any, tape: Tape) -> Any:
    args, kwargs = arguments(inputs)
    tape.start(tensors_in(inputs))
    try:
        with tape:
            return model(*args, **kwargs)
    except Exception as error:
        raise DataError(
            f"the model's forward pass failed in {_place(model, tape)}: {error} (inputs: {_described(inputs)}); "
            "give a batch that the model accepts"
        ) from error


def _place(model: nn.Module, tape: Tape) -> str:
    name = tape.stack[-1] if tape.stack else ""
    return f"layer {name!r} ({type(model.get_submodule(name)).__name__})" if name else f"{type(model).__name__} itself"


def _described(inputs: Any) -> str:
    return ", ".join(f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in tensors_in(inputs))


def _gradients(named: list[tuple[str, nn.Parameter]], value: Tensor) -> dict[str, Tensor]:
    trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    # torch's stubs do not say that the gradient of an unused parameter is None.
    found: Any = torch.autograd.grad(value, [parameter for _, parameter in trained], allow_unused=True)
    # Lookup tables may give sparse gradients.
    return {
        name: gradient.to_dense() if gradient.is_sparse else gradient
        for (name, _), gradient in zip(trained, found, strict=True)
        if gradient is not None
    }


def _input(tensor: Tensor) -> tuple[Moments, float | None]:
    seen = moments(tensor)
    return seen, varying(tensor, seen.second)


def _parameter(
    name: str, named: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor], tape: Tape
) -> ParameterProbe:
    values, gradient = named[name], gradients.get(name)
    use = next((use for use in tape.uses if use.weight == name), None)
    return ParameterProbe(
        name,
        tape.moments(name, values),
        None if gradient is None else moments(gradient),
        values.requires_grad,
        None if use is None else _twins(use, named, gradients),
    )


def _twins(use: WeightUse, named: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]) -> Twins:
    bias = named.get(use.bias or "")
    weight, pull = named[use.weight], gradients.get(use.weight)
    push = gradients.get(use.bias or "")
    units = weight.shape[use.unit_dim]
    fits = bias is None or bias.shape == (units,)
    return twins(
        weight, bias if fits else None, use.unit_dim, lambda: _joined(pull, push if fits else None, use.unit_dim)
    )


def _joined(weight: Tensor | None, bias: Tensor | None, unit_dim: int) -> Tensor | None:
    """The gradients of each unit's weights and bias, as rows."""
    if weight is None:
        return None if bias is None else bias[:, None]
    rows = weight.movedim(unit_dim, 0).flatten(1)
    return rows if bias is None else torch.cat((rows, bias[:, None]), dim=1)
