"""A report in TensorBoard: scalars and histograms for each layer and parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from fanin.errors import ArgumentError, MissingExtraError
from fanin.pages import report_markdown
from fanin.pages.payload import calls

Data = Mapping[str, Any]
_SIDES = {"forward": "expected_forward", "gradient": "expected_gradient"}
_MOMENTS = ("second", "mean", "std", "max_abs", "zeros")
_LAYER = ("correlation", "effective_rank", "entropy", "precision")
_PARAMETER = ("mean", "std", "planned_std", "max_abs", "gradient_rms")


def write_events(data: Data, target: Any, step: int) -> None:
    """Write a report as events.

    Args:
        data: `Report.to_dict()`.
        target: a folder, or a `SummaryWriter`, which stays open.
        step: the global step of the events.

    Raises:
        MissingExtraError: tensorboard is not installed.
        ArgumentError: `target` is neither, or a file.
    """
    if not isinstance(target, str | Path):
        if not hasattr(target, "add_histogram_raw"):
            raise ArgumentError(f"events go to a folder or a SummaryWriter, got {target!r}")
        _write(data, target, step)
        target.flush()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError.of("tensorboard", "tensorboard", "events for TensorBoard") from None
    if Path(target).is_file():
        raise ArgumentError(f"{target} is a file; events are written into a folder")
    with closing(SummaryWriter(str(target))) as writer:
        _write(data, writer, step)


def scalars(data: Data) -> Iterator[tuple[str, float]]:
    """The tag and the value of every number of a report that was measured.

    >>> dict(scalars({"loss": 2.5, "layers": [{"name": "fc", "forward": {"second": 1.0}}], "parameters": []}))
    {'fanin/loss': 2.5, 'forward/second/fc': 1.0}
    """
    tagged = [("fanin/loss", data.get("loss")), *_of_layers(data), *_of_parameters(data)]
    yield from ((tag, value) for tag, value in tagged if value is not None)


def histograms(data: Data) -> Iterator[tuple[str, Data, Data]]:
    """The tag, the moments and the histogram of whatever has one with values in it."""
    for layer in calls(data["layers"]):
        yield from ((f"{side}/{_tag(layer)}", layer[side], layer[side]["histogram"]) for side in _SIDES if layer[side])
    for parameter in data["parameters"]:
        yield f"parameter/{parameter['name']}", parameter, parameter["histogram"]


def _of_layers(data: Data) -> Iterator[tuple[str, float | None]]:
    for layer in calls(data["layers"]):
        name = _tag(layer)
        for side, expected in _SIDES.items():
            moments = layer.get(side) or {}
            yield from ((f"{side}/{each}/{name}", moments.get(each)) for each in _MOMENTS)
            yield f"{side}/predicted/{name}", layer.get(expected)
        yield from ((f"layer/{each}/{name}", layer.get(each)) for each in _LAYER)
        if layer.get("dead") is not None:
            yield f"layer/dead/{name}", layer["dead"] / layer["units"]
        if layer.get("saturated") is not None:
            yield f"layer/saturated/{name}", layer["saturated"] / layer["units"]
        jacobian = layer.get("jacobian") or {}
        yield from ((f"layer/singular_{each}/{name}", jacobian.get(each)) for each in ("largest", "smallest"))


def _of_parameters(data: Data) -> Iterator[tuple[str, float | None]]:
    for parameter in data["parameters"]:
        yield from ((f"parameter/{each}/{parameter['name']}", parameter.get(each)) for each in _PARAMETER)
        updates = parameter.get("update_ratio") or {}
        yield from ((f"parameter/update_{each}/{parameter['name']}", updates.get(each)) for each in ("sgd", "adam"))


def _tag(layer: Data) -> str:
    return layer["name"] if layer["call"] == 1 else f"{layer['name']}:{layer['call']}"


def _write(data: Data, writer: Any, step: int) -> None:
    for tag, value in scalars(data):
        writer.add_scalar(tag, value, step)
    for tag, moments, histogram in histograms(data):
        if histogram and sum(histogram["counts"]):
            writer.add_histogram_raw(tag, **_raw(moments, histogram), global_step=step)
    writer.add_text("fanin", report_markdown(data), step)


def _raw(moments: Data, histogram: Data) -> dict[str, Any]:
    """What TensorBoard wants of a histogram: the upper limit of each bucket, and sums over all values."""
    counts, low, high = histogram["counts"], histogram["low"], histogram["high"]
    total, width = sum(counts), (high - low) / len(counts)
    mean, std = moments["mean"] or 0.0, moments["std"] or 0.0
    return {
        "min": low,
        "max": high,
        "num": total,
        "sum": mean * total,
        "sum_squares": (mean**2 + std**2) * total,
        "bucket_limits": [low + width * place for place in range(1, len(counts) + 1)],
        "bucket_counts": counts,
    }
