"""A judge of generated images: a classifier of real ones, and how far apart it sees two sets of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import fanin

FEATURES = 32
COVERED = 0.02  # share of the samples from which on a class counts as covered


@dataclass(frozen=True, slots=True)
class Judge:
    """Features of a classifier, its last layer, and the moments of the features of images that were held out."""

    features: nn.Module
    head: nn.Module
    mean: Tensor
    covariance: Tensor

    def distance(self, images: Tensor) -> float:
        """Fréchet distance between the features of these images and of those held out (Heusel et al. 2017)."""
        return frechet(*moments(self.features(images)), self.mean, self.covariance)

    def classes(self, images: Tensor) -> int:
        """Classes that at least 2% of the images are taken for."""
        counts = self.head(self.features(images)).argmax(1).bincount(minlength=10)
        return int((counts >= COVERED * len(images)).sum())


def judge_of(images: Tensor, labels: Tensor, held_out: Tensor, *, steps: int, seed: int = 0) -> Judge:
    """A small convolutional classifier, trained on real images [n, C, H, W]."""
    shape = tuple(images.shape[1:])
    captured = fanin.capture(
        lambda: fanin.models.cnn(shape, (16, 32), FEATURES).append(nn.ReLU()).append(nn.Linear(FEATURES, 10))
    )
    model = fanin.materialize(captured.model, fanin.plan(captured, "he", images[:8]), seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(images), (64,), generator=order)
        loss = cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.requires_grad_(False)
    return Judge(model[:-1], model[-1], *moments(model[:-1](held_out)))


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of features [n, d] in double precision."""
    wide = features.double()
    return wide.mean(0), wide.T.cov()


def frechet(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|μ − ν|² + tr(A + B − 2(A^½ B A^½)^½) of the normal distributions N(μ, A) and N(ν, B)."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    return float((mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * shared)
