"""What a parametrization sees of one tensor: which of its dimensions grow with the width, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["input", "table", "hidden", "output", "vector", "fixed"]


@dataclass(frozen=True, slots=True)
class Dims:
    """One tensor, free of any framework.

    Attributes:
        kind: by which of its dimensions grow without limit: "hidden" (inputs and outputs), "input" (outputs alone:
            first layers), "table" (outputs alone, looked up or added: embeddings, positions), "output" (inputs alone:
            readouts), "vector" (no operation contracts it: biases, norms, factors), "fixed" (none).
        inputs: by how much its input dimensions are wider than at the base; 1 where none grows.
        outputs: likewise its outputs; for tables and vectors the dimension that grows.
        fan_in, fan_out: of the model; 1 where nothing contracts the tensor (a table's fan-in too).
        base_fan_in, base_fan_out: of the base.
        depth: by how much its stack is deeper than at the base; 1 outside of stacks.
        layers: layers of its stack; 0 outside.
        branches: residual branches of its stack; 0 outside.
    """

    kind: Kind
    inputs: float = 1.0
    outputs: float = 1.0
    fan_in: float = 1.0
    fan_out: float = 1.0
    base_fan_in: float = 1.0
    base_fan_out: float = 1.0
    depth: float = 1.0
    layers: int = 0
    branches: int = 0


@dataclass(frozen=True, slots=True)
class Factors:
    """What a tensor's numbers are multiplied by.

    Attributes:
        init: its standard deviation.
        adam, sgd: its learning rate under either family of optimizers.
        adam_decay, sgd_decay: its weight decay, where that is multiplied by the learning rate.
        eps: Adam's ε.
    """

    init: float = 1.0
    adam: float = 1.0
    sgd: float = 1.0
    adam_decay: float = 1.0
    sgd_decay: float = 1.0
    eps: float = 1.0

    def absorbing(self, factor: float) -> Factors:
        """The same training without a forward multiplier `factor` on the tensor (abc-symmetry).

        With W' = factor·W the gradient of W' is 1/factor times that of W, so that Adam's steps of W' are factor times,
        SGD's factor² times as long; what decay takes away per step, rate × decay, stays.

        >>> Factors().absorbing(0.25)
        Factors(init=0.25, adam=0.25, sgd=0.0625, adam_decay=4.0, sgd_decay=16.0, eps=4.0)
        """
        return Factors(
            self.init * factor,
            self.adam * factor,
            self.sgd * factor**2,
            self.adam_decay / factor,
            self.sgd_decay / factor**2,
            self.eps / factor,
        )
