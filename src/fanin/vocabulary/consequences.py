"""What new rows mean for the model's predictions: how far they can move, and what a person should know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log

import torch

from fanin.vocabulary.request import Request
from fanin.vocabulary.tables import Table


def kl_bound(found: Sequence[Table], request: Request) -> float | None:
    """ln(1 + the largest sum over new rows of an old row's weights): Z grows by at most that share.

    Each new logit is a mean of old ones, with weights that sum to 1, and exp is convex.
    """
    outputs = [table for table in found if "output" in table.kind]
    if not outputs:
        return 0.0
    if request.method not in ("mean", "subtoken", "copy") or not all(table.linear for table in outputs):
        return None
    known, pad = len(request.trained), request.padding
    if request.method == "mean":
        return log(1 + (len(request.tokens) + pad) / known)
    shares = torch.zeros(request.first, dtype=torch.float64)
    for ids in request.tokens.pieces:
        shares.index_add_(0, torch.tensor(ids), torch.full((len(ids),), 1 / len(ids), dtype=torch.float64))
    return log(1 + float(shares.max()) + pad / known)


def notes(found: Sequence[Table], request: Request, unreached: frozenset[str], equal: int) -> Iterator[str]:
    """In sentences; `equal` rows at the end of the main table were the same before the new ones came."""
    outputs = [table for table in found if "output" in table.kind]
    if not outputs:
        yield "no head with an output for each token was found: the input tables alone were extended"
    bent = [table.name for table in outputs if not table.linear]
    if unseen := [name for name in bent if name in unreached]:
        yield f"the forward pass was not followed up to {', '.join(unseen)}, so no bound is known: pass inputs="
    elif bent:
        yield f"a nonlinearity bends the logits of {', '.join(bent)}: exp is convex, what bends it is not, so no bound"
    if request.first < request.before:
        used = min(request.before - request.first, len(request.tokens))
        yield (
            f"{used} new tokens took rows that were there and not trained; what is said of KL is said against the old "
            "model without these rows"
        )
    elif equal > 1:
        yield (
            f"the last {equal} old rows of {found[0].name} are equal: padding that was never trained? Then pass "
            f"trained={request.before - equal}"
        )
