"""What every initializer can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError, UnknownNameError
from fanin.random.many_laws import Laws
from fanin.random.stream import Region, Stream

# float32, float64, float16 arrays are themselves; NumPy has no bfloat16, so a uint16 array holds bfloat16 bits.
Storage = NDArray[Any]
STORED = tuple(map(np.dtype, ("float32", "float64", "float16", "uint16")))


@dataclass(frozen=True, slots=True)
class Initializer(ABC):
    """A resolved source of values: a law with all its numbers, no decision left.

    Subclasses are frozen dataclasses that check their numbers when built and raise `ArgumentError`.

    >>> from fanin.initializers import Normal
    >>> law = Initializer.from_dict({"law": "Normal", "mean": 0.0, "std": 0.02})
    >>> law == Normal(std=0.02), law.moments((500, 784)), law.describe()
    (True, (0.0, 0.02), 'Normal(mean=0, std=0.02)')
    """

    elementwise: ClassVar[bool] = True
    """Each value depends on its own index alone, so any part can be filled without the rest."""

    registry: ClassVar[dict[str, type[Initializer]]] = {}

    def __init_subclass__(cls) -> None:
        Initializer.registry[cls.__name__] = cls

    @abstractmethod
    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        """Write the part `region` of the logical tensor into `out`, a C-contiguous array of `region.size`."""

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        """`fill` for several parts of one tensor; what they have in common is computed once."""
        for out, region in zip(outs, regions, strict=True):
            self.fill(out, stream, region, threads=threads)

    def needs(self, region: Region) -> Region:
        """The least part of the tensor that must be computed for `region`: for an elementwise law, `region` itself."""
        return region

    @classmethod
    def laws(cls, group: Sequence[Any], stored: np.dtype[Any]) -> Laws | None:
        """The numbers of initializers of this class for `fanin.random.many.fill_many` into arrays of dtype `stored`.

        None where they cannot be filled that way; `fill` can still do it.
        """
        return None

    @abstractmethod
    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        """Exact (mean, standard deviation) of the values of a tensor of this shape."""

    def describe(self) -> str:
        """One line: the law and its numbers, as `Normal(mean=0, std=0.02)`."""
        numbers = ", ".join(f"{name}={_short(value)}" for name, value in asdict(self).items())
        return f"{type(self).__name__}({numbers})"

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `from_dict` inverts it exactly."""
        return {"law": type(self).__name__} | asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Initializer:
        """The initializer that `to_dict` described.

        Raises:
            UnknownNameError: no law of that name.
            ArgumentError: numbers missing, unknown or impossible.
        """
        numbers = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "law"}
        law = Initializer.registry.get(str(data.get("law")))
        if law is None:
            raise UnknownNameError.among("initializer", str(data.get("law")), Initializer.registry)
        try:
            return law(**numbers)
        except TypeError as error:
            raise ArgumentError(f"initializer {law.__name__} cannot be built from {numbers}: {error}") from None


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def check_storage(out: Storage, region: Region) -> None:
    """Raise unless `out` can hold `region` in one of the four stored dtypes."""
    if out.dtype not in STORED:
        raise ArgumentError(f"cannot fill dtype {out.dtype}: use float32, float64, float16 or uint16 (bfloat16 bits)")
    if out.size != region.numel or not out.flags.c_contiguous:
        raise ArgumentError(f"out must be C-contiguous with {region.numel} elements, got shape {out.shape}")
