"""What a traced forward pass says about a model, free of any framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fanin.axes import Axes
from fanin.random.part import Part as Part


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
        role: what the surrounding graph shows the tensor (or this block of it) to be, one of `ROLES`; "" where the
            operation alone decides.
        parts: which part of a packed tensor this use is about; empty for the whole. `axes` are then those of the
            parts joined to one matrix, so that its fans are the block's own.
        partner: for a bias the weight whose product it is added to, for the scale of a fused norm the weight whose
            product it normalises; "" elsewhere and where none was found.
        heads: for the roles of attention into how many heads the output (for "attention output" the input) is split.
        gate: which gate of a recurrent cell: "input", "forget", "cell", "output" of an LSTM, "reset", "update", "new"
            of a GRU; "" elsewhere.
        reads: the nonlinearity that a weight's input came out of, named as `activation`; "" where it is an input, a
            table, or comes from a norm, a sum, a product or attention.
        reads_parameter: that nonlinearity's number.
        largest_of: each value that a weight reads is the largest of so many outputs of that nonlinearity …
        mean_of: … or the mean of so many such values; both 1 without pooling. Means over all positions do not count.
        normed: a norm follows a weight's product, so that its scale does not matter.
        behind_norm: what a weight reads came out of a norm, and nothing but numbers touched it since.
        gated_by: the nonlinearity of the gate that a weight's product is multiplied by (SwiGLU's up: "silu").
        scaled: the number that a weight's input was multiplied by since it came out of a norm (T5's head).
        scores: for "attention query" the standard deviation of the scores over that of queries times that of keys,
            for independent ones: 1 where scores are divided by √d_head, √d_head where they are not; 0 where not known.
    """

    tensor: str
    op: str
    axes: Axes | None = None
    activation: str = ""
    parameter: float | None = None
    module: str = ""
    padding: int | None = None
    role: str = ""
    parts: tuple[Part, ...] = ()
    partner: str = ""
    heads: int | None = None
    gate: str = ""
    reads: str = ""
    reads_parameter: float | None = None
    largest_of: int = 1
    mean_of: int = 1
    normed: bool = False
    behind_norm: bool = False
    gated_by: str = ""
    scaled: float = 1.0
    scores: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the network a tensor stands.

    Attributes:
        stack: qualified name of the container of repeated blocks that the tensor is in, numbers left out
            ("model.layers", "encoder.stages.layers"); "" outside of any, and where the model itself is the container:
            then `layer` is a number.
        layer: 0-based ordinal of its block in the stack, in the order of the forward pass; None outside.
        layers: how many blocks the stack has.
        side: "encoder" in a stack whose output another stack attends to, "decoder" in that other one; outside of both
            the side that the tensor's input comes from (final norms, heads), else the one that its output goes to
            (embeddings); "" where its uses differ, and in a model without both sides.
        encoder_layers: blocks of the model's encoder where the model has both sides; else 0.
        decoder_layers: blocks of its decoder where the model has both sides; else 0.
        branch: 0-based ordinal, among the residual branches of its stack, of the branch that the tensor is in; None
            outside of branches.
        branches: how many residual branches the stack has (2 per layer in a transformer).
        members: how many weights (matrices, convolutions) follow one another in its branch.
        last: the tensor is the last weight of a residual branch: its output is added to an ancestor of its own input.
            Also for the scale of a norm between that weight and the sum.
        width: size of the residual stream that the branch adds to; 0 where there is none.
        normed: where norms stand: "before" the branch (it reads the stream through one), "after" its sum (the stream
            goes on through one); "" where neither is, or outside of branches.
        scaled: a learned factor (LayerScale, ReZero) multiplies the branch.
        tables: the stream (for positions the sum that they are part of) starts as so many lookups, each counted with
            the square of what it is multiplied by …
        positions: … plus so many added position parameters …
        others: … plus so many outputs of weights and norms, likewise; all three 0 where that was not followed.
        chain: 0-based ordinal in a chain of weights with nothing but nonlinearities between them; None outside.
        chained: how many weights that chain has.
    """

    stack: str = ""
    layer: int | None = None
    layers: int = 0
    side: str = ""
    encoder_layers: int = 0
    decoder_layers: int = 0
    branch: int | None = None
    branches: int = 0
    members: int = 0
    last: bool = False
    width: int = 0
    normed: str = ""
    scaled: bool = False
    tables: float = 0.0
    positions: float = 0.0
    others: float = 0.0
    chain: int | None = None
    chained: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """All uses of all stored tensors in the order of the forward pass.

    `unreached` lists tensors that the pass never touched; `notes` says what could not be followed and why; `places`
    says where in the network each tensor stands, by its name.
    """

    uses: tuple[Use, ...]
    unreached: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict[str, Place])

    def of(self, tensor: str) -> tuple[Use, ...]:
        """Every use of one tensor."""
        return tuple(use for use in self.uses if use.tensor == tensor)
