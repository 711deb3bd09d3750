"""Where distinct inputs become parallel: rank collapse."""

from __future__ import annotations

from collections.abc import Sequence

from fanin.torch.probe import LayerProbe, Likeness

PARALLEL = 1.01
"""The effective rank below which rows count as one direction: their cosines are then above about ±0.999."""
_DISTINCT = 1.1
_FEATURES = 8
_DEEP = 3


def collapsed(layers: Sequence[LayerProbe], inputs: Likeness | None) -> int | None:
    """The first layer from which all outputs are parallel to the end; None where they are not.

    Layers of fewer than eight units are not asked, since heads may be that narrow; gates and pooled heads do not
    count by themselves, since at least three layers with weights must agree. Inputs that start out parallel tell
    nothing.

    Args:
        layers: in the order of the forward pass.
        inputs: how alike the inputs are; None where they are not signals: then the first layer tells.
    """
    asked = [
        (place, layer.effective_rank)
        for place, layer in enumerate(layers)
        if layer.effective_rank is not None and layer.shape[-1] >= _FEATURES
    ]
    start = inputs.effective_rank if inputs is not None else next((rank for _, rank in asked), 1.0)
    if start < _DISTINCT:
        return None
    tail: list[int] = []
    for place, rank in reversed(asked):
        if rank > PARALLEL:
            break
        tail.append(place)
    weights = sum(layers[place].weight is not None for place in tail)
    return tail[-1] if weights >= _DEEP else None
