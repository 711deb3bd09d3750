"""Weights without any randomness, and weights without any values."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.auditing.records import INNER, Scene, Seen
from fanin.auditing.rules.remedies import redrawn
from fanin.checking import Finding

_SMALL = 4


def constant(scene: Scene) -> Iterator[Finding]:
    """Matrices whose values are all equal: their units compute the same and are pulled the same way."""
    for seen in scene.tensors:
        if not seen.matrix or min(seen.shape[:2]) < 2 or seen.size < _SMALL or seen.std != 0 or not seen.floating:
            continue
        if seen.numbers is not None and not seen.numbers.constant:
            continue
        value = seen.mean or 0.0
        if value == 0.0 and _may_be_zero(seen):
            continue
        by_authors = seen.native is not None and seen.native.std == 0 and not seen.planned
        yield Finding(
            "constant",
            "info" if by_authors or (scene.trained and value == 0.0) else "error",
            seen.name,
            f"all {seen.size:,} values are {value:g}",
            "different values, so that units differ",
            "a constant where randomness is needed: no unit can ever tell itself from another"
            if value
            else "nothing was written here (memory of zeros), or zeros where only the last weight of a branch may be: "
            "no signal passes",
            redrawn(seen) if not by_authors else f"torch.nn.init.kaiming_normal_({_parameter(seen)})",
        )


def table(scene: Scene) -> Iterator[Finding]:
    """Embeddings whose values are all equal: no token can be told from another."""
    for seen in scene.of_role("embedding"):
        numbers = seen.numbers
        if seen.kind != "parameter" or numbers is None or not numbers.constant or seen.size < _SMALL:
            continue
        by_authors = seen.native is not None and seen.native.std == 0 and not seen.planned
        yield Finding(
            "constant",
            "info" if by_authors or min(seen.shape) < 2 else "error",
            seen.name,
            f"all {seen.size:,} values are {numbers.mean:g}",
            "a different row for each token",
            "the table was never written: all tokens look the same",
            redrawn(seen),
        )


def empty(scene: Scene) -> Iterator[Finding]:
    """Parameters of size 0: ZeRO-3's placeholders, on which any init runs without effect."""
    for seen in scene.tensors:
        if seen.kind == "parameter" and (seen.size == 0 or "ZeRO-3" in seen.unsound):
            yield Finding(
                "empty",
                "error",
                seen.name,
                f"shape {seen.shape}: no values" + (f"; {seen.unsound}" if seen.unsound else ""),
                "the whole tensor while it is initialized and audited",
                "DeepSpeed ZeRO-3 holds the values elsewhere, so an init here writes nothing, silently",
                "with deepspeed.zero.GatheredParameters(list(model.parameters())): fanin.audit(model)",
            )


def _may_be_zero(seen: Seen) -> bool:
    """Zeros that leave a branch or a head closed at the start, as ReZero, Fixup and zero heads do."""
    return seen.role not in INNER or seen.place.last


def _parameter(seen: Seen) -> str:
    return f'model.get_parameter("{seen.name}")'
