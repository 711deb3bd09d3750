"""Whether an engine can train a model, found by a trial of two steps."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import isclose
from typing import Any

import torch

from fanin.race.engines.lanes import Lane
from fanin.race.engines.method import Method
from fanin.race.engines.record import Record
from fanin.race.engines.surroundings import surroundings
from fanin.race.engines.units import Task, Unit, is_memory, kind
from fanin.race.training import CHUNK

_STEPS = 2
_CLOSE = 1e-3  # relative


def draws(task: Task) -> bool:
    """Whether the first lane's training uses the global random state."""
    with surroundings(1):
        return _tried(replace(_short(task), method=Method()), (0,))[1]


def why_not_threads(task: Task) -> str | None:
    """Why threads cannot train the lanes; None where they can."""
    return "it draws random numbers while it trains, and all threads draw from one state" if draws(task) else None


def why_not_stacked(task: Task) -> str | None:
    """Why the lanes cannot be trained stacked; None where that gives the losses of single lanes."""
    reasons = (_why_not_pair(replace(task, lanes=pair)) for pair in _pairs(task))
    return next((reason for reason in reasons if reason), None)


def _pairs(task: Task) -> list[list[Lane]]:
    """Two lanes of each kind of model, as a start may change more than values: one has dropout, another not."""
    starts: dict[str, list[Lane]] = {}
    for lane in task.lanes:
        starts.setdefault(lane.start, []).append(lane)
    found: dict[Any, list[Lane]] = {}
    with surroundings(1):
        for some in starts.values():
            (model,) = replace(task, lanes=some).build((0,))
            found.setdefault(kind(model), some[:2])
    return list(found.values())


def _why_not_pair(task: Task) -> str | None:
    short = _short(task)
    pair = tuple(range(len(short.lanes)))
    with surroundings(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # vmap's on operations that it runs lane by lane
        alone = [_tried(replace(short, method=Method()), (index,))[0][0] for index in pair]
        try:
            together, _ = _tried(replace(short, method=Method("stacked", group=len(pair))), pair)
        except Exception as error:
            if is_memory(error):
                return "there is no memory for two lanes at once"
            return f"torch.func.vmap refuses it ({_first_sentence(error)})"
    for one, other in zip(alone, together, strict=True):
        if not all(isclose(a, b, rel_tol=_CLOSE) or a != a or b != b for a, b in zip(one, other, strict=True)):
            return f"stacked lanes get other losses ({other[-1]:.6g}) than single ones ({one[-1]:.6g})"
    return None


def _short(task: Task) -> Task:
    """Two lanes, a few steps, some of the test data."""
    lanes = tuple(replace(lane, steps=_STEPS, rate=task.lanes[0].rate) for lane in task.lanes[:2])
    course = replace(task.course, test=(task.course.test[0][:CHUNK], task.course.test[1][:CHUNK]))
    return replace(task, lanes=lanes, course=course, settings=replace(task.settings, evaluate_every=_STEPS))


def _tried(task: Task, unit: Unit) -> tuple[list[list[float]], bool]:
    """Training and test losses of each lane, and whether the global random state was used."""
    records = [Record() for _ in unit]
    models = task.build(unit)
    state = torch.get_rng_state()
    for _ in task.steps(models, unit, records):
        pass
    drawn = not torch.equal(state, torch.get_rng_state())
    return [[*record.losses, *(loss for _, loss, _ in record.looks)] for record in records], drawn


def _first_sentence(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0].split(". ", maxsplit=1)[0][:160] or type(error).__name__
