"""Whether a signal that is small in one layer is carried past it: by a shortcut, or brought back by a normalisation.

Branches of residual networks may start as small as they like (small output matrices, zero scales, layer scales of
10⁻⁶, the scores of an attention): what they add to reaches the other side without them. Gradients are compared by
Σg²·E[h²], what a change of the same relative size does to the loss: in front of a normalisation small outputs get a
large gradient, and large ones a small one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fanin.torch.probe import LayerProbe


def varies_later(layers: Sequence[LayerProbe], place: int, least: float) -> bool:
    """Whether some layer after `place` differs between samples by `least` or more.

    Only up to the next embedding, which brings in another signal (that of a decoder).
    """
    return any((layer.varying or 0.0) >= least for layer in _fed(layers[place + 1 :]))


def reaches_here(layers: Sequence[LayerProbe], place: int, end: LayerProbe, share: float) -> bool:
    """Whether some layer up to `place` gets `share` of the gradient that is at the end, where it comes from."""
    least = share * _pull(end)
    return least > 0 and any(_pull(layer) >= least for layer in layers[: place + 1])


def arrives_at_end(layers: Sequence[LayerProbe], place: int, share: float) -> bool:
    """Whether the model's last layer has `share` of the gradient of this one, so that it has not grown on its way."""
    last = next((pull for pull in map(_pull, reversed(layers)) if pull), 0.0)
    return last >= share * _pull(layers[place])


def _pull(layer: LayerProbe) -> float:
    return 0.0 if layer.gradient is None else layer.gradient.second * layer.gradient.count * layer.forward.second


def _fed(after: Iterable[LayerProbe]) -> Iterable[LayerProbe]:
    for layer in after:
        if layer.kind == "embedding" and layer.varying:
            return
        yield layer
