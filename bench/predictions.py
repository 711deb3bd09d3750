"""Second moments that theory predicts, beside those that fresh models show: every recipe in every family of models.

    ./dev bench predictions                              the whole table, in some twenty minutes
    python bench/predictions.py --nets MLP,GPT-2 --recipes he,gpt2 --seeds 5
    python bench/predictions.py --list                   every layer that misses, and every one without a number

A layer is right where |median over seeds of measured/predicted − 1| ≤ 10 % + 5 standard errors of that median.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt
from statistics import median

import torch
from prediction_models import NETS, Net
from torch import nn

from fanin.errors import FaninError
from fanin.plans import Plan
from fanin.recipes import names
from fanin.torch.materialize import materialize
from fanin.torch.planning import plan
from fanin.torch.probe import probe

SEEDS, TOLERANCE, GOAL = 9, 0.10, 0.05
# Of a median of normal samples: 1.2533 times that of their mean.
_MEDIAN = 1.2533
_CONSTANT = "depends on no weight"


@dataclass(slots=True)
class Layer:
    """Measured over predicted, one a seed, and why there is no prediction."""

    ratios: list[float] = field(default_factory=list)
    why: str = ""
    measured: float = 0.0

    @property
    def off(self) -> float:
        """How far the median is from 1."""
        return abs(median(self.ratios) - 1)

    @property
    def error(self) -> float:
        """Standard error of the median over seeds."""
        mean = sum(self.ratios) / len(self.ratios)
        spread = sqrt(sum((r - mean) ** 2 for r in self.ratios) / max(1, len(self.ratios) - 1))
        return _MEDIAN * spread / sqrt(len(self.ratios))

    @property
    def right(self) -> bool:
        return self.off <= TOLERANCE + 5 * self.error


@dataclass(frozen=True, slots=True)
class Found:
    """One recipe in one model: its layers by name, forward and backward."""

    net: str
    recipe: str
    forward: dict[str, Layer]
    backward: dict[str, Layer]


def laws(made: Plan, model: nn.Module) -> dict[str, tuple[float, float]]:
    """(mean, std) of every parameter that the plan draws."""
    steps = {name: made[name] for name, _ in model.named_parameters()}
    return {n: (s.mean, s.std) for n, s in steps.items() if s.mean is not None and s.std is not None}


def compare(net: str, recipe: str, made: Plan, seeds: int) -> Found:
    """Draw the model once for each seed, with inputs of its own, and compare layer by layer."""
    forward: dict[str, Layer] = defaultdict(Layer)
    backward: dict[str, Layer] = defaultdict(Layer)
    model = NETS[net].make()
    for seed in range(seeds):
        materialize(model, made, seed=seed)
        inputs = NETS[net].inputs(torch.Generator().manual_seed(1000 + seed))
        for row in probe(model, inputs, laws=laws(made, model), training=False).layers:
            _add(forward[row.name], row.forward.second, row.expected_forward, row.expected_why)
            if row.gradient is not None:
                _add(backward[row.name], row.gradient.second, row.expected_gradient, None)
    return Found(net, recipe, dict(forward), dict(backward))


def _add(layer: Layer, measured: float, expected: float | None, why: str | None) -> None:
    layer.measured = measured
    if expected is None:
        layer.why = why or "no reason given"
    elif expected == 0:
        layer.ratios.append(1.0 if measured == 0 else float("inf"))
    else:
        layer.ratios.append(measured / expected)


def pairs(nets: list[str], recipes: list[str]) -> Iterator[tuple[str, str, Plan]]:
    """Every recipe with every model for which it decides anything."""
    for name in nets:
        net: Net = NETS[name]
        model = net.make()
        inputs = net.inputs(torch.Generator().manual_seed(0))
        own = plan(model, "native", inputs)
        seen: set[str] = set()
        for recipe in recipes:
            if net.recipes and recipe not in net.recipes:
                continue
            try:
                made = plan(model, recipe, inputs)
            except FaninError as error:
                print(f"{name}, {recipe}: {error}")
                continue
            key = repr([(name, repr(made[name].action)) for name in made])
            if recipe != "native" and not net.recipes and key == repr([(name, repr(own[name].action)) for name in own]):
                continue
            if key not in seen:
                seen.add(key)
                yield name, recipe, made


def rows(nets: list[str], recipes: list[str], seeds: int, listed: bool) -> Iterator[Row]:
    """One model with all its recipes after another."""
    for net in nets:
        row = Row(net)
        for _, recipe, made in pairs([net], recipes):
            found = compare(net, recipe, made, seeds)
            row.add(found)
            for text in misses(found) if listed else ():
                print(f"{net}, {recipe}: {text}", flush=True)
        if row.recipes:
            yield row


@dataclass(slots=True)
class Row:
    """One family of models: how many layers, and how near their predictions are."""

    net: str
    recipes: int = 0
    layers: int = 0
    whys: Counter[str] = field(default_factory=Counter)
    forward: list[Layer] = field(default_factory=list)
    backward: list[Layer] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Count one recipe's layers; those that depend on no weight do not count."""
        known = {name: layer for name, layer in found.forward.items() if _CONSTANT not in layer.why}
        self.recipes += 1
        self.layers += len(known)
        self.whys.update(layer.why for layer in known.values() if not layer.ratios)
        self.forward += [layer for layer in known.values() if layer.ratios]
        self.backward += [layer for layer in found.backward.values() if layer.ratios]

    @property
    def wrong(self) -> int:
        """Layers beyond the tolerance, forward."""
        return sum(not layer.right for layer in self.forward)

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        done = self.forward or [Layer([1.0])]
        back = [layer.off for layer in self.backward]
        return (
            self.net,
            f"{self.recipes}",
            f"{self.layers}",
            f"{len(self.forward) / max(1, self.layers):.0%}",
            f"{median(layer.off for layer in done):.1%}",
            f"{sum(layer.off <= GOAL for layer in done) / len(done):.0%}",
            f"{sum(layer.off <= TOLERANCE for layer in done) / len(done):.0%}",
            f"{median(layer.error for layer in done):.1%}",
            f"{self.wrong}",
            f"{median(back):.1%}" if back else "–",
            f"{sum(off <= TOLERANCE for off in back) / len(back):.0%}" if back else "–",
        )


HEAD = (
    "model",
    "recipes",
    "layers",
    "predicted",
    "median off",
    "within 5 %",
    "within 10 %",
    "standard error",
    "wrong",
    "backward, median off",
    "within 10 %",
)


def markdown(found: list[Row]) -> str:
    """The table, and why layers have no number."""
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *(row.cells() for row in found)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    whys = sum((row.whys for row in found), Counter())
    reasons = "\n".join(f"- {count} × {why}" for why, count in whys.most_common())
    return f"{table}\n\nLayers without a number:\n\n{reasons or '- none'}\n"


def section(seeds: int | None) -> tuple[str, bool]:
    """For `./dev bench predictions`: the table, and whether no layer is wrong."""
    _quiet()
    found = list(rows(list(NETS), list(names()), seeds or SEEDS, listed=False))
    return markdown(found), not any(row.wrong for row in found)


def _quiet() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="", help="parts of names of models, divided by commas")
    parser.add_argument("--recipes", default="")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--list", action="store_true", help="every layer that is wrong, and every reason for no number")
    options = parser.parse_args()
    _quiet()
    wanted = [part.strip() for part in options.nets.split(",")]
    nets = [name for name in NETS if any(part in name for part in wanted)]
    recipes = options.recipes.split(",") if options.recipes else list(names())
    found: list[Row] = []
    for row in rows(nets, recipes, options.seeds, options.list):
        found.append(row)
        print(f"| {' | '.join(row.cells())} |", flush=True)
    print(f"\n{markdown(found)}")


def misses(found: Found) -> Iterator[str]:
    """Layers that are wrong, and reasons for no number."""
    for direction, layers in (("forward", found.forward), ("backward", found.backward)):
        for name, layer in layers.items():
            if layer.ratios and not layer.right:
                middle = f"{median(layer.ratios):.3f} ± {layer.error:.3f}"
                yield f"{direction} {name}: {middle} (measured {layer.measured:.3g})"
    whys = Counter(layer.why for layer in found.forward.values() if not layer.ratios)
    for why, count in whys.items():
        example = next(name for name, layer in found.forward.items() if not layer.ratios and layer.why == why)
        yield f"no number ×{count}, e.g. {example}: {why}"


if __name__ == "__main__":
    main()
