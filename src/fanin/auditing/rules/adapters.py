"""LoRA's second factor, which starts at zero so that the model starts unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, sqrt

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
    if seen.numbers is None:
        return True
    if seen.numbers.constant:
        return True
    margin = _CLOSE + 5 / sqrt(2 * max(1, seen.numbers.finite))
    plain = 1.6 < seen.numbers.kurtosis < 3 + 5 * sqrt(24 / max(1, seen.numbers.finite)) + 0.1
    return plain and any(isclose(std, value, rel_tol=margin) for value in usual)
