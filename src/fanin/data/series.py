"""Time series as windows to forecast: what was seen, and what comes next; split by time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fanin.data.dataset import Dataset, Samples, Scale
from fanin.data.needs import Progress, silent
from fanin.errors import ArgumentError, DataError

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RawSeries:
    """A series as it was measured.

    Attributes:
        values: [steps, channels], finite.
        source: where it comes from.
    """

    values: Values
    source: str


def series(
    read: Callable[[], RawSeries],
    lookback: int = 32,
    horizon: int = 8,
    split: float = 0.8,
    train: int | None = None,
    test: int | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Windows of a series: inputs [n, lookback, channels], and targets [n, horizon, channels], the steps after them.

    The first `split` of the time is for training: every step of a training window lies in it, and mean and std of each
    channel are those of that time alone. The targets of the test windows lie after it; what such a window looks back
    at may reach into it.

    Args:
        lookback: steps that a window shows.
        horizon: steps to forecast.
        split: share of the time that is trained on, above 0 and below 1.
        train: how many windows to train on, the latest.
        test: how many windows to test on, the earliest.

    Raises:
        ArgumentError: a number that cannot be meant, windows longer than their part, or more than there are.
        DataError: a channel that does not vary in the training part, or whose numbers cannot be normalised.
    """
    if lookback < 1 or horizon < 1:
        raise ArgumentError(f"lookback and horizon must be at least 1, got {lookback} and {horizon}")
    if not 0 < split < 1:
        raise ArgumentError(f"split must be above 0 and below 1, got {split}")
    raw = read()
    progress(1.0, 1.0)
    steps = len(raw.values)
    cut = round(split * steps)
    if lookback + horizon > cut or horizon > steps - cut:
        raise ArgumentError(
            f"lookback {lookback} and horizon {horizon} do not fit a series of {steps} steps, {cut} of them to train "
            f"on and {steps - cut} to test on: make them shorter"
        )
    scale = _scale(raw.values[:cut])
    values = _normalised(raw.values, scale)
    first_test = max(0, cut - lookback)
    return Dataset(
        "series",
        _limited(windows(values[:cut], lookback, horizon), train, "train", latest=True),
        _limited(windows(values[first_test:], lookback, horizon), test, "test", latest=False),
        task="regression",
        sizes={"channels": raw.values.shape[1], "lookback": lookback, "horizon": horizon},
        target=None,
        source=raw.source,
        scale=scale,
    )


def windows(values: NDArray[np.float32], lookback: int, horizon: int) -> Samples:
    """Every stretch of lookback + horizon steps of [steps, channels], cut behind the lookback.

    >>> found = windows(np.arange(5, dtype=np.float32)[:, None], lookback=2, horizon=1)
    >>> found.inputs[..., 0].tolist(), found.targets[..., 0].tolist()
    ([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]], [[2.0], [3.0], [4.0]])
    """
    stretches = np.lib.stride_tricks.sliding_window_view(values, lookback + horizon, axis=0).swapaxes(1, 2)
    return Samples(np.ascontiguousarray(stretches[:, :lookback]), np.ascontiguousarray(stretches[:, lookback:]))


def _scale(seen: Values) -> Scale:
    for channel in np.flatnonzero((seen == seen[0]).all(axis=0)):  # std would be some 1e-17, as the mean is rounded
        raise DataError(
            f"channel {channel} of the series is {seen[0, channel]:g} all through the training part: leave it out"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = seen.mean(axis=0), seen.std(axis=0)
    for channel in np.flatnonzero(~np.isfinite(std) | (std == 0)):  # squares that overflow or underflow
        low, high = seen[:, channel].min(), seen[:, channel].max()
        raise DataError(
            f"channel {channel} of the series goes from {low:g} to {high:g} in the training part, and its standard "
            f"deviation comes out as {std[channel]:g} in float64: rescale the channel"
        )
    return Scale(mean, std)


def _normalised(values: Values, scale: Scale) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        normalised = scale.normalised(values)
    for step, channel in np.argwhere(~np.isfinite(normalised)):
        raise DataError(
            f"channel {channel} of the series is {values[step, channel]:g} at step {step + 1} of {len(values)}, which "
            f"normalised by the training part (mean {scale.mean[channel]:g}, std {scale.std[channel]:g}) is too large "
            "for float32: correct it or leave it out"
        )
    return normalised


def _limited(samples: Samples, count: int | None, word: str, *, latest: bool) -> Samples:
    if count is None:
        return samples
    if not 1 <= count <= len(samples):
        raise ArgumentError(f"{word} must be from 1 to {len(samples)}, the windows that there are, got {count}")
    chosen = slice(len(samples) - count, None) if latest else slice(count)
    return Samples(samples.inputs[chosen], samples.targets[chosen])
