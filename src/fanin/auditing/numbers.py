"""What one read of a tensor's values says about them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt


@dataclass(frozen=True, slots=True)
class Numbers:
    """Sums over the finite values of a tensor, or of a part of it; parts add up.

    Attributes:
        count: number of values, finite or not.
        sums: Σx, Σx², Σx³, Σx⁴ of the finite ones, in float64.
        low, high: least and greatest finite value; +∞ and −∞ where there is none.
        zeros: how many are 0.
        small: how many are not 0 but below the least normal number of the stored dtype (denormals).
        huge: how many finite ones are above 1e30 in magnitude.
        nan, infinite: how many are NaN, ±∞.
        bits: hash of the bits of all values and their places, 64 bits.
    """

    count: int
    sums: tuple[float, float, float, float]
    low: float
    high: float
    zeros: int = 0
    small: int = 0
    huge: int = 0
    nan: int = 0
    infinite: int = 0
    bits: int = 0

    @property
    def finite(self) -> int:
        """How many values are finite."""
        return self.count - self.nan - self.infinite

    @property
    def mean(self) -> float:
        """Average; 0 of nothing."""
        return self.sums[0] / self.finite if self.finite else 0.0

    @property
    def second(self) -> float:
        """Mean square; 0 of nothing."""
        return self.sums[1] / self.finite if self.finite else 0.0

    @property
    def std(self) -> float:
        """√(E[x²] − E[x]²); exactly 0 for equal values.

        >>> Numbers(2, (4.0, 10.0, 28.0, 82.0), 1.0, 3.0).std
        1.0
        """
        return 0.0 if self.low >= self.high else sqrt(max(0.0, self.second - self.mean**2))

    @property
    def max_abs(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high)) if self.finite else 0.0

    @property
    def constant(self) -> bool:
        """All values are finite and equal."""
        return self.count > 0 and self.finite == self.count and self.low == self.high

    @property
    def kurtosis(self) -> float:
        """E[(x − μ)⁴]/σ⁴: 3 of a normal law, 1.8 of a uniform one; 0 where σ is 0 or too large to say."""
        mean, second = self.mean, self.second
        variance = self.std**2
        third, fourth = (total / max(1, self.finite) for total in self.sums[2:])
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        return central / variance**2 if 0 < variance < 1e150 and central < inf else 0.0

    def __add__(self, other: Numbers) -> Numbers:
        first, second, third, fourth = (a + b for a, b in zip(self.sums, other.sums, strict=True))
        return Numbers(
            self.count + other.count,
            (first, second, third, fourth),
            min(self.low, other.low),
            max(self.high, other.high),
            self.zeros + other.zeros,
            self.small + other.small,
            self.huge + other.huge,
            self.nan + other.nan,
            self.infinite + other.infinite,
            (self.bits * 0x9E3779B97F4A7C15 + other.bits) % 2**64,
        )


NOTHING = Numbers(0, (0.0, 0.0, 0.0, 0.0), inf, -inf)
