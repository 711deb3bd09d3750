"""Findings on precision: where bfloat16 loses more than rounding explains, where float16 overflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

from fanin.checking.findings import Finding
from fanin.torch.probe import LayerProbe, Precision

# Half a unit in the last place of bfloat16; sixteen of them per layer, adding up as independent errors do.
_UNIT, _TIMES = 2.0**-9, 16.0
_HALF = 65504.0


def of_precision(layers: Sequence[LayerProbe], rough: Mapping[str, Precision]) -> Iterator[Finding]:
    """The first layer that is not finite in bfloat16, or loses too much; the first that is too large for float16."""
    broken = next((layer for layer in layers if layer.name in rough and rough[layer.name].non_finite), None)
    if broken is not None and not broken.forward.non_finite:
        yield Finding(
            "bfloat16-non-finite",
            "error",
            broken.name,
            f"{rough[broken.name].non_finite:,} of its sampled outputs are NaN or infinite in bfloat16",
            "finite, as in float32",
            "a number that float32 holds is rounded to zero, infinity or another's equal here, and is then divided by "
            "or subtracted",
            'with torch.autocast("cuda", torch.bfloat16): ...  # with this layer in float32',
        )
    lost = next((found for found in enumerate(layers) if _too_much(*found)), None)
    if lost is not None and broken is None:
        place, layer = lost
        yield Finding(
            "bfloat16-error",
            "warning",
            layer.name,
            f"in bfloat16 its output is off by {layer.precision or 0.0:.1%}",
            f"less than {_allowed(place):.1%} after {place + 1} layers",
            "large numbers cancel here, of which eight bits keep too little (a mean far from zero, a small difference)",
            'with torch.autocast("cuda", torch.bfloat16): ...  # with this layer in float32',
        )
    large = next((layer for layer in layers if layer.forward.max_abs > _HALF), None)
    if large is not None:
        yield Finding(
            "float16-overflow",
            "warning",
            large.name,
            f"its outputs reach {large.forward.max_abs:.3g}",
            f"at most {_HALF:,.0f}, the largest number in float16",
            "in float16 they become infinite",
            "model.bfloat16()  # or float32",
        )


def _allowed(place: int) -> float:
    return _TIMES * _UNIT * sqrt(place + 1)


def _too_much(place: int, layer: LayerProbe) -> bool:
    return layer.precision is not None and layer.precision > _allowed(place)
