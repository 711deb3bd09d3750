"""Statistical quality at full size, run once by hand: `python bench/statistics_sweep.py [draws]` (10⁸ by default).

Kolmogorov–Smirnov, moments and tail counts of every law, then the correlations of 10,000 named streams.
z-scores beyond 5, or p-values below 1e-4, would be findings.
"""

from __future__ import annotations

import sys
from math import sqrt

import numpy as np
from scipy import special, stats

from fanin.random import Region, Stream, normal, truncated_normal, uniform

LAWS = {
    "uniform (-1, 1)": (uniform, (-1.0, 1.0), stats.uniform(-1, 2)),
    "normal (0, 1)": (normal, (0.0, 1.0), stats.norm()),
    "truncated ±2": (truncated_normal, (0.0, 1.0, -2.0, 2.0), stats.truncnorm(-2, 2)),
    "truncated ±100": (truncated_normal, (0.0, 1.0, -100.0, 100.0), stats.norm()),
    "truncated [-0.5, 3]": (truncated_normal, (0.0, 1.0, -0.5, 3.0), stats.truncnorm(-0.5, 3)),
}
CHUNK = 1 << 22


def ks_pvalue(values: np.ndarray, cdf) -> float:
    """Of the exact two-sided statistic, computed in pieces; sorts `values` in place."""
    values.sort()
    count, worst = values.size, 0.0
    for first in range(0, count, CHUNK):
        piece = cdf(values[first : first + CHUNK].astype(np.float64))
        ranks = np.arange(first, first + piece.size)
        worst = max(worst, np.max(piece - ranks / count), np.max((ranks + 1) / count - piece))
    return float(special.kolmogorov(worst * sqrt(count)))


def central_moments(values: np.ndarray, centre: float) -> list[float]:
    """Means of (x − centre)^k, k = 1 … 8."""
    sums = np.zeros(8)
    for first in range(0, values.size, CHUNK):
        deviation = values[first : first + CHUNK].astype(np.float64) - centre
        power = np.ones_like(deviation)
        for k in range(8):
            power *= deviation
            sums[k] += power.sum()
    return list(sums / values.size)


def report_law(name: str, draws: int) -> None:
    fill, numbers, law = LAWS[name]
    values = np.empty(draws, np.float32)
    fill(values, Stream.named(0, f"sweep {name}"), Region.whole((draws,)), *numbers)
    mean = float(law.mean())
    moments = central_moments(values, mean)
    expected = [float(law.expect(lambda x, k=k: (x - mean) ** k)) if k > 1 else 0.0 for k in range(1, 9)]
    scores = [
        (moments[k - 1] - expected[k - 1]) / sqrt((expected[2 * k - 1] - expected[k - 1] ** 2) / draws)
        for k in range(1, 5)
    ]
    print(f"{name}: z of moments 1-4 {', '.join(f'{z:+.2f}' for z in scores)};", end=" ")
    if fill is normal:
        for sigmas in (4.0, 4.5, 5.0, 5.5):
            seen, wanted = int((np.abs(values) > sigmas).sum()), draws * 2 * stats.norm.sf(sigmas)
            print(f">{sigmas}σ {seen} of {wanted:.1f}", end="; ")
    print(f"extremes {values.min():.4f} {values.max():.4f}; KS p {ks_pvalue(values, law.cdf):.4f}", flush=True)


def report_streams(names: int, length: int) -> None:
    """All pairs of `names` streams; under independence r·√length is standard normal."""
    values = np.empty((names, length), np.float32)
    for i, row in enumerate(values):
        normal(row, Stream.named(0, f"model.layers.{i}.weight"), Region.whole((length,)), 0.0, 1.0, threads=1)
    values -= values.mean(1, keepdims=True)
    values /= np.sqrt((values**2).sum(1, keepdims=True))
    worst, total, pairs = 0.0, 0.0, names * (names - 1) // 2
    for first in range(0, names, 1000):
        block = (values[first : first + 1000] @ values.T).astype(np.float64)
        upper = np.concatenate([row[first + i + 1 :] for i, row in enumerate(block)]) * sqrt(length)
        worst, total = max(worst, float(np.abs(upper).max())), total + float((upper**2).sum())
    expected = stats.norm.isf(0.5 / (2 * pairs))
    print(
        f"{names} streams × {length}: {pairs} pairs, largest |z| {worst:.2f} (median of its law {expected:.2f}),",
        end=" ",
    )
    print(f"variance of z {total / pairs:.5f} ± {sqrt(2 / pairs):.5f}")


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 10**8
    report_streams(10_000, 4096)
    for law in LAWS:
        report_law(law, size)
