"""What a constructor is told when it asks a tensor for its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from fanin.errors import CaptureError
from fanin.torch.capture.chance import Sampler, chances
from fanin.torch.capture.programs import NotReplayableError
from fanin.torch.capture.records import Call, View
from fanin.torch.capture.rejection import Rejection, rejection
from fanin.torch.capture.values import Values

Settle = Callable[[Rejection, Call], None]
"""Told that a rejection loop ended: what it filled follows its law from now on."""


def answer(call: Call, values: Values, sampler: Sampler, settle: Settle) -> Any:
    """The result of a call that needs values: the true one where no chance is involved, else that of one draw.

    A rejection loop's "is any value still outside?" is answered no, and its tensor from then on follows the
    truncated law, which is what the loop ends with. Other questions about chance are noted by the sampler.

    Raises:
        CaptureError: the answer depends on memory without values, or on what fanin cannot compute.
    """
    with _disable_current_modes(), torch.no_grad():
        return _answered(call, values, sampler, settle)


def _answered(call: Call, values: Values, sampler: Sampler, settle: Settle) -> Any:
    if call.name == "_local_scalar_dense":
        ended = rejection(call.args[0], values)
        if ended is not None:
            settle(ended, call)
            return False
    chance = frozenset[int]().union(*(chances(view.state) for view in call.views()))
    of = sampler.of if chance else values.of
    try:
        args = [_real(of, argument) for argument in call.args]
        named = {name: _real(of, value) for name, value in call.kwargs.items()}
    except NotReplayableError as error:
        raise CaptureError(_refusal(call, str(error))) from None
    if chance:
        sampler.questions.append(_question(call))
        sampler.asked |= chance
    return call.op(*args, **named)


def _real(of: Callable[[View], torch.Tensor], value: Any) -> Any:
    if isinstance(value, View):
        return of(value)
    return [_real(of, item) for item in value] if isinstance(value, tuple) else value


def _question(call: Call) -> str:
    asked = "a value" if call.name == "_local_scalar_dense" else f"the result of {call.name}"
    return f"{asked} at {call.site.line} ({call.site.owner})"


def _refusal(call: Call, reason: str) -> str:
    return (
        f"the constructor asks for {_question(call)}, but fanin runs it without values: "
        f"{reason}. Build the model as usual and give it to fanin.plan instead."
    )
