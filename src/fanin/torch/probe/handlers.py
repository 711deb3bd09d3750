"""Which torch function has which rule."""

from __future__ import annotations

from collections.abc import Mapping

from torch.nn import functional as F

from fanin.torch.probe import elementwise, norm_handlers, rules, weight_handlers
from fanin.torch.probe.arguments import Args, Kwargs, argument
from fanin.torch.probe.attention_rule import multi_head, scaled_dot_product
from fanin.torch.probe.elementwise import of_function as of_function
from fanin.torch.probe.pooling import average, largest, mean
from fanin.torch.probe.recurrent import recurrent
from fanin.torch.probe.signal import Rule
from fanin.torch.probe.tape import Handler, Tape

ACTIVATIONS = frozenset(
    (
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "tanh",
        "sigmoid",
        "softplus",
        "softsign",
        "hardtanh",
        "hardswish",
        "hardsigmoid",
        "logsigmoid",
        "tanhshrink",
        "sin",
        "relu_",
        "tanh_",
        "sigmoid_",
        "leaky_relu_",
        "elu_",
        "selu_",
    )
)
_MOVES = (
    "reshape",
    "view",
    "flatten",
    "unflatten",
    "transpose",
    "permute",
    "squeeze",
    "unsqueeze",
    "swapaxes",
    "movedim",
    "chunk",
    "split",
    "unbind",
    "narrow",
    "select",
    "expand",
    "expand_as",
    "__getitem__",
)
_COPIES = ("contiguous", "clone", "float", "double", "half", "bfloat16", "to", "type_as")
_POOLS = ("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d")


def _dropout(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    x = argument(args, kwargs, 0, "input")
    node = tape.node(x)
    rate, training = argument(args, kwargs, 1, "p", 0.5), argument(args, kwargs, 2, "training", True)
    return tape.why(x) if node is None else rules.dropout(node, float(rate) if training else 0.0)


HANDLERS: Mapping[str, Handler] = {
    "linear": weight_handlers.linear,
    "addmm": weight_handlers.addmm,
    **dict.fromkeys(("matmul", "mm", "__matmul__"), elementwise.multiplied),
    **{f"conv{n}d": weight_handlers.conv(getattr(F, f"conv{n}d")) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": weight_handlers.conv_transpose(getattr(F, f"conv_transpose{n}d")) for n in (1, 2, 3)},
    **{name: elementwise.pointwise(name) for name in ACTIVATIONS},
    "glu": elementwise.glu,
    **{name: elementwise.move(name) for name in _MOVES},
    **dict.fromkeys(_COPIES, elementwise.copied),
    **dict.fromkeys(("cat", "concat", "concatenate"), elementwise.joined),
    **dict.fromkeys(("neg", "__neg__"), elementwise.negated),
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), elementwise.product(invert=False)),
    **dict.fromkeys(("div", "__truediv__", "true_divide"), elementwise.product(invert=True)),
    **dict.fromkeys(("add", "__add__", "__radd__", "add_", "__iadd__"), elementwise.added),
    **dict.fromkeys(("sub", "__sub__"), elementwise.subtracted),
    "embedding": weight_handlers.embedding,
    "embedding_bag": weight_handlers.embedding_bag,
    "dropout": _dropout,
    "layer_norm": norm_handlers.layer_norm,
    "rms_norm": norm_handlers.rms_norm,
    "batch_norm": norm_handlers.batch_norm,
    "scaled_dot_product_attention": scaled_dot_product,
    "multi_head_attention_forward": multi_head,
    **{name: average(name) for name in _POOLS},
    "mean": mean,
    **{f"max_pool{n}d": largest(f"max_pool{n}d") for n in (1, 2)},
    **{name: recurrent(name) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
}
