"""Numbers in the config of a transformers model, wherever in its parts they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

TEXT = ("text", "llm", "language", "decoder", "thinker", "backbone")
IMAGE = ("vision", "visual", "image", "vit", "backbone", "encoder", "thinker")
AUDIO = ("audio", "speech", "encoder", "semantic", "acoustic", "thinker")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a config and of the configs in it; those of the wanted part come first."""

    config: Any
    part: Sequence[str] = ()

    def number(self, *names: str, default: int) -> int:
        """The first positive whole number under one of `names`; of several, the first."""
        return self.pair(*names, default=default)[0]

    def pair(self, *names: str, default: int) -> tuple[int, int]:
        """Height and width under one of `names`: a number, a sequence or a mapping."""
        found = [*next(self._values(names), ()), default]
        return found[0], found[1] if len(found) > 2 else found[0]

    def has(self, *names: str) -> bool:
        return next(self._values(names), None) is not None

    def _values(self, names: Sequence[str]) -> Iterator[tuple[int, ...]]:
        for config in _parts(self.config, self.part):
            for name in names:
                numbers = _numbers(getattr(config, name, None))
                if numbers:
                    yield numbers


def _parts(config: Any, wanted: Sequence[str]) -> Iterator[Any]:
    inner = [(key, value) for key, value in vars(config).items() if hasattr(value, "to_dict")]
    preferred = [value for word in wanted for key, value in inner if word in key]
    for part in preferred:
        yield from _parts(part, wanted)
    yield config
    for _, value in inner:
        if not any(value is part for part in preferred):
            yield from _parts(value, wanted)


def _numbers(value: Any) -> tuple[int, ...]:
    if isinstance(value, dict):
        value = [value[key] for key in ("height", "width") if key in value] or list(value.values())
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(number for number in values if isinstance(number, int) and not isinstance(number, bool) and number > 0)
