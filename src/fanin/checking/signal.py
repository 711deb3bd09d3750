"""Check how the signal passes a model, forward and backward, on one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf, sqrt
from typing import Any

from torch import nn

from fanin.checking.agreement import of_agreement
from fanin.checking.causes import findings
from fanin.checking.findings import Finding
from fanin.checking.layers import LayerReport
from fanin.checking.report import Report
from fanin.checking.rounding import of_precision
from fanin.checking.updates import LEARNING_RATE, Optimizer, of_updates, parameter_report
from fanin.checking.verdicts import Judged, judge, worst
from fanin.errors import ArgumentError, PlanError
from fanin.plans import Plan
from fanin.torch.pieces import is_part
from fanin.torch.probe import ParameterProbe, probe
from fanin.torch.probe.batch import Loss, require_values
from fanin.torch.probe.drawn import looks_drawn
from fanin.torch.probe.synthetic import synthetic_inputs
from fanin.torch.probe.thorough import thoroughly
from fanin.torch.unwrapped import unwrapped

# The standard error of a sample's std is at most σ·√((κ − 1)/4n); this covers laws up to kurtosis κ = 5.
_KURTOSIS = 5.0
_FRESH = 0.9


def check(
    model: nn.Module,
    inputs: Any = None,
    loss: Loss = None,
    *,
    plan: Plan | None = None,
    thorough: bool = False,
    lr: float | None = None,
    optimizer: Optimizer = "adam",
    seed: int = 0,
) -> Report:
    """Measure forward and backward moments of every layer on one batch, and say what is wrong with them.

    The model runs once forward and backward in training mode, as in its first step, and is left exactly as it was:
    flags, buffers, gradients, hooks and random states. No activation is kept. A frozen model runs forward only.

    Expected second moments come from mean-field theory, over random draws of weights with the moments of the model's
    own (or the plan's) weights: q′ = fan_in·σ_w²·E[f(√q z)²] + σ_b² forward, E[g²] = fan_out·σ_w²·E[f′(√q z)²]·E[g′²]
    backward. They start anew from measured values behind an operation that the theory does not cover; where it has
    no answer they are None. They hold for independent random weights, not for trained ones.

    Args:
        model: any module with values.
        inputs: a batch; a tuple of positional or a mapping of keyword arguments. None: made up from the signature, and
            a note says so.
        loss: callable on the model's output; integer labels, for cross entropy; or None for Σ r·output with fixed
            r ~ N(0, 1), whose gradients are the Jacobian's Frobenius norms on average.
        plan: also compare the weights with this plan, and expect what its laws say.
        thorough: also run what takes more passes: singular values of the layers' Jacobians, precision in bfloat16.
        lr: the learning rate of the first step, by which updates are judged; by default they are only shown, for 0.001.
        optimizer: "adam", whose first step is lr·sign(g), or "sgd", whose step is lr·g.
        seed: of made-up inputs, and of the vectors that power iteration starts from.

    Raises:
        DataError: NaN in the batch, an empty batch, a wrong shape or device, a quantized or meta model, no usable
            output; a forward pass, loss or backward pass that fails.
        PlanError: the plan is for other tensors.
        ArgumentError: an unknown optimizer, a learning rate that is not positive.

    Source: Poole et al. 2016 (arXiv:1606.05340); Schoenholz et al. 2017 (arXiv:1611.01232).

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> check(model, torch.randn(16, 8)).verdict
    'healthy'
    """
    _require(lr, optimizer)
    if not any(map(is_part, model.parameters())):  # FSDP2 needs its own classes to gather what it has sharded
        model = unwrapped(model)
    laws = {} if plan is None else _laws(model, plan)
    made_up: tuple[str, ...] = ()
    if inputs is None:
        require_values(model)
        inputs, note = synthetic_inputs(model, seed)
        made_up = (note,)
    seen = probe(model, inputs, loss, laws)
    more = thoroughly(model, inputs, seen, seed) if thorough else None
    seen = seen if more is None else more.probe
    rows = judge(seen)
    verdict, start = worst(rows)
    fresh = plan is not None or _fresh(model, rows)
    parameters = tuple(parameter_report(each, plan, lr or LEARNING_RATE) for each in seen.parameters.values())
    extra = (
        *(() if more is None else of_precision(seen.layers, more.rough)),
        *of_agreement(rows, fresh),
        *(() if lr is None else of_updates(parameters, lr, optimizer)),
        *(() if plan is None else _strayed(seen.parameters, laws)),
    )
    return Report(
        verdict,
        findings(seen, rows, extra, drawn=fresh),
        tuple(LayerReport.of(row) for row in rows),
        None if start is None else start.layer.name,
        seen.loss,
        parameters,
        (*made_up, *seen.notes),
        plan,
        model=type(model).__name__,
        blocks=() if more is None else more.blocks,
    )


def _require(lr: float | None, optimizer: str) -> None:
    if optimizer not in ("adam", "sgd"):
        raise ArgumentError(f"optimizer must be 'adam' or 'sgd', got {optimizer!r}")
    if lr is not None and not 0 < lr < inf:
        raise ArgumentError(f"lr must be a positive number, got {lr}")


def _fresh(model: nn.Module, rows: Sequence[Judged]) -> bool:
    """Nearly all weights look like independent draws."""
    used = {row.layer.weight for row in rows if row.layer.weight}
    looks = [looks_drawn(p) for name, p in model.named_parameters() if name in used and not is_part(p)]
    told = [look for look in looks if look is not None]
    return sum(told) >= _FRESH * len(told)


def _laws(model: nn.Module, plan: Plan) -> dict[str, tuple[float, float]]:
    """(mean, std) of every parameter that the plan draws."""
    for name, parameter in model.named_parameters():
        if name not in plan:
            raise PlanError(f"the plan has no step for parameter {name!r} of {type(model).__name__}: plan this model")
        if plan[name].shape != tuple(parameter.shape):
            raise PlanError(
                f"the plan has shape {list(plan[name].shape)} for {name!r}, the model {list(parameter.shape)}: "
                "plan this model"
            )
    steps = {name: plan[name] for name, _ in model.named_parameters()}
    return {n: (s.mean, s.std) for n, s in steps.items() if s.mean is not None and s.std is not None}


def _strayed(parameters: Mapping[str, ParameterProbe], laws: Mapping[str, tuple[float, float]]) -> Iterator[Finding]:
    for name, (mean, std) in laws.items():
        seen = parameters[name].values
        if not seen.count:
            continue
        slack = 5 * std / sqrt(seen.count) + 1e-6 * (abs(mean) + std)
        if abs(seen.mean - mean) > slack or abs(seen.std - std) > slack * sqrt((_KURTOSIS - 1) / 4):
            yield Finding(
                "off-plan",
                "warning",
                name,
                f"mean {seen.mean:.3g} and std {seen.std:.3g}",
                f"mean {mean:.3g} and std {std:.3g}, as the plan says",
                "the model does not hold the values that the plan draws",
                "fanin.materialize(model, plan, seed=0)",
            )
