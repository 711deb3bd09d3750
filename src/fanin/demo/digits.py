"""A batch of real digits with its loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fanin.data import Samples


def digit_batch(digits: Samples, size: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The first `size` digits, [size, 1, 28, 28], and the mean cross entropy (nats) of logits against their labels.

    >>> from fanin.data import mnist
    >>> images, loss = digit_batch(mnist().train, 100)
    >>> images.shape, round(float(loss(torch.zeros(100, 10))), 4)
    (torch.Size([100, 1, 28, 28]), 2.3026)
    """
    labels = torch.from_numpy(digits.targets[:size])
    return torch.from_numpy(digits.inputs[:size]), lambda logits: cross_entropy(logits, labels)
