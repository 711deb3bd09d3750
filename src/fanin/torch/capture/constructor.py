"""capture: what a constructor writes into its tensors, without the tensors."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fanin.errors import CaptureError
from fanin.plans import Plan
from fanin.torch.capture.meta import Exchange
from fanin.torch.capture.mode import CopiedFakeMode, Recorder
from fanin.torch.capture.programs import NotReplayableError
from fanin.torch.capture.steps import Accounts
from fanin.torch.tensors import stored_tensors

_LAZY = (
    "the constructor makes a lazy layer, whose shape is unknown until its first forward pass: give it its input size, "
    "or run the model once and give it to fanin.plan"
)
_DATA_POINTER = "Accessing the data pointer of FakeTensor"


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A model without memory, and the plan that its own code wrote.

    Attributes:
        model: an ordinary `nn.Module` on the meta device (what existed before the constructor ran stays real).
        plan: one step for every parameter and buffer; `plan.recipe` is "native".

    >>> captured = capture(lambda: nn.Linear(256, 10))
    >>> captured.model.weight.device, round(captured.plan["weight"].std, 4)  # 1/√(3·256)
    (device(type='meta'), 0.0361)
    """

    model: nn.Module
    plan: Plan


def capture(factory: Callable[[], nn.Module]) -> Captured:
    """Run a constructor under fake tensors and read off the law that its code gives each tensor.

    Any constructor runs: those of torch.nn, of transformers, your own. Its random operators arrive with their
    numbers (`normal_(0, 0.02)` becomes `Normal(std=0.02)`); truncated, orthogonal, sparse, Dirac and identity
    initializations are recognised as such; a tensor that is partly overwritten becomes `Blocks`; what is computed
    (sinusoids, masks, copies) becomes a `Replay` of those computations. Where the constructor asks for values that
    involve no chance (`linspace(…).tolist()`), they are computed.

    Nothing is allocated, and the random state of torch, NumPy and Python, the default dtype and the grad mode are
    afterwards as before, also when the constructor raises.

    Args:
        factory: called once without arguments; returns the model.

    Returns:
        The model on the meta device, and its complete plan. A tensor that nobody wrote is a step `Unknown`.

    Raises:
        CaptureError: the factory returned no module, or asked for a random value.
        Exception: whatever the constructor raises, with a note that fanin was capturing it.

    >>> captured = capture(lambda: nn.Linear(3, 4))
    >>> captured.model.weight.device.type, captured.plan["weight"].initializer.describe()
    ('meta', 'Uniform(low=-0.57735, high=0.57735)')
    >>> captured.plan["weight"].why
    'Linear.reset_parameters: kaiming_uniform_(a=√5)'
    """
    fake_mode = CopiedFakeMode(allow_non_fake_inputs=True)
    recorder = Recorder(fake_mode)
    with _unchanged_state():
        model = _constructed(factory, fake_mode, recorder)
        return _captured(model, recorder)


def _constructed(factory: Callable[[], nn.Module], fake_mode: FakeTensorMode, recorder: Recorder) -> nn.Module:
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(fake_mode)
        stack.enter_context(recorder)
        try:
            model = factory()
        except Exception as error:
            if "UninitializedParameter" in str(error):
                raise CaptureError(_LAZY) from error
            error.add_note("This came up while fanin captured the constructor (it ran under fake tensors).")
            raise
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        made = type(model).__name__
        raise CaptureError(f"capture needs a function that returns an nn.Module; this one returned {made}")
    return model


def _captured(model: nn.Module, recorder: Recorder) -> Captured:
    stored = stored_tensors(model)
    accounts = Accounts.of(recorder, stored)
    steps = accounts.steps()
    kept = {id(item.tensor): accounts.kept[item.name] for item in stored if item.name in accounts.kept}

    def values(fake: torch.Tensor) -> torch.Tensor | None:
        view = recorder.view(fake)
        try:
            return None if view is None else recorder.values.of(view)
        except NotReplayableError:
            return None

    exchange = Exchange(values)
    exchange.model(model, kept)
    notes = tuple(
        f"attribute {name} holds a tensor that is no parameter or buffer and has no values" for name in exchange.lost
    )
    return Captured(model, Plan(steps, type(model).__name__, "native", notes))


@contextmanager
def _unchanged_state() -> Generator[None]:
    """Random state, default dtype and grad mode afterwards as before."""
    chance = torch.get_rng_state(), random.getstate(), np.random.get_state()
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_DATA_POINTER)
            yield
    finally:
        torch.set_rng_state(chance[0])
        random.setstate(chance[1])
        np.random.set_state(chance[2])
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
