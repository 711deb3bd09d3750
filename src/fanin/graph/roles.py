"""What a stored tensor is for, from what the forward pass does with it."""

from __future__ import annotations

from collections.abc import Sequence

from fanin.graph.records import Use

# Operation → role. A tensor with several uses has the role that stands first here.
_ROLES = {
    "embedding": "embedding",
    "conv": "convolution",
    "conv_transpose": "transposed convolution",
    "linear": "projection",
    "bilinear": "projection",
    "lstm": "recurrent",
    "gru": "recurrent",
    "rnn_tanh": "recurrent",
    "rnn_relu": "recurrent",
    "lstm_cell": "recurrent",
    "gru_cell": "recurrent",
    "rnn_tanh_cell": "recurrent",
    "rnn_relu_cell": "recurrent",
    "norm_scale": "norm scale",
    "norm_shift": "norm shift",
    "position": "position",
    "cat": "token",
    # A learned query, and a row written among looked-up ones.
    "scaled_dot_product_attention": "token",
    "index_put": "token",
    "bias": "bias",
    "scale": "scale",
    # Factors of other parameters: the magnitudes of weight norm, and what multiplies a parameter before data does.
    "_weight_norm_interface": "scale",
    "mul": "scale",
    "prelu": "slope",
}
# What only the surrounding graph can tell; `Use.role` carries them.
MATRIX_ROLES = (
    "attention query",
    "attention key",
    "attention value",
    "attention output",
    "mlp up",
    "mlp gate",
    "mlp down",
    "router",
    "modulation",
    "head",
    "recurrent input",
    "recurrent hidden",
    "lora A",
    "lora B",
)
VECTOR_ROLES = ("layer scale", "relative position", "state-space A", "state-space D", "time step")
ROLES = (*dict.fromkeys(_ROLES.values()), *MATRIX_ROLES, *VECTOR_ROLES, "packed", "buffer", "unknown")


def role(kind: str, uses: Sequence[Use]) -> str:
    """The role of a stored tensor: what the graph around its uses shows, else what the operations do with it.

    Args:
        kind: "parameter" or "buffer".
        uses: its uses in the forward pass.

    >>> role("parameter", (Use("wte.weight", "linear", role="head"), Use("wte.weight", "embedding")))
    'embedding'
    """
    if kind == "buffer":
        return "buffer"
    ops = {use.op for use in uses}
    # A tied head does not make its table another thing; what its lookups show does.
    telling = [use for use in uses if use.op == "embedding" or "embedding" not in ops]
    blocks = dict.fromkeys(use.role or _ROLES.get(use.op, "unknown") for use in telling if use.parts)
    if len(blocks) > 1:
        return "packed"
    shown = dict.fromkeys(use.role for use in telling if use.role)
    if shown:
        return next(iter(shown))
    return next((named for op, named in _ROLES.items() if op in ops), "unknown")
