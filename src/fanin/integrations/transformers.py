"""A callback of the transformers Trainer that looks at a model before its first step: `StartCheck()`."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from fanin.checking import Report
from fanin.errors import MissingExtraError
from fanin.integrations.first_batch import first_batch, moved
from fanin.integrations.random_states import random_states_kept
from fanin.integrations.start_check import StartCheckSettings
from fanin.integrations.starting import audited, checked, started
from fanin.integrations.twin import twin


class StartCheck(StartCheckSettings):
    """Audit and check the model of a `transformers.Trainer` when training begins, then warn or stop.

    The audit reads the values; the check runs the model on the first training batch, forward and backward, with the
    loss that the model itself computes from its labels (without labels, a random linear functional of its outputs).
    Model, optimizer, trainer, data loader and random states stay bit for bit as they were. A run that goes on from a
    checkpoint is not looked at.

    Args:
        on: "warn", or "stop" to raise before the first step where a finding is of severity "error" (or the pass fails).
        report: also write an HTML report here.
        thorough: also measure what takes more passes.
        plan: also compare the weights with this plan.
        allow: rules of findings that do not count, as of `fanin.assert_healthy`.
        batch: what to run the model on instead of the first training batch.

    Attributes:
        result: what was found, as a `fanin.Report`; None before training.

    Raises:
        MissingExtraError: transformers is not installed.
        ArgumentError: `on` is something else.

    >>> import importlib.util
    >>> StartCheck(on="stop").result if importlib.util.find_spec("transformers") else None
    """

    @staticmethod
    def base() -> type[Any]:
        """The Trainer's class of callbacks."""
        try:
            return import_module("transformers").TrainerCallback
        except ImportError:
            raise MissingExtraError.of(
                "transformers", "transformers", "callbacks of the transformers Trainer"
            ) from None

    def on_train_begin(self, args: Any, state: Any, control: Any, **there: Any) -> None:
        """Look at the model; called by the trainer."""
        model: nn.Module = there["model"]
        if state.global_step > 0:
            return
        looks = [
            partial(audited, model, self.settings),
            partial(self._checked, model, there.get("train_dataloader")),
        ]
        self.result = started(type(model).__name__, looks, self.settings, first=state.is_world_process_zero)

    def _checked(self, model: nn.Module, loader: Any) -> Report:
        with random_states_kept():
            batch = first_batch(loader) if self.batch is None else self.batch
            batch = moved(batch, next(model.parameters()).device)
            labelled = isinstance(batch, dict) and any("label" in str(name) for name in batch)
            return checked(twin(model), batch, _loss if labelled else None, self.settings)


def _loss(output: Any) -> Tensor:
    """The loss that a model computed from its labels."""
    return output["loss"] if isinstance(output, dict) else output[0]
