"""Lanes as one model whose tensors have a dimension more, by `torch.func`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from fanin.race.course import Course
from fanin.race.engines.lanes import Lane
from fanin.race.engines.optimizers import Optimizer, clipped
from fanin.race.engines.record import Record
from fanin.race.settings import Settings
from fanin.race.training import CHUNK, batches


def stacked(
    models: list[nn.Module], lanes: Sequence[Lane], course: Course, settings: Settings, records: Sequence[Record]
) -> Iterator[None]:
    """Train lanes of one rate and one number of steps; pauses as `single` does.

    The lanes' losses are summed, so that each lane's gradients are its own, and one that diverges stays alone.
    """
    settings = replace(settings, steps=lanes[0].steps)
    stack = _Stack([model.to(course.train[0].device) for model in models], course)
    models.clear()  # their memory is the stack's now
    rule = Optimizer(stack.parameters.values(), settings, lanes[0].rate)
    _look(0, stack, records)
    yield
    orders = zip(*(batches(len(course.train[1]), settings, lane.seed) for lane in lanes), strict=True)
    for step, chosen in enumerate(orders, start=1):
        losses = stack.losses(torch.stack(chosen))
        gradients = rule.gradients(losses.sum())
        rule.step(gradients if settings.clip is None else clipped(gradients, settings.clip, len(lanes)))
        for record, loss in zip(records, losses.tolist(), strict=True):
            record.add(loss)
        if step % settings.evaluate_every == 0 or step == settings.steps:
            _look(step, stack, records)
        if all(record.ended for record in records):
            return
        if step < settings.steps:
            yield
    for record in records:
        record.ended = True


def _look(step: int, stack: _Stack, records: Sequence[Record]) -> None:
    for record, loss, score in zip(records, *stack.evaluate(), strict=True):
        record.look(step, loss, score)


class _Stack:
    """Models of one kind, their tensors stacked; all else is the first one's."""

    def __init__(self, models: list[nn.Module], course: Course) -> None:
        for model in models:
            model.train()
        self.course = course
        self.parameters, self.buffers = stack_module_state(models)
        self.base = models[0].to("meta")

    def losses(self, chosen: Tensor) -> Tensor:
        """Training losses [lanes] of the samples [lanes, batch]."""
        inputs, targets = self.course.train
        self.base.train()

        def loss(parameters: Any, buffers: Any, inputs: Tensor, targets: Tensor) -> Tensor:
            return self.course.objective.loss(self._outputs(parameters, buffers, inputs), targets)

        return self._mapped(loss, 0, inputs[chosen], targets[chosen])

    def evaluate(self) -> tuple[list[float], list[float]]:
        """Mean losses and scores on the test data."""
        objective, count = self.course.objective, self.course.objective.count(self.course.test[1])

        def sums(parameters: Any, buffers: Any, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            outputs = self._outputs(parameters, buffers, inputs)
            return objective.loss_sum(outputs, targets), objective.score_sum(outputs, targets)

        self.base.eval()
        with torch.no_grad():
            parts = zip(*(values.split(CHUNK) for values in self.course.test), strict=True)
            losses, scores = zip(*(self._mapped(sums, None, *part) for part in parts), strict=True)
        loss, score = (torch.stack(sums).double().sum(0) / count for sums in (losses, scores))
        return loss.tolist(), [objective.score(value) for value in score.tolist()]

    def _outputs(self, parameters: Any, buffers: Any, inputs: Tensor) -> Tensor:
        return functional_call(self.base, (parameters, buffers), (inputs,))

    def _mapped(self, function: Any, shared: int | None, inputs: Tensor, targets: Tensor) -> Any:
        dimensions = (0, 0, shared, shared)
        mapped = vmap(function, dimensions, randomness="error")
        return mapped(self.parameters, self.buffers, inputs, targets)
