"""From matches to the steps of a plan: what is copied, changed to fit, drawn or kept, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from fanin.errors import FaninError, PlanError, WeightsError
from fanin.loading.entries import Entry, How, Unused
from fanin.loading.fitting import CHANGING, Misfit, UnfitError, fitted, fitting_policies
from fanin.loading.given import Given
from fanin.loading.laws import Laws
from fanin.loading.matching import Matches, unused_of
from fanin.loading.policies import Policies, Rule
from fanin.names import Taken
from fanin.plans.change_words import told
from fanin.plans.steps import Action, Copy, Draw, Keep, Replay, Step
from fanin.torch.materialize.copies import Copied, Sources
from fanin.torch.pieces import shape_of
from fanin.torch.protection import Mark, has_values
from fanin.torch.replay import DTYPES
from fanin.torch.tensors import StoredTensor

_LISTED = 3


@dataclass(frozen=True, slots=True)
class Decision:
    """One tensor of the model: its step, and how the ledger tells it.

    Attributes:
        step: where its values come from.
        how: the ledger's word for it.
        changes: what is done to stored values, in words.
        unused: what a file has for it and is not taken.
    """

    step: Step
    how: How
    changes: str = ""
    unused: tuple[Unused, ...] = ()

    @property
    def entry(self) -> Entry:
        """Its line of the ledger."""
        step, action = self.step, self.step.action
        source, key = (action.source, action.key) if isinstance(action, Copy) else ("", "")
        size = prod(step.shape) * DTYPES[step.dtype].itemsize
        return Entry(
            step.name, self.how, step.shape, step.dtype, size, source, key, self.changes, step.why, step.aliases
        )


@dataclass(frozen=True, slots=True)
class Deciding:
    """All that a decision depends on.

    Attributes:
        matches: what the files have.
        policies: for what does not fit.
        laws: for what no file has.
        sources: the files' tensors.
        marks: tensors that are protected.
        left: names of tensors that are not to be touched.
    """

    matches: Matches
    policies: Policies
    laws: Laws
    sources: Sources
    marks: Mapping[str, Mark]
    left: frozenset[str]

    def decide(self, stored: Sequence[StoredTensor]) -> list[Decision]:
        """A decision for each tensor, in order.

        Raises:
            WeightsError: tensors of the files do not fit, and no policy says what to do; names all of them.
        """
        refused: list[str] = []
        decisions: list[Decision] = []
        for entry in stored:
            try:
                decisions.append(self._decision(entry))
            except UnfitError as unfit:
                refused.append(str(unfit))
        if refused:
            raise WeightsError(_refusal(refused), path=self._path(stored))
        return decisions

    def _path(self, stored: Sequence[StoredTensor]) -> str | None:
        sources = {self.matches.taken[entry.name][0].source for entry in stored if entry.name in self.matches.taken}
        return sources.pop() if len(sources) == 1 else None

    def _decision(self, entry: StoredTensor) -> Decision:
        if entry.name in self.left:
            why = "not among the tensors to load"
            return Decision(_bare(entry, Keep(), why), "kept") if has_values(entry.tensor) else self._drawn(entry, why)
        if entry.name not in self.matches.taken:
            return self._without_values(entry)
        source, taken = self.matches.taken[entry.name]
        copy = Copy(source.source, taken.key, taken.changes)
        step = _bare(entry, copy, taken.why)
        stored = self._stored_shape(step, copy, source)
        if stored == step.shape:
            return Decision(step, "loaded", told(copy.changes))
        return self._fitted(entry, step, stored, taken)

    def _stored_shape(self, step: Step, copy: Copy, source: Given) -> tuple[int, ...]:
        try:
            return Copied(step, copy, self.sources[source.source]).shape
        except PlanError as error:
            raise WeightsError(f"{step.name!r} cannot be made of it: {error}", path=source.source) from error

    def _fitted(self, entry: StoredTensor, step: Step, stored: tuple[int, ...], taken: Taken) -> Decision:
        rule = self.policies.rule(entry.names)
        what = f"{taken.key!r} has shape {list(stored)}, the model wants {list(step.shape)}"
        if rule.kind in ("redraw", "keep"):
            why = f"the file's has shape {list(stored)}; policy {rule.kind}"
            kept = Decision(_bare(entry, Keep(), why), "kept")
            decision = self._drawn(entry, why) if rule.kind == "redraw" else kept
            return replace(decision, unused=self._unused(entry, f"has another shape than {entry.name}"))
        if rule.kind not in CHANGING:
            raise UnfitError(what + _advice(self._misfit(entry, stored, step.shape, rule)))
        try:
            changes = fitted(rule, self._misfit(entry, stored, step.shape, rule))
        except UnfitError as unfit:
            raise UnfitError(f"{what}, and policy {rule.kind} cannot make it: {unfit}") from None
        copy = Copy(_source(step), taken.key, (*taken.changes, *changes))
        base = self._base(entry, step)
        return Decision(replace(base, action=copy, source=f"policy {rule.kind}"), "adapted", told(copy.changes))

    def _unused(self, entry: StoredTensor, why: str) -> tuple[Unused, ...]:
        source, taken = self.matches.taken[entry.name]
        return tuple(unused_of(source, key, why) for key in dict.fromkeys((*taken.keys, *taken.copies)))

    def _misfit(self, entry: StoredTensor, stored: tuple[int, ...], wanted: tuple[int, ...], rule: Rule) -> Misfit:
        if rule.kind == "pad" and rule.fill == "drawn":
            return Misfit(stored, wanted, law=self.laws.steps()[entry.name].initializer)
        if rule.kind != "resample" or rule.grids or len(stored) > 3:
            return Misfit(stored, wanted)
        steps = self.laws.steps(roles=True)
        images = any(step.role == "convolution" and len(step.shape) == 4 for step in steps.values())
        return Misfit(stored, wanted, steps[entry.name].role, images)

    def _without_values(self, entry: StoredTensor) -> Decision:
        mark = self.marks.get(entry.name)
        if mark is not None and mark.values and mark.held:
            return Decision(_bare(entry, Keep(), mark.why), "kept")
        if not entry.persistent and has_values(entry.tensor):
            return Decision(_bare(entry, Keep(), "a buffer that no file holds"), "kept")
        return self._drawn(entry, "the file lacks it" if entry.persistent else "a buffer that no file holds")

    def _drawn(self, entry: StoredTensor, why: str) -> Decision:
        step = self.laws.steps()[entry.name]
        return Decision(replace(step, why="; ".join(filter(None, (why, step.why)))), _how(step))

    def _base(self, entry: StoredTensor, step: Step) -> Step:
        """The step with what a trace has told about the tensor, where there was one."""
        traced = self.laws.traced
        return step if traced is None else replace(traced[entry.name], action=step.action, why=step.why)


def _bare(entry: StoredTensor, action: Action, why: str) -> Step:
    dtype = str(entry.tensor.dtype).removeprefix("torch.")
    shape, aliases = shape_of(entry.tensor), entry.aliases
    return Step(entry.name, shape, dtype, entry.kind, action, why, aliases=aliases, persistent=entry.persistent)


def _source(step: Step) -> str:
    if not isinstance(step.action, Copy):
        raise FaninError(f"{step.name!r} is not copied from any file")
    return step.action.source


def _how(step: Step) -> How:
    match step.action:
        case Draw() if step.persistent:
            return "drawn"
        case Draw() | Replay():
            return "computed"
        case _:
            return "kept"


def _advice(misfit: Misfit) -> str:
    """The policies that would make it fit."""
    known = fitting_policies(misfit)
    return f" (policy {' or '.join(known)} would fit it)" if known else ""


def _refusal(refused: Sequence[str]) -> str:
    if len(refused) == 1:
        return f"{refused[0]}. Say with policy= what to do, as 'redraw' (draw it) or 'keep'"
    more = f"; and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
    return (
        f"{len(refused)} tensors do not fit: {'; '.join(refused[:_LISTED])}{more}. Say with policy= what to do, for "
        "all or by pattern, as {'classifier': 'redraw', '*position*': 'resample'}"
    )
