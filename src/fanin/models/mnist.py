"""The two networks of ggml's MNIST example."""

from __future__ import annotations

from torch import nn

from fanin.models.cnn import cnn
from fanin.models.mlp import mlp


def mnist_fc() -> nn.Sequential:
    """784 → 500 → 10 with ReLU; 397,510 parameters. Loss: mean cross-entropy of the logits.

    Input [n, 784] or [n, 1, 28, 28] in [0, 1].

    Source: ggml, examples/mnist (`mnist_model_build`, arch "mnist-fc").

    >>> sum(p.numel() for p in mnist_fc().parameters())
    397510
    """
    return mlp((784, 500, 10))


def mnist_cnn() -> nn.Sequential:
    """Two blocks of 3×3 convolution (8, then 16 channels; padding 1), ReLU and 2×2 max-pooling, then dense → 10.

    9,098 parameters. Input [n, 784] or [n, 1, 28, 28] in [0, 1]. Loss: mean cross-entropy of the logits. ggml
    flattens the last image in order H, W, C and this model in torch's C, H, W; `fanin.weights.ggml_mnist` permutes
    the columns of `dense.weight` between them.

    Source: ggml, examples/mnist (`mnist_model_build`, arch "mnist-cnn").

    >>> sum(p.numel() for p in mnist_cnn().parameters())
    9098
    """
    return cnn((1, 28, 28), (8, 16), 10)
