"""Values that are no numbers, memory that nobody wrote, and numbers that the dtype cannot hold."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.auditing.records import Scene, Seen
from fanin.auditing.rules.remedies import redrawn
from fanin.checking import Finding
from fanin.initializers import Constant

_LEAST = {"float16": 2.0**-14, "float8_e4m3fn": 2.0**-6, "float8_e5m2": 2.0**-14}
_SMALLEST = {"float16": 2.0**-24, "float8_e4m3fn": 2.0**-9, "float8_e5m2": 2.0**-16}
_GREATEST = {"float16": 65504.0, "float8_e4m3fn": 448.0, "float8_e5m2": 57344.0}
_MASK = 1e30
_FEW = 0.01
_MANY = 0.1


def non_finite(scene: Scene) -> Iterator[Finding]:
    """NaN anywhere; infinities in parameters (masks are buffers, and may be −∞)."""
    for seen in scene.tensors:
        numbers = seen.numbers
        if numbers is None or not (numbers.nan or (numbers.infinite and seen.kind == "parameter")):
            continue
        yield Finding(
            "non-finite",
            "error",
            seen.name,
            f"{numbers.nan:,} NaN and {numbers.infinite:,} infinite of {numbers.count:,} values",
            "finite values",
            "memory that was allocated and never written (torch.empty, to_empty), or an overflow while it was written",
            redrawn(seen),
        )


def uninitialised(scene: Scene) -> Iterator[Finding]:
    """Magnitudes beyond 10³⁰, as only memory that was never written has."""
    for seen in scene.tensors:
        numbers = seen.numbers
        if numbers is None or not seen.floating or not numbers.huge:
            continue
        if seen.kind == "buffer" and (numbers.constant or numbers.high < _MASK):
            continue  # a mask
        yield Finding(
            "uninitialised",
            "error",
            seen.name,
            f"{numbers.huge:,} of {numbers.count:,} values above 1e30 in magnitude, the largest {numbers.max_abs:.1e}",
            "values of a law, or of a file",
            "memory that was allocated and never written: torch.empty, to_empty without an init, a key missing at load",
            redrawn(seen),
        )


def denormal(scene: Scene) -> Iterator[Finding]:
    """float32 and bfloat16 values below 1.2·10⁻³⁸: integers or stale memory read as numbers."""
    for seen in scene.weights:
        numbers = seen.numbers
        if numbers is None or seen.dtype in _LEAST or numbers.small <= _FEW * numbers.count:
            continue
        yield Finding(
            "denormal",
            "info" if scene.trained else "warning",
            seen.name,
            f"{numbers.small:,} of {numbers.count:,} values are denormal (below 1.2e-38)",
            "no law draws such values",
            "memory of integers or stale memory read as numbers, or weights that decayed to nothing",
            redrawn(seen),
        )


def underflow(scene: Scene) -> Iterator[Finding]:
    """Values, or a law, too small for a dtype of 16 or 8 bits."""
    for seen in scene.tensors:
        least = _LEAST.get(seen.dtype)
        if least is None or seen.kind != "parameter":
            continue
        said = _too_small(seen, least)
        if said:
            yield Finding(
                "underflow",
                "info" if scene.trained else "warning",
                seen.name,
                said,
                f"magnitudes above {least:.1e}, from which on {seen.dtype} has its full precision",
                f"the standard deviation is too small for {seen.dtype}: values round to zero or to a few bits",
                f'model.get_submodule("{seen.name.rpartition(".")[0]}").float()',
            )


def overflow(scene: Scene) -> Iterator[Finding]:
    """Values, or a law, near the greatest number of a dtype of 16 or 8 bits."""
    for seen in scene.tensors:
        greatest = _GREATEST.get(seen.dtype)
        if greatest is None or seen.kind != "parameter":
            continue
        law = None if seen.law is None else seen.law.initializer
        told = abs(law.value) if isinstance(law, Constant) else 4 * ((seen.law.std or 0.0) if seen.law else 0.0)
        largest = max(seen.numbers.max_abs if seen.numbers is not None else 0.0, told)
        if largest > 0.9 * greatest:
            yield Finding(
                "overflow",
                "warning",
                seen.name,
                f"magnitudes up to {largest:.3g}",
                f"at most a fraction of {greatest:g}, the greatest {seen.dtype}",
                f"the values do not fit {seen.dtype}: the next update or product overflows",
                "model.to(torch.bfloat16)",
            )


def _too_small(seen: Seen, least: float) -> str:
    numbers, law = seen.numbers, seen.law
    drawn = law is not None and bool(law.std)
    if numbers is None:
        std = law.std if law is not None else None
        return f"std {std:.2g} planned" if std and std < 2 * least / 3 else ""
    if numbers.small > _MANY * numbers.count:
        return f"{numbers.small:,} of {numbers.count:,} values are denormal in {seen.dtype}"
    if drawn and law is not None and len(seen.shape) > 1 and numbers.zeros > _MANY * numbers.count:
        smallest = _SMALLEST[seen.dtype]
        if law.std and law.std < 10 * smallest:
            return f"{numbers.zeros:,} of {numbers.count:,} values rounded to zero"
    return ""
