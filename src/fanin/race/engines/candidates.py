"""The methods that can train some lanes on this machine, and why others cannot."""

from __future__ import annotations

import os
from itertools import product

from fanin.race.engines.forks import why_not_fork
from fanin.race.engines.kernels import has_dense, has_filters
from fanin.race.engines.memory import lanes_that_fit
from fanin.race.engines.method import Method
from fanin.race.engines.trial import why_not_stacked
from fanin.race.engines.units import Task

_GROUPS = (4, 16)
_ON_DEVICE = (64,)


def candidates(task: Task, draws: bool) -> tuple[list[Method], dict[str, str]]:
    """(methods to try, reasons by engine that is not tried).

    Args:
        task: what is to be trained.
        draws: whether a step uses the global random state.
    """
    device = task.course.train[0].device
    fit = lanes_that_fit(task)
    workers = max(1, min(_cpus(), len(task.lanes), fit)) if device.type == "cpu" else 1
    no_fork = why_not_fork(device)
    refused = {"processes": no_fork} if no_fork else {}
    if draws:
        refused["threads"] = "the model draws random numbers while it trains"
    engines = [engine for engine in ("processes", "threads") if engine not in refused and workers > 1]
    tuned = _kernels(task, device.type == "cpu")
    methods = [Method(engine, workers, **options) for engine in engines for options in tuned]
    if not engines:
        methods = [Method("sequential", **options) for options in tuned]
    no_stack = why_not_stacked(task)
    if no_stack:
        return methods, refused | {"stacked": no_stack}
    several = 1 if no_fork else workers
    share = -(-len(task.lanes) // several)
    sizes = {min(share, fit, size) for size in (_GROUPS if device.type == "cpu" else _ON_DEVICE)}
    return methods + [Method("stacked", several, group=size) for size in sorted(sizes) if size > 1], refused


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kernels(task: Task, on_cpu: bool) -> list[dict[str, bool]]:
    (model,) = task.build((0,))
    return [
        {"channels_last": last, "onednn": dense}
        for last, dense in product((False, True), repeat=2)
        if (not last or has_filters(model)) and (not dense or (on_cpu and has_dense(model)))
    ]
