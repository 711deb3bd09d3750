"""Networks of sines that represent one picture, sound or field."""

from __future__ import annotations

from collections import OrderedDict
from math import isfinite

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.layers.sine import Sine
from fanin.models.sample import Sample
from fanin.models.sizes import check_positive


class Siren(nn.Sequential):
    """Dense layers with sines between them, read at coordinates in [−1, 1]."""

    def __init__(self, layers: OrderedDict[str, nn.Module], inputs: int) -> None:
        super().__init__(layers)
        self.sample = Sample((inputs,), range=(-1.0, 1.0))


def siren(
    depth: int = 5,
    *,
    inputs: int = 2,
    outputs: int = 1,
    width: int = 256,
    omega: float = 30.0,
    first_omega: float | None = None,
    bias: bool = True,
) -> Siren:
    """A network of sines from coordinates to values: `fc1`, `sine1`, …, `fcL`; no sine after the last.

        h₀ = x,   h_l = sin(ω_l(W_l h_{l−1} + b_l)),   y = W_L h_{L−1} + b_L

    It wants the start of its paper: the recipe `siren`, which reads each ω off the layers.

    Args:
        depth: number of dense layers.
        inputs: coordinates of a point: 2 for a picture, 1 for a sound.
        outputs: values at a point: 1 for grey, 3 for colour.
        width: features of the hidden layers.
        omega: ω of the hidden layers' sines.
        first_omega: ω of the first layer's sine, which says how fine the detail is; the others' where not given.
        bias: whether the dense layers have biases.

    Returns:
        a model from [n, inputs], with coordinates in [−1, 1], to [n, outputs].

    Raises:
        ArgumentError: a size that is not a positive integer, fewer than 2 layers, or an ω that is not positive.

    Source: Sitzmann et al. 2020, arXiv 2006.09661; vsitzmann/siren.

    >>> siren(3, width=64)
    Siren(
      (fc1): Linear(in_features=2, out_features=64, bias=True)
      (sine1): Sine(omega=30)
      (fc2): Linear(in_features=64, out_features=64, bias=True)
      (sine2): Sine(omega=30)
      (fc3): Linear(in_features=64, out_features=1, bias=True)
    )
    """
    check_positive("siren", depth=depth, inputs=inputs, outputs=outputs, width=width)
    if depth < 2:
        raise ArgumentError(f"siren: depth must be at least 2, so that there is a sine, got {depth}")
    first = omega if first_omega is None else first_omega
    for name, value in (("omega", omega), ("first_omega", first)):
        if not (isfinite(value) and value > 0):
            raise ArgumentError(f"siren: {name} must be a positive number, got {value!r}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(1, depth):
        layers[f"fc{index}"] = nn.Linear(inputs if index == 1 else width, width, bias=bias)
        layers[f"sine{index}"] = Sine(first if index == 1 else omega)
    layers[f"fc{depth}"] = nn.Linear(width, outputs, bias=bias)
    return Siren(layers, inputs)
