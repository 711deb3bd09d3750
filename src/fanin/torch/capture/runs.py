"""Constructors whose course depends on chance: run with several draws, and what all of them agree on is a law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from fanin.errors import CaptureError
from fanin.plans.steps import Keep, Step, Unknown
from fanin.torch.capture.chance import Sampler
from fanin.torch.capture.programs import NotReplayableError
from fanin.torch.capture.steps import Account, Accounts

RUNS = 6
"""How often a constructor runs that asks for random values."""

_LISTED = 3
_OTHER = "takes random numbers from Python or NumPy"


@dataclass(slots=True, eq=False)
class Run:
    """One run of a constructor.

    Attributes:
        model: what it made, of fake tensors.
        accounts: what was recorded of each stored tensor.
        sampler: what it asked about chance, and the draw that answered.
        other: whether it used the random numbers of Python or NumPy, which nobody records.
        steps: the plan's steps; notes: what else is to be said.
        kept: values of tensors that no plan can hold, by the id of the tensor.
    """

    model: nn.Module
    accounts: Accounts
    sampler: Sampler
    other: bool
    steps: tuple[Step, ...] = field(init=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.steps = self.accounts.steps()

    @property
    def chancy(self) -> bool:
        """Whether its course may have depended on chance."""
        return self.other or bool(self.sampler.questions)

    @property
    def kept(self) -> dict[int, torch.Tensor]:
        """Values for the captured model, by the id of the fake tensor they are for."""
        held = self.accounts.kept
        accounts = self.accounts.accounts
        return {id(item.stored.tensor): held[item.stored.name] for item in accounts if item.stored.name in held}


def settled(first: Run, others: Sequence[Run]) -> None:
    """Let `first` claim only what holds in every run; tensors that differ keep the values of its own draw.

    Raises:
        CaptureError: the runs made different tensors.
    """
    cause = _cause(first)
    for other in others:
        _check_same_tensors(first, other, cause)
    told = {step.name for run in others for step, own in zip(run.steps, first.steps, strict=True) if _differ(step, own)}
    held = _with_sharers(first, told)
    first.steps = tuple(
        _held(step, account, first, cause) if step.name in held else step
        for step, account in zip(first.steps, first.accounts.accounts, strict=True)
    )
    first.notes = (*first.notes, *_notes(first, cause, sorted(held)))


def _cause(run: Run) -> str:
    questions = run.sampler.questions
    if not questions:
        return f"the constructor {_OTHER}"
    more = f" and for {len(questions) - 1} more random values" if len(questions) > 1 else ", which is random"
    return f"the constructor asks for {questions[0]}{more}" + (f", and {_OTHER}" if run.other else "")


def _check_same_tensors(first: Run, other: Run, cause: str) -> None:
    made = [{(step.name, step.shape, step.dtype, step.aliases) for step in run.steps} for run in (first, other)]
    apart = sorted(made[0] ^ made[1])
    if apart or len(first.steps) != len(other.steps):
        raise CaptureError(
            f"{cause}, and which tensors the model has depends on it: with another draw {apart[0][0]!r} is missing or "
            "has another shape. Build the model as usual and give it to fanin.plan instead."
        )


def _differ(step: Step, own: Step) -> bool:
    return step.action != own.action


def _with_sharers(run: Run, names: set[str]) -> set[str]:
    """The tensors of these names, and all that fit only these: that share random numbers with them or the answers."""
    every, found = run.accounts.accounts, set(names)
    while found:
        orders = run.sampler.asked | {order for item in every if item.stored.name in found for order in item.chances}
        wider = found | {item.stored.name for item in every if not orders.isdisjoint(item.chances)}
        if wider == found:
            break
        found = wider
    return found


def _held(step: Step, account: Account, run: Run, cause: str) -> Step:
    """The step with the values of the run's own draw; Unknown where these cannot be computed."""
    if isinstance(step.action, (Keep, Unknown)) or account.view is None:
        return step
    try:
        run.accounts.kept[step.name] = run.sampler.of(account.view).clone()
    except NotReplayableError as error:
        return replace(step, action=Unknown(), why=f"{cause}, and the values depend on it: {error}")
    return replace(step, action=Keep(), why=f"{cause}; the captured model holds the values of one draw, for any seed")


def _notes(run: Run, cause: str, held: Sequence[str]) -> tuple[str, ...]:
    if not held:
        return (f"{cause}; in {RUNS} draws no tensor depended on it",) if run.sampler.questions else ()
    more = f" and {len(held) - _LISTED} more" if len(held) > _LISTED else ""
    return (f"{cause}; {', '.join(held[:_LISTED])}{more} depend on it and hold the values of one draw, for any seed",)
