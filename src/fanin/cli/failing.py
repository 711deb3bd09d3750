"""How grave a finding must be to make a command fail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from fanin.cli.verb import FINDINGS

if TYPE_CHECKING:
    from fanin.checking import Finding

GRAVITY = ("error", "warning", "info", "never")
fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(GRAVITY),
    default="warning",
    show_default=True,
    help="The mildest finding that makes the exit code 1.",
)


def exit_code(findings: Iterable[Finding], fail_on: str) -> int:
    """1 if a finding is as grave as `fail_on` or graver, else 0.

    >>> from fanin.checking import Finding
    >>> found = [Finding("twins", "warning", "fc1.weight", "", "", "", "")]
    >>> [exit_code(found, least) for least in GRAVITY]
    [0, 1, 1, 0]
    """
    grave = () if fail_on == "never" else GRAVITY[: GRAVITY.index(fail_on) + 1]
    return FINDINGS if any(finding.severity in grave for finding in findings) else 0
