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
    "bias": "bias",
    "scale": "scale",
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
    shown = dict.fromkeys(use.role for use in uses if use.role)
    if len(shown) > 1 and all(use.parts for use in uses if use.role):
        return "packed"
    if shown and "embedding" not in ops:
        return next(iter(shown))
    return next((named for op, named in _ROLES.items() if op in ops), "unknown")
