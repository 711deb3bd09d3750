"""What a report is written to besides the terminal: a page, plots, events, and which run it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

import fanin
from fanin.cli.options import FILE


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where a report goes; None for nowhere.

    Attributes:
        html: the page.
        png: the plots.
        tensorboard: the folder of events.
        before: the JSON of an earlier run, which the page and the plots show beside this one.
    """

    html: Path | None
    png: Path | None
    tensorboard: Path | None
    before: Path | None

    def __post_init__(self) -> None:
        if self.before is not None and self.html is None and self.png is None:
            raise click.UsageError(
                "--before shows an earlier run in the page or the plots: add --html FILE or --png FILE"
            )

    def write(self, report: fanin.Report) -> None:
        """Write whatever was asked for."""
        if self.html is not None:
            report.to_html(self.html, self.before)
        if self.png is not None:
            report.to_png(self.png, self.before)
        if self.tensorboard is not None:
            report.to_tensorboard(self.tensorboard)


def report_files(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--html`, `--png`, `--tensorboard` and `--before`; the function gets them as `files`."""

    @wraps(function)
    def with_files(
        *arguments: Any,
        html: Path | None,
        png: Path | None,
        tensorboard: Path | None,
        before: Path | None,
        **others: Any,
    ) -> Any:
        return function(*arguments, files=ReportFiles(html, png, tensorboard, before), **others)

    for option in reversed(
        [
            click.option("--html", type=FILE, help="Also write the report as one HTML page, which needs no network."),
            click.option("--png", type=FILE, help="Also write the moments through depth as plots."),
            click.option(
                "--tensorboard",
                type=click.Path(file_okay=False, path_type=Path),
                help="Also write scalars and histograms for TensorBoard into this folder.",
            ),
            click.option(
                "--before",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Compare with an earlier run in the page and the plots: what --json printed then.",
            ),
        ]
    ):
        with_files = option(with_files)
    return with_files


summary_option = click.option("--summary", "as_summary", is_flag=True, help="Print one line instead of tables.")
