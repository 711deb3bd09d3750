"""Callbacks that belong to another package's class without importing it early."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache
def callback_class(own: type[Any], base: type[Any]) -> type[Any]:
    """A class that is both, under the first one's name; its objects can be pickled.

    >>> made = callback_class(type("Mine", (), {}), type("Theirs", (), {}))
    >>> [each.__name__ for each in made.__mro__][:3]
    ['Mine', 'Mine', 'Theirs']
    """
    if issubclass(own, base):
        return own

    def reduced(self: Any) -> Any:
        return _rebuilt, (own, dict(self.__dict__))

    names = {
        "__reduce__": reduced,
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
        "__doc__": own.__doc__,
    }
    return type(own.__name__, (own, base), names)


def _rebuilt(own: type[Any], attributes: dict[str, Any]) -> Any:
    make: Any = own.__new__
    made = make(own)
    made.__dict__.update(attributes)
    return made
