"""One unit after another, in this thread."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.race.engines.lanes import Progress
from fanin.race.engines.surroundings import surroundings
from fanin.race.engines.units import Task
from fanin.race.training import Trained


def in_turn(task: Task, tell: Progress) -> Iterator[tuple[int, Trained]]:
    """Train in this thread. Between two results the surroundings are the caller's."""
    for unit in task.units():
        done: list[tuple[int, Trained]] = []
        try:
            with surroundings(task.method.threads):
                for result in task.run(unit, _never, tell):
                    done.append(result)  # not extend: Ctrl-C must leave what came before it
        except KeyboardInterrupt:
            yield from done
            raise
        yield from done


def _never() -> bool:
    return False
