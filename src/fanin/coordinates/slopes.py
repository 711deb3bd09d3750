"""How far one layer moved at each size, and the slopes of that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerSlopes:
    """One layer.

    Attributes:
        name: of the module, or of what stands for it at every depth ("blocks[-1]").
        changes: for each size the mean |x_t − x_0| over the coordinates of its output, for t = 1, 2, …: the geometric
            mean over seeds; None where nothing changed.
        slopes: for each step the slope of log change against log size; None where some change is None.
    """

    name: str
    changes: tuple[tuple[float | None, ...], ...]
    slopes: tuple[float | None, ...]

    @property
    def worst(self) -> float | None:
        """The slope that is furthest from 0."""
        return max((slope for slope in self.slopes if slope is not None), key=abs, default=None)
