"""One thing that a check has to say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check has to say.

    Attributes:
        rule: a short stable slug that tells findings apart ("twins", "loss-above-uniform"); docs/check.md lists them.
        severity: "error" (training will fail or hardly move), "warning" (likely unintended) or "info".
        tensor: the parameter, or the layer where no parameter is at fault.
        seen: what was measured.
        expected: what a healthy model shows.
        cause: why it comes about.
        remedy: a line of code that mends it (with `model` and `inputs` as given to the check).

    >>> print(Finding("twins", "error", "fc1.weight", "4 equal", "different units", "constant weights", "redraw()"))
    error: fc1.weight: 4 equal (expected different units); constant weights. Try: redraw()
    """

    rule: str
    severity: Severity
    tensor: str
    seen: str
    expected: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.severity}: {self.tensor}: {self.seen} (expected {self.expected}); {self.cause}. Try: {self.remedy}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)
