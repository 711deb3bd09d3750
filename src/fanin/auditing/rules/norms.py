"""Scales of norms: 1, or 0 where the code adds 1 or where a residual branch starts closed."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.auditing.records import Scene, Seen
from fanin.auditing.rules.remedies import filled
from fanin.checking import Finding, Severity


def norm_scale(scene: Scene) -> Iterator[Finding]:
    """All zeros where the scale multiplies, all ones where the code adds 1 to it."""
    scales = [seen for seen in scene.of_role("norm scale") if seen.kind == "parameter" and _is_constant(seen)]
    zeros = [seen for seen in scales if seen.mean == 0]
    everywhere = scene.source == "file" and len(zeros) == len(scene.of_role("norm scale"))
    for seen in zeros:
        offset = _offset(seen)
        if offset == 1 or everywhere:
            continue  # Gemma stores scale − 1
        meant = seen.place.last or _is_batch_norm(seen, scene)
        yield Finding(
            "norm-scale",
            _severity(seen, scene, meant),
            seen.name,
            "all values are 0",
            "all values 1",
            "a zero scale at the end of a residual branch, which starts closed: intended in many ResNets"
            if meant
            else "the scale multiplies, so nothing passes: an init of zeros meant for a norm that computes 1 + scale",
            filled(seen, 1.0),
        )
    for seen in scales:
        if seen.mean == 1 and _offset(seen) == 1:
            yield Finding(
                "norm-scale",
                _severity(seen, scene, False),
                seen.name,
                "all values are 1, and the code adds 1: the scale is 2",
                "all values 0",
                "an init of ones meant for a norm that multiplies by the stored scale",
                filled(seen, 0.0),
            )


def _severity(seen: Seen, scene: Scene, meant: bool) -> Severity:
    by_authors = seen.planned is None and seen.native is not None and seen.native.std == 0
    same = by_authors and seen.native is not None and seen.native.mean == seen.mean
    return "info" if meant or same or scene.trained else "warning"


def _is_constant(seen: Seen) -> bool:
    return seen.numbers.constant if seen.numbers is not None else seen.std == 0


def _offset(seen: Seen) -> float | None:
    found = next((use.parameter for use in seen.uses if use.op == "norm_scale"), None)
    return found if found is not None or seen.planned is None else seen.planned.parameter


def _is_batch_norm(seen: Seen, scene: Scene) -> bool:
    return scene.source == "file" and scene.named(f"{seen.name.rpartition('.')[0]}.running_mean") is not None
