"""The number that a model's width is."""

from __future__ import annotations

from fanin.errors import ArgumentError
from fanin.parametrizations.growing import Growing
from fanin.parametrizations.seen import Seen


def width_of(model: Seen, grows: Growing) -> int:
    """The size of the residual stream where there is one, else of what the first weight or table makes.

    Raises:
        ArgumentError: no dimension grows.
    """
    streams = {place.width for place in model.graph.places.values() if place.width}
    if len(streams) == 1:
        return streams.pop()
    for use in model.graph.uses:
        step = model.plan.get(use.tensor)
        axes = [axis for axis, is_width in enumerate(grows.get(use.tensor, ())) if is_width]
        if step is None or not axes:
            continue
        if use.axes is not None:
            made = [axis for axis in axes if axis in use.axes.outputs]
            if made:
                return use.axes.shape[made[0]] if use.parts else step.shape[made[0]]
        elif use.op == "embedding":
            return step.shape[axes[-1]]
    raise ArgumentError(
        f"no dimension of {type(model.model).__name__} grows with a width: it has no weight between inputs and outputs"
    )
