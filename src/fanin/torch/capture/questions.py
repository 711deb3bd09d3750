"""What a constructor is told when it asks a tensor for its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from fanin.errors import CaptureError
from fanin.torch.capture.programs import NotReplayableError
from fanin.torch.capture.records import Call, View
from fanin.torch.capture.rejection import Rejection, rejection
from fanin.torch.capture.values import Values

Settle = Callable[[Rejection, Call], None]
"""Told that a rejection loop ended: what it filled follows its law from now on."""


def answer(call: Call, values: Values, settle: Settle) -> Any:
    """The result of a call that needs values: computed for real where no chance is involved.

    A rejection loop's "is any value still outside?" is answered no, and its tensor from then on follows the
    truncated law, which is what the loop ends with.

    Raises:
        CaptureError: the answer depends on random numbers or on memory without values.
    """
    with _disable_current_modes(), torch.no_grad():
        return _answered(call, values, settle)


def _answered(call: Call, values: Values, settle: Settle) -> Any:
    if call.name == "_local_scalar_dense":
        ended = rejection(call.args[0], values)
        if ended is not None:
            settle(ended, call)
            return False
    try:
        args = [_real(values, argument) for argument in call.args]
        named = {name: _real(values, value) for name, value in call.kwargs.items()}
    except NotReplayableError as error:
        raise CaptureError(_refusal(call, str(error))) from None
    return call.op(*args, **named)


def _real(values: Values, value: Any) -> Any:
    if isinstance(value, View):
        return values.of(value)
    return [_real(values, item) for item in value] if isinstance(value, tuple) else value


def _refusal(call: Call, reason: str) -> str:
    asked = "a value" if call.name == "_local_scalar_dense" else f"the result of {call.name}"
    return (
        f"the constructor asks for {asked} at {call.site.line} ({call.site.owner}), but fanin runs it without values: "
        f"{reason}. Build the model as usual and give it to fanin.plan instead."
    )
