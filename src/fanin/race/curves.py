"""The curves of a race: loss and score against steps, over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.race.run import Run
from fanin.race.settings import Settings

Array = NDArray[np.float64]


def training_loss(runs: Sequence[Run], settings: Settings) -> tuple[Array, Array]:
    """(steps [k], losses [seeds, k]): the loss averaged over each stretch between looks; NaN after a divergence."""
    every = settings.evaluate_every
    count = -(-settings.steps // every)
    steps = np.minimum(np.arange(1, count + 1) * every, settings.steps).astype(np.float64)
    return steps, np.stack([_stretches(run, every, count) for run in runs])


def _stretches(run: Run, every: int, count: int) -> Array:
    losses = np.full(count * every, np.nan)
    losses[: len(run.losses)] = np.where(np.isfinite(run.losses), run.losses, np.nan)
    rows = losses.reshape(count, every)
    present = ~np.isnan(rows)
    total = np.where(present, rows, 0.0).sum(axis=1)
    return np.where(present.any(axis=1), total / np.maximum(1, present.sum(axis=1)), np.nan)


def score_on_test(runs: Sequence[Run], scale: float) -> tuple[Array, Array]:
    """(steps [k], scores [seeds, k] times the scale); NaN where a score is not finite.

    A run that stopped early keeps its last score.
    """
    steps = max((run.seen for run in runs), key=len)
    rows = np.array([run.scores + run.scores[-1:] * (len(steps) - len(run.seen)) for run in runs])
    return np.array(steps, dtype=np.float64), np.where(np.isfinite(rows), scale * rows, np.nan)


def band(start: str, steps: Array, values: Array) -> dict[str, Any]:
    """The steps where any seed has a value, with the median, least and greatest over the seeds."""
    kept = ~np.isnan(values).all(axis=0)
    lines = {"median": np.nanmedian, "low": np.nanmin, "high": np.nanmax}
    drawn = {name: over(values[:, kept], axis=0).tolist() for name, over in lines.items()}
    return {"start": start, "steps": steps[kept].tolist(), **drawn}
