"""What a traced forward pass says about a model, free of any framework."""

from __future__ import annotations

from dataclasses import dataclass

from fanin.axes import Axes


@dataclass(frozen=True, slots=True)
class Use:
    """One operation that uses one stored tensor.

    Attributes:
        tensor: qualified name (the first of tied names).
        op: the operation: "linear", "bilinear", "conv", "conv_transpose", "bias", "norm_scale", "norm_shift",
            "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu" (and these with "_cell"), "scale"
            (multiplied elementwise), "position" (a table added), "cat" (a token put beside others), "prelu"; else
            the operator's own name.
        axes: the meaning of its dimensions, where the operation contracts it.
        activation: the nonlinearity that the operation's output goes into next: "relu", "gelu", …, as `fanin.gains`
            names them; "linear" where another weight, an add or the output follows; "" where it was not followed.
        parameter: the activation's number where it has one (slope of leaky ReLU, alpha of ELU); for "norm_scale"
            the constant that the code adds to the stored tensor (1 where it stores scale − 1).
        module: qualified name of the module that ran the operation.
        padding: for "embedding" the row of the padding token, which gets no gradient; None where there is none.
    """

    tensor: str
    op: str
    axes: Axes | None = None
    activation: str = ""
    parameter: float | None = None
    module: str = ""
    padding: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """All uses of all stored tensors in the order of the forward pass.

    `unreached` lists tensors that the pass never touched; `notes` says what could not be followed and why.
    """

    uses: tuple[Use, ...]
    unreached: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, tensor: str) -> tuple[Use, ...]:
        """Every use of one tensor."""
        return tuple(use for use in self.uses if use.tensor == tensor)
