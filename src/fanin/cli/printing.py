"""What verbs print: tables or JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_OF_A_FILE = 100

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
markdown_option = click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown instead of tables.")


def terminal(*, stderr: bool = False) -> Console:
    """The console: as wide as the terminal, 100 columns in a file or pipe unless COLUMNS says otherwise."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    free = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if free else WIDTH_OF_A_FILE, highlight=False, soft_wrap=False)


def show(as_json: bool, data: Callable[[], Any], report: Callable[[int], RenderableType]) -> None:
    """Print the data as JSON, or the report that `report` makes for the terminal's width."""
    if as_json:
        print_json(data())
        return
    console = terminal()
    console.print(report(console.width))


def print_json(data: Any) -> None:
    """Print data as JSON."""
    click.echo(json.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False))


def print_text(text: str) -> None:
    """Print lines of text, wrapped at words where stdout is narrower."""
    console = terminal()
    if console.is_terminal:
        console.print(text.removesuffix("\n"), markup=False, emoji=False)
    else:
        click.echo(text.removesuffix("\n"))


def tell(line: str, *, always: bool = False) -> None:
    """A line on stderr; in a file or pipe only with `always`."""
    console = terminal(stderr=True)
    if console.is_terminal or always:
        console.print(line, markup=False, emoji=False)


def plain(value: Any) -> Any:
    """The value as JSON can hold it: NaN and infinities, which JSON does not know, as null.

    >>> plain({"a": (1.0, float("nan"))})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    from fanin.weights.atomic import atomic_file

    with atomic_file(path) as file:
        file.write(text.encode())


@contextmanager
def progress(what: str) -> Generator[Callable[[float, float], None]]:
    """A progress bar on stderr while the block runs, moved by calling what it yields with (done, in all).

    It pulses until it is first moved, vanishes at the end, and is silent where stderr is no terminal.
    """
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = terminal(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def writing(what: str, *, shown: bool = True) -> Generator[Callable[[int, int], None]]:
    """A progress bar like that of `progress` for bytes: with how many a second, and how long it will take."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = terminal(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
