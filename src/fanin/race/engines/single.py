"""One lane, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from fanin.race.course import Course
from fanin.race.engines.kernels import images, placed
from fanin.race.engines.lanes import Lane
from fanin.race.engines.method import Method
from fanin.race.engines.optimizers import optimizer
from fanin.race.engines.record import Record
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
    model = placed(model.to(course.train[0].device), method)
    settings = replace(settings, steps=lane.steps)
    test = (images(course.test[0], method), course.test[1])
    rule = optimizer(model.parameters(), settings, lane.rate)
    record.look(0, *evaluate(model, test, course.objective))
    yield
    for step, chosen in enumerate(batches(len(course.train[1]), settings, lane.seed), start=1):
        record.add(_step(model, rule, course, images(course.train[0][chosen], method), chosen, settings.clip))
        if step % settings.evaluate_every == 0 or step == settings.steps:
            record.look(step, *evaluate(model, test, course.objective))
        if record.ended:
            return
        if step < settings.steps:
            yield
    record.ended = True


def _step(
    model: nn.Module,
    rule: torch.optim.Optimizer,
    course: Course,
    inputs: torch.Tensor,
    chosen: torch.Tensor,
    clip: float | None,
) -> float:
    loss = course.objective.loss(model(inputs), course.train[1][chosen])
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    rule.step()
    rule.zero_grad()  # the next step finds their memory in the cache
    return float(loss.detach())
