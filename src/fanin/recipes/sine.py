"""The start of networks of sines."""

from __future__ import annotations

from math import sqrt
from typing import Annotated

from fanin.initializers import Uniform
from fanin.recipes.convolutional import standard_bias
from fanin.recipes.matching import both, contracts, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo


def siren(omega: Annotated[float, "ω0 of layers that no sine follows: the last"] = 30.0) -> Recipe:
    """The start of a SIREN: layers y = sin(ω0·(Wx + b)), where each layer's ω0 is read off its own code.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> from fanin.recipes import named
    >>> use = Use("net.1.weight", "linear", Axes.linear((256, 600)), "sin", 30.0)
    >>> hidden = TensorInfo("net.1.weight", (256, 600), "float32", "parameter", "projection", (use,))
    >>> round(named("siren").choose(hidden).initializer.high, 9)  # √(6/600)/30
    0.003333333
    """

    def frequency(tensor: TensorInfo) -> float:
        if tensor.activation == "sin":
            return 1.0 if tensor.parameter is None else tensor.parameter
        return omega

    def bound(tensor: TensorInfo) -> float:
        return sqrt(6 / tensor.contracted.fan_in) / frequency(tensor)

    return Recipe(
        "siren",
        (
            Rule(
                both(contracts, lambda tensor: tensor.first),
                lambda tensor: _symmetric(1 / tensor.contracted.fan_in),
                lambda tensor: f"the first layer: uniform within 1/{tensor.contracted.fan_in:g}",
            ),
            Rule(
                contracts,
                lambda tensor: _symmetric(bound(tensor)),
                lambda tensor: (
                    f"arcsine in, standard normal before the sine: "
                    f"uniform within √(6/{tensor.contracted.fan_in:g})/{frequency(tensor):g}"
                ),
            ),
            Rule(has_role("bias"), standard_bias, "phases as torch starts the biases of a linear layer"),
        ),
        "networks of sines: every layer's input to the sine has unit variance",
        "Sitzmann et al. 2020, arXiv 2006.09661, section 3.2 and supplement 1; vsitzmann/siren",
    )


def _symmetric(bound: float) -> Uniform:
    return Uniform(-bound, bound)
