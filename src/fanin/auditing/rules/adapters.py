"""LoRA's second factor, which starts at zero so that the model starts unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, sqrt

from fanin.auditing.fresh import SIGMAS, is_plain
from fanin.auditing.records import Scene, Seen
from fanin.auditing.rules.remedies import filled
from fanin.checking import Finding

_CLOSE = 0.03


def lora_b(scene: Scene) -> Iterator[Finding]:
    """B is drawn by a law of its fans (so it was never trained) and A too: the product is not zero at the start."""
    for seen in scene.of_role("lora B"):
        if seen.kind != "parameter" or not seen.std or not _is_fresh(seen):
            continue
        yield Finding(
            "lora-b",
            "error",
            seen.name,
            f"std {seen.std:.3g}, that of a law over its fan-in: neither zero nor trained",
            "zeros, so that the adapted model starts as the base model",
            "a general init ran over the adapters, or they were made on the meta device and drawn anew",
            filled(seen, 0.0),
        )


def _is_fresh(seen: Seen) -> bool:
    """Whether the values are those of torch's default, Kaiming's, or a normal law of usual size."""
    rank = seen.axes.fan_in if seen.axes is not None else float(seen.shape[-1])
    std = seen.std or 0.0
    usual = (1 / sqrt(3 * rank), 1 / sqrt(rank), sqrt(2 / rank), 1 / rank, 0.02)
    if seen.numbers is None or seen.numbers.constant:
        return True
    margin = _CLOSE + SIGMAS / sqrt(2 * max(1, seen.numbers.finite))
    usually = any(isclose(std, value, rel_tol=margin) for value in usual)
    return usually and is_plain(seen.numbers) and _is_independent(seen)


def _is_independent(seen: Seen) -> bool:
    """Whether the columns are as nearly orthogonal as independent draws: training pulls them all the same way.

    Between independent columns of n values n·cos² has mean 1 and variance 2.
    """
    if seen.load is None:
        return True
    columns = seen.load().double().flatten(1)
    rank = columns.shape[1]
    pairs = rank * (rank - 1) / 2
    units = columns / columns.norm(dim=0)
    squares = (float((units.T @ units).square().sum()) - rank) / 2
    return columns.shape[0] * squares <= pairs + SIGMAS * sqrt(2 * pairs) + 1e-6
