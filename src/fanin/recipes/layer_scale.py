"""Starts of the factors on residual branches: LayerScale, SkipInit, ReZero."""

from __future__ import annotations

from typing import Annotated

from fanin.initializers import Constant, Initializer
from fanin.recipes.matching import has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo


def cait_eps(layers: int) -> float:
    """LayerScale's ε by depth: 0.1 up to 18 layers, 1e-5 up to 24, 1e-6 beyond.

    >>> [cait_eps(layers) for layers in (12, 18, 24, 36)]
    [0.1, 0.1, 1e-05, 1e-06]
    """
    return 0.1 if layers <= 18 else 1e-5 if layers <= 24 else 1e-6


def layerscale(eps: Annotated[float, "value of every factor; 0: by depth, as CaiT"] = 0.0) -> Recipe:
    """The start of the factors on the channels of residual branches.

    >>> from fanin.recipes import named
    >>> scale = TensorInfo("gamma", (64,), "float32", "parameter", "layer scale", model_layers=24)
    >>> named("layerscale").choose(scale).initializer
    Constant(value=1e-05)
    """

    def law(tensor: TensorInfo) -> Initializer:
        return Constant(eps or cait_eps(tensor.model_layers))

    def why(tensor: TensorInfo) -> str:
        return f"branches start at {eps:g}" if eps else f"{tensor.model_layers} layers deep: branches start almost shut"

    return Recipe(
        "layerscale",
        (Rule(has_role("layer scale"), law, why),),
        "factors on the channels of residual branches start small, by depth",
        "Touvron et al. 2021 (CaiT), arXiv 2103.17239, section 2",
    )


_SHUT = Rule(has_role("layer scale"), lambda _: Constant(0.0), "a shut branch: the block is identity at first")

SKIPINIT = Recipe(
    "skipinit",
    (_SHUT,),
    title="the factor on each residual branch starts at 0",
    source="De & Smith 2020, arXiv 2002.10444",
)

REZERO = Recipe(
    "rezero",
    (_SHUT,),
    title="the factor on each residual branch starts at 0",
    source="Bachlechner et al. 2021, arXiv 2003.04887",
)
