"""One part of the demo: what it is called, what it shows, and its result as data and as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rich.console import RenderableType

Result = TypeVar("Result")
Progress = Callable[[float, float], None]


@dataclass(frozen=True, slots=True)
class Part(Generic[Result]):
    """One part.

    Attributes:
        key: its name in the JSON.
        title: a short heading.
        says: one sentence on what it shows.
        work: makes the result; given a function to call with (done, in all) while it takes time.
        data: the result as JSON data.
        report: the result as a renderable for a terminal of so many columns.
    """

    key: str
    title: str
    says: str
    work: Callable[[Progress], Result]
    data: Callable[[Result], Any]
    report: Callable[[Result, int], RenderableType]


class Narrator(Protocol):
    """Runs a part, tells it to whoever listens, and hands its result back."""

    @property
    def colour(self) -> bool:
        """Whether it tells in colours."""
        ...

    def chapter(self, title: str) -> None:
        """A new chapter begins."""
        ...

    def tell(self, part: Part[Result]) -> Result:
        """Run one part and tell it."""
        ...
