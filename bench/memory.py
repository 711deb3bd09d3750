"""Peak memory of this process."""

from __future__ import annotations

import resource
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes() -> int:
    """The most memory that this process has held since it began or since `peak_reset`.

    (`getrusage` would also count the parent's, from before the exec.)
    """
    if _STATUS.exists():
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_reset() -> None:
    """Count from what is held now, where Linux can."""
    if _RESET.exists():
        _RESET.write_text("5")
