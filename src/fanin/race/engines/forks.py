"""Forked processes, and whether they are safe here."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

import torch

from fanin.errors import FaninError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT, _KEPT_OF_OLD = 1 << 30, 1 << 25  # bytes; older versions refuse more than the second


def why_not_fork(device: torch.device) -> str | None:
    """Why lanes on `device` cannot be trained in forked processes; None where they can.

    A fork copies nothing that lanes share, and needs nothing picklable; but threads end there, among them those that
    torch's autograd has for accelerators.
    """
    if device.type != "cpu":
        return "the data is not on the CPU"
    if "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":
        return "this system has no safe fork"
    if torch.accelerator.is_available():
        return "a process that may have used an accelerator cannot be forked safely"
    if multiprocessing.current_process().daemon:
        return "this is a daemonic process, which may have no children"
    return None


def fork(target: Callable[..., None], *arguments: Any) -> tuple[ForkProcess, Connection[Any, Any]]:
    """A child at work on target(pipe, parent's id, *arguments), and this end of the pipe. It ignores Ctrl-C."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_live, args=(target, there, os.getpid(), *arguments), daemon=True)
    # Python warns that threads end in a fork: here those of torch's pools, which the child has no use for.
    with warnings.catch_warnings(), _no_interrupts():
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    there.close()
    return process, here


def in_forks(function: Callable[[], Any], count: int) -> list[Any]:
    """What `function` gives in each of `count` processes at once; those that fail are left out."""
    children = [fork(_answer, function) for _ in range(count)]
    answers: list[Any] = []
    try:
        for _, pipe in children:
            try:
                answers.append(pipe.recv())
            except EOFError:
                continue
    finally:
        for process, pipe in children:
            end(process, pipe)
    return answers


def end(process: ForkProcess, pipe: Connection[Any, Any]) -> None:
    """Kill a child, whatever it is at."""
    process.kill()
    process.join()
    process.close()
    pipe.close()


def portable(error: BaseException) -> BaseException:
    """The error, or one of its text where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return FaninError(f"{type(error).__name__}: {error}")
    return error


def _live(target: Callable[..., None], pipe: Connection[Any, Any], parent: int, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _keep_memory()
    target(pipe, parent, *arguments)


def _keep_memory() -> None:
    """Have glibc keep what a step frees for the next: to return it and fault it in again takes a fifth of a step."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        if not mallopt(option, _KEPT):
            mallopt(option, _KEPT_OF_OLD)


def _answer(pipe: Connection[Any, Any], parent: int, function: Callable[[], Any]) -> None:
    pipe.send(function())


@contextmanager
def _no_interrupts() -> Generator[None]:
    """Ctrl-C reaches every process of a terminal; it must not find the child before it knows what to do then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
