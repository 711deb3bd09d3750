"""One parameter in a report: what its values are, and how far the first step moves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fanin.torch.probe import Histogram, Spread


@dataclass(frozen=True, slots=True)
class UpdateRatio:
    """|Δw|/|w| of the first step, in root mean squares, at the learning rate `lr`; None where it has no value.

    SGD moves by lr·g: lr·rms(g)/rms(w). Adam's first step is lr·sign(g): lr/rms(w), where the gradient is not zero.
    """

    lr: float
    sgd: float | None
    adam: float | None


@dataclass(frozen=True, slots=True)
class ParameterReport:
    """One parameter; what was not measured is None.

    Attributes:
        name: qualified name, the first under which the model registers the tensor.
        shape: stored shape, and `dtype` as torch names it, without the prefix.
        role: what the tensor is for, where the plan says it.
        trainable: whether it requires a gradient.
        mean: of its finite values, as `std`, `max_abs` and `spread` (of a sample of at most 4,096).
        non_finite: how many values are NaN or infinite.
        planned_std: what the plan draws it with.
        gradient_rms: root mean square of the loss's gradient.
        update_ratio: how far the first step moves it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str | None = None
    trainable: bool = True
    mean: float | None = None
    std: float | None = None
    max_abs: float | None = None
    non_finite: int | None = None
    spread: Spread | None = None
    planned_std: float | None = None
    gradient_rms: float | None = None
    update_ratio: UpdateRatio | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        ratio = self.update_ratio
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "role": self.role,
            "trainable": self.trainable,
            "mean": self.mean,
            "std": self.std,
            "max_abs": self.max_abs,
            "non_finite": self.non_finite,
            "histogram": None if self.spread is None else histogram_to_dict(self.spread.histogram),
            "planned_std": self.planned_std,
            "gradient_rms": self.gradient_rms,
            "update_ratio": None if ratio is None else {"lr": ratio.lr, "sgd": ratio.sgd, "adam": ratio.adam},
        }


def histogram_to_dict(histogram: Histogram) -> dict[str, Any]:
    """JSON form: counts in bins of equal width from `low` to `high`."""
    return {"low": histogram.low, "high": histogram.high, "counts": list(histogram.counts)}
