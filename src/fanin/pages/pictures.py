"""A report as a picture: moments through depth, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from io import BytesIO
from typing import Any

from fanin.errors import ArgumentError, MissingExtraError
from fanin.pages.escaping import visible

Data = Mapping[str, Any]
_NAN = float("nan")  # no point is drawn there
# Okabe and Ito's colours, which the colour-blind tell apart too.
_SEEN, _TOLD, _ILL, _BEFORE = "#0072B2", "#D55E00", "#B3261E", "0.6"


def report_png(data: Data, before: Data | None = None) -> bytes:
    """E[h²] of the outputs and E[g²] of their gradients through depth, measured and predicted, as a PNG.

    Args:
        data: `Report.to_dict()`.
        before: an earlier one, drawn in grey.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: the report has no layers.
    """
    layers = data.get("layers") or []
    if not layers:
        raise ArgumentError(
            "there is nothing to draw: the report has no layers (an audit runs no model; fanin.check does)"
        )
    try:
        figure_class: Any = import_module("matplotlib.figure").Figure
    except ImportError:
        raise MissingExtraError.of("matplotlib", "plots", "plots as PNG") from None
    figure = figure_class(figsize=(9, 5.6), dpi=130, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    earlier = [] if before is None else before.get("layers") or []
    _panel(upper, layers, earlier, ("forward", "expected_forward"), "E[h²] of outputs")
    _panel(lower, layers, earlier, ("gradient", "expected_gradient"), "E[g²] of gradients")
    lower.set_xlabel("layer, in the order of the forward pass")
    starts = f" from {data['starts']}" if data.get("starts") else ""
    # A dollar sign would start mathematics.
    title = visible(f"{data.get('model') or 'model'}: {data['verdict']}{starts}").replace("$", r"\$")
    upper.set_title(title, fontsize=11)
    handles, names = upper.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _panel(axes: Any, layers: Sequence[Data], before: Sequence[Data], keys: tuple[str, str], label: str) -> None:
    places = range(1, len(layers) + 1)
    seen = [_second(layer, keys[0]) for layer in layers]
    told = [_positive(layer.get(keys[1])) for layer in layers]
    ill = [value if layer["verdict"] != "healthy" else _NAN for value, layer in zip(seen, layers, strict=True)]
    few = len(layers) <= 80
    if before:
        was = [_second(layer, keys[0]) for layer in before]
        axes.plot(range(1, len(before) + 1), was, color=_BEFORE, linestyle=":", linewidth=1.5, label="before")
    axes.plot(places, seen, color=_SEEN, linewidth=1.8, marker="o" if few else None, markersize=3.5, label="measured")
    axes.plot(places, told, color=_TOLD, linewidth=1.5, linestyle="--", label="predicted")
    if any(layer["verdict"] != "healthy" for layer in layers):
        axes.plot(
            places, ill, color=_ILL, linestyle="", marker="o", fillstyle="none", markersize=8, label="not healthy"
        )
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylabel(label)
    axes.grid(True, color="0.9", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _second(layer: Data, key: str) -> float:
    return _positive((layer.get(key) or {}).get("second"))


def _positive(value: float | None) -> float:
    return value if value is not None and value > 0 else _NAN
