"""A Lightning callback that looks at a model before its first step: `StartCheck()`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from inspect import signature
from typing import Any

from torch import Tensor, nn

from fanin.checking import Report
from fanin.errors import DataError, MissingExtraError
from fanin.integrations.first_batch import first_batch
from fanin.integrations.random_states import random_states_kept
from fanin.integrations.start_check import StartCheckSettings
from fanin.integrations.starting import audited, checked, started
from fanin.integrations.twin import Stepping, twin

_NAMES = ("lightning.pytorch", "pytorch_lightning")
_SILENT = ("log", "log_dict")


class StartCheck(StartCheckSettings):
    """Audit and check a LightningModule at the start of `fit`, then warn or stop.

    The audit reads the values; the check runs `training_step` on the first training batch, forward and backward. Model,
    optimizers, trainer, data loaders and random states stay bit for bit as they were, so training goes on as without
    the callback. The step runs on a copy that shares only the parameters; what it logs is dropped. A fit that goes on
    from a checkpoint is not looked at.

    It is a `Callback` of `lightning` or of `pytorch_lightning`, whichever is loaded.

    Args:
        on: "warn", or "stop" to raise before the first step where a finding is of severity "error" (or the step fails).
        report: also write an HTML report here.
        thorough: also measure what takes more passes.
        plan: also compare the weights with this plan.
        allow: rules of findings that do not count, as of `fanin.assert_healthy`.
        batch: what to run `training_step` on instead of the first training batch.

    Attributes:
        result: what was found, as a `fanin.Report`; None before the fit.

    Raises:
        MissingExtraError: neither package is installed.
        ArgumentError: `on` is something else.

    >>> import importlib.util
    >>> StartCheck(on="stop").result if importlib.util.find_spec("lightning") else None
    """

    @staticmethod
    def base() -> type[Any]:
        """The class of callbacks of the package that is loaded, or installed."""
        for name in sorted(_NAMES, key=lambda name: name not in sys.modules):
            with suppress(ImportError):
                return import_module(name).Callback
        raise MissingExtraError.of("lightning", "lightning", "callbacks of Lightning")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look at the model; called by the trainer, once weights and data are there."""
        if trainer.global_step > 0:
            return
        looks = [partial(audited, pl_module, self.settings)]
        notes: tuple[str, ...] = ()
        if pl_module.automatic_optimization:
            looks.append(partial(self._checked, trainer, pl_module))
        else:
            notes = ("training_step steps the optimizers itself (manual optimization), so it was not run",)
        self.result = started(type(pl_module).__name__, looks, self.settings, notes, first=trainer.is_global_zero)

    def _checked(self, trainer: Any, module: nn.Module) -> Report:
        with random_states_kept():
            batch = first_batch(trainer.train_dataloader) if self.batch is None else self.batch
            own: Any = twin(module, trainer)
            with _silenced(own):
                batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                inputs = (batch, 0, 0)[: _taken(own.training_step)]
                return checked(Stepping(own, _step(trainer, own)), inputs, _loss, self.settings)


@contextmanager
def _silenced(module: nn.Module) -> Generator[None]:
    """Nothing is logged; attributes of these names that the module has of its own come back."""
    own = {name: module.__dict__[name] for name in _SILENT if name in module.__dict__}
    module.__dict__.update(dict.fromkeys(_SILENT, _nothing))
    try:
        yield
    finally:
        for name in _SILENT:
            del module.__dict__[name]
        module.__dict__.update(own)


def _nothing(*given: Any, **named: Any) -> None:
    """In place of `log`: what is measured before training is no step of it."""


def _taken(step: Callable[..., Any]) -> int:
    """How many of (batch, batch_idx, dataloader_idx) the step takes."""
    names = [each.kind for each in signature(step).parameters.values()]
    return 3 if any(kind.name == "VAR_POSITIONAL" for kind in names) else max(1, min(3, len(names)))


def _step(trainer: Any, module: Any) -> Callable[..., Any]:
    def step(*batch: Any) -> Any:
        with trainer.precision_plugin.train_step_context():
            return module.training_step(*batch)

    return step


def _loss(output: Any) -> Tensor:
    """The loss in what `training_step` returns."""
    loss = output.get("loss") if isinstance(output, dict) else output
    if not isinstance(loss, Tensor):
        raise DataError(
            f"training_step returns no loss but a {type(output).__name__}: there is nothing to differentiate"
        )
    return loss
