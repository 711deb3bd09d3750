"""Which line of the model's code made a call, read off the Python stack."""

from __future__ import annotations

import sys
from math import isqrt
from types import FrameType
from typing import Any

from torch.nn import init

from fanin.torch.capture.records import Site

# Code that stands between the line that initializes and the operator it calls.
_MACHINERY = ("torch._", "torch.utils.", "torch.overrides", "torch.functional", "torch.nn.parameter", "fanin.torch.")
_INIT = "torch.nn.init"


def site_of_call(operator: str, scalars: tuple[Any, ...]) -> Site:
    """The site of the operator call that is running now."""
    frame, asked = _owner(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
    call = f"{operator}({', '.join(_short(value) for value in scalars)})" if asked is None else _described(asked)
    if frame is None:
        return Site("", "", call)
    module = frame.f_globals.get("__name__", "?")
    return Site(_qualified(frame), f"{module}:{frame.f_lineno}", call)


def _owner(frame: FrameType | None) -> tuple[FrameType | None, FrameType | None]:
    """The frame whose line it is, and the outermost function of `torch.nn.init` it called."""
    asked: FrameType | None = None
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == _INIT:
            asked = frame
        elif not module.startswith(_MACHINERY) and not _wraps(frame, asked):
            break
        frame = frame.f_back
    return frame, asked


def _wraps(frame: FrameType, asked: FrameType | None) -> bool:
    """Whether the frame is another library's function around the one of `torch.nn.init` with the same name."""
    return asked is not None and frame.f_code.co_name == asked.f_code.co_name


def _qualified(frame: FrameType) -> str:
    return frame.f_code.co_qualname.replace(".<locals>", "").replace("<module>", "module")


def _described(frame: FrameType) -> str:
    """`kaiming_uniform_(a=√5)`: the function and those arguments that differ from its defaults."""
    code, function = frame.f_code, getattr(init, frame.f_code.co_name, None)
    names = code.co_varnames[1 : code.co_argcount]
    defaults: tuple[Any, ...] = getattr(function, "__defaults__", None) or ()
    usual = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)) if defaults else {}
    values = {name: frame.f_locals.get(name) for name in names if name != "generator"}
    shown = (f"{name}={_short(value)}" for name, value in values.items() if name not in usual or value != usual[name])
    return f"{code.co_name}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, float) and 1 < value < 1000 and not value.is_integer():
        square = round(value * value)
        if square > 1 and isqrt(square) ** 2 != square and abs(value * value - square) < 1e-9:
            return f"√{square}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
