"""The weights of recurrent layers, gate by gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from fanin.axes import Axes
from fanin.graph.records import Part, Use
from fanin.torch.trace.origins import Origins
from fanin.torch.trace.recording import Call

# The order in which torch stores the gates of a cell; a plain recurrent layer has none.
GATES = {"lstm": ("input", "forget", "cell", "output"), "gru": ("reset", "update", "new")}
_ACTIVATIONS = {"cell": "tanh", "new": "tanh", "rnn_tanh": "tanh", "rnn_relu": "relu"}
_ROLES = ("recurrent input", "recurrent hidden")


def recurrent_uses(call: Call, origins: Origins) -> Iterator[Use]:
    """One use per gate of every weight and bias of a recurrent layer or cell, each with the gate's own fans."""
    weights, biases, size = _weights(call)
    for first in range(0, len(weights), size):
        looks = [origins.of(tensor) for tensor in weights[first : first + size]]
        for place, look in enumerate(looks):
            if look is None:
                continue
            if place < 2:
                gates = gate_uses(look.name, look.shape, call.op, "", call.module)
                yield from (replace(use, role=_ROLES[place]) for use in gates)
            elif biases and place < 4:
                partner = looks[place - 2]
                name = "" if partner is None else partner.name
                yield from gate_uses(look.name, look.shape, call.op, name, call.module)
            else:  # what an LSTM with `proj_size` multiplies its output by
                yield Use(look.name, "linear", Axes.linear(look.shape), "linear", module=call.module, role="projection")


def gate_uses(name: str, shape: tuple[int, ...], op: str, partner: str, module: str) -> Iterator[Use]:
    """One use per gate of a weight [gates·H, in] or a bias [gates·H]; one for the whole where the cell has no gates.

    Args:
        name: of the weight or bias.
        shape: its shape.
        op: the cell ("lstm", "gru_cell", …).
        partner: for a bias the weight that it belongs to.
        module: the module that it is in.

    >>> [(use.gate, use.parts[0].start, use.activation) for use in gate_uses("w", (12, 5), "gru", "", "")]
    [('reset', (0, 0), 'sigmoid'), ('update', (4, 0), 'sigmoid'), ('new', (8, 0), 'tanh')]
    """
    cell = op.removesuffix("_cell")
    gates = GATES.get(cell, ())
    units = shape[0] // max(len(gates), 1)
    size = (units, *shape[1:])
    axes = Axes.linear((units, shape[1])) if len(shape) == 2 else None
    whole = Use(name, op if axes else "bias", axes, module=module, partner=partner)
    if not gates:
        yield replace(whole, activation=_ACTIVATIONS.get(cell, "") if axes else "")
    for place, gate in enumerate(gates):
        start = (place * units, *(0,) * (len(shape) - 1))
        activation = _ACTIVATIONS.get(gate, "sigmoid") if axes else ""
        yield replace(whole, parts=(Part(start, size),), gate=gate, activation=activation)


def _weights(call: Call) -> tuple[Sequence[torch.Tensor], bool, int]:
    """The weights among the arguments in stored order, whether biases are among them, and how many a layer has."""
    if call.op.endswith("_cell"):
        tensors = [arg for arg in call.args[2:] if isinstance(arg, torch.Tensor)]
        return tensors, len(tensors) > 2, len(tensors)
    place = max(number for number, arg in enumerate(call.args) if isinstance(arg, (list, tuple)))
    biases, layers, bidirectional = call.args[place + 1], call.args[place + 2], call.args[place + 5]
    weights: Sequence[torch.Tensor] = call.args[place]
    return weights, bool(biases), len(weights) // (int(layers) * (1 + bool(bidirectional)))
