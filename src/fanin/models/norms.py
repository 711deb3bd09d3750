"""Normalisations of hidden layers by name or factory, as modules."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from fanin.errors import ArgumentError, UnknownNameError

Norm = str | Callable[[int], nn.Module] | None

FLAT: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}
"""Over vectors [n, width]."""

IMAGE: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
}
"""Over images [n, channels, height, width]."""


def norm_factory(norm: Norm, known: dict[str, Callable[[int], nn.Module]]) -> Callable[[int], nn.Module] | None:
    """The factory from a width to a module that `norm` names, or None.

    Raises:
        UnknownNameError: no normalisation of that name.
        ArgumentError: neither a name nor a factory.
    """
    if isinstance(norm, str):
        if norm not in known:
            raise UnknownNameError.among("normalisation", norm, known)
        return known[norm]
    if norm is not None and not callable(norm):
        raise ArgumentError(f"norm must be None, a name or a factory from a width to a module, got {norm!r}")
    return norm
