"""Recipes that draw what the authors of a model or an example wrote."""

from __future__ import annotations

from fanin.initializers import Normal
from fanin.recipes.matching import has_role
from fanin.recipes.recipe import Recipe, Rule

NATIVE = Recipe(
    "native",
    (),
    title="what the model's own code draws",
    source="the model's constructor",
)

GGML_MNIST = Recipe(
    "ggml-mnist",
    (
        Rule(
            has_role("projection", "head", "convolution", "bias"),
            lambda _: Normal(std=0.01),
            "every weight and bias, whatever its fans",
        ),
    ),
    title="N(0, 0.01²) for weights and biases, as ggml's MNIST example",
    source="ggml examples/mnist/mnist-common.cpp, mnist_model_init_random",
)
