"""The ranks that hold shards of one model, and the two exchanges that make them succeed or fail together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from fanin.errors import FaninError, PlanError
from fanin.plans import Plan
from fanin.torch.agreement.exchange import Message, exchange
from fanin.torch.agreement.meshes import MeshForm, check_mesh, form_of, meshes_of, tied_ranks
from fanin.torch.agreement.statement import REMEDIES, Statement, digest
from fanin.torch.agreement.words import listed_ranks, told_apart
from fanin.torch.tensors import stored_tensors

T = TypeVar("T")
_LONGEST_TEXT = 1000
_NOTHING_WRITTEN = "nothing was written on any rank"


@dataclass(frozen=True, slots=True)
class Team:
    """This rank among those that hold shards of the same model; alone where the model holds no sharded tensor.

    Attributes:
        rank: its number in the default process group.
        forms: the meshes of the model.
        groups: the process groups that reach every member, one after the other; empty for a rank alone, which never
            communicates.
    """

    rank: int = 0
    forms: tuple[MeshForm, ...] = ()
    groups: tuple[Any, ...] = ()

    @classmethod
    def of(cls, model: nn.Module) -> Team:
        """The team of this process for a model; the same on every rank that holds a part of it.

        Raises:
            PlanError: a mesh of the model does not belong to the process group that there is now.
        """
        meshes = meshes_of(model)
        if not meshes:
            return cls()
        import torch.distributed as dist

        for mesh in meshes:
            check_mesh(mesh)
        own = [mesh for mesh in meshes if mesh.get_coordinate() is not None]
        forms = tuple(map(form_of, own))
        return cls(dist.get_rank(), forms, _groups(tied_ranks(dist.get_rank(), forms), own))

    def agreed(self, check: Callable[[], T], model: nn.Module, plan: Plan, seed: int) -> T:
        """The result of `check`, if it succeeds on every rank and all are about to write the same values.

        Raises:
            PlanError: it failed on another rank, or ranks differ in seed, plan, mesh, model or version of fanin.
            Exception: what `check` raised on this rank.
        """
        return self._agreed(check, lambda _: Statement.of(plan, seed, stored_tensors(model), self.forms))

    def agreed_request(
        self, check: Callable[[], T], model: nn.Module, seed: int, told: Callable[[T], Sequence[str]]
    ) -> T:
        """The result of `check`, if it succeeds on every rank and all have been asked for the same.

        Args:
            check: writes nothing and does not communicate.
            model, seed: as for `agreed`.
            told: lines that say what a result is to change, and to what.

        Raises:
            PlanError: it failed on another rank, or ranks differ in seed, request, mesh, model or version of fanin.
            Exception: what `check` raised on this rank.
        """

        def statement(result: T) -> Statement:
            return Statement.of_request(told(result), seed, stored_tensors(model), self.forms)

        return self._agreed(check, statement)

    def decided(self, work: Callable[[], T]) -> T:
        """The result of `work`, which writes nothing, if it succeeds on every rank.

        Raises:
            PlanError: it failed on another rank.
            Exception: what `work` raised on this rank.
        """
        return self._together(work, _NOTHING_WRITTEN, lambda failed: PlanError(f"{failed}; {_NOTHING_WRITTEN}"))

    def finished(self, work: Callable[[], T]) -> T:
        """The result of `work`, if it succeeds on every rank.

        Raises:
            FaninError: it failed on another rank.
            Exception: what `work` raised on this rank.
        """

        def stopped(failed: str) -> FaninError:
            return FaninError(
                f"{failed}, while values were being written: the model is not whole on any rank. Mend the cause there "
                "and materialize again on all ranks"
            )

        return self._together(work, "the other ranks raise too", stopped)

    def _agreed(self, check: Callable[[], T], statement_of: Callable[[T], Statement]) -> T:
        if not self.groups:
            return check()
        try:
            result = check()
            statement = statement_of(result)
        except Exception as error:
            self._tell_failure(error, _NOTHING_WRITTEN)
            raise
        said = self._exchanged({"facts": statement.facts})
        failed = _failures(said)
        if failed:
            raise PlanError(f"{failed}; {_NOTHING_WRITTEN}")
        self._compare(said, statement)
        return result

    def _together(self, work: Callable[[], T], consequence: str, stopped: Callable[[str], FaninError]) -> T:
        if not self.groups:
            return work()
        try:
            result = work()
        except Exception as error:
            self._tell_failure(error, consequence)
            raise
        if failed := _failures(self._exchanged({})):
            raise stopped(failed)
        return result

    def _exchanged(self, message: Message) -> dict[int, Message]:
        return exchange(self.rank, message, self.groups)

    def _tell_failure(self, error: Exception, consequence: str) -> None:
        error.add_note(f"(on rank {self.rank}; {consequence})")
        text = f"{type(error).__name__}: {error}"
        with suppress(PlanError):  # what failed here is the cause, and is raised
            self._exchanged({"error": text[:_LONGEST_TEXT]})

    def _compare(self, said: Mapping[int, Message], statement: Statement) -> None:
        for fact, remedy in REMEDIES.items():
            values = {rank: str(dict(message.get("facts", {})).get(fact)) for rank, message in said.items()}
            if len(set(values.values())) > 1:
                where = self._first_difference(statement.lines(fact)) if statement.lines(fact) else ""
                raise PlanError(f"{told_apart(fact, values)}{where}: {remedy}; {_NOTHING_WRITTEN}")

    def _first_difference(self, lines: Sequence[str]) -> str:
        """The first line in which ranks differ, found by halving with one small exchange each."""
        counts = self._exchanged({"value": len(lines)})
        same, different = 0, max(int(message["value"]) for message in counts.values())
        while different - same > 1:
            middle = (same + different) // 2
            hashes = self._exchanged({"value": digest(lines[:middle])})
            if len({message["value"] for message in hashes.values()}) == 1:
                same = middle
            else:
                different = middle
        line = lines[same][:_LONGEST_TEXT] if same < len(lines) else "nothing more"
        texts = self._exchanged({"value": line})
        return f"; number {same + 1}: {told_apart('', {rank: text['value'] for rank, text in texts.items()})}"


def _groups(members: Sequence[int], meshes: Sequence[Any]) -> tuple[Any, ...]:
    """Groups that there are already and that reach the members, in the same order on each; none for a rank alone."""
    import torch.distributed as dist

    if len(members) == 1:
        return ()
    if len(members) == dist.get_world_size():
        return (dist.group.WORLD,)
    every = list(dict.fromkeys(group for mesh in meshes for group in mesh.get_all_groups()))
    whole = [group for group in every if len(dist.get_process_group_ranks(group)) == len(members)]
    return tuple(whole[:1] or every)


def _failures(said: Mapping[int, Message]) -> str:
    failed = {rank: str(message["error"]) for rank, message in said.items() if "error" in message}
    if not failed:
        return ""
    first = min(failed)
    same = [rank for rank, text in failed.items() if text == failed[first]]
    others = [rank for rank in failed if rank not in same]
    more = f" ({listed_ranks(others)} failed otherwise)" if others else ""
    return f"{listed_ranks(same)} failed: {failed[first]}{more}"
