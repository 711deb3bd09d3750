"""Findings on both ends of the first step: the batch that goes in, the loss that comes out."""

from __future__ import annotations

from collections.abc import Iterator
from math import log, sqrt

from fanin.checking.findings import Finding
from fanin.torch.probe import FirstLoss, Probe

_INPUTS = (1e-4, 1e3)
_NATS = 2.0
_TIMES = 2.0


def of_the_start(probe: Probe, drawn: bool) -> Iterator[Finding]:
    """What is wrong with the inputs, or with the loss before the first step.

    Args:
        probe: what was measured.
        drawn: the weights are fresh random numbers, so that they cannot know the labels.
    """
    if probe.inputs is not None:
        yield from _inputs(probe.inputs[0].second)
    if probe.first is not None:
        yield from _loss(probe.first, drawn)


def _inputs(second: float) -> Iterator[Finding]:
    if not second:
        yield Finding(
            "zero-inputs",
            "error",
            "inputs",
            "every value of the batch is zero",
            "root mean square about 1",
            "the data was not read, or was masked away: what the layers show here are their biases",
            "print(inputs.std())",
        )
    elif not _INPUTS[0] <= second <= _INPUTS[1]:
        yield Finding(
            "input-scale",
            "warning",
            "inputs",
            f"root mean square {sqrt(second):.3g}",
            "about 1",
            "initializers assume inputs of unit size: the first layer starts outside the range where it learns",
            "inputs = (inputs - inputs.mean()) / inputs.std()",
        )


def _loss(first: FirstLoss, drawn: bool) -> Iterator[Finding]:
    uniform = log(first.classes)
    about = f"ln {first.classes:,} = {uniform:.3g}, the loss of uniform guessing"
    if first.blind > uniform + _NATS:
        yield Finding(
            "loss-above-uniform",
            "error" if first.blind > _TIMES * uniform + _NATS else "warning",
            "loss",
            f"cross entropy {first.blind:.3g} against labels that it cannot know, from logits of size {first.size:.3g}",
            f"about {about}",
            "logits this large are sure of wrong answers: the last layer, or what enters it, starts too large "
            "(a tied or scaled output matrix drawn as N(0, 1))",
            'fanin.initialize(model, recipe="native", inputs=inputs)',
        )
    slack = 4 * first.size / sqrt(first.kinds) + 0.1 * uniform
    if first.given is not None and first.given < min(0.9 * uniform, first.blind - slack):
        yield Finding(
            "loss-below-uniform",
            "warning" if drawn else "info",
            "loss",
            f"{first.given:.3g} before the first step",
            f"at least {about}",
            "the model already knows the labels: they leak into its inputs (no causal mask, shifted twice), or the "
            "weights are trained",
            "print(loss)  # then look at where the labels come from",
        )
