"""The rules of an audit in the order in which they are asked, the plainest damage first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from fanin.auditing.names import digits_left_out
from fanin.auditing.records import Scene
from fanin.auditing.rules import (
    adapters,
    biases,
    buffers,
    constants,
    fans,
    known,
    loaded,
    mup,
    norms,
    plans,
    ranks,
    residual,
    scale,
    ties,
    truncation,
    twins,
    values,
)
from fanin.checking import Finding


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        ask: gives its findings.
        last: a tensor of which a graver thing was said already is left out: its moments are off for that reason.
    """

    ask: Callable[[Scene], Iterator[Finding]]
    last: bool = False


RULES = (
    Rule(constants.empty),
    Rule(plans.unwritten),
    Rule(values.non_finite),
    Rule(values.uninitialised, last=True),
    Rule(buffers.rebuilt, last=True),
    Rule(buffers.rotary, last=True),
    Rule(buffers.running, last=True),
    Rule(loaded.overwritten, last=True),
    Rule(values.denormal, last=True),
    Rule(values.underflow, last=True),
    Rule(values.overflow, last=True),
    Rule(constants.constant),
    Rule(constants.table),
    Rule(ranks.replicas),
    Rule(ranks.repeated),
    Rule(twins.twins, last=True),
    Rule(twins.experts, last=True),
    Rule(twins.copies, last=True),
    Rule(ties.ties),
    Rule(plans.dead_rules),
    Rule(plans.shapes),
    Rule(mup.mup),
    Rule(norms.norm_scale),
    Rule(loaded.new_rows, last=True),
    Rule(biases.padding, last=True),
    Rule(biases.forget_bias, last=True),
    Rule(adapters.lora_b, last=True),
    Rule(truncation.never_bites),
    Rule(truncation.spikes, last=True),
    Rule(truncation.outliers, last=True),
    Rule(truncation.beyond, last=True),
    Rule(known.known),
    Rule(residual.residual_scale, last=True),
    Rule(scale.head, last=True),
    Rule(fans.fans, last=True),
    Rule(scale.std, last=True),
    Rule(scale.trained),
    Rule(scale.own_code, last=True),
)
_ORDER = ("error", "warning", "info")


def findings(scene: Scene) -> tuple[Finding, ...]:
    """What all rules say, errors first; what is said alike of repeated layers is said once."""
    found: list[Finding] = []
    for rule in RULES:
        grave = {finding.tensor for finding in found if finding.severity != "info"}
        found += [finding for finding in rule.ask(scene) if not (rule.last and finding.tensor in grave)]
    return tuple(sorted(_together(found), key=lambda finding: _ORDER.index(finding.severity)))


def verdict(found: tuple[Finding, ...]) -> Literal["healthy", "warning", "error"]:
    """The gravest severity above info; "healthy" where there is none."""
    seen = {finding.severity for finding in found}
    return "error" if "error" in seen else "warning" if "warning" in seen else "healthy"


def _together(found: list[Finding]) -> Iterator[Finding]:
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in found:
        # Numbers in the cause (a ratio) may differ in their last digit between layers.
        key = (finding.rule, finding.severity, digits_left_out(finding.tensor))
        groups.setdefault(key, []).append(finding)
    for same in groups.values():
        first = same[0]
        if len(same) == 1:
            yield first
        else:
            more = f"; {len(same) - 1} more like it, to {same[-1].tensor}"
            yield replace(first, seen=first.seen + more)
