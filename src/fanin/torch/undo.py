"""Changes of a model that are taken back if a later one fails."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any


class Undo:
    """What has to be done to have things as they were.

    >>> undo, sizes = Undo(), {"rows": 3}
    >>> undo.put(sizes, "rows", 5)
    >>> undo.put(sizes, "columns", 2)
    >>> undo.run()
    >>> sizes
    {'rows': 3}
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def add(self, step: Callable[[], object]) -> None:
        """One more step; the last added is done first."""
        self._steps.append(step)

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute, to be set back; with it all that a property of that name sets."""
        self.keep(vars(owner))
        setattr(owner, name, value)

    def put(self, held: dict[str, Any], key: str, value: Any) -> None:
        """Set an entry, to be set back in its place among the others."""
        self.keep(held)
        held[key] = value

    def run(self) -> None:
        """Take everything back."""
        while self._steps:
            self._steps.pop()()

    def keep(self, held: dict[str, Any]) -> None:
        """Have a dict back as it is now, whatever is done to it."""
        before = dict(held)

        def back() -> None:
            held.clear()
            held.update(before)

        self.add(back)


@contextmanager
def undone_on_error() -> Generator[Undo]:
    """A block whose changes are taken back if it raises."""
    undo = Undo()
    try:
        yield undo
    except BaseException:
        undo.run()
        raise
