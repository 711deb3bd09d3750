"""Whether stored values may go into a model: finite, the same in its dtype, the same under all names of a tied one."""

from __future__ import annotations

from dataclasses import replace

import torch

from fanin.errors import WeightsError
from fanin.loading.finite import DTYPES, Finite
from fanin.torch.file_tensors import OpenedWeights
from fanin.torch.reads import look_through
from fanin.torch.stretches import Read, bytes_of

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def not_finite(values: torch.Tensor) -> str:
    """What is not finite among the values, in words; "" where all are.

    >>> not_finite(torch.tensor([1.0, float("nan"), float("inf")]))
    '1 NaN and 1 infinite of 3 values'
    """
    if not (values.is_floating_point() or values.is_complex()) or _surely_finite(values):
        return ""
    exact = values if values.dtype in _FLOATS or values.is_complex() else values.float()
    nan = int(exact.isnan().sum())
    infinite = exact.numel() - int(exact.isfinite().sum()) - nan
    told = [f"{count:,} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"{' and '.join(told)} of {values.numel():,} values" if told else ""


def _surely_finite(values: torch.Tensor) -> bool:
    """Whether the bits say so, read once by all threads; False where only torch can tell."""
    if values.dtype not in DTYPES or not values.is_cpu or not values.is_contiguous():
        return False
    look = Finite(values.dtype)
    look_through(bytes_of(values), look)
    return look.all_finite


def survives(values: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether every value is the same number in `dtype`.

    >>> survives(torch.tensor([0.5]), torch.bfloat16), survives(torch.tensor([-1]), torch.uint8)
    (True, False)
    """
    if always_survives(values.dtype, dtype):
        return True
    if values.is_complex() and not dtype.is_complex:
        return not bool(values.imag.any()) and survives(values.real, dtype)
    cast = values.to(dtype)
    return equal(values, cast.to(values.dtype)) and (_is_inexact(values) or _same_signs(values, cast))


def always_survives(stored: torch.dtype, dtype: torch.dtype) -> bool:
    """Whether every value of one dtype is a value of the other, by the dtypes alone.

    >>> always_survives(torch.float16, torch.float32), always_survives(torch.float16, torch.bfloat16)
    (True, False)
    """
    if stored == dtype:
        return True
    return stored in _FLOATS and dtype in _FLOATS and torch.promote_types(stored, dtype) == dtype


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors have the same shape, dtype and values, NaN being equal to NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def overflows(values: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether a finite value becomes infinite in `dtype`.

    >>> overflows(torch.tensor([1e6]), torch.float16), overflows(torch.tensor([1e6]), torch.bfloat16)
    (True, False)
    """
    if not (values.is_floating_point() and dtype.is_floating_point) or always_survives(values.dtype, dtype):
        return False
    cast = values.to(dtype).float()
    return bool((~cast.isfinite() & values.isfinite()).any())


def _same_signs(values: torch.Tensor, cast: torch.Tensor) -> bool:
    # Integers that wrap around come back unharmed, but have the other sign in between; float64 keeps every sign.
    return bool(((values.double() < 0) == (cast.double() < 0)).all())


def _is_inexact(values: torch.Tensor) -> bool:
    return values.is_floating_point() or values.is_complex()


class FiniteWeights(OpenedWeights):
    """An opened file that raises rather than give values that are not finite.

    So values that go into new memory, which nobody sees before all of it is written, are read only once.
    """

    @classmethod
    def of(cls, weights: OpenedWeights) -> FiniteWeights:
        """The same file."""
        return cls(weights.file, weights.tensors, weights.is_own)

    def __getitem__(self, name: str) -> torch.Tensor:
        values = super().__getitem__(name)
        self._check(name, values)
        return values

    def read_to(self, name: str, out: torch.Tensor) -> Read | None:
        """As `OpenedWeights.read_to`; each run of values is looked at while it is copied."""
        read = super().read_to(name, out)
        return read if read is None or out.dtype not in DTYPES else replace(read, look=Finite(out.dtype))

    def check_read(self, name: str, read: Read, out: torch.Tensor) -> None:
        """Raise if not all values are finite, after they were read."""
        if not isinstance(read.look, Finite) or not read.look.all_finite:
            self._check(name, out)

    def _check(self, name: str, values: torch.Tensor) -> None:
        if told := not_finite(values):
            raise WeightsError(finite_text({name: told}), path=self.file.path)


def finite_text(found: dict[str, str]) -> str:
    """What to say about tensors with values that are not finite, by name.

    >>> finite_text({"w": "1 NaN of 3 values"})
    "'w' has values that are not finite (1 NaN of 3 values): pass nonfinite='allow' to load them as they are"
    """
    first, *others = found
    more = f", and so have {len(others)} more, as {others[0]!r}" if others else ""
    return (
        f"{first!r} has values that are not finite ({found[first]}){more}: pass nonfinite='allow' to load them as they "
        "are"
    )
