"""`./dev stress`: kill a writer of a checkpoint at random moments, and compare what comes out with a calm run.

Half of the kills come after a random time, half after a random slab, while other threads are in the middle of theirs.

Each round writes one checkpoint: a process starts it, is killed with signal 9, another goes on, is killed, … until one
lives to the end. After every kill each file that has its final name must be whole and right, and the index must not be
there before all the others are. At the end all bytes must be those of the undisturbed run and no other file be left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

# The writers are forked from this process, which must not have threads by then.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

import fanin
from fanin.checkpoints.layout import INDEX
from fanin.checkpoints.slabs import SLAB
from fanin.initializers import Constant, Normal, Orthogonal, TruncatedNormal
from fanin.plans import Plan
from fanin.plans.steps import Draw, Step

SEED, SHARD = 11, "4MB"
_MOST_IN_A_ROUND = 12  # kills after which a round is left in peace


def plan_of(megabytes: float) -> Plan:
    """A plan of about that many megabytes in bfloat16: large and small tensors, a matrix law, integers."""
    rows = int(megabytes * 1e6 / 2 / 1024 / 6)
    laws = [Normal(std=0.02), TruncatedNormal(std=0.02), Normal(std=0.1)]
    steps = [_step(f"layers.{n}.weight", (rows, 1024), laws[n % 3]) for n in range(6)]
    small = [_step(f"layers.{n}.bias", (7 + n,), Constant(0.1)) for n in range(40)]
    others = [
        _step("square", (300, 300), Orthogonal()),
        Step("steps", (), "int64", "buffer", Draw(Constant(3)), "an integer"),
    ]
    return Plan((*steps, *small, *others))


def _step(name: str, shape: tuple[int, ...], law: fanin.initializers.Initializer) -> Step:
    return Step(name, shape, "float32", "parameter", Draw(law), "for the test")


def digests(folder: Path) -> dict[str, str]:
    """A hash of every file that is not hidden."""
    return {
        path.name: blake2b(path.read_bytes(), digest_size=16).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    }


def complaint(folder: Path, calm: dict[str, str]) -> str | None:
    """What is wrong with a folder whose writer was killed."""
    found = digests(folder) if folder.exists() else {}
    wrong = [name for name, digest in found.items() if calm.get(name) != digest]
    if wrong:
        return f"{wrong} have their names, but not their bytes"
    if INDEX in found and len(found) < len(calm):
        return f"the index is there, but only {len(found)} of {len(calm)} files"
    return None


def forked(work: Callable[[], object]) -> int:
    """A child process that does `work`, by its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        print(f"the writer failed: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)


def seconds_alone(work: Callable[[], object]) -> float:
    """How long a child takes that is left alone."""
    start = time.perf_counter()
    _, status = os.waitpid(forked(work), 0)
    if status:
        raise SystemExit("the undisturbed writer failed")
    return time.perf_counter() - start


def killed(work: Callable[[], object], after: float | None) -> bool:
    """Whether the child that does `work` died of a kill: after so many seconds, or by itself."""
    child = forked(work)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a writer failed by itself")
    return os.WIFSIGNALED(status)


def killer(slabs: int) -> Callable[[int, int], None]:
    """A progress callback that kills its process after so many slabs, while other threads write."""
    left = slabs

    def progress(done: int, total: int) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev stress", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="how many kills in all")
    parser.add_argument("--megabytes", type=float, default=40.0, help="size of the checkpoint")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of the moments; shown, so that it can be had again"
    )
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    torch.set_num_threads(1)
    plan = plan_of(arguments.megabytes)
    kills = rounds = 0
    with tempfile.TemporaryDirectory(prefix="fanin-stress-") as place:

        def writer(folder: Path, threads: int, **more: Any) -> Callable[[], object]:
            return lambda: fanin.write(plan, folder, SEED, dtype="bf16", max_shard_size=SHARD, threads=threads, **more)

        calm_folder = Path(place, "calm")
        seconds_alone(writer(Path(place, "warm"), 1))  # compiles the kernels
        usual = seconds_alone(writer(calm_folder, 2))
        calm = digests(calm_folder)
        slabs = sum(path.stat().st_size for path in calm_folder.iterdir()) // SLAB
        while kills < arguments.kills:
            folder = Path(place, f"round-{rounds}")
            for _ in range(_MOST_IN_A_ROUND):
                if kills == arguments.kills:
                    break
                by_time, threads, verify = chance.random() < 0.5, chance.choice((1, 2, 3)), chance.random() < 0.2
                progress = None if by_time else killer(chance.randint(1, slabs))
                work = writer(folder, threads, verify=verify, progress=progress)
                kills += killed(work, chance.uniform(0, usual) if by_time else None)
                if problem := complaint(folder, calm):
                    print(f"seed {arguments.seed}, round {rounds}, after {kills} kills: {problem}")
                    return 1
            seconds_alone(writer(folder, 2))
            left = sorted(path.name for path in folder.iterdir())
            if digests(folder) != calm or left != sorted(calm):
                print(f"seed {arguments.seed}, round {rounds}: other files or bytes than undisturbed: {left}")
                return 1
            rounds += 1
    print(
        f"{kills} kills in {rounds} checkpoints of {len(calm)} files: the same bytes every time (seed {arguments.seed})"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
