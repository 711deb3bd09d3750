"""Choose how to train: the method that a short measurement finds fastest for these lanes on this machine."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isclose

import torch

from fanin.race.engines.candidates import candidates
from fanin.race.engines.forks import in_forks
from fanin.race.engines.method import Method
from fanin.race.engines.pace import Pace, pace
from fanin.race.engines.surroundings import surroundings
from fanin.race.engines.units import Task
from fanin.race.training import CHUNK

BRIEF = 2.0  # seconds of work that are not worth a probe
_SHARE, _SHORTEST, _LONGEST = 0.01, 0.03, 1.0  # of the work, and in seconds: what timing one method may take
_START = 0.05  # seconds until a forked process is at work
_TEST = CHUNK  # test samples of a probe
_CLOSE, _COMPARED = 1e-3, 5  # relative difference, first steps


@dataclass(frozen=True, slots=True)
class Choice:
    """The method chosen, and why.

    Attributes:
        method: the fastest.
        seconds: estimate for each method that was tried, by its text; only the plain one where the work is too short
            for a probe.
        refused: by engine, why it was not tried.
    """

    method: Method
    seconds: Mapping[str, float]
    refused: Mapping[str, str] = field(default_factory=dict[str, str])


def choose(task: Task) -> Choice:
    """Time a few steps of each method that can train these lanes, with as many workers at once as there will be.

    Work of less than two seconds is done sequentially without more ado.
    """
    test = (task.course.test[0][:_TEST], task.course.test[1][:_TEST])
    small = replace(task, course=replace(task.course, test=test))
    with surroundings(1):
        plain = pace(replace(small, method=Method()), (0,), _SHORTEST)
        first = _seconds(task, Method(), plain)
        if first < BRIEF:
            return Choice(Method(), {str(Method()): first})
        methods, refused = candidates(small, plain.draws)
    probe = _Probe(small, min(max(_SHARE * first, _SHORTEST), _LONGEST))
    with _quiet(1):
        paces = {Method(): plain} | probe.measured(methods)
    with _quiet(torch.get_num_threads()):
        paces |= probe.whole_machine(paces, torch.get_num_threads())
    seconds = {str(method): _seconds(task, method, found) for method, found in paces.items() if _agree(plain, found)}
    return Choice(Method.parse(min(seconds, key=lambda text: seconds[text])), seconds, refused)


@contextmanager
def _quiet(threads: int) -> Generator[None]:
    """So many of torch's threads, and no word of vmap's on operations that it runs lane by lane."""
    with surroundings(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@dataclass(frozen=True, slots=True)
class _Probe:
    """Times methods on a task, each for so many seconds."""

    task: Task
    seconds: float

    def measured(self, methods: Sequence[Method]) -> dict[Method, Pace]:
        """The pace of each method while all its workers are busy: that of the slowest."""
        forked = [method for method in methods if method.workers > 1 and method.engine != "threads"]
        found: list[dict[Method, Pace]] = []
        if forked:
            found.extend(in_forks(lambda: self._paces(forked), forked[0].workers))
        for method in methods:
            if method.engine == "threads":
                found.extend(self._in_threads(method))
            elif method.workers == 1:
                found.append(self._paces([method]))
        return {
            method: max((paces[method] for paces in found if method in paces), key=lambda pace: pace.step)
            for method in dict.fromkeys(method for paces in found for method in paces)
        }

    def whole_machine(self, paces: Mapping[Method, Pace], threads: int) -> dict[Method, Pace]:
        """The pace of one lane at a time on all of torch's threads, with the kernels that single lanes like best."""
        single = [method for method in paces if method.engine != "stacked"]
        best = min(single, key=lambda method: paces[method].step)
        return self._paces([replace(best, engine="sequential", workers=1, threads=threads)]) if threads > 1 else {}

    def _in_threads(self, method: Method) -> list[dict[Method, Pace]]:
        with ThreadPoolExecutor(method.workers, initializer=torch.set_num_threads, initargs=(method.threads,)) as pool:
            running = [pool.submit(self._paces, [method]) for _ in range(method.workers)]
            return [each.result() for each in running]

    def _paces(self, methods: Iterable[Method]) -> dict[Method, Pace]:
        """The pace of each method, all with as many of torch's threads; those that fail are left out."""
        found: dict[Method, Pace] = {}
        for method in methods:
            mine = replace(self.task, method=method)
            try:
                found[method] = pace(mine, max(mine.units(), key=len), self.seconds)
            except (
                Exception
            ):  # a view that another order of memory forbids, too little memory: another method can do it
                continue
        return found


def _agree(plain: Pace, other: Pace) -> bool:
    """Whether the first lane's losses are the same as far as float32 goes."""
    pairs = zip(plain.losses[0][:_COMPARED], other.losses[0], strict=False)
    return all(isclose(one, two, rel_tol=_CLOSE) or one != one for one, two in pairs)


def _seconds(task: Task, method: Method, pace: Pace) -> float:
    """The time of all lanes by this method."""
    scale = max(1.0, len(task.course.test[1]) / _TEST)
    looked = replace(pace, look=pace.look * scale)
    times: list[float] = []
    for unit in replace(task, method=method).units():
        steps = task.lanes[unit[0]].steps
        times.append(looked.of(steps, 1 + -(-steps // task.settings.evaluate_every)))
    forked = method.workers > 1 and method.engine != "threads"
    return max(max(times), sum(times) / method.workers) + _START * method.workers * forked
