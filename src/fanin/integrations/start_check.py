"""What a callback is told, whichever package calls it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from fanin.checking import Report
from fanin.integrations.callback import callback_class
from fanin.integrations.starting import Conduct, Settings
from fanin.plans import Plan


class StartCheckSettings:
    """The arguments and the result of a `StartCheck`; its objects are callbacks of the class that `base` names."""

    def __new__(cls, *given: Any, **named: Any) -> Self:
        return object.__new__(callback_class(cls, cls.base()))

    def __init__(
        self,
        on: Conduct = "warn",
        *,
        report: str | Path | None = None,
        thorough: bool = False,
        plan: Plan | None = None,
        allow: Sequence[str] = (),
        batch: Any = None,
    ) -> None:
        self.settings = Settings(on, report, thorough, plan, allow)
        self.batch = batch
        self.result: Report | None = None

    @staticmethod
    @abstractmethod
    def base() -> type[Any]:
        """The package's class of callbacks."""
