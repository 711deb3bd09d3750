"""What a race is written to besides the terminal: a page, curves, JSON, Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

import fanin
from fanin.cli.printing import tell, write_text
from fanin.cli.verb import BadInput

SUFFIXES = (".html", ".json", ".md", ".png")


@dataclass(frozen=True, slots=True)
class RaceFiles:
    """Where a race goes: files by their suffixes, or folders, which get one of each."""

    outputs: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(path for output in self.outputs for path in _paths(output))

    def check(self, store: Path | None) -> None:
        """Refuse before racing what could not be written after it, or would replace the store of the runs.

        Raises:
            BadInput: a suffix of no format, a folder that is missing or takes no files, or the store.
            MissingExtraError: a PNG without matplotlib.
        """
        kept = _resolved(store)
        for path in self.paths:
            if path.resolve() in kept:
                raise BadInput(
                    f"{path}: --resume {store} keeps the finished runs there, which the result would replace: write "
                    "the result to another place"
                )
            if path.suffix.lower() not in SUFFIXES:
                raise BadInput(
                    f"{path}: a race is written as {', '.join(SUFFIXES)}, and the suffix {path.suffix!r} is none of "
                    f"them; for a folder of files write {path}/"
                )
            if path.suffix.lower() == ".png" and find_spec("matplotlib") is None:
                raise fanin.MissingExtraError.of("matplotlib", "plots", "loss plots as PNG")
        for output in self.outputs:
            folder = Path(output) if _is_folder(output) else Path(output).absolute().parent
            if _is_folder(output):
                _make(folder)
            elif not folder.is_dir():
                raise BadInput(f"{output}: cannot be written: there is no folder {str(folder)!r}")
            if not _takes_files(folder):
                raise BadInput(f"{output}: cannot be written: no file can be made in the folder {str(folder)!r}")

    def write(self, result: fanin.RaceResult) -> None:
        """Write whatever was asked for, and say on a terminal what was; one that fails does not keep the others back.

        Raises:
            FaninError: the first that could not be written.
        """
        failed: list[fanin.FaninError] = []
        for path in self.paths:
            try:
                _write(result, path)
                tell(f"Wrote {path}")
            except fanin.FaninError as error:
                failed.append(error)
        if failed:
            raise failed[0]


def _write(result: fanin.RaceResult, path: Path) -> None:
    kind = path.suffix.lower()
    if kind == ".html":
        result.to_html(path)
    elif kind == ".json":
        write_text(path, result.to_json())
    elif kind == ".md":
        write_text(path, result.to_markdown())
    else:
        from fanin.report.curves import save_curves

        save_curves(result, path)


def _is_folder(output: str) -> bool:
    return output.endswith(("/", "\\")) or Path(output).is_dir() or not Path(output).suffix


def _paths(output: str) -> tuple[Path, ...]:
    if not _is_folder(output):
        return (Path(output),)
    drawn = find_spec("matplotlib") is not None
    return tuple(Path(output) / f"race{suffix}" for suffix in SUFFIXES if drawn or suffix != ".png")


def _resolved(store: Path | None) -> set[Path]:
    from fanin.race import manifest

    return set() if store is None else {store.resolve(), manifest(store).resolve()}


def _takes_files(folder: Path) -> bool:
    try:
        with TemporaryFile(dir=folder):  # asking for permission does not tell: root has it in /proc too
            return True
    except OSError:
        return False


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the folder {folder} cannot be made: {error.strerror}") from error


def race_files(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--output PATH`, as often as wanted; the function gets them as `files`."""

    @wraps(function)
    def with_files(*arguments: Any, output: tuple[str, ...], **others: Any) -> Any:
        return function(*arguments, files=RaceFiles(output), **others)

    text = "Also write the race: a .html page, .json, .md, .png curves, or all of them into a folder; may be repeated."
    return click.option("-o", "--output", multiple=True, metavar="PATH", help=text)(with_files)
