"""The starts of vision transformers, as timm, Flax and MoCo v3 write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log, sqrt
from typing import Annotated, Literal

from fanin import schemes
from fanin.initializers import Constant, Initializer, Normal
from fanin.recipes.common import NORMS
from fanin.recipes.convolutional import convolves, standard_bias
from fanin.recipes.matching import beside, contracts, has_role, is_last
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo

Mode = Literal["timm", "jax", "jax_nlhb", "moco"]
Scaled = Callable[[TensorInfo, float], Initializer]

_FLAX = "Dosovitskiy et al. 2021, arXiv 2010.11929, Flax code; timm init_weights_vit_jax"
_SOURCES: dict[Mode, str] = {
    "timm": "Touvron et al. 2021, arXiv 2012.12877; timm init_weights_vit_timm",
    "jax": _FLAX,
    "jax_nlhb": _FLAX,
    "moco": "Chen, Xie & He 2021, arXiv 2104.02057; timm init_weights_vit_moco",
}
_BEIT = "Bao et al. 2021, arXiv 2106.08254; timm fix_init_weight"


def vit(
    mode: Annotated[Mode, "whose start: timm's, Flax's (jax_nlhb: head bias −ln classes) or MoCo v3's"] = "timm",
    rescale: Annotated[bool, "divide the last weight of each branch by √(2·(layer + 1)), as BEiT does"] = False,
) -> Recipe:
    """The start of a vision transformer.

    >>> from fanin.recipes import named
    >>> named("vit,mode=moco").source
    'Chen, Xie & He 2021, arXiv 2104.02057; timm init_weights_vit_moco'
    """
    matrix, why = (_normal, _WHY_NORMAL) if mode == "timm" else (_xavier, _WHY_XAVIER)
    deep = Rule(is_last, lambda tensor: matrix(tensor, 1 / _depth(tensor)), _why_deep, _BEIT)
    rules = (
        *_head(mode),
        _patches(mode),
        *((deep,) if rescale else ()),
        Rule(contracts, lambda tensor: matrix(tensor, 1.0), why),
        *_biases(mode),
        Rule(has_role("position"), lambda _: Normal(std=0.02), "learned positions: N(0, 0.02²)"),
        Rule(has_role("token"), lambda _: Normal(std=1e-6), "class and register tokens: N(0, 1e-6²)"),
        *NORMS,
    )
    return Recipe("vit", rules, "vision transformers as timm, Flax or MoCo v3 start them", _SOURCES[mode])


_WHY_NORMAL = "N(0, 0.02²); timm cuts it at ±2, which is 100 sigmas out"
_WHY_XAVIER = "Xavier uniform; query, key and value each by its own fans"


def _normal(_: TensorInfo, factor: float) -> Initializer:
    return Normal(std=0.02 * factor)


def _xavier(tensor: TensorInfo, factor: float) -> Initializer:
    return schemes.xavier_uniform(tensor.contracted, factor)


def _head(mode: Mode) -> Iterator[Rule]:
    if mode in ("jax", "jax_nlhb"):
        yield Rule(has_role("head"), lambda _: Constant(0.0), "logits start at the bias of the head")
    if mode == "jax_nlhb":
        yield Rule(
            beside("head"),
            lambda tensor: Constant(-log(tensor.shape[0])),
            lambda tensor: f"sigmoid of each class starts near 1/{tensor.shape[0]}: −ln {tensor.shape[0]}",
        )


def _patches(mode: Mode) -> Rule:
    if mode in ("jax", "jax_nlhb"):
        scheme = schemes.variance_scaling
        return Rule(convolves, lambda tensor: scheme(tensor.contracted), "LeCun normal, cut at ±2 sigmas")
    return Rule(convolves, lambda tensor: schemes.standard(tensor.contracted), "as torch's Conv2d starts")


def _biases(mode: Mode) -> Iterator[Rule]:
    if mode in ("jax", "jax_nlhb"):
        yield Rule(beside("mlp up", "mlp down"), lambda _: Normal(std=1e-6), "biases of the MLP: N(0, 1e-6²)")
    else:
        yield Rule(beside("convolution"), standard_bias, "as torch's Conv2d starts")
    yield Rule(has_role("bias"), lambda _: Constant(0.0), "a bias starts at 0")


def _depth(tensor: TensorInfo) -> float:
    return sqrt(2 * ((tensor.place.layer or 0) + 1))


def _why_deep(tensor: TensorInfo) -> str:
    return f"last weight of a branch of layer {tensor.place.layer}, counted from 0: divided by {_depth(tensor):.4g}"
