"""Units, experts and tensors that are bit for bit the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from fanin.auditing.names import digits_left_out
from fanin.auditing.records import MATRICES, Scene, Seen, Twins
from fanin.auditing.rules.remedies import redrawn
from fanin.checking import Finding, Severity
from fanin.plans import Plan
from fanin.plans.steps import Replay

_TELLING = MATRICES | {"embedding", "lora A", "lora B", "modulation"}
_RANDOM = ("Normal", "Uniform", "TruncatedNormal", "Orthogonal", "RowNormalized", "Blocks", "DeltaOrthogonal")
_HALF = 0.5
_LEAST = 64  # values in a tensor that is compared with others
_EXPERT = re.compile(r"(^|\.)(local_)?experts?\.\d+\.")


def twins(scene: Scene) -> Iterator[Finding]:
    """Two rows (filters, columns of a transposed layer) of one weight with the same values."""
    for seen in _candidates(scene):
        found = seen.twins
        if found is None or found.equal < 2:
            continue
        table = seen.role == "embedding"
        grave = found.equal >= _HALF * found.units and not table
        yield Finding(
            "twins",
            "info" if scene.trained else "error" if grave else "warning",
            seen.name,
            f"{found.equal} of {found.units} {'rows' if table else 'units'} have the values of another one, "
            f"as {found.first} and {found.second}",
            "every row different" if table else "every unit different",
            "rows were copied or never written"
            if table
            else "units that start equal and are pulled equally stay equal"
            ": they count as one (a broadcast, a repeated block, growth without noise)",
            redrawn(seen),
        )


def experts(scene: Scene) -> Iterator[Finding]:
    """Experts stacked in one tensor with the same values."""
    for seen in _candidates(scene):
        if seen.experts is not None and seen.experts.equal:
            yield _experts(seen, seen.experts, scene)


def copies(scene: Scene) -> Iterator[Finding]:
    """Different tensors with the same values: across layers, experts, and inside a block."""
    able = [seen for seen in _candidates(scene) if seen.size >= _LEAST and not (seen.twins and seen.twins.equal)]
    known: dict[tuple[tuple[int, ...], str, int], list[Seen]] = {}
    for seen in able:
        others = known.setdefault(_bits(seen), [])
        first = next((other for other in others if _equal(other, seen)), None)
        if first is None:
            others.append(seen)
        elif not _is_tied_by_plan(first, seen, scene):
            yield _copy(first, seen, scene)


def _candidates(scene: Scene) -> Iterator[Seen]:
    for seen in scene.weights:
        if seen.trainable and seen.role in _TELLING and seen.std and not _is_fixed(seen):
            yield seen


def _is_fixed(seen: Seen) -> bool:
    """Its law leaves nothing to chance, or says itself that values repeat."""
    law = seen.law
    if law is None:
        return False
    if law.initializer is None:
        return isinstance(law.action, Replay)
    return type(law.initializer).__name__ not in _RANDOM


def _bits(seen: Seen) -> tuple[tuple[int, ...], str, int]:
    return seen.shape, seen.dtype, 0 if seen.numbers is None else seen.numbers.bits


def _is_tied_by_plan(first: Seen, second: Seen, scene: Scene) -> bool:
    """The rule about ties speaks of these."""
    pairs = (*scene.ties, *((step.name, alias) for step in (scene.plan or Plan(())).steps for alias in step.aliases))
    return (first.name, second.name) in pairs


def _equal(first: Seen, second: Seen) -> bool:
    if first.load is None or second.load is None:  # shards: the hashes vouch for them
        return first.numbers == second.numbers
    return torch.equal(first.load(), second.load())


def _copy(first: Seen, second: Seen, scene: Scene) -> Finding:
    rule, severity, cause = _kind(first, second, scene)
    return Finding(
        rule,
        "info" if scene.trained else severity,
        second.name,
        f"bit for bit the values of {first.name}",
        "values of its own",
        cause,
        redrawn(second),
    )


def _kind(first: Seen, second: Seen, scene: Scene) -> tuple[str, Severity, str]:
    if digits_left_out(first.name) == digits_left_out(second.name):
        if _EXPERT.search(second.name) and _EXPERT.sub(".", first.name) == _EXPERT.sub(".", second.name):
            return "experts", "warning", _UPCYCLED
        cause = "the layers were deep-copied (nn.TransformerEncoder), or drawn from one seed or one random state"
        return "copies", "warning", cause
    if _block(first.name) == _block(second.name) and first.role != second.role:
        return "copies", "warning", "both were drawn with the same seed or key, or one was copied from the other"
    if {first.role, second.role} == {"embedding", "head"}:
        return "copies", "info", "an embedding and a head stored twice: they drift apart unless they are tied"
    if _block(first.name) == _block(second.name):
        return "copies", "warning", "both were drawn with the same seed or key, or one was copied from the other"
    return "copies", "info", "one module was copied from the other, as targets, teachers and shared encoders are"


def _block(name: str) -> str:
    return name.rpartition(".")[0].rpartition(".")[0]


_UPCYCLED = (
    "the experts were copied from one (upcycling) or drawn from one seed: only the router's noise tells them apart"
)


def _experts(seen: Seen, found: Twins, scene: Scene) -> Finding:
    return Finding(
        "experts",
        "info" if scene.trained else "warning",
        seen.name,
        f"{found.equal} of {found.units} experts have the values of another one, as {found.first} and {found.second}",
        "experts that differ",
        _UPCYCLED,
        redrawn(seen),
    )
