"""A race on the terminal while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fanin.cli.printing import terminal

if TYPE_CHECKING:
    from fanin.race import Moment

PHASES = {
    "data": "Reading the data",
    "starts": "Preparing the starts",
    "speed": "Measuring the speed",
    "rates": "Choosing learning rates",
    "race": "Racing",
}


@contextmanager
def race_progress() -> Generator[Callable[[Moment], None]]:
    """A bar on stderr: the phase, its share, runs done, who leads, time left; silent where stderr is no terminal."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = terminal(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TextColumn("{task.fields[runs]}", markup=False),
        TextColumn("{task.fields[best]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(PHASES["data"], total=1.0, runs="", best="")
        phase = "data"

        def watch(moment: Moment) -> None:
            nonlocal phase
            if moment.phase != phase:
                phase = moment.phase
                bars.reset(task, total=1.0, description=PHASES[phase], runs="", best="")
            runs = f"{moment.finished} of {moment.total} runs" if moment.phase in ("rates", "race") else ""
            best = f"best so far: {moment.best}" if moment.best else ""
            bars.update(task, completed=moment.done, runs=runs, best=best)

        yield watch
