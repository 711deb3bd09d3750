"""fanin: every number in the model, accounted for before step one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each public name lives; loaded on first use, so that `import fanin` stays cheap.
_HOME = {
    "Axes": "fanin.axes",
    "FaninError": "fanin.errors",
    "Plan": "fanin.plans",
}

__all__ = ["__version__", *sorted(_HOME)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fanin' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
