"""Pairs of time steps of a sequence."""

from __future__ import annotations

from torch import Tensor

from fanin.torch.probe.pairs import Pairs, gram
from fanin.torch.probe.signal import Signal
from fanin.torch.probe.tape import Tape
from fanin.torch.probe.windows import in_order


def over_time(tape: Tape, signal: Signal, x: Tensor, *, batch_first: bool) -> Tensor | None:
    """E[x·x′] over the steps of each sample, (samples, steps, steps); measured where `x` is.

    `x` has three dimensions: samples and steps, in an order that `batch_first` tells, and units.
    """
    if x.ndim != 3:
        return None
    node = tape.node(x)
    if node is None or node.signal is None:
        seen = gram(x if batch_first else x.transpose(0, 1), -1)
        return None if seen is None else seen.values
    here = None if signal.pairs is None else signal.pairs()
    if here is None or here.ids.shape[-1] != 1:
        return None
    ids = here.ids.expand(*x.shape[:2], 1)
    ids = ids if batch_first else ids.transpose(0, 1)
    places = in_order(Pairs(here.values, ids), tuple(ids.shape))
    if places is None:
        return None
    block, order = places
    return here.values[block[:, None, None], order[:, :, None], order[:, None, :]]
