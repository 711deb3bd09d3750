"""The loss before the first step, against that of uniform guessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from fanin.torch.probe.batch import tensors_in
from fanin.torch.probe.sampling import places

ROWS = 256


@dataclass(frozen=True, slots=True)
class FirstLoss:
    """Cross entropy of a model's logits.

    Attributes:
        classes: how many there are; uniform guessing has the loss ln(classes).
        blind: mean of logsumexp(z) − mean(z): the loss over labels that know nothing of the logits. At least
            ln(classes); for logits z ~ N(0, s²) it is ln(classes) + s²/2.
        size: root mean square of the logits about their mean over the classes.
        given: the loss with the user's labels; None without.
        kinds: how many different labels there are; 1 where that is not known.
    """

    classes: int
    blind: float
    size: float
    given: float | None
    kinds: int


def first_loss(output: Any, loss: Any, value: float | None) -> FirstLoss | None:
    """What the model's output says of each class; None where it has no logits (no labels, nothing of that name).

    Args:
        output: what the model returned.
        loss: integer labels, or what else the user gave.
        value: the loss that came of it.
    """
    labels = loss if isinstance(loss, Tensor) else None
    named = cast("Mapping[Any, Any]", output) if isinstance(output, Mapping) else {}
    logits = named.get("logits") if labels is None else _first(output)
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim < 2:
        return None
    across = labels is not None and logits.shape[:-1] != labels.shape
    table = logits.detach().movedim(1, -1) if across or (labels is None and logits.ndim == 4) else logits.detach()
    if table.shape[-1] < 2:
        return None
    rows = table.reshape(-1, table.shape[-1])
    rows = rows[places(rows.shape[0], ROWS, rows.device)].float()
    blind = (rows.logsumexp(1) - rows.mean(1)).mean()
    size = rows.std(1, correction=0).mean()
    own = named.get("loss")
    known = labels is not None or (isinstance(own, Tensor) and own.numel() == 1 and float(own.detach()) == value)
    kinds = 1 if labels is None else int(labels[labels != -100].unique().numel())
    return FirstLoss(table.shape[-1], float(blind), float(size), value if known else None, max(1, kinds))


def _first(output: Any) -> Tensor | None:
    return next((tensor for tensor in tensors_in(output) if tensor.is_floating_point()), None)
