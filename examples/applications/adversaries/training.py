"""The training of a DCGAN: discriminator and generator in turn."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from adversaries.judge import Judge

LOOKS = 12
SAMPLES = 1000
CLASSES = 5  # fewer are a collapse


@dataclass(frozen=True, slots=True)
class Run:
    """One training: losses of each step, the distance to real images now and then, and what is shown at the end."""

    seed: int
    discriminator: tuple[float, ...]
    generator: tuple[float, ...]
    seen: tuple[int, ...]
    distances: tuple[float, ...]
    classes: int
    samples: Tensor


@dataclass(frozen=True, slots=True)
class Trained:
    """All runs of one start, at the rate that its pilots chose."""

    norm: str
    start: str
    rate: float
    runs: tuple[Run, ...]

    @property
    def finals(self) -> list[float]:
        """The distances at the end, the smallest first."""
        return sorted(run.distances[-1] for run in self.runs)

    @property
    def collapsed(self) -> int:
        """Seeds whose samples show fewer than five classes."""
        return sum(run.classes < CLASSES for run in self.runs)


def train(model: nn.Module, images: Tensor, judge: Judge, *, steps: int, rate: float, batch: int, seed: int) -> Run:
    """Adam with β₁ = 0.5 for each network, as in the paper; images and noise come in the order of the seed."""
    order, latent = torch.Generator().manual_seed(seed), model.latent
    fixed = noise(SAMPLES, latent, torch.Generator().manual_seed(seed))
    parts = (model.discriminator, model.generator)
    judging, making = (torch.optim.Adam(part.parameters(), lr=rate, betas=(0.5, 0.999)) for part in parts)
    losses: list[tuple[float, float]] = []
    looks = [(0, judge.distance(shown(model, fixed)))]
    for step in range(1, steps + 1):
        real = images[torch.randint(len(images), (batch,), generator=order)]
        made = model.generator(noise(batch, latent, order))
        told_apart = _taken_for(model.discriminator(real), 1.0) + _taken_for(model.discriminator(made.detach()), 0.0)
        _step(judging, told_apart)
        fooled = _taken_for(model.discriminator(made), 1.0)
        _step(making, fooled)
        losses.append((float(told_apart.detach()), float(fooled.detach())))
        if step % max(1, steps // LOOKS) == 0:
            looks.append((step, judge.distance(shown(model, fixed))))
    samples = shown(model, fixed)
    return Run(seed, *zip(*losses, strict=True), *zip(*looks, strict=True), judge.classes(samples), samples[:36])


def noise(count: int, latent: int, generator: torch.Generator) -> Tensor:
    """Uniform in [−1, 1), as in the paper."""
    return torch.rand(count, latent, generator=generator) * 2 - 1


def shown(model: nn.Module, made_of: Tensor) -> Tensor:
    """The generator's images, normalised by their own batch as in training; the model stays as it is."""
    with torch.no_grad():
        return deepcopy(model.generator)(made_of)


def _taken_for(logits: Tensor, real: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
