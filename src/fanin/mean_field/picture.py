"""A mean-field view as a picture."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

from fanin.errors import ArgumentError, MissingExtraError
from fanin.gains.critical_line import Branch
from fanin.gains.fixed_points import FixedPoint
from fanin.weights.atomic import atomic_file

_SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which the colour-blind tell apart too.
_LINE, _MARK, _OTHER = "#0072B2", "#D55E00", "#009E73"
_BIAS_SHOWN = 0.5


class Drawn(Protocol):
    """What the picture shows of an `ActivationView`."""

    @property
    def name(self) -> str: ...

    @property
    def weight_std(self) -> float: ...

    @property
    def bias_std(self) -> float: ...

    @property
    def phase(self) -> str: ...

    @property
    def chi(self) -> float: ...

    @property
    def fixed_points(self) -> tuple[FixedPoint, ...]: ...

    @property
    def correlation(self) -> float: ...

    @property
    def critical_line(self) -> tuple[Branch, ...]: ...

    @property
    def variance_map(self) -> tuple[tuple[float, float], ...]: ...

    @property
    def correlation_map(self) -> tuple[tuple[float, float], ...]: ...


def draw(view: Drawn, path: Path) -> Path:
    """Variance map, correlation map and critical line, side by side.

    Raises:
        MissingExtraError, ArgumentError, WeightsError: as `ActivationView.plot`.
    """
    if path.suffix not in _SUFFIXES:
        seen = path.suffix or "a file without suffix"
        raise ArgumentError(f"plots are written as {', '.join(_SUFFIXES)}, not as {seen}")
    try:
        figure_class: Any = import_module("matplotlib.figure").Figure
    except ImportError:
        raise MissingExtraError.of("matplotlib", "plots", "plots of an activation") from None
    figure = figure_class(figsize=(10.2, 3.5), layout="constrained")
    panels: Any = figure.subplots(1, 3)
    _variance(panels[0], view)
    _correlation(panels[1], view)
    _line(panels[2], view)
    for axes in panels:
        axes.grid(True, color="0.9", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    # A dollar sign would start mathematics.
    name = view.name.replace("$", r"\$")
    figure.suptitle(
        f"{name}, σ_w = {view.weight_std:.4g}, σ_b = {view.bias_std:.4g}: {view.phase}, χ₁ = {view.chi:.4g}",
        fontsize=11,
    )
    picture = BytesIO()
    figure.savefig(picture, format=path.suffix[1:], dpi=130)
    with atomic_file(path) as file:
        file.write(picture.getvalue())
    return path


def _variance(axes: Any, view: Drawn) -> None:
    q, passed = zip(*view.variance_map, strict=True)
    axes.plot(q, passed, color=_LINE, linewidth=1.8, label="q′")
    axes.plot(q, q, color="0.6", linestyle=":", label="q′ = q")
    inside = [point for point in view.fixed_points if q[0] <= point.variance <= q[-1] and point.kind != "any scale"]
    for kind, fill in (("stable", "full"), ("half-stable", "left"), ("unstable", "none")):
        places = [point.variance for point in inside if point.kind == kind]
        if places:
            axes.plot(places, places, "o", color=_MARK, fillstyle=fill, label=f"{kind} fixed point")
    axes.set(xscale="log", yscale="log", title="variance map", xlabel="q of a layer", ylabel="q′ of the next")


def _correlation(axes: Any, view: Drawn) -> None:
    axes.plot(*zip(*view.correlation_map, strict=True), color=_LINE, linewidth=1.8, label="c′")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="c′ = c")
    axes.plot([view.correlation], [view.correlation], "o", color=_MARK, label=f"c* = {view.correlation:.3g}")
    axes.set(title="correlation map", xlabel="c of a layer", ylabel="c′ of the next", xlim=(0, 1.02), ylim=(0, 1.02))


def _line(axes: Any, view: Drawn) -> None:
    top = max(_BIAS_SHOWN, 2 * view.bias_std)
    for number, branch in enumerate(view.critical_line):
        shown = [point for point in branch if point[1] <= top and isfinite(point[0])]
        if shown:
            label = "edge of chaos, χ₁ = 1" if number == 0 else None
            single = len({point[0] for point in shown}) == 1
            axes.plot(*zip(*shown, strict=True), "D" if single else "-", color=_OTHER, linewidth=1.8, label=label)
    axes.plot([view.weight_std], [view.bias_std], "o", color=_MARK, label="here")
    axes.set(title="edge of chaos", xlabel="σ_w", ylabel="σ_b", ylim=(-0.03 * top, 1.05 * top))
