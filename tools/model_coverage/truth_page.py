"""The page docs/truth.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import transformers
from scipy.stats import norm

from fanin.plans.defects import defects

if TYPE_CHECKING:
    from truth import Verdict

_HEAD = """# Truth

What `fanin.capture` reads off a constructor, held against what the constructor really draws. This page is made by
`./dev truth --write` (torch {torch}, transformers {transformers}).

For each type below a small model is captured without memory, its native plan drawn, and the model built a second time
by its own constructor, for real. Then tensor by tensor:

- name, ties, kind, shape, dtype and gradient flag are the same;
- **deterministic** tensors (constants, sinusoids, masks, indices, frequencies) are equal, bit for bit;
- **drawn** tensors, the plan's and the constructor's alike, follow the law that the plan names, block by block: mean,
  standard deviation (with the law's kurtosis), both ends of the range and the shape of the distribution, each within
  5 standard errors; orthogonal matrices are orthogonal;
- **computed** tensors (copies, norms of other weights, time steps) are the same function of the constructor's other
  tensors to rounding, or, where they have draws of their own, have the same mean and standard deviation;
- all tensors of one law together follow it too, so that a std wrong by two per cent shows in a small model.

Every statistic is turned into the deviation of a normal variable of the same chance, so "5 standard errors" means a
chance of 6 in ten million each, whatever the law and however few the values. {total:,} statistics are compared here:
the largest deviation to be expected by chance is {expected:.1f}, the largest seen is {largest:.1f}.
Mismatches: **{mismatches}**.
"""

_COLUMNS = (
    "type", "model", "tensors", "drawn", "computed", "deterministic", "statistics", "largest deviation", "mismatches",
)  # fmt: skip
_TABLE = f"| {' | '.join(_COLUMNS)} |\n|---|---|{'--:|' * (len(_COLUMNS) - 2)}\n"

_DEFECTS = """## What the authors' code does, mistakes included

`native` reproduces a constructor, not what its authors may have meant. Documented mistakes that these plans show, which
`fanin plan … --against native` names too:

"""


def page(verdicts: Sequence[Verdict]) -> str:
    """The page in Markdown."""
    total = sum(verdict.statistics for verdict in verdicts)
    head = _HEAD.format(
        torch=torch.__version__.partition("+")[0],
        transformers=transformers.__version__,
        total=total,
        expected=float(norm.isf(0.5 / total)),
        largest=max(verdict.largest for verdict in verdicts),
        mismatches=sum(len(verdict.mismatches) for verdict in verdicts),
    )
    groups = dict.fromkeys(verdict.group for verdict in verdicts)
    tables = (_group(name, [verdict for verdict in verdicts if verdict.group == name]) for name in groups)
    return "\n".join([head, *tables, _DEFECTS + _defects(verdicts)])


def _group(name: str, verdicts: Sequence[Verdict]) -> str:
    return f"## {name[0].upper()}{name[1:]}\n\n{_TABLE}" + "".join(map(_row, verdicts))


def _row(verdict: Verdict) -> str:
    counts = (verdict.tensors, *map(verdict.count, ("drawn", "computed", "deterministic")), verdict.statistics)
    cells = [
        f"`{verdict.name}`",
        verdict.plan.model,
        *map(str, counts),
        f"{verdict.largest:.1f}",
        str(len(verdict.mismatches)),
    ]
    return f"| {' | '.join(cells)} |\n"


def _defects(verdicts: Sequence[Verdict]) -> str:
    types: dict[str, list[str]] = {}
    for verdict in verdicts:
        for sentence in defects(verdict.plan.model, verdict.plan.steps):
            types.setdefault(sentence.partition(": ")[2], []).append(f"`{verdict.name}`")
    return "".join(f"- {what} — {', '.join(names)}\n" for what, names in types.items())
