"""A training run that can be interrupted at any moment and goes on bit for bit."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from fanin.checkpoints.ranks import Outcome, Ranks, joined
from fanin.errors import ArgumentError, WeightsError
from fanin.plans import Plan
from fanin.resuming import random_states
from fanin.resuming.contents import check_files
from fanin.resuming.folder import Save, named, saves
from fanin.resuming.models import ModelPart
from fanin.resuming.optimizers import OptimizerPart
from fanin.resuming.order import Order
from fanin.resuming.parts import part_of
from fanin.resuming.snapshot import RANDOM, check, give, take
from fanin.resuming.store import Taken, store
from fanin.resuming.stored import Stored, load

_RESUMING = Outcome(
    "no rank may go on from this save",
    "start all processes again",
    "start all processes again",
)
_SAVING = Outcome(
    "this save is not whole, and earlier ones stay",
    "start all processes again: they go on from the last one",
    "start all processes again, and they go on from the last one",
)


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a run goes on from.

    Attributes:
        path: the folder of the save.
        step: steps that are done.
        notes: what differs from the process that saved and may change bits: another version of torch, …

    >>> Resumed(Path("out/save-00002-step-200"), 200, ()).step
    200
    """

    path: Path
    step: int
    notes: tuple[str, ...]


class Training:
    """The state of a training run: saved whole or not at all, and given back so that it goes on bit for bit.

    Saved are all parts, the number of steps, and the random states of Python, NumPy and torch on every device, in a
    folder of its own for each save: `model.safetensors` (a file that everything reads), `optimizer.safetensors`, …, and
    `state.json`; no pickle. Each is written under a temporary name, flushed and renamed, so a process that is killed at
    any moment, also while it saves, leaves the last save whole.

    Args:
        folder: of the run; made by the first save.
        keep: how many saves stay; None: all.
        plan: of the model's values; its hash is kept, and a run with another plan is refused.
        seed: of the plan; likewise.
        gradients: save the gradients of modules too: where a save may fall in the midst of an accumulation.
        parts: everything with state, under names of your choice: modules (also an EMA copy, also compiled or wrapped
            ones), optimizers, schedulers, a GradScaler, an `Order`, random generators (torch's, NumPy's, Python's),
            dicts and lists of plain data, and any object with state_dict() and load_state_dict().

    Attributes:
        step: steps begun; in the body of a loop over `steps`, the number of the present one, from 1. Yours to count up
            in a loop of your own.

    Raises:
        ArgumentError: a part without state, a keep below 1, or no part.

    >>> import tempfile, torch
    >>> folder = tempfile.TemporaryDirectory()
    >>> def start():
    ...     model = nn.Linear(2, 1)
    ...     return model, Training(folder.name, model=model, optimizer=torch.optim.AdamW(model.parameters()))
    >>> model, run = start()
    >>> run.resume() is None                                            # nothing is saved yet
    True
    >>> for step in run.steps(3, save_every=2):
    ...     run.parts["optimizer"].zero_grad()
    ...     model(torch.rand(4, 2)).sum().backward()
    ...     run.parts["optimizer"].step()
    >>> again, other = start()                                          # the process was killed
    >>> other.resume().step, bool((again.weight == model.weight).all())
    (3, True)
    >>> folder.cleanup()
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        keep: int | None = 2,
        plan: Plan | None = None,
        seed: int | None = None,
        gradients: bool = False,
        **parts: Any,
    ) -> None:
        if keep is not None and (type(keep) is not int or keep < 1):
            raise ArgumentError(f"keep must be a whole number from 1, or None for all, got {keep!r}")
        odd = [name for name in parts if name == RANDOM or not name.isidentifier()]
        if odd or not parts:
            raise ArgumentError(
                "name what has state, as model=model, optimizer=optimizer, …"
                + (f"; {odd[0]!r} is taken or is no plain name" if odd else "")
            )
        self.folder, self.keep, self.parts, self.step = Path(folder), keep, parts, 0
        self._provenance = {"plan": None if plan is None else plan.hash, "seed": seed}
        models = {name: thing for name, thing in parts.items() if isinstance(thing, nn.Module)}
        self._parts = {name: part_of(name, thing, models, gradients=gradients) for name, thing in parts.items()}
        self._shared = {name: part for name, part in self._parts.items() if isinstance(part, ModelPart | OptimizerPart)}
        self._last = 0  # serial of the save that this run has written or goes on from
        self._ending = False

    def resume(self, step: int | None = None) -> Resumed | None:
        """Go on from the last save, or from that of `step`; None where there is none yet.

        Everything is checked first: files whole, the same parts, names, shapes, dtypes, classes and parameter groups.

        Raises:
            WeightsError: a damaged save, or one that does not fit; says in what, and nothing has changed.
            ArgumentError: no save of that step.
        """
        with joined(outcome=_RESUMING) as ranks:
            names = ranks.gathered(ranks.together(lambda: self._chosen(step) if ranks.first else []))
            if not names:
                return None
            chosen, newest = (named(self.folder, name) for name in names)
            stored = ranks.together(lambda: self._checked(chosen, ranks))
            states = ranks.together(lambda: stored.read(self._shared, ranks))
            ranks.together(lambda: give(self._parts, states, is_borrowed=stored.is_borrowed))
        self.step, self._last = stored.step, newest.serial
        notes = () if stored.is_borrowed else random_states.notes(states[RANDOM])
        return Resumed(chosen.path, stored.step, (*stored.notes, *notes))

    def save(self) -> Path:
        """Save everything now, as of the end of the present step; returns the folder of the save.

        Call it after `optimizer.step()` and `scheduler.step()`: what the step does later is not in it.

        Raises:
            WeightsError: the disk is full or read-only, or the folder has saves of another run; earlier saves stay.
        """
        states = take(self._parts)
        shared = {name: states.pop(name) for name in self._shared}
        with joined(outcome=_SAVING) as ranks:
            taken = Taken(
                self.step, self._provenance, shared, states, lambda name, key: self._shared[name].is_local(key)
            )
            saved = store(self.folder, taken, ranks, last=self._last, keep=self.keep)
        self._last = saved.serial
        return saved.path

    def steps(
        self, total: int, loader: DataLoader[Any] | None = None, *, save_every: int | None = None
    ) -> Generator[Any]:
        """The batches of the steps that are left of `total`; without a loader the numbers of the steps, from 1.

        Args:
            total: steps of the whole run, those done before an interruption included.
            loader: a DataLoader whose `batch_sampler` is an `Order` that is a part of this run; epoch after epoch.
            save_every: save after every so many steps and after the last one; None: only when `stop` was called.

        Raises:
            ArgumentError: another loader, or a save_every below 1.
            WeightsError: as `save`.
        """
        if save_every is not None and (type(save_every) is not int or save_every < 1):
            raise ArgumentError(f"save_every must be a whole number from 1, got {save_every!r}")
        supply = self._numbers() if loader is None else self._batches(loader)
        saved = self.step
        while self.step < total and not self._ending:
            batch = next(supply)
            self.step += 1
            yield batch
            if save_every and (self.step % save_every == 0 or self.step >= total):
                self.save()
                saved = self.step
        supply.close()
        if self._ending and saved != self.step:
            self.save()
        self._ending = False

    def stop(self, *_: Any) -> None:
        """End `steps` after the present step, saved: `signal.signal(signal.SIGTERM, run.stop)`."""
        self._ending = True

    def state_dict(self) -> dict[str, Any]:
        """All state as one dict of plain data and tensors, for frameworks that write checkpoints themselves."""
        return {"step": self.step, "parts": take(self._parts)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            WeightsError: it does not fit this run; nothing has changed.
        """
        match state_dict:
            case {"step": int(step), "parts": dict(states)}:
                pass
            case _:
                raise WeightsError("the state is not one of fanin.resuming.Training: it needs step and parts")
        check(self._parts, states, "the state")
        give(self._parts, states, is_borrowed=False)
        self.step = step

    def _chosen(self, step: int | None) -> list[str]:
        """The names of the save to go on from and of the newest; none where there is none."""
        found = saves(self.folder)
        fitting = [save for save in found if step is None or save.step == step]
        if fitting:
            return [fitting[-1].path.name, found[-1].path.name]
        if step is None:
            return []
        there = ", ".join(str(save.step) for save in found) or "none"
        raise ArgumentError(f"{self.folder} has no save of step {step}; there are: {there}")

    def _checked(self, save: Save, ranks: Ranks) -> Stored:
        if ranks.first:
            check_files(save.path)
        stored = load(save.path, ranks)
        differing = [
            f"its {name} is {stored.provenance.get(name)!r} there and {here!r} here"
            for name, here in self._provenance.items()
            if stored.provenance.get(name) != here
        ]
        if differing:
            raise WeightsError(f"belongs to another run: {'; '.join(differing)}", path=save.path)
        check(self._parts, stored.described(), save.path)
        return stored

    def _numbers(self) -> Generator[int]:
        while True:
            yield self.step + 1

    def _batches(self, loader: DataLoader[Any]) -> Generator[Any]:
        order = loader.batch_sampler
        if not isinstance(order, Order) or not any(part is order for part in self.parts.values()):
            raise ArgumentError(
                "the loader's order is no part of this run: order = fanin.resuming.Order(len(dataset), batch_size), "
                "DataLoader(dataset, batch_sampler=order), and Training(…, order=order)"
            )
        while True:
            yield from order.batches(loader)
