"""The figures of docs/benchmarks.md."""

from __future__ import annotations

from math import prod

import matplotlib
from constructors import Measured
from fill import Contest
from page import IMAGES
from ranks import Share

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RIVALS = {"fanin": "#1b6ca8", "torch.nn.init": "#e07a2f", "NumPy": "#6a994e", "JAX": "#8e5ea2", "zeros": "#bbbbbb"}


def fill_by_size(found: list[Contest]) -> str:
    """Speed against size, a panel for each random law, in float32."""
    laws = ("Uniform", "Normal", "TruncatedNormal")
    figure, panels = plt.subplots(1, len(laws), figsize=(11, 3.6), sharey=True, layout="constrained")
    for law, panel in zip(laws, panels, strict=True):
        chosen = [each for each in found if each.law == law and each.dtype == "float32"]
        for rival, colour in RIVALS.items():
            points = [(prod(each.shape), speed) for each in chosen if (speed := _speed(each, rival))]
            if points:
                panel.loglog(*zip(*points, strict=True), marker="o", color=colour, label=rival)
        panel.set(title=f"{law}, float32", xlabel="elements")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("10⁹ elements a second")
    panels[0].legend(frameon=False)
    return _saved(figure, "bench-fill.png", "Speed of filling by size, beside torch, NumPy, JAX and zeros")


def _speed(contest: Contest, rival: str) -> float | None:
    own = {"fanin": contest.ours, "zeros": contest.zeros}
    return own.get(rival) or contest.rivals.get(rival)


def whole_models(found: list[Measured]) -> str:
    """How many times faster than the constructor each model is there."""
    figure, panel = plt.subplots(figsize=(7, 2.8), layout="constrained")
    names = [each.model for each in found]
    panel.barh(names, [each.times for each in found], color=RIVALS["fanin"], label="capture + materialize")
    panel.barh(
        names, [each.constructor / each.zeros for each in found], height=0.15, color="#888888", label="zeros alone"
    )
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_xlabel("times faster than the model's own constructor")
    panel.invert_yaxis()
    panel.legend(frameon=False, loc="lower right")
    return _saved(figure, "bench-models.png", "Whole models against their constructors")


def by_ranks(found: dict[int, list[Share]]) -> str:
    """Elements and memory of the busiest rank, against one process and the ideal 1/ranks."""
    figure, panel = plt.subplots(figsize=(5, 3.2), layout="constrained")
    (alone,) = found[1]
    for label, field in (("elements", "elements"), ("peak memory", "memory")):
        most = [max(getattr(each, field) for each in ranks) / getattr(alone, field) for ranks in found.values()]
        panel.loglog(list(found), most, marker="o", label=label)
    panel.loglog(list(found), [1 / world for world in found], color="#bbbbbb", linestyle="--", label="1/ranks")
    panel.set(xlabel="ranks", ylabel="of one process, busiest rank")
    panel.legend(frameon=False)
    return _saved(figure, "bench-ranks.png", "Work and memory of a rank")


def _saved(figure: plt.Figure, name: str, caption: str) -> str:
    figure.savefig(IMAGES / name, dpi=110)
    plt.close(figure)
    return f"![{caption}](images/{name})"
