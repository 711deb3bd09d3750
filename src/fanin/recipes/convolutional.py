"""The starts of convolutional networks: ResNet, EfficientNet, ConvNeXt."""

from __future__ import annotations

from math import sqrt

from fanin import schemes
from fanin.initializers import Constant, Initializer, Normal, Uniform
from fanin.recipes.common import NORMS
from fanin.recipes.matching import beside, both, contracts, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo


def convolves(tensor: TensorInfo) -> bool:
    """It is the kernel of a convolution, whatever its part in the network.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> use = Use("fc1.weight", "conv", Axes.conv((64, 16, 1, 1)))
    >>> convolves(TensorInfo("fc1.weight", (64, 16, 1, 1), "float32", "parameter", "mlp up", (use,)))
    True
    """
    return contracts(tensor) and any(use.op in ("conv", "conv_transpose") for use in tensor.uses)


def ends_branch(tensor: TensorInfo) -> bool:
    """It is the last of its kind in a residual branch: nothing but the sum comes after.

    >>> from fanin.graph import Place
    >>> ends_branch(TensorInfo("bn2.weight", (64,), "float32", "parameter", "norm scale", place=Place(last=True)))
    True
    """
    return tensor.place.last


def fan_out_normal(tensor: TensorInfo) -> Normal:
    """N(0, 2/fan_out), where a group's convolution counts the outputs of its own group only.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> use = Use("conv.weight", "conv", Axes.conv((64, 1, 3, 3), groups=64))
    >>> fan_out_normal(TensorInfo("conv.weight", (64, 1, 3, 3), "float32", "parameter", "convolution", (use,))).std ** 2
    0.2222222222222222
    """
    return Normal(std=sqrt(2 / tensor.contracted.fan_out))


def standard_bias(tensor: TensorInfo) -> Initializer | None:
    """U(±1/√fan_in) of the weight beside it, as torch's `Linear` and `Conv` start; the authors' law where not known.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> weight = Use("fc.weight", "linear", Axes.linear((10, 64)))
    >>> standard_bias(TensorInfo("fc.bias", (10,), "float32", "parameter", "bias", partner=weight))
    Uniform(low=-0.125, high=0.125)
    """
    axes = None if tensor.partner is None else tensor.partner.axes
    return None if axes is None else schemes.standard(axes)


_CONVOLUTIONS = Rule(
    convolves,
    fan_out_normal,
    lambda tensor: f"keeps the variance of gradients: 2 over fan-out {tensor.contracted.fan_out:g}",
)
_BIASES = Rule(has_role("bias"), lambda _: Constant(0.0), "a bias starts at 0")

RESNET = Recipe(
    "resnet",
    (
        _CONVOLUTIONS,
        Rule(
            both(has_role("norm scale"), ends_branch),
            lambda tensor: Constant(0.0 - (tensor.parameter or 0.0)),
            "the last norm of a branch starts at 0: the block passes its input on",
            "Goyal et al. 2017, arXiv 1706.02677, section 5.1; timm zero_init_last",
        ),
        Rule(contracts, lambda tensor: schemes.standard(tensor.contracted), "linear layers as torch starts them"),
        Rule(beside("head", "projection"), standard_bias, "biases beside them as torch starts them"),
        _BIASES,
        *NORMS,
    ),
    title="He normal over fan-out, last norm of each block at 0",
    source="He et al. 2015, arXiv 1512.03385; timm resnet.py",
)

EFFICIENTNET = Recipe(
    "efficientnet",
    (
        _CONVOLUTIONS,
        Rule(
            contracts,
            lambda tensor: Uniform(-1 / sqrt(tensor.contracted.fan_out), 1 / sqrt(tensor.contracted.fan_out)),
            lambda tensor: f"uniform within 1 over the root of {tensor.contracted.fan_out:g} outputs",
        ),
        _BIASES,
        *NORMS,
    ),
    title="normal over fan-out of each group, classifier uniform over its outputs",
    source="Tan & Le 2019, arXiv 1905.11946, TensorFlow code; timm _init_weight_goog",
)

CONVNEXT = Recipe(
    "convnext",
    (
        Rule(contracts, lambda _: Normal(std=0.02), "N(0, 0.02²) for every convolution and linear layer"),
        _BIASES,
        Rule(has_role("layer scale"), lambda _: Constant(1e-6), "branches start almost shut"),
        *NORMS,
    ),
    title="N(0, 0.02²), LayerScale 1e-6",
    source="Liu et al. 2022, arXiv 2201.03545, appendix A; timm convnext.py",
)
