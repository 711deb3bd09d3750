"""Files that installed packages bring: where they are, and what to install where they are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fanin.errors import MissingExtraError

Progress = Callable[[float, float], None]
"""Told (done, in all) while something is read."""

EXTRA = "data"
_IN_EXTRA = {"mlxtend": "mlxtend", "sklearn": "scikit-learn", "statsmodels": "statsmodels", "PIL": "pillow"}


def silent(done: float, total: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that a package ships; the package is never imported, which would load much for one file.

    Attributes:
        module: the package, as it is imported.
        place: the file's path inside it.
        purpose: what it is needed for, a plural.
        extra: the extra of fanin that installs the package.
    """

    module: str
    place: Path
    purpose: str
    extra: str = EXTRA

    @property
    def missing(self) -> str | None:
        """What to install; None where the package is there."""
        return None if self._root() else str(self._error())

    def path(self) -> Path:
        """The file.

        Raises:
            MissingExtraError: the package is not installed.
        """
        root = self._root()
        if root is None:
            raise self._error()
        return root / self.place

    def _root(self) -> Path | None:
        try:
            spec = find_spec(self.module)
        except ValueError:  # a module in sys.modules without a spec
            return None
        return None if spec is None or spec.origin is None else Path(spec.origin).parent

    def _error(self) -> MissingExtraError:
        if self.module in _IN_EXTRA:
            return MissingExtraError.of(_IN_EXTRA[self.module], self.extra, self.purpose)
        return MissingExtraError(
            f"{self.purpose} need the package {self.module!r}, which is not installed: pip install {self.module}"
        )
