"""Native plans against the constructors they were read from, tensor by tensor.

    ./dev truth [TYPE ...]   compares these types, or all of them
    ./dev truth --write      and writes docs/truth.md

Each type's model is captured, its native plan drawn, and the model built a second time by its own constructor.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from truth_compare import Comparison, compare, pooled
from truth_models import factory, types

import fanin
from fanin.plans import Plan
from fanin.torch.tensors import stored_tensors

LIMIT = 5.0
"""Standard errors that a statistic may be off."""

PAGE = Path(__file__).parents[2] / "docs" / "truth.md"
_SEED = 20261122


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one type."""

    name: str
    group: str
    plan: Plan
    comparisons: tuple[Comparison, ...]
    seconds: float

    def count(self, kind: str) -> int:
        """Tensors of this kind."""
        return sum(found.kind == kind for found in self.comparisons)

    @property
    def tensors(self) -> int:
        """Stored tensors of the model."""
        return len(self.comparisons) - self.count("pooled")

    @property
    def statistics(self) -> int:
        """How many statistics were compared."""
        return sum(len(found.deviations) for found in self.comparisons)

    @property
    def largest(self) -> float:
        """The largest deviation, in standard errors."""
        return max((d for found in self.comparisons for d in found.deviations.values()), default=0.0)

    @property
    def mismatches(self) -> tuple[str, ...]:
        """One line for each tensor that does not agree."""
        return tuple(line for found in self.comparisons for line in _wrong(found))


def _wrong(found: Comparison) -> list[str]:
    if found.mismatch:
        return [f"{found.name}: {found.mismatch}"]
    off = {statistic: value for statistic, value in found.deviations.items() if value > LIMIT}
    return [
        f"{found.name}: {', '.join(f'{key} is {value:.1f} standard errors off' for key, value in off.items())}"
    ] * bool(off)


def truth(name: str, group: str, make: Callable[[], nn.Module]) -> Verdict:
    """Compare one model."""
    start = time.perf_counter()
    captured = fanin.capture(make)
    torch.manual_seed(_SEED)
    real = make()
    ours = fanin.materialize(captured.model, captured.plan, seed=_SEED, allow_unknown=True)
    mine, theirs = ({item.name: item for item in stored_tensors(model)} for model in (ours, real))
    found = [
        Comparison(key, "unknown", {}, "one of the two models does not have it") for key in mine.keys() ^ theirs.keys()
    ]
    for key in mine.keys() & theirs.keys():
        apart = _declared(mine[key]) != _declared(theirs[key])
        values = [{name: item.tensor for name, item in held.items()} for held in (mine, theirs)]
        wrong = Comparison(key, "unknown", {}, "another shape, dtype, kind, tie or gradient flag")
        found.append(wrong if apart else compare(captured.plan, key, *values))
    found += pooled(captured.plan, {name: item.tensor for name, item in theirs.items()})
    return Verdict(name, group, captured.plan, tuple(found), time.perf_counter() - start)


def _declared(item: object) -> tuple[object, ...]:
    tensor = item.tensor
    return item.kind, item.aliases, item.persistent, tensor.shape, tensor.dtype, tensor.requires_grad


def main(arguments: Sequence[str]) -> int:
    """Compare and print; 1 where something does not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("type", nargs="*", help="transformers types; all of the table where none is given")
    parser.add_argument("--write", action="store_true", help="write docs/truth.md")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    groups = types()
    verdicts: list[Verdict] = []
    for name in options.type or groups:
        verdicts.append(truth(name, groups[name], factory(name)))
        print(_line(verdicts[-1]), flush=True)
    if options.write:
        from truth_page import page

        PAGE.write_text(page(verdicts), encoding="utf-8")
    return int(any(verdict.mismatches for verdict in verdicts))


def _line(verdict: Verdict) -> str:
    head = (
        f"{verdict.name:32} {verdict.tensors:4} tensors  {verdict.statistics:5} statistics  "
        f"largest {verdict.largest:4.2f}  {verdict.seconds:5.1f} s"
    )
    return "\n".join([head, *(f"    {line}" for line in verdict.mismatches)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
