"""Run a model once forward and backward, and measure the signal of every layer beside what theory expects."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fanin.errors import DataError
from fanin.torch.agreement import Team
from fanin.torch.pieces import is_part
from fanin.torch.probe.batch import Loss, arguments, described, require_usable, scalar, tensors_in
from fanin.torch.probe.first_loss import FirstLoss, first_loss
from fanin.torch.probe.guard import untouched
from fanin.torch.probe.handlers import HANDLERS
from fanin.torch.probe.laws import Laws
from fanin.torch.probe.layer_probe import LayerProbe
from fanin.torch.probe.layers import Layers
from fanin.torch.probe.likeness import Likeness, likeness
from fanin.torch.probe.moments import MOST, Moments, Twins, is_sampled, moments, twins, varying
from fanin.torch.probe.ranks import gathered, is_shared, joined, whole
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
    shape: tuple[int, ...] = ()
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Probe:
    """All that one forward and backward pass says.

    Attributes:
        layers: one entry for each call of each layer.
        parameters: by name.
        inputs: the first floating-point input: moments, varying.
        loss: the number that was differentiated; None where nothing was.
        first: the loss of the model's logits, where it has some.
        alike: how alike the samples of the first floating-point input are.
        notes: what could not be measured, and why.
    """

    layers: tuple[LayerProbe, ...]
    parameters: Mapping[str, ParameterProbe]
    inputs: tuple[Moments, float | None] | None
    loss: float | None
    first: FirstLoss | None = None
    alike: Likeness | None = None
    notes: tuple[str, ...] = ()


def probe(
    model: nn.Module, inputs: Any, loss: Loss = None, laws: Laws | None = None, *, training: bool = True
) -> Probe:
    """Measure one forward and backward pass; the model is left exactly as it was.

    Args:
        model: any module with values (not meta).
        inputs: a batch; a tuple of positional or a mapping of keyword arguments.
        loss: callable on the output, integer labels (cross entropy), or None for a random linear functional.
        laws: (mean, std) that the theory shall use for parameters, by name, instead of their values' moments.
        training: in training mode, as in the first step; False for evaluation mode.

    Raises:
        DataError: a batch or a model that cannot be run, forward or backward.
        PlanError: another rank that holds parts of the model cannot use its batch or its loss.

    >>> seen = probe(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.ones(3, 4))
    >>> [layer.kind for layer in seen.layers]
    ['weight', 'activation', 'weight']
    """
    team = Team.of(model)
    team.decided(lambda: require_usable(model, inputs))
    named = list(model.named_parameters())
    tape = Tape(named, laws or {}, HANDLERS)
    layers = Layers(model, tape)
    with untouched(model, training=training), _released(tape, layers):
        output = _forward(model, inputs, tape)
        tape.close(tensors_in(output))
        frozen = not any(parameter.requires_grad for _, parameter in named)
        # The backward pass of a sharded model waits for all ranks, so none may begin it alone.
        compared = partial(scalar, loss, output, frozen=frozen)
        value = None if frozen and loss is None else team.decided(compared)
        number = None if value is None else float(value.detach())
        first = first_loss(output, loss, number)
        del output, compared
        gradients = {} if frozen or value is None else _gradients(named, value, layers)
        sweep(tape.records)
        rows = tuple(row.measured() for row in layers.rows)
        shared = is_shared(model)
        said = gathered(model, (rows, number)) if shared else [(rows, number)]
        signal = next((tensor for tensor in tensors_in(inputs) if tensor.is_floating_point()), None)
        return Probe(
            joined([each for each, _ in said]) if shared else rows,
            _parameters(named, gradients, tape),
            None if signal is None else _input(signal),
            None if number is None else sum(each or 0.0 for _, each in said) / len(said),
            first,
            None if signal is None else likeness(signal, tokens=False),
            (*_notes(inputs, frozen, named), *_ranks_note(len(said))),
        )


def _ranks_note(count: int) -> Iterator[str]:
    if count > 1:
        yield f"measured on the batches of {count} ranks together; quantiles and histograms are the first rank's"


def _notes(inputs: Any, frozen: bool, named: list[tuple[str, nn.Parameter]]) -> Iterator[str]:
    if frozen:
        yield (
            f"all {len(named)} parameters are frozen (requires_grad is False): there was no backward pass, so nothing "
            "is said of gradients; model.requires_grad_(True) brings it back"
        )
    large = [name for name, parameter in named if is_sampled(parameter)]
    if large:
        more = f" and {len(large) - 1} more" if len(large) > 1 else ""
        yield f"sampled: {large[0]}{more}, of whose values {MOST:,} each were looked at, in evenly spaced blocks"
    if all(tensor.ndim == 0 or tensor.shape[0] == 1 for tensor in tensors_in(inputs)):
        yield "the batch is one sample: what differs between samples, and how alike they become, cannot be measured"


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
            f"the model's forward pass failed in {_place(model, tape)}: {error} (inputs: {described(inputs)}); "
            "give a batch that the model accepts"
        ) from error


def _place(model: nn.Module, tape: Tape) -> str:
    name = tape.stack[-1] if tape.stack else ""
    return f"layer {name!r} ({type(model.get_submodule(name)).__name__})" if name else f"{type(model).__name__} itself"


def _gradients(named: list[tuple[str, nn.Parameter]], value: Tensor, layers: Layers) -> dict[str, Tensor]:
    trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    parts = any(is_part(parameter) for _, parameter in trained)
    try:
        if parts:  # the gradients of what a rank gathers reach its parts by hooks of theirs
            return _backward(trained, value)
        # torch's stubs do not say that the gradient of an unused parameter is None.
        found: Any = torch.autograd.grad(value, [parameter for _, parameter in trained], allow_unused=True)
    except Exception as error:
        reached = next((row.forward_pass.name for row in layers.rows if row.gradient is not None), None)
        where = "at the loss" if reached is None else f"before layer {reached!r}, which it had reached"
        raise DataError(f"the backward pass failed {where}: {type(error).__name__}: {error}") from error
    # Lookup tables may give sparse gradients.
    return {
        name: gradient.to_dense() if gradient.is_sparse else gradient
        for (name, _), gradient in zip(trained, found, strict=True)
        if gradient is not None
    }


def _backward(trained: list[tuple[str, nn.Parameter]], value: Tensor) -> dict[str, Tensor]:
    for _, parameter in trained:
        parameter.grad = None
    value.backward()
    return {name: whole(parameter.grad) for name, parameter in trained if parameter.grad is not None}


def _input(tensor: Tensor) -> tuple[Moments, float | None]:
    seen = moments(tensor)
    return seen, varying(tensor, seen.second)


def _parameters(
    named: list[tuple[str, nn.Parameter]], gradients: Mapping[str, Tensor], tape: Tape
) -> dict[str, ParameterProbe]:
    """Every parameter; of sharded ones all ranks gather the same, one matrix at a time."""
    vectors = {name: whole(parameter) for name, parameter in named if parameter.ndim < 2}
    uses = {use.weight: use for use in reversed(tape.uses)}
    return {name: _parameter(name, p, vectors, gradients, tape, uses.get(name)) for name, p in named}


def _parameter(
    name: str,
    parameter: nn.Parameter,
    vectors: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    tape: Tape,
    use: WeightUse | None,
) -> ParameterProbe:
    values = vectors[name] if name in vectors else whole(parameter)
    gradient = gradients.get(name)
    return ParameterProbe(
        name,
        tape.moments(name, values) if values is parameter else moments(values, spreads=True),
        None if gradient is None else moments(gradient, spreads=True),
        parameter.requires_grad,
        None if use is None else _twins(use, values, vectors.get(use.bias or ""), gradients),
        tuple(values.shape),
        str(values.dtype).removeprefix("torch."),
    )


def _twins(use: WeightUse, weight: Tensor, bias: Tensor | None, gradients: Mapping[str, Tensor]) -> Twins:
    pull, push = gradients.get(use.weight), gradients.get(use.bias or "")
    fits = bias is None or bias.shape == (weight.shape[use.unit_dim],)
    return twins(
        weight, bias if fits else None, use.unit_dim, lambda: _joined(pull, push if fits else None, use.unit_dim)
    )


def _joined(weight: Tensor | None, bias: Tensor | None, unit_dim: int) -> Tensor | None:
    """The gradients of each unit's weights and bias, as rows."""
    if weight is None:
        return None if bias is None else bias[:, None]
    rows = weight.movedim(unit_dim, 0).flatten(1)
    return rows if bias is None else torch.cat((rows, bias[:, None]), dim=1)
