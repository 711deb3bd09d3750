"""One lane, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from fanin.race.course import Course
from fanin.race.engines.kernels import images, placed
from fanin.race.engines.lanes import Lane
from fanin.race.engines.method import Method
from fanin.race.engines.optimizers import Optimizer, clipped
from fanin.race.engines.pooling import pool_first
from fanin.race.engines.record import Record
from fanin.race.objective import Objective
from fanin.race.settings import Settings
from fanin.race.training import batches, evaluate


def built(lane: Lane) -> nn.Module:
    """The lane's model. What its making and its training draw from the global random state is the lane's own."""
    dtype = torch.get_default_dtype()
    try:
        torch.manual_seed(lane.seed)
        model = lane.build()
    finally:
        torch.set_default_dtype(dtype)
    torch.manual_seed(lane.seed)
    return model


def single(
    model: nn.Module, lane: Lane, course: Course, settings: Settings, method: Method, record: Record
) -> Iterator[None]:
    """Train; pauses after the look before the first step, and after each step."""
    device = course.train[0].device
    model = placed(model.to(device), method)
    pool_first(model)
    settings = replace(settings, steps=lane.steps)
    test = (images(course.test[0], method), course.test[1])
    rule = Optimizer(model.parameters(), settings, lane.rate)
    record.look(0, *evaluate(model, test, course.objective))
    yield
    for step, chosen in enumerate(batches(len(course.train[1]), settings, lane.seed), start=1):
        rows = chosen.to(device)
        inputs, targets = (values.index_select(0, rows) for values in course.train)
        record.add(_step(model, rule, course.objective, images(inputs, method), targets, settings.clip))
        if step % settings.evaluate_every == 0 or step == settings.steps:
            record.look(step, *evaluate(model, test, course.objective))
        if record.ended:
            return
        if step < settings.steps:
            yield
    record.ended = True


def _step(
    model: nn.Module, rule: Optimizer, objective: Objective, inputs: Tensor, targets: Tensor, clip: float | None
) -> float:
    loss = objective.loss(model(inputs), targets)
    gradients = rule.gradients(loss)
    rule.step(gradients if clip is None else clipped(gradients, clip))
    return float(loss.detach())
