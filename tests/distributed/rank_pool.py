"""The testing side of rank_server.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Raised:
    """What a rank's job raised."""

    kind: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What an attempt to materialize came to on one rank: an error or "", and whether no value was changed."""

    kind: str
    message: str
    untouched: bool
    seconds: float


class RankPool:
    """Ranks that wait for jobs; new ones are made for another world size, and after a job that failed."""

    def __init__(self, place: Path) -> None:
        self._place, self._groups = place, 0
        self._ranks: list[Connection] = []
        self._listener = Listener(str(place / "socket"), "AF_UNIX")
        self._listener._listener._socket.settimeout(120)
        with (place / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("rank_server.py")), self._listener.address],
                env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(
        self, world: int, job: str, *arguments: Any, seconds: float = 120, dying: int | None = None, last: bool = False
    ) -> list[Any]:
        """What the function `job` of rank_jobs.py or rank_faults.py returns on each rank; a `Raised` where it raises.

        Args:
            dying: a rank that is to die; it gives None.
            last: the ranks are of no use afterwards.

        Raises:
            RuntimeError: a rank died, or took longer than `seconds`.
        """
        if len(self._ranks) != world:
            self._fork(world)
        for connection in self._ranks:
            connection.send((job, arguments))
        end = time.monotonic() + seconds
        answers = [None if rank == dying else self._answer(rank, job, end) for rank in range(world)]
        if last or dying is not None or any(isinstance(answer, Raised) for answer in answers):
            self._dismiss()  # the group may be out of step
        return answers

    def close(self) -> None:
        """End every rank."""
        self._dismiss()
        self._listener.close()
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        self._server.stdin.close()

    def _fork(self, world: int) -> None:
        self._dismiss()
        self._groups += 1
        self._server.stdin.write(f"{world} {self._place / f'store-{self._groups}'}\n".encode())
        self._server.stdin.flush()
        try:
            found = [self._listener.accept() for _ in range(world)]
        except OSError:
            raise RuntimeError(f"the ranks did not start:\n{self._log()}") from None
        ranks = {connection.recv(): connection for connection in found}
        self._ranks = [ranks[rank] for rank in range(world)]

    def _dismiss(self) -> None:
        for connection in self._ranks:
            connection.close()
        self._ranks = []

    def _answer(self, rank: int, job: str, end: float) -> Any:
        connection = self._ranks[rank]
        try:
            if connection.poll(max(0.0, end - time.monotonic())):
                kind, *rest = connection.recv()
                return rest[0] if kind == "done" else Raised(*rest)
        except (EOFError, ConnectionError):
            pass
        self._dismiss()
        raise RuntimeError(f"rank {rank} died or hung in {job}:\n{self._log()}")

    def _log(self) -> str:
        return (self._place / "log").read_text(errors="replace")[-4000:]
