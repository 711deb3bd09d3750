"""From recorded histories to the steps of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from fanin.errors import PlanError
from fanin.plans.steps import Action, Draw, Keep, Replay, Step, Unknown
from fanin.torch.capture.chance import chances
from fanin.torch.capture.laws import law_of
from fanin.torch.capture.mode import Recorder
from fanin.torch.capture.programs import NotReplayableError, Stand, Writer, unwritten
from fanin.torch.capture.records import Given, Made, View, Written, covers, draws, history
from fanin.torch.replay import Sources, limit_for, run
from fanin.torch.tensors import StoredTensor

_LANES = 64  # lanes of a stream below this one belong to initializers
_MOST_WHYS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """One stored tensor, what was recorded of it, and the orders of the random calls that it depends on."""

    stored: StoredTensor
    view: View | None
    chances: frozenset[int]


@dataclass(slots=True)
class Accounts:
    """Decides the action of each stored tensor, with an eye on what the others share with it.

    Attributes:
        kept: values computed for real of tensors whose data no plan can hold, by name.
    """

    recorder: Recorder
    accounts: Sequence[Account]
    kept: dict[str, torch.Tensor] = field(default_factory=dict)
    _users: dict[int, list[Account]] = field(default_factory=dict)

    @classmethod
    def of(cls, recorder: Recorder, stored: Sequence[StoredTensor]) -> Accounts:
        """The accounts of all stored tensors of a model."""
        views = [recorder.view(item.tensor) for item in stored]
        accounts = [
            Account(item, view, frozenset() if view is None else chances(view.state))
            for item, view in zip(stored, views, strict=True)
        ]
        made = cls(recorder, accounts)
        for account in accounts:
            for order in account.chances:
                made._users.setdefault(order, []).append(account)
        return made

    def steps(self) -> tuple[Step, ...]:
        """One step for each stored tensor."""
        return tuple(self._step(account) for account in self.accounts)

    def _step(self, account: Account) -> Step:
        stored = account.stored
        action, why = self._action(account)
        why, source = (why, "") if account.view is None else _reason(account.view, why)
        dtype = str(stored.tensor.dtype).removeprefix("torch.")
        names = (stored.name, tuple(stored.tensor.shape), dtype, stored.kind)
        return Step(*names, action, why, source, aliases=stored.aliases, persistent=stored.persistent)

    def _action(self, account: Account) -> tuple[Action, str]:
        """The action, and its reason where that is not the line which initialized the tensor."""
        if account.view is None:
            return Keep(), "made before the constructor ran; its values stay"
        if unwritten(account.view):
            return Unknown(), "allocated without values (torch.empty); the constructor never wrote all of it"
        original = self._original(account)
        if original is not account:
            name = original.stored.name
            return Replay((("tensor", (name,), ()), ("alias.default", (("$", 0),), ()))), f"a copy of {name}"
        law = law_of(account.view, self.recorder.values) if self._alone(account) or self._owns(account) else None
        return self._replayed(account) if law is None else (Draw(law), "")

    def _sharing(self, account: Account) -> list[Account]:
        """All tensors that depend on a random number this one depends on, in the order of the model."""
        users = {id(user) for order in account.chances for user in self._users[order]}
        return [account] if users <= {id(account)} else [other for other in self.accounts if id(other) in users]

    def _original(self, account: Account) -> Account:
        """The first tensor with these very random values: the others are copies of it."""
        return next(other for other in self._sharing(account) if _key(other) == _key(account))

    def _alone(self, account: Account) -> bool:
        """Whether no tensor but copies shares its random numbers, or all hold different parts of one draw."""
        others = self._sharing(account)
        if all(_key(other) == _key(account) for other in others):
            return True
        origins = [origin(other.view) for other in others if other.view is not None]
        spans = sorted({view.geometry.span for view in origins})
        one = len({id(view.state) for view in origins}) == 1
        return one and all(before[1] <= after[0] for before, after in pairwise(spans))

    def _replayed(self, account: Account) -> tuple[Action, str]:
        if account.view is None:
            return Keep(), ""
        try:
            return Replay(self._program(account, account.view)), ""
        except NotReplayableError as error:
            reason = str(error)
        try:
            self.kept[account.stored.name] = self.recorder.values.of(account.view).clone()
        except NotReplayableError:
            return self._sampled(account, account.view, reason)
        return Keep(), f"{reason}; the captured model holds the values"

    def _sampled(self, account: Account, view: View, reason: str) -> tuple[Action, str]:
        """One real draw of a tensor whose law has no name, if no other tensor has to fit it."""
        if self._sharing(account) != [account]:
            return Unknown(), reason
        try:
            self.kept[account.stored.name] = self.recorder.sampler.of(view).clone()
        except NotReplayableError:
            return Unknown(), reason
        return Keep(), f"{reason}; the captured model holds one real draw, for any seed"

    def _program(self, account: Account, view: View) -> tuple[Any, ...]:
        """The program that computes a tensor, tried without memory, as materialize will."""
        program = Writer(self._stands(account)).program(view)
        stored = {other.stored.name: other.stored.tensor for other in self.accounts}
        sources = Sources(lambda name: _blank(stored[name]), lambda draws: draws.blank)
        try:
            run(program, sources, "meta", limit_for(view.geometry.shape))
        except PlanError as error:
            raise NotReplayableError(str(error)) from error
        return program

    def _owns(self, account: Account) -> bool:
        """Whether this tensor is, as it stands, one whole random draw: then others are computed from it."""
        if account.view is None:
            return False
        first = origin(account.view)
        if not draws(first.state) or not covers(first.geometry, first.state.memory):
            return False
        return not isinstance(first.state, Made) or first.geometry == first.state.geometry

    def _stands(self, account: Account) -> dict[int, Stand]:
        stands: dict[int, Stand] = {}
        for lane, order in enumerate(sorted(account.chances)):
            group = [user for user in self.accounts if user in self._users[order]]
            owner = next((user for user in group if self._owns(user) and user.chances == frozenset({order})), None)
            if owner is not None and owner is not account and len(group) > 1:
                stands[order] = Stand(tensor=owner.stored.name)
            else:
                shared = group[0].stored.name if len(group) > 1 else ""
                number = sorted(group[0].chances).index(order) if shared else lane
                stands[order] = Stand(stream=shared, lane=_LANES + number)
        return stands


def _blank(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def origin(view: View) -> View:
    """The tensor that `view` is an unchanged copy of, itself if of none."""
    while True:
        state = view.state
        if isinstance(state, Given) or view.geometry != state.geometry or not _passes(state):
            return view
        source = state.call.args[1] if state.call.name == "copy_" else state.call.args[0]
        if not isinstance(source, View) or source.geometry.shape != view.geometry.shape:
            return view
        view = source


def _passes(state: Made | Written) -> bool:
    if isinstance(state, Made):
        return state.call.name in ("clone", "_to_copy", "lift_fresh")
    return state.call.name == "copy_" and state.before is None


def _key(account: Account) -> tuple[object, ...]:
    """Equal for two tensors that are copies of the same random values."""
    if account.view is None or not account.chances:
        return (id(account),)
    first = origin(account.view)
    return id(first.state), first.geometry


def _reason(view: View, why: str) -> tuple[str, str]:
    """(why, source): which lines of the model's code left the tensor as it is."""
    states = [state for state in history(origin(view).state) if not isinstance(state, Given)]
    sites = [_told(state) for state in states if not state.call.name.startswith(("empty", "new_empty"))]
    if not sites:
        return why or "data that the constructor was given", states[-1].call.site.line if states else ""
    shown = list(dict.fromkeys(text for text, _ in sites))
    text = "; then ".join(shown if len(shown) <= _MOST_WHYS else [*shown[: _MOST_WHYS - 1], "…", shown[-1]])
    return why or text, sites[-1][1]


def _told(state: Made | Written) -> tuple[str, str]:
    """The call behind a state, with those that made its single operand, as `rand() → mul(2)`; and its line."""
    site, steps = state.call.site, [state.call.site.call]
    while isinstance(state, Made) and not draws(state) and len(steps) < _MOST_WHYS:
        behind = [view.state for view in state.call.views()]
        if len(behind) != 1 or not isinstance(behind[0], Made):
            break
        state = behind[0]
        steps.insert(0, state.call.site.call)
    told = " → ".join(steps)
    return f"{site.owner}: {told}" if site.owner else told, site.line
