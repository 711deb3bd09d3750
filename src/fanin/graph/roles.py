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
ROLES = (*dict.fromkeys(_ROLES.values()), "buffer", "unknown")


def role(kind: str, uses: Sequence[Use]) -> str:
    """The role of a stored tensor.

    Args:
        kind: "parameter" or "buffer".
        uses: its uses in the forward pass.

    >>> role("parameter", (Use("wte.weight", "linear"), Use("wte.weight", "embedding")))
    'embedding'
    """
    if kind == "buffer":
        return "buffer"
    ops = {use.op for use in uses}
    return next((named for op, named in _ROLES.items() if op in ops), "unknown")
