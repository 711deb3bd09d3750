"""What a coordinate check measured, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fanin.coordinates.plotting import draw
from fanin.coordinates.slopes import LayerSlopes
from fanin.text_table import aligned, number, shortened

_LISTED = 3


@dataclass(frozen=True, slots=True)
class CoordinateCheck:
    """A coordinate check: `str()` is a table of slopes, `to_dict()` JSON data, `plot(path)` a picture.

    Attributes:
        model: name of the class.
        parametrization: name, or "standard".
        along: "width" or "depth".
        sizes: the widths or depths.
        steps: optimizer steps.
        seeds: how many models of each size.
        optimizer: its name.
        lr: the learning rate at the base.
        threshold: how steep a slope may be.
        layers: what was measured, in the order of the forward pass.
        losses: for each size the loss before each step and after the last, as the mean over seeds.

    >>> layer = LayerSlopes("fc2", ((0.1,), (0.2,), (0.4,)), (1.0,))
    >>> check = CoordinateCheck("MLP", "standard", "width", (64, 128, 256), 1, 3, "adamw", 0.01, 0.15, (layer,), ())
    >>> check.passed, check.worst
    (False, 1.0)
    """

    model: str
    parametrization: str
    along: Literal["width", "depth"]
    sizes: tuple[int, ...]
    steps: int
    seeds: int
    optimizer: str
    lr: float
    threshold: float
    layers: tuple[LayerSlopes, ...]
    losses: tuple[tuple[float, ...], ...]

    @property
    def failing(self) -> tuple[LayerSlopes, ...]:
        """The layers with a slope of at least the threshold, up or down, at some step."""
        return tuple(layer for layer in self.layers if layer.worst is not None and abs(layer.worst) >= self.threshold)

    @property
    def passed(self) -> bool:
        """Every slope that was measured is below the threshold."""
        return not self.failing

    @property
    def worst(self) -> float:
        """The slope that is furthest from 0, of all layers and steps."""
        return max((layer.worst for layer in self.layers if layer.worst is not None), key=abs, default=0.0)

    def __getitem__(self, name: str) -> LayerSlopes:
        """The layer of that name.

        Raises:
            KeyError: it was not measured.
        """
        return {layer.name: layer for layer in self.layers}[name]

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", *(f"step {step}" for step in range(1, self.steps + 1)), "")]
        for layer in self.layers:
            told = ("–" if slope is None else f"{slope:+.2f}" for slope in layer.slopes)
            rows.append((layer.name, *told, _word(layer, self.threshold)))
        runs = f"{self.optimizer}, lr {number(self.lr)}, {self.seeds} seeds"
        title = f"{self.model} · {self.parametrization} · {self.along} {', '.join(map(str, self.sizes))} · {runs}"
        said = f"slope of log mean |change| against log {self.along}"
        return "\n".join([title, said, *aligned(rows, left={0, self.steps + 1}), self._verdict()])

    def _verdict(self) -> str:
        if self.passed:
            return f"passed: every slope is below {self.threshold:g} (worst {self.worst:+.2f})"
        names = shortened([layer.name for layer in self.failing], _LISTED)
        return f"failed: worst slope {self.worst:+.2f}, allowed ±{self.threshold:g}: {names}"

    def to_dict(self) -> dict[str, Any]:
        """JSON data; what was not measured is null."""
        return {
            "model": self.model,
            "parametrization": self.parametrization,
            "along": self.along,
            "sizes": list(self.sizes),
            "steps": self.steps,
            "seeds": self.seeds,
            "optimizer": self.optimizer,
            "lr": self.lr,
            "threshold": self.threshold,
            "passed": self.passed,
            "worst": self.worst,
            "layers": [_layer_dict(layer) for layer in self.layers],
            "losses": [list(each) for each in self.losses],
        }

    def plot(self, path: str | Path) -> None:
        """Draw change against size, a panel for each step and a line for each layer; the suffix of `path` says how.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ArgumentError: a suffix that it does not write.
            WeightsError: the file cannot be written.
        """
        verdict = "passed" if self.passed else "failed"
        title = f"{self.model}, {self.parametrization}, {self.optimizer}: {verdict}, worst slope {self.worst:+.2f}"
        draw(Path(path), title, self.along, self.sizes, self.layers)


def _layer_dict(layer: LayerSlopes) -> Mapping[str, Any]:
    return {"name": layer.name, "changes": [list(each) for each in layer.changes], "slopes": list(layer.slopes)}


def _word(layer: LayerSlopes, threshold: float) -> str:
    if layer.worst is None or abs(layer.worst) < threshold:
        return ""
    return "grows" if layer.worst > 0 else "shrinks"
