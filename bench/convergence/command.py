"""The part `convergence` of `./dev bench`."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from convergence import page
from convergence.options import QUICK_SEEDS, QUICK_STEPS
from convergence.racing import race
from convergence.task import Task, quickened
from convergence.tasks import TASKS

SEEDS = 16


def section(arguments: argparse.Namespace) -> tuple[str, bool]:
    """Race what is asked for: the tables, and whether `auto` does what it promises (a quick look promises nothing)."""
    chosen = _chosen(arguments)
    if arguments.quick:
        with TemporaryDirectory() as folder:
            text, _ = _raced(chosen, arguments.seeds or QUICK_SEEDS, Path(folder), arguments.engine, pilots=1)
        return text, True
    return _raced(chosen, arguments.seeds or SEEDS, arguments.store, arguments.engine, pilots=2)


def _raced(tasks: list[Task], seeds: int, store: Path, engine: str, pilots: int) -> tuple[str, bool]:
    return page.section([race(task, seeds, store, engine, pilots) for task in tasks])


def _chosen(arguments: argparse.Namespace) -> list[Task]:
    names = arguments.tasks.split(",") if arguments.tasks else list(TASKS)
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise SystemExit(f"no task {unknown[0]!r}; known: {', '.join(TASKS)}")
    tasks = [TASKS[name] for name in names]
    return [quickened(task, QUICK_STEPS) for task in tasks] if arguments.quick else tasks
