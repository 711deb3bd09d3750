"""Which torch function has which rule: arguments in, `Rule` out; None where theory does not apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fanin.torch.probe import rules
from fanin.torch.probe.batch import tensors_in
from fanin.torch.probe.laws import bias_moments, taps
from fanin.torch.probe.moments import moments
from fanin.torch.probe.signal import Rule, Signal
from fanin.torch.probe.tape import Handler, Tape, WeightUse

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
)
_COPIES = ("contiguous", "clone")

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def _get(args: Args, kwargs: Kwargs, place: int, name: str, default: Any = None) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _weight(
    tape: Tape, x: Any, weight: Any, bias: Any, dims: tuple[int, int], groups: int, spread: rules.Spread, channel: int
) -> Rule | None:
    """A contraction with the parameter `weight`, stored with units along `dims[0]` and inputs along `dims[1]`."""
    name = tape.names.get(id(weight))
    if name is None or not isinstance(x, Tensor):
        return None
    bias_name = tape.names.get(id(bias), "")
    unit_dim, in_dim = dims
    tape.uses.append(WeightUse(name, bias_name or None, unit_dim, tape.stack[-1] if tape.stack else ""))
    draw = tape.draw(name)
    units, seen = weight.shape[unit_dim], tape.moments(name, weight)
    law = taps(name, weight, tuple(range(2, weight.ndim)), units, seen, tape.laws)
    signal = tape.signal(x, channel)
    if law is None or draw is None or signal is None or (bias is not None and not bias_name):
        return None
    signal = Signal(rules.over(signal.mean, channel), rules.over(signal.second, channel), ancestors=signal.ancestors)
    # A transposed convolution's stored input dimension holds all groups, any other one's output dimension does.
    fan_in, fan_out = weight.shape[in_dim], weight.shape[unit_dim]
    fans = (fan_in // groups, fan_out) if unit_dim > in_dim else (fan_in, fan_out // groups)
    terms = bias_moments(bias_name, bias, tape.laws)
    return rules.contraction(tape.node(x), signal, law, terms, spread, fans, channel, draw)


def _embedding(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    """A lookup has no rule, but its weights are drawn here: a tied output matrix is not independent of its inputs."""
    # F.embedding takes (ids, table); torch.embedding and F.embedding_bag may take (table, ids).
    for tensor in tensors_in((args, kwargs)):
        name = tape.names.get(id(tensor))
        if name is not None:
            tape.draw(name)
            tape.moments(name, tensor)  # before `max_norm` rewrites its rows
    return None


def _scalar(map_: Tensor, tap: Tensor) -> Tensor:
    return map_ * tap


def _linear(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    x, weight, bias = _get(args, kwargs, 0, "input"), _get(args, kwargs, 1, "weight"), _get(args, kwargs, 2, "bias")
    return _weight(tape, x, weight, bias, (0, 1), 1, _scalar, -1)


def _addmm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    if len(args) != 3 or kwargs or getattr(args[2], "ndim", 0) != 2:
        return None
    return _weight(tape, args[1], args[2], args[0], (1, 0), 1, _scalar, -1)


def _matmul(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    if len(args) != 2 or kwargs or getattr(args[1], "ndim", 0) != 2:
        return None
    return _weight(tape, args[0], args[1], None, (1, 0), 1, _scalar, -1)


def _conv(function: Callable[..., Tensor]) -> Handler:
    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
        x, weight, bias = _get(args, kwargs, 0, "input"), _get(args, kwargs, 1, "weight"), _get(args, kwargs, 2, "bias")
        places = (
            _get(args, kwargs, 3, "stride", 1),
            _get(args, kwargs, 4, "padding", 0),
            _get(args, kwargs, 5, "dilation", 1),
        )
        groups = int(_get(args, kwargs, 6, "groups", 1))

        def spread(map_: Tensor, tap: Tensor) -> Tensor:
            return function(map_, tap[None, None], None, *places)

        if not isinstance(x, Tensor) or x.ndim != getattr(weight, "ndim", 0):
            return None
        return _whole(tape, x, weight, bias, (0, 1), groups, spread)

    return handle


def _conv_transpose(function: Callable[..., Tensor]) -> Handler:
    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
        x, weight, bias = _get(args, kwargs, 0, "input"), _get(args, kwargs, 1, "weight"), _get(args, kwargs, 2, "bias")
        stride, padding = _get(args, kwargs, 3, "stride", 1), _get(args, kwargs, 4, "padding", 0)
        more, groups = _get(args, kwargs, 5, "output_padding", 0), int(_get(args, kwargs, 6, "groups", 1))
        dilation = _get(args, kwargs, 7, "dilation", 1)

        def spread(map_: Tensor, tap: Tensor) -> Tensor:
            return function(map_, tap[None, None], None, stride, padding, more, 1, dilation)

        if not isinstance(x, Tensor) or x.ndim != getattr(weight, "ndim", 0):
            return None
        return _whole(tape, x, weight, bias, (1, 0), groups, spread)

    return handle


def _whole(
    tape: Tape, x: Tensor, weight: Any, bias: Any, dims: tuple[int, int], groups: int, spread: rules.Spread
) -> Rule | None:
    """A convolution; the maps are spread to full positions first, because a kernel reads each of them."""

    def full(map_: Tensor, tap: Tensor) -> Tensor:
        return spread(map_.expand(x.shape[0], 1, *x.shape[2:]), tap)

    return _weight(tape, x, weight, bias, dims, groups, full, 1)


def _pointwise(name: str) -> Handler:
    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
        x, rest = _get(args, kwargs, 0, "input"), args[1:]
        options = {key: value for key, value in kwargs.items() if key not in {"inplace", "input"}}
        function = getattr(F, name.rstrip("_"), None) or getattr(torch, name.rstrip("_"))
        if not isinstance(x, Tensor) or any(True for _ in tensors_in((rest, options))):
            return None
        # F.relu's second positional argument is `inplace`; the grid is a copy, so writing in place is harmless.
        return of_function(tape, x, lambda z: function(z, *rest, **options))

    return handle


def of_function(tape: Tape, x: Tensor, function: Callable[[Tensor], Tensor]) -> Rule | None:
    """The rule of a nonlinearity applied to `x`; None where `x` has no Gaussian signal."""
    node = tape.node(x)
    return None if node is None else rules.pointwise(node, function)


def _move(name: str) -> Handler:
    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
        x = args[0] if args else None
        if not isinstance(x, Tensor) or any(True for _ in tensors_in((args[1:], kwargs))):
            return None
        node = tape.node(x)
        function = getattr(Tensor, "reshape" if name == "view" else name)
        if name == "view" and any(isinstance(arg, torch.dtype) for arg in args[1:]):
            return None
        return None if node is None else rules.moved(node, x.shape, lambda t: function(t, *args[1:], **kwargs))

    return handle


def _copied(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    node = tape.node(args[0]) if args and isinstance(args[0], Tensor) else None
    return None if node is None else rules.scaled(node, 1.0)


def _product(invert: bool) -> Handler:
    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
        if len(args) != 2 or kwargs:
            return None
        x, factor = args if isinstance(args[0], Tensor) or invert else (args[1], args[0])
        node = tape.node(x) if isinstance(x, Tensor) else None
        if node is None or not isinstance(factor, Real) or not float(factor):
            return None
        return rules.scaled(node, 1 / float(factor) if invert else float(factor))

    return handle


def _added(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    if len(args) != 2 or kwargs or not all(isinstance(a, Tensor) and a.is_floating_point() for a in args):
        return None
    nodes = (tape.node(args[0]), tape.node(args[1]))
    channel = next(
        (node.channel for node in nodes if node is not None and node.signal and node.channel is not None), None
    )
    if args[0].shape != args[1].shape or channel is None:
        return None
    signals = (tape.signal(args[0], channel), tape.signal(args[1], channel))
    if signals[0] is None or signals[1] is None:
        return None
    return rules.added(nodes, (signals[0], signals[1]), channel)


def _dropout(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    node = tape.node(_get(args, kwargs, 0, "input"))
    rate, training = _get(args, kwargs, 1, "p", 0.5), _get(args, kwargs, 2, "training", True)
    return None if node is None else rules.dropout(node, float(rate) if training else 0.0)


def _scale_moments(weight: Any) -> tuple[float, float]:
    """(E[γ], E[γ²]) of a normalisation."""
    if weight is None:
        return 1.0, 1.0
    seen = moments(weight)
    return seen.mean, seen.second


def _layer_norm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    x, shape = _get(args, kwargs, 0, "input"), _get(args, kwargs, 1, "normalized_shape")
    signal = _over_units(tape, x, shape)
    if signal is None:
        return None
    scale = _scale_moments(_get(args, kwargs, 2, "weight"))
    shift = bias_moments("", _get(args, kwargs, 3, "bias"), {})
    eps = float(_get(args, kwargs, 4, "eps", 1e-5))
    return rules.layer_norm(tape.node(x), signal, shape[0], scale, shift, eps)


def _rms_norm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    x, shape = _get(args, kwargs, 0, "input"), _get(args, kwargs, 1, "normalized_shape")
    signal = _over_units(tape, x, shape)
    if signal is None:
        return None
    eps = float(_get(args, kwargs, 3, "eps") or torch.finfo(x.dtype).eps)
    return rules.rms_norm(tape.node(x), signal, shape[0], _scale_moments(_get(args, kwargs, 2, "weight")), eps)


def _over_units(tape: Tape, x: Tensor, normalized: Sequence[int]) -> Signal | None:
    """The signal of `x`, where its last dimension indexes the units and is the one that is normalised."""
    node = tape.node(x)
    units_last = node is None or node.channel is None or node.channel % x.ndim == x.ndim - 1
    return tape.signal(x, -1) if len(normalized) == 1 and units_last else None


def _batch_norm(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | None:
    x, training = _get(args, kwargs, 0, "input"), _get(args, kwargs, 5, "training", False)
    signal = tape.signal(x, 1) if training else None
    if signal is None:
        return None
    scale = _scale_moments(_get(args, kwargs, 3, "weight"))
    shift = bias_moments("", _get(args, kwargs, 4, "bias"), {})
    return rules.batch_norm(signal, scale, shift, float(_get(args, kwargs, 7, "eps", 1e-5)))


HANDLERS: Mapping[str, Handler] = {
    "linear": _linear,
    "addmm": _addmm,
    "matmul": _matmul,
    "mm": _matmul,
    "__matmul__": _matmul,
    **{f"conv{n}d": _conv(getattr(F, f"conv{n}d")) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _conv_transpose(getattr(F, f"conv_transpose{n}d")) for n in (1, 2, 3)},
    **{name: _pointwise(name) for name in ACTIVATIONS},
    **{name: _move(name) for name in (*_MOVES, "view", "__getitem__")},
    **dict.fromkeys(_COPIES, _copied),
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), _product(invert=False)),
    **dict.fromkeys(("div", "__truediv__", "true_divide"), _product(invert=True)),
    **dict.fromkeys(("add", "__add__", "__radd__", "add_", "__iadd__"), _added),
    "embedding": _embedding,
    "embedding_bag": _embedding,
    "dropout": _dropout,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "batch_norm": _batch_norm,
}
