"""Handlers of nonlinearities, sums, products and moves: arguments in, `Rule` out, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fanin.torch.probe import combinations, moves, rules
from fanin.torch.probe.arguments import Args, Kwargs, argument
from fanin.torch.probe.batch import tensors_in
from fanin.torch.probe.laws import bias_moments
from fanin.torch.probe.pairs import LARGEST, Lazy, Pairs, numbered, weights_at
from fanin.torch.probe.signal import Node, Rule, Signal
from fanin.torch.probe.tape import Handler, Tape
from fanin.torch.probe.weight_handlers import embedding, is_matrix, matmul


def pointwise(name: str) -> Handler:
    """A nonlinearity of torch, by its name."""

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        x, rest = argument(args, kwargs, 0, "input"), args[1:]
        options = {key: value for key, value in kwargs.items() if key not in {"inplace", "input"}}
        function = getattr(F, name.rstrip("_"), None) or getattr(torch, name.rstrip("_"))
        if not isinstance(x, Tensor) or any(True for _ in tensors_in((rest, options))):
            return f"{name} with parameters of its own"
        # F.relu's second positional argument is `inplace`; the grid is a copy, so writing in place is harmless.
        return of_function(tape, x, lambda z: function(z, *rest, **options))

    return handle


def of_function(tape: Tape, x: Tensor, function: Callable[[Tensor], Tensor]) -> Rule | str:
    """The rule of a nonlinearity applied to `x`; a reason where `x` has no known distribution."""
    node = tape.node(x)
    return tape.why(x) if node is None else rules.pointwise(node, function)


def glu(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """a·σ(b) of the halves of a tensor."""
    x, dim = args[0], argument(args, kwargs, 1, "dim", -1)
    node = tape.node(x)
    if node is None or node.signal is None:
        return tape.why(x)
    halves = moves.moved(node, x.shape, lambda t: t.chunk(2, dim))
    if isinstance(halves, str):
        return halves
    first, second = (Node(signal, halves.channel, 0) for signal in halves.signals)
    gate = rules.pointwise(second, torch.sigmoid)
    if isinstance(gate, str) or first.signal is None or gate.signals[0] is None:
        return gate if isinstance(gate, str) else tape.why(x)
    product = combinations.multiplied((None, None), (first.signal, gate.signals[0]), (True, True), halves.channel)
    return product if isinstance(product, str) else Rule((node,), product.signals, None, product.channel, "activation")


def move(name: str) -> Handler:
    """A method of tensors that rearranges or picks values."""

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        x = args[0] if args else None
        if not isinstance(x, Tensor):
            return f"{name} of what is no tensor"
        if name == "__getitem__" and id(x) in tape.names and _is_lookup(x, args[1]):
            return embedding(tape, (args[1], x), {})
        if any(True for _ in tensors_in((args[1:], kwargs))):
            return f"{name} by a tensor is not covered"
        node = _stored(tape, x)
        if name == "view" and any(isinstance(arg, torch.dtype) for arg in args[1:]):
            return "bits are read as another type"
        if node is None:
            return tape.why(x)
        function = getattr(Tensor, "reshape" if name == "view" else name)
        return moves.moved(node, x.shape, lambda t: function(t, *args[1:], **kwargs))

    return handle


def _is_lookup(x: Tensor, index: Any) -> bool:
    """Rows of a table, by their numbers."""
    return x.ndim == 2 and isinstance(index, Tensor) and index.dtype in (torch.int64, torch.int32)


def _stored(tape: Tape, x: Tensor) -> Node | None:
    """The tensor's node; a parameter's is made here, with its last dimension as units."""
    name = tape.names.get(id(x))
    if name is None or not x.ndim:
        return tape.node(x)
    signal = _parameter(tape, name, x, {x.ndim - 1}, x)
    return None if signal is None else Node(signal, -1, tape.draws, signal.ancestors)


def copied(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """The same values."""
    node = tape.node(args[0]) if args and isinstance(args[0], Tensor) and args[0].is_floating_point() else None
    return "a tensor of unknown origin is copied" if node is None else rules.scaled(node, 1.0)


def negated(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """−x."""
    node = tape.node(args[0])
    return tape.why(args[0]) if node is None else rules.scaled(node, -1.0)


def joined(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """Tensors one after another."""
    parts, dim = argument(args, kwargs, 0, "tensors"), argument(args, kwargs, 1, "dim", 0)
    parts = [part for part in parts if part.numel()]
    if len(parts) == 1:
        return copied(tape, (parts[0],), {})
    nodes = [tape.node(part) for part in parts]
    channel = next((node.channel for node in nodes if node and node.signal and node.channel is not None), None)
    rank = parts[0].ndim
    if channel is None and dim in (-1, rank - 1) and all(node and node.signal for node in nodes):
        channel = rank - 1
    if channel is None:
        return next((node.why for node in nodes if node and node.why), "what is joined has no known units")
    channel, dim = channel % rank, dim % rank
    signals = [operand(tape, part, {channel}, parts[0]) for part in parts]
    if any(signal is None for signal in signals):
        return "one of the parts has no expectation"
    known = [signal for signal in signals if signal is not None]
    return moves.joined(nodes, known, [part.shape[dim] for part in parts], dim, channel)


def product(invert: bool) -> Handler:
    """x·y, or x/y by a number."""

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        if len(args) != 2 or kwargs:
            return "a form of a product that is not covered"
        x, factor = args if isinstance(args[0], Tensor) or invert else (args[1], args[0])
        if isinstance(x, Tensor) and isinstance(factor, Tensor) and not invert:
            return _two(tape, x, factor, combinations.multiplied)
        node = tape.node(x) if isinstance(x, Tensor) else None
        if node is None or not isinstance(factor, Real) or not float(factor):
            return "a quotient of tensors, or a product of unknown ones"
        return rules.scaled(node, 1 / float(factor) if invert else float(factor))

    return handle


def added(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """x + y."""
    return _sum(tape, args, kwargs, 1.0)


def subtracted(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """x − y."""
    return _sum(tape, args, kwargs, -1.0)


def _sum(tape: Tape, args: Args, kwargs: Kwargs, sign: float) -> Rule | str:
    if len(args) != 2 or kwargs:
        return "a form of a sum that is not covered"
    x, y = args if isinstance(args[0], Tensor) else (args[1], args[0])
    number = torch.tensor(float(y), device=x.device) if isinstance(y, Real) and isinstance(x, Tensor) else y
    if not all(isinstance(each, Tensor) and each.is_floating_point() for each in (x, number)):
        return "a sum of what is no real number"
    return _two(tape, x, number, partial(_signed, sign))


def _signed(sign: float, nodes: Any, signals: Any, whole: Any, channel: int | None) -> Rule | str:
    if sign < 0:
        flipped = rules.scaled(Node(signals[1], channel, 0), -1.0)
        signals = signals if isinstance(flipped, str) else (signals[0], flipped.signals[0])
    return combinations.added(nodes, signals, whole, channel)


def _two(tape: Tape, x: Any, y: Any, rule: Callable[..., Rule | str]) -> Rule | str:
    """A rule of two tensors, one of which has an expectation."""
    nodes = (tape.node(x), tape.node(y))
    known = [node for node in nodes if node is not None and node.signal is not None]
    if not known:
        return next((node.why for node in nodes if node is not None and node.why), "tensors of unknown origin")
    whole = x if known[0] is nodes[0] else y
    out = torch.broadcast_shapes(x.shape, y.shape)
    channel = next((node.channel for node in known if node.channel is not None), None)
    if len(out) != whole.ndim:
        return "a tensor is given more dimensions"
    units = _unit_dims(known[0].signal, channel, whole.ndim)
    signals = [operand(tape, each, units, whole) for each in (x, y)]
    if signals[0] is None or signals[1] is None:
        return "one of two tensors has no expectation"
    return rule(nodes, (signals[0], signals[1]), (x.shape == out, y.shape == out), channel)


def _unit_dims(signal: Signal | None, channel: int | None, rank: int) -> set[int]:
    """Dimensions that index units: two, where these are split over heads."""
    if signal is not None and signal.labels is not None and signal.labels.ndim == rank:
        return {d for d, n in enumerate(signal.labels.shape) if n > 1}
    return set() if channel is None else {channel % rank}


def operand(tape: Tape, tensor: Tensor, units: set[int], like: Tensor) -> Signal | None:
    """What is known of one of two tensors: its expectation, a parameter's law, a constant, or its measured moments."""
    node = tape.node(tensor)
    if node is not None and node.signal is not None:
        return _lifted(node.signal, like.ndim)
    name = tape.names.get(id(tensor))
    if name is not None:
        return _parameter(tape, name, tensor, units, like)
    if not tensor.is_floating_point():
        return None
    fixed = not tensor.requires_grad if node is None else not node.ancestors
    if fixed:
        return _constant(tensor, units, like)
    return tape.signal(tensor, min(units)) if len(units) == 1 and tensor.ndim == like.ndim else None


def _lifted(signal: Signal, rank: int) -> Signal | None:
    return signal if signal.second.ndim == rank else None


def _parameter(tape: Tape, name: str, tensor: Tensor, units: set[int], like: Tensor) -> Signal | None:
    """A parameter that is added or multiplied: a draw of its own."""
    if tensor.numel() == 1:
        return _constant(tensor, units, like)
    if not units:
        return None
    shape = [1] * (like.ndim - tensor.ndim) + list(tensor.shape)
    places = [1 if d in units else n for d, n in enumerate(shape)]
    again, draw = tape.used(name), tape.draw(name)
    mean, second = bias_moments(name, tensor, tape.laws)
    ones = torch.ones(places, dtype=torch.float64, device=tensor.device)
    count = ones.numel()

    def pairs() -> Pairs | None:
        if count**2 > LARGEST:
            return None
        eye = torch.eye(count, dtype=torch.float64, device=tensor.device)
        return Pairs((eye * (second - mean**2) + mean**2)[None], numbered(places, tensor.device))

    odd = not mean and not again
    fixed = second <= mean**2 * (1 + 1e-12)
    return Signal(
        ones * mean,
        ones * second,
        gaussian=not fixed,
        fresh=(draw, -1) if odd else None,
        ancestors={} if fixed else {draw: -1},
        pairs=Lazy(pairs),
    )


def _constant(tensor: Tensor, units: set[int], like: Tensor) -> Signal:
    """A tensor that depends on no weight, or a parameter of one element: its values."""
    values = tensor.detach().double()
    values = values.reshape([1] * (like.ndim - values.ndim) + list(values.shape)) if values.ndim else values

    def pairs() -> Pairs | None:
        shape = [1] * like.ndim if not values.ndim else list(values.shape)
        places = [1 if d in units else n for d, n in enumerate(shape)]
        ids = numbered(places, tensor.device)
        if ids.numel() ** 2 > LARGEST:
            return None
        rows = weights_at(ids, values.reshape(shape))
        return Pairs((rows @ rows.T / rows.shape[1])[None], ids)

    flat = values.reshape([1] * like.ndim) if not values.ndim else values
    return Signal(flat, flat**2, pairs=Lazy(pairs))


def multiplied(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
    """x @ y, by a parameter."""
    return matmul(tape, args) if is_matrix(tape, args) and not kwargs else "a product of two signals, as matrices"
