"""load: existing weights into a model, with an account of every tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError, PlanError, WeightsError
from fanin.loading.checks import Checked, check_ties, check_values, checked_while_written
from fanin.loading.deciding import Deciding, Decision
from fanin.loading.given import GivenWeights, opened
from fanin.loading.laws import Laws
from fanin.loading.ledger import Ledger
from fanin.loading.matching import Matches, check_any, check_strict, matched
from fanin.loading.policies import Policies, PolicyOrPatterns, check_patterns, means
from fanin.loading.values import FiniteWeights
from fanin.names import Rename
from fanin.plans import Plan
from fanin.plans.steps import Copy
from fanin.random import Stream
from fanin.recipes import Recipe
from fanin.torch.agreement import Team
from fanin.torch.capture import Captured
from fanin.torch.collections_paused import collections_paused
from fanin.torch.file_tensors import OpenedWeights
from fanin.torch.materialize import materialize
from fanin.torch.materialize.checks import checked
from fanin.torch.materialize.copies import Copied, Sources, Weights
from fanin.torch.materialize.tasks import listed
from fanin.torch.protection import BY_USER, lock_loaded, protections_among
from fanin.torch.tensors import StoredTensor, registrations, stored_among

_NONFINITE = ("error", "allow")


def load(
    model: nn.Module | Captured,
    weights: GivenWeights | Sequence[GivenWeights],
    *,
    policy: PolicyOrPatterns = "error",
    rename: Rename | None = None,
    recipe: str | Recipe = "native",
    seed: int = 0,
    inputs: Any = None,
    cast: bool = False,
    only: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
    strict: bool = False,
    nonfinite: str = "error",
    override_keep: bool = False,
    lock: bool = True,
    dry_run: bool = False,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ledger:
    """Put existing weights into a model, in place, and account for every tensor of both.

    Names are brought together by `fanin.names.resolve`: equal ones, GGUF's, those without wrappers, one prefix more or
    less; `rename` says the rest. A tensor that fits is copied; one of another shape is changed as `policy` says; one
    that the file lacks is drawn by the recipe, so that nothing is ever left empty; a buffer that no file holds stays,
    or is computed. What the file has and the model has no place for is listed.

    Everything is validated before the first byte changes: names, shapes, the results of all changes, dtypes, values
    that are not finite, copies of tied tensors. The plan that comes out is what `materialize` executes: real, meta,
    captured and sharded models (DTensor: each rank reads what it holds) get the same bits. Then the loaded tensors are
    locked: `initialize`, `materialize` and transformers' `_init_weights` leave them alone until `fanin.unkeep`.

    Args:
        model: a module, a part of one (`model.backbone`) or a captured model.
        weights: a path (`fanin.open_weights` says which), a mapping from names to tensors, or several of them; where
            two have a tensor the later one gives it.
        policy: what to do with a tensor of another shape: "error", "slice", "pad" (or "pad:mean", "pad:drawn"),
            "tile", "resample" (or "resample:14x14-16x16"), "adapt-channels", "redraw", "keep"; "skip" leaves a tensor
            out even where it fits. One for all, or a mapping from patterns of names in the model, of which the first
            that meets decides.
        rename: rules from names in the file to names in the model; see `fanin.names`.
        recipe: draws what the files lack.
        seed: of what is drawn, from 0 to 2⁶⁴ − 1.
        inputs: what to trace the model with, for a recipe and for "resample"; made up where None.
        cast: round to the model's dtypes; else a dtype may differ only where every value survives.
        only: patterns of the tensors to load; all others stay as they are, or are drawn where they have no values.
        ignore: patterns of names in the files that are left out without a word.
        strict: raise where the files lack a tensor of the model, or have one that it has no place for.
        nonfinite: "error", or "allow" to load NaN and infinities as they are (and to read a real model's file once).
        override_keep: also write tensors that `fanin.keep` protects.
        lock: protect what was loaded.
        dry_run: check everything, write nothing, and return the ledger that would be.
        device: where meta tensors get their memory.
        progress: called with elements written and in all.

    Returns:
        The ledger: loaded, adapted, drawn, computed, kept and unused tensors in bytes and reasons; `.plan`, `.locked`.

    Raises:
        WeightsError: a file cannot be read, nothing in it belongs to the model, tensors do not fit, or their values may
            not go in. The model is untouched.
        UnknownNameError, ArgumentError: a policy, pattern, rule or number that means nothing.
        PlanError: the model cannot be written, or protected tensors would be.
        HalfWrittenError: the run ended early; as `materialize`.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> old = {f"module.{name}": value for name, value in nn.Sequential(nn.Linear(4, 3)).state_dict().items()}
    >>> ledger = load(model, old, recipe="he", seed=7)
    >>> [entry.name for entry in ledger.loaded], [entry.name for entry in ledger.drawn]
    (['0.weight', '0.bias'], ['2.weight', '2.bias'])
    >>> bool((model[0].weight == old["module.0.weight"]).all()), ledger.locked
    (True, ('0.weight', '0.bias'))
    """
    module = model.model if isinstance(model, Captured) else model
    if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"load writes into a module or a captured model, not into a {type(module).__name__}")
    if nonfinite not in _NONFINITE:
        raise ArgumentError(f"nonfinite is 'error' or 'allow', not {nonfinite!r}")
    Stream.named(seed, "")
    asked = _Asked(model, module, Policies.of(policy), Laws(model, recipe, inputs), seed, cast, nonfinite == "error")
    patterns = _Patterns(None if only is None else _listed(only), _listed(ignore), strict, override_keep)

    with torch.inference_mode(False), torch.no_grad(), collections_paused():

        def prepare() -> _Prepared:
            ready = _prepared(asked, weights, rename, patterns)
            if dry_run:
                checked(module, ready.plan, seed, device, False, override_keep=True, weights=Sources(ready.sources))
            return ready

        prepared = Team.of(module).decided(prepare)
        locked: tuple[str, ...] = ()
        if not dry_run:
            plan, sources = prepared.plan, prepared.sources
            try:
                materialize(module, plan, seed, device, override_keep=True, progress=progress, sources=sources)
            except WeightsError:
                check_values(prepared.later, seed, cast=cast, finite=asked.finite)  # says all that is not finite
                raise
            locked = lock_loaded(module, prepared.filled) if lock else ()
    return prepared.ledger(locked, seed, dry_run)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What a user asked for."""

    model: nn.Module | Captured
    module: nn.Module
    policies: Policies
    laws: Laws
    seed: int
    cast: bool
    finite: bool


@dataclass(frozen=True, slots=True)
class _Patterns:
    """Which tensors a user meant."""

    only: tuple[str, ...] | None
    ignore: tuple[str, ...]
    strict: bool
    override_keep: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A load of which everything has been checked, but for the values of `later`, which are while they are written."""

    plan: Plan
    decisions: Sequence[Decision]
    matches: Matches
    sources: Mapping[str, Weights]
    later: Sequence[Checked]

    @property
    def filled(self) -> frozenset[str]:
        """Names of the tensors that get values from a file."""
        return frozenset(each.step.name for each in self.decisions if isinstance(each.step.action, Copy))

    def ledger(self, locked: tuple[str, ...], seed: int, dry_run: bool) -> Ledger:
        entries = tuple(each.entry for each in self.decisions)
        unused = (*self.matches.unused, *(each for decision in self.decisions for each in decision.unused))
        return Ledger(entries, unused, self.plan, locked, self.plan.notes, seed, dry_run)


def _prepared(
    asked: _Asked, weights: GivenWeights | Sequence[GivenWeights], rename: Rename | None, patterns: _Patterns
) -> _Prepared:
    entries = list(registrations(asked.module))
    stored = stored_among(entries)
    names = [name for entry in stored for name in entry.names]
    asked.policies.check_used(names)
    check_patterns(patterns.only or (), names, "tensor or module")
    given = opened(weights, patterns.ignore)
    chosen = [entry for entry in stored if _is_meant(entry, patterns.only)]
    path = given[0].source if len(given) == 1 else None
    matches = matched(asked.module, chosen, given, rename, asked.policies)
    if patterns.strict:
        check_strict(matches, path)
    check_any(matches, stored, path)
    marks = protections_among(entries)
    guarded = [name for name in matches.taken if name in marks and marks[name].source == BY_USER]
    if guarded and not patterns.override_keep:
        raise PlanError(
            f"the weights would overwrite {listed(guarded)}, marked with fanin.keep: leave them out with only=, give "
            "them up with fanin.unkeep, or pass override_keep=True"
        )
    held = {each.source: each.weights for each in given}
    meant = {entry.name for entry in chosen}
    left = frozenset(entry.name for entry in stored if entry.name not in meant)
    decisions = Deciding(matches, asked.policies, asked.laws, Sources(held), marks, left).decide(stored)
    recipe = asked.laws.recipe if isinstance(asked.laws.recipe, str) else asked.laws.recipe.name
    notes = (*(each.note for each in given), *matches.notes)
    plan = Plan(tuple(each.step for each in decisions), type(asked.module).__name__, recipe, notes)
    return _Prepared(plan, decisions, matches, *_checked(asked, stored, decisions, matches, held))


def _checked(
    asked: _Asked,
    stored: Sequence[StoredTensor],
    decisions: Sequence[Decision],
    matches: Matches,
    held: Mapping[str, Weights],
) -> tuple[Mapping[str, Weights], Sequence[Checked]]:
    """The sources, after everything about values has been checked, and what is checked while it is written."""
    copies = [
        Checked(Copied.of(each.step, each.step.action, Sources(held)), entry, matches.taken[entry.name][1].copies)
        for each, entry in zip(decisions, stored, strict=True)
        if isinstance(each.step.action, Copy)
    ]
    check_ties(copies)
    names = checked_while_written(copies) if asked.finite and all(entry.tensor.is_meta for entry in stored) else ()
    later = [each for each in copies if each.entry.name in names]
    before = [each for each in copies if each.entry.name not in names]
    check_values(before, asked.seed, cast=asked.cast, finite=asked.finite)
    sources = {each.copied.copy.source for each in later}
    finite = {
        source: FiniteWeights.of(weights) if source in sources and isinstance(weights, OpenedWeights) else weights
        for source, weights in held.items()
    }
    return finite, later


def _is_meant(entry: StoredTensor, only: tuple[str, ...] | None) -> bool:
    return only is None or any(means(pattern, name) for pattern in only for name in entry.names)


def _listed(patterns: str | Sequence[str]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)
