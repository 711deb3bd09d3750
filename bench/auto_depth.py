"""How far signal and gradient drift through 50 layers without normalisation, under `auto` and `critical`.

    ./dev bench auto                  whether what docs/auto.md promises still holds, in some ten minutes
    ./dev bench auto --seeds 1        a rough look at it
    python bench/auto_depth.py --recipe auto --model mlp --activations gelu,silu --seeds 3

Every number is the median over seeds of a second moment at one layer, divided by that at the first layer (the
signal) or at the last one (the gradient). Forward: mean square of pre-activations, the least and the greatest of all
layers. Backward: the gradient of a random linear function of the output.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
from rows import Row
from torch import nn

from fanin.torch.materialize import materialize
from fanin.torch.planning import plan

DEPTH, SEEDS = 50, 9
MLP_WIDTH, CNN_CHANNELS, SIDE = 1024, 128, 8
ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "selu": nn.SELU,
    "elu": nn.ELU,
}


def mlp(activation, depth=DEPTH, width=MLP_WIDTH):
    """`depth` dense layers of one width, each with its nonlinearity."""
    return nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Linear(width, width), activation())))


def cnn(activation, depth=DEPTH, channels=CNN_CHANNELS, padding="circular"):
    """`depth` 3 × 3 convolutions of one width, each with its nonlinearity."""
    return nn.Sequential(
        *(
            layer
            for _ in range(depth)
            for layer in (nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding), activation())
        )
    )


RELU_FAMILY = ("relu", "leaky_relu")

MODELS = {
    "mlp": (mlp, (32, MLP_WIDTH)),
    "cnn": (cnn, (4, CNN_CHANNELS, SIDE, SIDE)),
    "cnn, zero padding": (lambda activation: cnn(activation, padding="zeros"), (4, CNN_CHANNELS, SIDE, SIDE)),
}


@dataclass(frozen=True)
class Drift:
    """Second moments at every layer relative to the first (forward) and to the last (backward)."""

    forward: list[float]
    backward: list[float]


def drift(model: nn.Module, signal: torch.Tensor, seed: int) -> Drift:
    """One pass forward and back through a drawn model."""
    outputs: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    layers = [module for module in model if list(module.parameters(recurse=False))]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    out = model(signal)
    generator = torch.Generator().manual_seed(seed)
    (out * torch.randn(out.shape, generator=generator)).sum().backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad()
    forward = [output.detach().double().square().mean().item() for output in outputs]
    backward = [output.grad.double().square().mean().item() for output in outputs]
    return Drift([value / forward[0] for value in forward], [value / backward[-1] for value in backward])


def drifts(name: str, activation: str, recipe: str, seeds: int) -> Iterator[Drift]:
    """One per seed; inputs are standard normal."""
    make, shape = MODELS[name]
    model = make(ACTIVATIONS[activation])
    made = plan(model, recipe, torch.zeros(shape))
    for seed in range(seeds):
        signal = torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed))
        yield drift(materialize(model, made, seed=seed), signal, seed)


def medians(found: list[list[float]]) -> list[float]:
    """Layer by layer the median over seeds."""
    return [median(layer) for layer in zip(*found, strict=True)]


def measure(name: str, activation: str, recipe: str, seeds: int = SEEDS) -> tuple[float, float, float]:
    """Least and greatest forward second moment of all layers, and the gradient's at the first layer."""
    found = list(drifts(name, activation, recipe, seeds))
    forward, backward = medians([each.forward for each in found]), medians([each.backward for each in found])
    return min(forward), max(forward), backward[0]


def rows(seeds: int = SEEDS) -> list[Row]:
    """How far the worst layer is from the first, for `./dev bench`; the gradient where one is promised."""
    found: list[Row] = []
    for recipe, steady in (("auto", (*RELU_FAMILY, "tanh")), ("critical", tuple(ACTIVATIONS))):
        for name in MODELS:
            for activation in ACTIVATIONS:
                low, high, back = measure(name, activation, recipe, seeds)
                title = f"{recipe}, {name}, {activation}"
                found.append(Row(f"{title}: signal", max(high, 1 / low), None, "×", limit=2.0))
                kept = 2.0 if activation in steady else None
                found.append(Row(f"{title}: gradient", max(back, 1 / back), None, "×", limit=kept))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="auto|critical")
    parser.add_argument("--model", default="|".join(MODELS))
    parser.add_argument("--activations", default=",".join(ACTIVATIONS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    for recipe in options.recipe.split("|"):
        for name in options.model.split("|"):
            for activation in options.activations.split(","):
                low, high, back = measure(name, activation, recipe, options.seeds)
                print(
                    f"{recipe:22} {name:18} {activation:11} forward {low:8.3f} {high:8.3f}  back {back:9.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
