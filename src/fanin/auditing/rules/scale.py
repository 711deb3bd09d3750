"""Standard deviations against the plan, against the model's own code, and against what a head can bear."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from fanin.auditing.causes import cause_of_std
from fanin.auditing.fresh import SIGMAS, allowance, follows
from fanin.auditing.records import Scene, Seen
from fanin.auditing.rules.remedies import drawn, redrawn, usual_std
from fanin.checking import Finding

_GRAVE = 2.0
_WIDE = 3.0  # standard deviation of the logits of normed features
_SIZED = ("unit_scaling", "mup.")
_MOST = 0.6


def std(scene: Scene) -> Iterator[Finding]:
    """Mean and standard deviation against the given plan: five standard errors and 1 %."""
    if scene.trained:
        return
    for seen in scene.tensors:
        step = seen.planned
        if step is None or follows(seen, step) is not False or seen.numbers is None:
            continue
        planned, mean = step.std or 0.0, step.mean or 0.0
        ratio = seen.numbers.std / planned if planned else float("inf")
        grave = not 1 / _GRAVE <= ratio <= _GRAVE
        off_mean = planned and 1 / 1.02 < ratio < 1.02
        yield Finding(
            "std",
            "error" if grave else "warning",
            seen.name,
            f"mean {seen.numbers.mean:.4g}, std {seen.numbers.std:.4g}",
            f"mean {mean:.4g}, std {planned:.4g} ± {allowance(seen.numbers, planned, step):.2g} ({step.why})",
            "the values are shifted" if off_mean else cause_of_std(seen, ratio),
            "fanin.materialize(model, plan)",
        )


def trained(scene: Scene) -> Iterator[Finding]:
    """One sentence where the values are no fresh draw, so that rules about draws do not apply."""
    if not scene.trained:
        return
    weights = [seen for seen in scene.weights if seen.std]
    if weights:
        yield Finding(
            "trained",
            "info",
            weights[0].name,
            f"the values of most of {len(weights)} tensors have no shape of a law (tails, rows, moved norm scales)",
            "fresh values follow their laws",
            "the model is trained: rules about fresh draws are left out",
            'fanin.initialize(model, recipe="auto")',
        )


def own_code(scene: Scene) -> Iterator[Finding]:
    """Single tensors that are not as the model's own code draws them, where nearly all others are."""
    if scene.trained or scene.plan is not None:
        return
    told = [(seen, kept) for seen in scene.weights if (kept := follows(seen, seen.native)) is not None]
    odd = [seen for seen, kept in told if not kept]
    if not odd or len(odd) > (1 - _MOST) * len(told):
        return
    for seen in odd:
        law = seen.native.initializer if seen.native is not None else None
        yield Finding(
            "own-law",
            "info",
            seen.name,
            f"mean {seen.mean or 0.0:.4g}, std {seen.std or 0.0:.4g}",
            f"{law.describe() if law is not None else 'its law'}, as the model's own code draws it",
            "it was drawn otherwise, loaded or changed after the constructor, unlike nearly all others",
            redrawn(seen),
        )


def head(scene: Scene) -> Iterator[Finding]:
    """Heads, and embeddings tied to one, that give logits far from zero: step-0 loss far above ln V."""
    if scene.trained or any(kind.startswith(_SIZED) for kind in scene.types.values()):
        return
    for seen in scene.tensors:
        wide = _logits(seen)
        if wide is None or wide <= _WIDE:
            continue
        tied = seen.role == "embedding"
        yield Finding(
            "head",
            "warning",
            seen.name,
            f"std {seen.std or 0.0:.3g} over fan-in {_fan_in(seen):g}: logits of normed features have std {wide:.3g}",
            "logits of std about 1 or less, so that the first loss is near ln V",
            "an embedding of unit std is tied to the head: as a head it needs 1/√width, or a factor before it"
            if tied
            else "the head is drawn as if it were an embedding (T5's factor 1, torch's Embedding default)",
            drawn(seen, usual_std(seen)),
        )


def _logits(seen: Seen) -> float | None:
    """The std of logits of features of unit size."""
    if seen.kind != "parameter" or len(seen.shape) != 2 or not seen.std or min(seen.shape) < 2:
        return None
    heads = [use for use in seen.uses if use.op == "linear" and (use.role == "head" or seen.role == "embedding")]
    if not heads:
        return None
    scaled = min(abs(use.scaled) for use in heads)
    return seen.std * sqrt(_fan_in(seen)) * scaled


def _fan_in(seen: Seen) -> float:
    return next((use.axes.fan_in for use in seen.uses if use.op == "linear" and use.axes is not None), 1.0)


def error_of_std(seen: Seen) -> float:
    """Five standard errors of a measured standard deviation, relative to it."""
    if seen.numbers is None:
        return 0.005
    return SIGMAS * sqrt(max(seen.numbers.kurtosis - 1, 0.8) / (4 * max(1, seen.numbers.finite)))
