"""The starts of generative image models: DCGAN and DiT."""

from __future__ import annotations

from fanin import schemes
from fanin.axes import Axes
from fanin.initializers import Constant, Initializer, Normal
from fanin.recipes.convolutional import convolves
from fanin.recipes.matching import beside, both, contracts, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo

DCGAN = Recipe(
    "dcgan",
    (
        Rule(contracts, lambda _: Normal(std=0.02), "N(0, 0.02²) for every weight of generator and discriminator"),
        Rule(
            has_role("norm scale"),
            lambda tensor: Normal(1.0 - (tensor.parameter or 0.0), 0.02),
            "scales of batch norms are weights too: N(1, 0.02²)",
            "pytorch/examples dcgan/main.py, weights_init",
        ),
        Rule(has_role("norm shift"), lambda _: Constant(0.0), "a norm starts centred"),
    ),
    title="N(0, 0.02²) for weights, N(1, 0.02²) for the scales of batch norms",
    source="Radford, Metz & Chintala 2016, arXiv 1511.06434, section 4",
)


def outside_stacks(tensor: TensorInfo) -> bool:
    """It stands before or behind the repeated blocks.

    >>> outside_stacks(TensorInfo("t_embedder.mlp.0.weight", (64, 32), "float32", "parameter", "projection"))
    True
    """
    return tensor.place.layer is None


def _as_matrix(tensor: TensorInfo) -> Initializer:
    """Xavier uniform of [outputs, all else]: patches do not overlap, so an input reaches no more than the outputs."""
    axes = tensor.contracted
    return schemes.xavier_uniform(Axes.linear((axes.shape[0], int(axes.fan_in))))


DIT = Recipe(
    "dit",
    (
        Rule(
            has_role("modulation"), lambda _: Constant(0.0), "gates, scales and shifts start at 0: a block is identity"
        ),
        Rule(has_role("head"), lambda _: Constant(0.0), "the output starts at 0"),
        Rule(convolves, _as_matrix, "the patches as a linear layer: Xavier uniform"),
        Rule(
            both(contracts, outside_stacks),
            lambda _: Normal(std=0.02),
            "the MLP that embeds the time step: N(0, 0.02²)",
        ),
        Rule(contracts, lambda tensor: schemes.xavier_uniform(tensor.contracted), "Xavier uniform inside the blocks"),
        Rule(has_role("embedding"), lambda _: Normal(std=0.02), "embeddings of the labels: N(0, 0.02²)"),
        Rule(beside("modulation"), lambda _: Constant(0.0), "gates, scales and shifts start at 0: a block is identity"),
        Rule(has_role("bias"), lambda _: Constant(0.0), "a bias starts at 0"),
    ),
    title="diffusion transformers: adaLN-zero",
    source="Peebles & Xie 2023, arXiv 2212.09748; facebookresearch/DiT models.py, initialize_weights",
)
