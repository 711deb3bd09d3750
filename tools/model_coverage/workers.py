"""Several workers at once, each in its own process, which is killed when a type takes too long or crashes it."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, cast

WORKER = Path(__file__).with_name("worker.py")

Row = dict[str, Any]


class Worker:
    """One process; started when first asked, and again after it was killed."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, model_type: str) -> Row:
        questions, answers = self._started()
        questions.write(f"{model_type}\n".encode())
        questions.flush()
        ready, _, _ = select.select([answers], [], [], self._limit)
        line = answers.readline() if ready else b""
        if line:
            return json.loads(line)
        self.stop()
        return {"type": model_type, "died": "the process crashed" if ready else f"more than {self._limit:g} s"}

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
            self._process = subprocess.Popen(
                [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
        return cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)


def measure_all(types: Iterable[str], jobs: int, limit: float, done: Callable[[Row], None]) -> None:
    """Measure every type with `jobs` workers; `done` is called with each row, by one thread at a time."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for model_type in types:
        waiting.put(model_type)
    one_at_a_time = threading.Lock()

    def work() -> None:
        worker = Worker(limit)
        try:
            while True:
                row = worker.ask(waiting.get_nowait())
                with one_at_a_time:
                    done(row)
        except queue.Empty:
            worker.stop()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
