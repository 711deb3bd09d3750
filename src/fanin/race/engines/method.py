"""How lanes are trained, as a text that another run can be given."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fanin.errors import ArgumentError, UnknownNameError

ENGINES = ("sequential", "threads", "processes", "stacked")


@dataclass(frozen=True, slots=True)
class Method:
    """An engine and its options. A lane's bits depend on them, but for `workers`, and on nothing beside the lane.

    Attributes:
        engine: "sequential" (one lane after another), "threads", "processes" (so many lanes at a time), or "stacked"
            (groups of lanes as one model whose tensors have a dimension more, by `torch.func`).
        workers: lanes or groups at a time, in threads or processes.
        threads: torch's threads in each worker.
        group: lanes of a stack.
        channels_last: images and the filters on them in the order N, H, W, C.
        onednn: dense layers through oneDNN, where torch takes MKL, which has no AVX-512 on AMD's processors.

    >>> Method("processes", workers=2, onednn=True)
    Method('processes,workers=2,onednn')
    >>> Method.parse("processes,workers=2,onednn").onednn
    True
    """

    engine: str = "sequential"
    workers: int = 1
    threads: int = 1
    group: int = 1
    channels_last: bool = False
    onednn: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UnknownNameError.among("engine", self.engine, ("auto", *ENGINES))
        for name in ("workers", "threads", "group"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"engine {self.engine!r}: {name} must be at least 1, got {getattr(self, name)}")
        if self.workers > 1 and self.engine == "sequential":
            raise ArgumentError("engine 'sequential' has one worker: take 'threads' or 'processes' for more")
        if self.engine != "stacked" and self.group > 1:
            raise ArgumentError(f"engine {self.engine!r} stacks nothing: take 'stacked' for groups of {self.group}")
        if self.engine == "stacked" and (self.channels_last or self.onednn):
            raise ArgumentError("engine 'stacked' has neither channels_last nor onednn: they are for single lanes")

    def __str__(self) -> str:
        return ",".join([self.engine, *(_option(field.name, getattr(self, field.name)) for field in self._changed())])

    def __repr__(self) -> str:
        return f"Method({str(self)!r})"

    def _changed(self) -> list[Any]:
        return [field for field in fields(self)[1:] if getattr(self, field.name) != field.default]

    @classmethod
    def parse(cls, text: str) -> Method:
        """The method of such a text.

        Raises:
            ArgumentError: no text, an option that is no number, is not possible, or comes twice.
            UnknownNameError: no engine or option of that name.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"engine must be a text such as 'auto' or 'stacked,group=4', got {type(text).__name__}")
        engine, *options = text.split(",")
        defaults = {field.name: field.default for field in fields(cls)[1:]}
        values: dict[str, Any] = {}
        for option in options:
            name, equals, value = option.partition("=")
            if name not in defaults:
                raise UnknownNameError.among("engine option", name, defaults)
            flag = isinstance(defaults[name], bool)
            if name in values or flag == bool(equals) or (equals and not (value.isascii() and value.isdigit())):
                wanted = f"{name} alone" if flag else f"{name}=NUMBER"
                raise ArgumentError(f"engine {text!r}: write {wanted}, once, got {option!r}")
            values[name] = True if flag else int(value)
        return cls(engine, **values)


def _option(name: str, value: Any) -> str:
    return name if value is True else f"{name}={value}"
