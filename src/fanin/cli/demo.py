"""`fanin demo`: the whole way, shown."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fanin.cli import options
from fanin.cli.printing import json_option, print_json, progress, terminal
from fanin.cli.verb import BadInput, verb

if TYPE_CHECKING:
    from fanin.demo.part import Part

MODELS = ("mnist-fc", "mnist-cnn")
Result = TypeVar("Result")


@verb
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("fanin-demo"),
    show_default=True,
    help="Folder for the files it writes.",
)
@options.seed
@click.option("--quick", is_flag=True, help="Everything small: to see that it runs, not what it shows.")
@json_option
def command(output: Path, seed: int, quick: bool, as_json: bool) -> None:
    """Take two networks the whole way on 5,000 real MNIST digits, in less than two minutes.

    For mnist-fc and mnist-cnn: count, plan, draw, check, write, read back, and race five ways to start.
    """
    from fanin.data import mnist
    from fanin.demo.tour import FULL, QUICK, tour

    start = perf_counter()
    digits = mnist()
    make_folder(output)
    narrator = Silent() if as_json else Aloud()
    files = tour(MODELS, digits, output, QUICK if quick else FULL, seed, narrator)
    if isinstance(narrator, Silent):
        print_json({"chapters": narrator.chapters, "files": list(map(str, files))})
    else:
        narrator.end(files, perf_counter() - start)


def make_folder(path: Path) -> None:
    """Make the folder unless it is there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the folder {path} cannot be made: {error.strerror}") from error


class Silent:
    """Keeps what is told, for JSON."""

    colour = False

    def __init__(self) -> None:
        self.chapters: dict[str, dict[str, Any]] = {}

    def chapter(self, title: str) -> None:
        self.chapters[title] = {}

    def tell(self, part: Part[Result]) -> Result:
        result = part.work(_ignore)
        *_, current = self.chapters.values()
        current[part.key] = part.data(result)
        return result


class Aloud:
    """Tells each part on the terminal as it comes."""

    def __init__(self) -> None:
        self.number = 0
        self.console = terminal()
        self.console.print("[bold]fanin demo[/]: two networks from their architecture to trained on real digits")

    @property
    def colour(self) -> bool:
        return self.console.color_system is not None and not self.console.no_color

    def chapter(self, title: str) -> None:
        self.number = 0
        self.console.print()
        self.console.rule(f"[bold magenta]{title}", style="magenta", align="left")

    def tell(self, part: Part[Result]) -> Result:
        self.number += 1
        self.console.print(f"\n[bold]{self.number}  {part.title}[/]\n[italic]{part.says}[/]\n")
        with progress(part.title) as advance:
            result = part.work(advance)
        self.console.print(part.report(result, self.console.width))
        return result

    def end(self, files: list[Path], seconds: float) -> None:
        """The files that stay, and how long it took."""
        self.console.rule(style="magenta")
        self.console.print(f"\nDone in {seconds:.0f} s. Files:")
        for path in files:
            self.console.print(f"  {path}")


def _ignore(done: float, total: float) -> None:
    """Progress that nobody watches."""
