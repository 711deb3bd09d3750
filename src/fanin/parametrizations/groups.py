"""Parameter groups for an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from fanin.errors import ArgumentError, UnknownNameError
from fanin.parametrizations.dims import Factors
from fanin.text_table import shortened
from fanin.torch.tensors import stored_tensors

Family = Literal["adam", "sgd"]
_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta"), "adam"),
    "sgd": "sgd",
}
_LISTED = 3


def family(optimizer: str | type[torch.optim.Optimizer]) -> Family:
    """Whether an optimizer's steps are as long as gradients are ("sgd") or do not depend on their scale ("adam").

    Raises:
        UnknownNameError: it is neither, as far as is known.

    >>> family("adamw"), family(torch.optim.SGD)
    ('adam', 'sgd')
    """
    name = optimizer if isinstance(optimizer, str) else optimizer.__name__
    if name.lower() not in _FAMILIES:
        raise UnknownNameError.among("kind of optimizer", name, _FAMILIES)
    return _FAMILIES[name.lower()]


def parameter_groups(
    model: nn.Module,
    factors: Mapping[str, tuple[str, Factors]],
    *,
    lr: float,
    weight_decay: float,
    kind: Family,
    eps: float | None,
    decay_vectors: bool,
) -> list[dict[str, Any]]:
    """Trainable parameters by their factors, in the order of the model; see `Parametrized.parameter_groups`."""
    found: dict[tuple[float, float, float], dict[str, Any]] = {}
    missing: list[str] = []
    for entry in stored_tensors(model):
        if entry.kind != "parameter" or not entry.tensor.requires_grad:
            continue
        known = next((factors[name] for name in entry.names if name in factors), None)
        if known is None:
            missing.append(entry.name)
            continue
        rate, decay, small = _numbers(known[1], kind, decays=decay_vectors or not _is_vector(known[0], entry.tensor))
        group = found.setdefault((rate, decay, small), _group(rate, decay, small, lr, weight_decay, kind, eps))
        group["params"].append(entry.tensor)
    if missing:
        raise ArgumentError(
            f"the record of the parametrization knows nothing of {shortened(missing, _LISTED)}: parametrize the model "
            "that is trained"
        )
    return list(found.values())


def _is_vector(kind: str, tensor: torch.Tensor) -> bool:
    """Biases, norms and the like; the bias of a readout too, no dimension of which grows."""
    return kind == "vector" or (kind == "fixed" and tensor.dim() < 2)


def _numbers(factors: Factors, kind: Family, *, decays: bool) -> tuple[float, float, float]:
    rate, decay = (factors.sgd, factors.sgd_decay) if kind == "sgd" else (factors.adam, factors.adam_decay)
    return rate, decay if decays else 0.0, factors.eps if kind == "adam" else 1.0


def _group(
    rate: float, decay: float, small: float, lr: float, weight_decay: float, kind: Family, eps: float | None
) -> dict[str, Any]:
    group = {"params": [], "lr": lr * rate, "weight_decay": weight_decay * decay, "lr_factor": rate}
    if kind == "adam" and (eps is not None or small != 1.0):
        group["eps"] = (1e-8 if eps is None else eps) * small
    return group
