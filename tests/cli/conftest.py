"""The command as a function: arguments in; exit code, stdout and stderr out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from fanin.cli import run


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def error(self) -> str:
        """The one sentence on stderr."""
        assert self.err.startswith("Error: "), self.err
        assert self.err.count("\n") == 1, f"not one line: {self.err}"
        return self.err.removeprefix("Error: ").removesuffix("\n")


Command = Callable[..., Done]


@pytest.fixture
def fanin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `fanin ARGUMENTS…` as in a pipe, 100 columns wide."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def command(*arguments: object) -> Done:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Done(code, printed.out, printed.err)

    return command
