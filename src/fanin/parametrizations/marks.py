"""The mark of a parametrization on a model: which record it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fanin.errors import ArgumentError
from fanin.parametrizations.multipliers import register
from fanin.parametrizations.record import Parametrized
from fanin.torch.capture import Captured
from fanin.torch.unwrapped import is_wrapping

_MARK = "_fanin_parametrization"  # in the root module's __dict__: the record's JSON


def attach(model: nn.Module, record: Parametrized) -> None:
    """Give a model the forward multipliers of a record, and no values: for one that is loaded from a checkpoint.

    Args:
        model: of the same architecture and size as the one that was parametrized.
        record: as `Parametrized.load` reads it.

    Raises:
        ArgumentError: the model is parametrized already, or lacks a module that is multiplied; it is untouched then.

    >>> import fanin
    >>> first, second = fanin.models.mlp((4, 32, 32, 2)), fanin.models.mlp((4, 32, 32, 2))
    >>> attach(second, fanin.parametrize(first, base_width=8))
    >>> record_of(second).scheme
    'mup'
    """
    refuse_marked(model)
    register(model, record.multipliers)
    vars(_root(model))[_MARK] = record.to_json()


def record_of(model: nn.Module) -> Parametrized | None:
    """The record of a parametrized model (also a copy, compiled or sharded); None where it is not parametrized.

    >>> record_of(nn.Linear(2, 2)) is None
    True
    """
    text = vars(_root(model)).get(_MARK)
    return None if text is None else Parametrized.from_json(text)


def refuse_marked(model: nn.Module) -> None:
    """Raise unless the model is in standard parametrization.

    Raises:
        ArgumentError: it is not.
    """
    record = record_of(model)
    if record is not None:
        raise ArgumentError(
            f"this {record.model} is parametrized with {record.scheme} already: twice would scale it twice; build the "
            "model anew (its record is fanin.parametrizations.record_of(model))"
        )


def as_model(base: Any, model: nn.Module) -> Any:
    """A base as something that can be planned; a config of transformers as a function that makes a model like `model`.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(base, nn.Module | Captured):
        return base
    if hasattr(base, "to_dict") and hasattr(model, "config"):
        kind: Callable[[Any], nn.Module] = type(model)
        return lambda: kind(base)
    if callable(base):
        return base
    raise ArgumentError(
        f"base must be a model, a captured one, a function that makes it or a config of transformers, not a "
        f"{type(base).__name__}"
    )


def _root(model: nn.Module) -> nn.Module:
    """The outermost module that is no wrapper."""
    for key, child in model.named_children():
        if is_wrapping(model, key):
            return _root(child)
    return model
