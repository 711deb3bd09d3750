"""Engines that are interrupted, killed, or short of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch
from torch import nn

from fanin.errors import FaninError
from fanin.race.engines import Lane, train_lanes
from fanin.race.training import Trained

from .lanes_to_train import ALL, SETTINGS, images, lanes, plain, trained

DATA = images()

# A test run started in the background ignores SIGINT, and children inherit that; the alarm ends what hangs.
SCRIPT = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.alarm(240)
import torch
from torch import nn
from fanin.race.course import course
from fanin.race.engines import Lane, train_lanes
from fanin.race.settings import Settings

class Slow(nn.Linear):
    def forward(self, inputs):
        time.sleep(0.01)
        return super().forward(inputs)

def told(lane, step, loss):
    if step > 5:
        print("begun", *open(f"/proc/self/task/{os.getpid()}/children").read().split(), flush=True)

part = torch.eye(6), torch.arange(6)
settings = Settings(batch_size=2, evaluate_every=2)
for engine in sys.argv[1:]:
    lanes = [Lane("he", seed, 0.1, lambda: Slow(6, 6), 3 if seed == 0 else 100_000) for seed in range(4)]
    try:
        for index, done in train_lanes(lanes, course((part, part)), settings, engine=engine, progress=told):
            print("got", index, done.complete, len(done.losses) > 2, len(done.seen) > 1, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
ENGINES = ("sequential", "threads,workers=2", "processes,workers=2", "stacked,group=4")


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 12), nn.ReLU(), nn.Linear(12, 10))


def test_ctrl_c_gives_what_there_is_and_children_end_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, *ENGINES, "processes,workers=2"]
    # A group of its own, as a terminal makes: Ctrl-C reaches the children too.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    words = (line.split() for line in process.stdout)
    try:
        for engine in ENGINES:
            lines = list(takewhile(lambda line: line[0] != "begun", words))
            os.killpg(process.pid, signal.SIGINT)
            lines += [line for line in takewhile(lambda line: line != ["interrupted"], words) if line[0] != "begun"]
            got = {int(line[1]): line[2:] for line in lines}
            assert len(got) == len(lines) >= (2 if engine.startswith("processes") else 1)
            assert all(rest == [str(index == 0), "True", "True"] for index, rest in got.items()), engine
        children = next(line for line in words if line[0] == "begun")[1:]
        assert len(children) == 2
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    deadline = monotonic() + 20
    while any(map(alive, children)) and monotonic() < deadline:
        sleep(0.05)
    assert not any(map(alive, children))


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("engine", ALL[:4])
def test_an_interrupt_of_the_one_who_watches_gives_partial_results(engine: str) -> None:
    def watch(lane: int, step: int, loss: float) -> None:
        raise KeyboardInterrupt

    some = [replace(lane, steps=200_000) for lane in lanes(small)]
    got: dict[int, Trained] = {}
    with pytest.raises(KeyboardInterrupt):
        got.update(train_lanes(some, DATA, SETTINGS, engine=engine, progress=watch))
    assert got
    for done in got.values():
        assert not done.complete
        assert done.seen[-1] <= len(done.losses) < 200_000
        assert len(done.seen) == len(done.test_losses) == len(done.scores)


def test_a_killed_process_is_named_and_the_others_finish() -> None:
    def deadly() -> nn.Module:
        os.kill(os.getpid(), signal.SIGKILL)
        return small()

    some = lanes(small, seeds=6)
    some[2] = Lane("doomed", 7, 0.5, deadly, 10)
    got: dict[int, Trained] = {}
    message = (
        "the process that trained start 'doomed', seed 7, learning rate 0.5 was killed by SIGKILL, perhaps for want of "
        "memory: try fewer workers"
    )
    with pytest.raises(FaninError, match=f"^{message}$"):
        got.update(train_lanes(some, DATA, SETTINGS, engine="processes,workers=2"))
    assert sorted(got) == [0, 1, 3, 4, 5]
    assert got[5].losses == pytest.approx(plain(some[5], DATA, SETTINGS)[0], rel=1e-5)


def test_no_process_left() -> None:
    def deadly() -> nn.Module:
        os._exit(3)

    some = [Lane("doomed", seed, 0.5, deadly, 10) for seed in range(5)]
    with pytest.raises(FaninError, match=r"seed 0, .* ended with status 3; .*seed 1, .*; 3 lanes were not begun"):
        list(train_lanes(some, DATA, SETTINGS, engine="processes,workers=2"))


def test_a_group_without_memory_is_halved() -> None:
    class Large(nn.Module):
        """As if it had memory for two lanes."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = small()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            weight, functorch = next(self.parameters()), torch._C._functorch  # pyright: ignore
            stack = functorch.get_unwrapped(weight) if functorch.is_batchedtensor(weight) else weight[None]
            if self.training and len(stack) > 2:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
            return self.inner(inputs)

    some = lanes(Large, seeds=5)
    found = trained(some, DATA, "stacked,group=5")
    for lane, done in zip(lanes(small, seeds=5), found, strict=True):
        assert done.complete
        assert done.losses == pytest.approx(plain(lane, DATA, SETTINGS)[0], rel=1e-4)


def test_no_memory_for_one_lane_is_an_error() -> None:
    def huge() -> nn.Module:
        raise MemoryError("no memory")

    with pytest.raises(MemoryError, match="no memory"):
        list(train_lanes(lanes(huge), DATA, SETTINGS, engine="sequential"))
