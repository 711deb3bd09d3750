"""capture: what a constructor writes into its tensors, without the tensors."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import is_lazy

from fanin.errors import CaptureError
from fanin.plans import Plan
from fanin.torch.capture.chance import Sampler
from fanin.torch.capture.meta import Exchange
from fanin.torch.capture.mode import CopiedFakeMode, Recorder
from fanin.torch.capture.programs import NotReplayableError
from fanin.torch.capture.runs import RUNS, Run, settled
from fanin.torch.capture.steps import Accounts
from fanin.torch.collections_paused import collections_paused
from fanin.torch.tensors import stored_tensors
from fanin.torch.unwrapped import unwrapped

_LAZY = (
    "the constructor makes a lazy layer, whose shape is unknown until its first forward pass: give it its input size, "
    "or run the model on a batch inside the function: `model = Net(); model(torch.zeros(1, 3, 32, 32)); return model`"
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
    (sinusoids, masks, copies) becomes a `Replay` of those computations. Lazy layers get their shapes from a forward
    pass inside the function.

    Where the constructor asks for values that involve no chance (`linspace(…).tolist()`), they are computed. Where
    they are random (`weight.norm().item()`), or where it takes numbers from Python's or NumPy's generators, it runs
    six times with six draws: what is the same in all is a law; a tensor that differs keeps the values of the first
    draw, and the plan's notes name it and the line that asked.

    Nothing is allocated, and the random state of torch, NumPy and Python, the default dtype and the grad mode are
    afterwards as before, also when the constructor raises.

    Args:
        factory: called without arguments, once (six times where its course depends on chance); returns the model.

    Returns:
        The model on the meta device, and its complete plan. A tensor that nobody wrote is a step `Unknown`.

    Raises:
        CaptureError: the factory returned no module, a lazy layer without a shape, or other tensors with other random
            numbers; or it asked for a random value that fanin cannot compute.
        Exception: whatever the constructor raises, with a note that fanin was capturing it.

    >>> captured = capture(lambda: nn.Linear(3, 4))
    >>> captured.model.weight.device.type, captured.plan["weight"].initializer.describe()
    ('meta', 'Uniform(low=-0.57735, high=0.57735)')
    >>> captured.plan["weight"].why
    'Linear.reset_parameters: kaiming_uniform_(a=√5)'
    """
    with _unchanged_state(), collections_paused():
        first = _run(factory, 0)
        if first.chancy:
            settled(first, [_run(factory, number) for number in range(1, RUNS)])
        return _captured(first)


def _run(factory: Callable[[], nn.Module], number: int) -> Run:
    sampler = Sampler(number)
    fake_mode = CopiedFakeMode()
    recorder = Recorder(fake_mode, sampler)
    before = _other_chance()
    model = _constructed(factory, fake_mode, recorder)
    return Run(model, Accounts.of(recorder, stored_tensors(model)), sampler, _other_chance() != before)


def _other_chance() -> tuple[Any, ...]:
    """The random states of Python and NumPy."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest


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
            error.add_note("This came up while fanin captured the constructor (it ran under fake tensors).")
            raise
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        made = type(model).__name__
        raise CaptureError(f"capture needs a function that returns an nn.Module; this one returned {made}")
    if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        raise CaptureError(_LAZY)
    return model


def _captured(run: Run) -> Captured:
    model, recorder, kept = run.model, run.accounts.recorder, run.kept

    def values(fake: torch.Tensor) -> torch.Tensor | None:
        view = recorder.view(fake)
        try:
            return None if view is None else recorder.values.of(view)
        except NotReplayableError:
            return None

    exchange = Exchange(values)
    exchange.model(model, kept)
    notes = (
        *run.notes,
        *(
            f"attribute {name} holds a tensor that is no parameter or buffer and has no values"
            for name in exchange.lost
        ),
    )
    return Captured(model, Plan(run.steps, type(unwrapped(model)).__name__, "native", notes))


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
