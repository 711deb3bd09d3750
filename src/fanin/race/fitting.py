"""Whether a model and the data belong together, and the device is there, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fanin.data.dataset import IGNORED
from fanin.errors import ArgumentError, DataError, FaninError
from fanin.race.course import Course
from fanin.race.starts import seeded


def check_fit(factory: Callable[[], nn.Module], course: Course, name: str, batch_size: int) -> str:
    """Run samples forward in both modes, and compare what comes out in evaluation with the targets; the model's class.

    Raises:
        DataError: the model does not take the inputs, in batches of that size when training, or its outputs do not fit
            the targets.
        FaninError: whatever the factory raises of them.
    """
    inputs, targets = (part[:2] for part in course.train)
    model = _built(factory, name).eval()
    try:
        with torch.no_grad():
            outputs: Any = model(inputs)
    except Exception as error:
        raise DataError(
            f"{name} does not take the inputs {_shape(inputs)} of {course.name or 'the data'}: {_said(error)}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise DataError(f"{name} must return one tensor to be trained, it returns {type(outputs).__name__}")
    problem = _regression(outputs, targets) if course.objective.task == "regression" else _classes(outputs, course)
    if problem:
        raise DataError(f"{name} does not fit {course.name or 'the data'}: {problem}")
    _check_training(model.train(), course, name, batch_size)
    return type(model).__name__


def check_device(name: str) -> None:
    """Make a value there and read it back.

    Raises:
        ArgumentError: torch has no such device here, or it holds no values, as "meta".
    """
    try:
        torch.zeros(1, device=name).item()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        said = str(error).split("\n", maxsplit=1)[0]
        raise ArgumentError(f"device {name!r} cannot be used here: {said}; 'cpu' always can") from error


def _built(factory: Callable[[], nn.Module], name: str) -> nn.Module:
    try:
        return factory()
    except FaninError:
        raise
    except Exception as error:
        raise DataError(f"{name} cannot be built: {type(error).__name__}: {error}") from error


def _check_training(model: nn.Module, course: Course, name: str, batch_size: int) -> None:
    """Run forward as a step does; batch norm, say, takes no single sample."""
    batch = course.train[0][:batch_size]
    # Two samples are cheap; only a model that wants more is tried on all.
    failed = _failure(model, batch[:2]) and _failure(model, batch)
    if failed:
        raise DataError(
            f"{name} cannot be trained on batches {_shape(batch)} of {course.name or 'the data'}: {_said(failed)}; "
            "evaluation mode takes them: take a larger batch, or mend what the model does in training"
        ) from failed


def _failure(model: nn.Module, inputs: Tensor) -> Exception | None:
    """What a forward raises; random states and buffers stay, as a factory may always return one model."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with seeded(0), torch.enable_grad():
            functional_call(model, buffers, (inputs,))
    except Exception as error:
        return error
    return None


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, FaninError) else f"{type(error).__name__}: {error}"


def _regression(outputs: Tensor, targets: Tensor) -> str | None:
    if outputs.shape == targets.shape:
        return None
    return f"outputs {_shape(outputs)} for targets {_shape(targets)}; they must have one shape"


def _classes(outputs: Tensor, course: Course) -> str | None:
    targets = course.train[1][:2]
    axes = "[n, T, vocabulary]" if course.objective.task == "tokens" else "[n, classes]"
    if outputs.shape[:-1] != targets.shape:
        return f"logits {_shape(outputs)} for labels {_shape(targets)}; they must be {axes}"
    highest = max(int(part[1][part[1] != IGNORED].max()) for part in (course.train, course.test))
    if highest >= outputs.shape[-1]:
        return f"logits {_shape(outputs)} tell {outputs.shape[-1]} classes apart, but the labels go up to {highest}"
    return None


def _shape(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} ({str(tensor.dtype).removeprefix('torch.')})"
