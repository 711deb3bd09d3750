"""The `console` blocks of documents: what `$ fanin …` prints, checked by the tests and renewed by this script.

python tools/sessions.py README.md docs/*.md
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TOLERANCE = 0.02
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?(?!\w)")


def sessions(text: str) -> list[tuple[str, str]]:
    """Each command of the document's blocks with the output shown below it."""
    return [found for block in BLOCK.findall(text) for found in COMMAND.findall(block)]


def same(shown: str, printed: str) -> bool:
    """Whether two outputs agree: words exactly, numbers to 2 %, since sums differ in the last digits between CPUs."""
    words, others = NUMBER.sub("#", shown).split(), NUMBER.sub("#", printed).split()
    numbers, measured = (list(map(value, NUMBER.findall(text))) for text in (shown, printed))
    if words != others or len(numbers) != len(measured):
        return False
    pairs = zip(numbers, measured, strict=True)
    return all(abs(one - other) <= TOLERANCE * max(abs(one), abs(other)) for one, other in pairs)


def value(number: str) -> float:
    return float(number.replace(",", ""))


def renewed(text: str, run: Callable[[list[str]], str]) -> str:
    """The document with the output that each `fanin` command has now; `run` takes the command's arguments."""

    def output(found: re.Match[str]) -> str:
        program, *arguments = shlex.split(found[1], comments=True)
        return f"$ {found[1]}\n{stripped(run(arguments))}" if program == "fanin" else found[0]

    return BLOCK.sub(lambda block: f"```console\n{COMMAND.sub(output, block[1])}```", text)


def stripped(output: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines())


def main(paths: list[str]) -> None:
    environment = {name: setting for name, setting in os.environ.items() if name != "COLUMNS"}
    for path in map(Path, paths):
        with tempfile.TemporaryDirectory() as folder:

            def run(arguments: list[str], folder: str = folder) -> str:
                command = [sys.executable, "-m", "fanin", *arguments]
                done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
                return done.stdout + done.stderr

            path.write_text(renewed(path.read_text(encoding="utf-8"), run), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
