"""The parameters of a model during a pass that rescales them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fanin.data_driven.grids import Factors, multiplied
from fanin.data_driven.looks import Look
from fanin.graph import Graph
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Keep, Step
from fanin.torch.tensors import StoredTensor, storage_id


@dataclass(eq=False, slots=True)
class Held:
    """One parameter.

    Attributes:
        step: of the plan.
        tensor: as the model holds it.
        kept: why it is never scaled; "" where it may be.
        blocks: the indices of each packed block along dimension `axis`; empty where nothing is packed.
        factors: what its values have been multiplied by so far.
        looks: the parts that have been measured.
        told: what the measurements were.
        uses: how many operations read it as a weight.
        silent: a product with it was zero.
        values: new values for all of it, one for each index of dimension 0, in place of its law.
        protected: marked by `fanin.keep` or by loading.
        absolute: it has no law to be scaled, so its values themselves go into the plan (magnitudes of weight norm).
        times: how often it was multiplied.
    """

    step: Step
    tensor: Tensor
    kept: str = ""
    axis: int | None = None
    blocks: tuple[NDArray[np.intp], ...] = ()
    factors: Factors = field(init=False)
    looks: list[Look] = field(default_factory=list[Look])
    told: list[str] = field(default_factory=list[str])
    uses: int = 0
    silent: bool = False
    values: tuple[float, ...] | None = None
    protected: bool = False
    absolute: bool = False
    times: int = 0

    def __post_init__(self) -> None:
        self.factors = np.ones((1,) * self.tensor.dim())

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def is_scaled(self) -> bool:
        """Whether any factor is not one."""
        return bool((self.factors != 1).any())

    def is_open(self, part: Look) -> bool:
        """Whether no element of a part has been decided yet."""
        return not self.kept and not any(part.overlaps(other) for other in self.looks)

    def blocks_along(self, part: Look) -> list[NDArray[np.intp]]:
        """The packed blocks as indices along the part's own axis; empty where it is one block."""
        if part.axis is None or part.axis != self.axis or not self.blocks:
            return []
        first, count = part.start[part.axis], part.size[part.axis]
        inside = [block[(block >= first) & (block < first + count)] - first for block in self.blocks]
        inside = [block for block in inside if block.size]
        return inside if len(inside) > 1 and sum(block.size for block in inside) == count else []

    def let_measure(self) -> None:
        """Let it be given measured values though nobody knows its law, unless it is protected or frozen."""
        if isinstance(self.step.action, Keep) and self.tensor.requires_grad and not self.protected:
            self.kept, self.absolute = "", True

    def fix(self) -> None:
        """Take the values that it has now into the plan, where no law gives them."""
        if self.absolute and self.is_scaled:
            self.values = tuple(self.tensor.detach().flatten().tolist())

    def is_settable(self, units: int | None) -> bool:
        """Whether it is a vector of so many values that nothing has been decided about."""
        return not self.kept and not self.looks and tuple(self.tensor.shape) == (units,)

    def set(self, values: NDArray[np.float64]) -> None:
        """Give it new values, one for each index."""
        self.tensor.copy_(torch.from_numpy(values))
        self.values = tuple(values.tolist())
        self.told = [f"set to minus the scaled means, {values.min():.3g} to {values.max():.3g}"]
        self.looks.append(Look((0,), tuple(self.tensor.shape), 0))

    def fill(self, value: float) -> None:
        """Note that all its values became one number."""
        self.values, self.told, self.uses = (value,), [f"set to {value:.4g}"], 1

    def multiply(self, part: Look, factor: float | NDArray[np.float64]) -> None:
        """Note that a part was multiplied by a number, or by one for each index along its axis."""
        by = (
            np.full((1,) * self.tensor.dim(), factor)
            if not isinstance(factor, np.ndarray)
            else _along(factor, part, self)
        )
        self.times += 1
        self.factors = multiplied(self.factors, tuple(self.tensor.shape), part.start, by, part.size)


class Parameters:
    """All parameters of a model, found by the memory that a tensor lies in."""

    def __init__(
        self, stored: Iterable[StoredTensor], plan: Plan, graph: Graph, protected: Container[str] = ()
    ) -> None:
        self.all = [
            _held(plan[item.name], item.tensor, graph, item.name in protected)
            for item in stored
            if item.kind == "parameter"
        ]
        self._at: dict[int, list[Held]] = {}
        for held in self.all:
            self._at.setdefault(storage_id(held.tensor), []).append(held)

    def of(self, tensor: object) -> Held | None:
        """The parameter that a tensor is a view of."""
        if not isinstance(tensor, Tensor):
            return None
        found = self._at.get(storage_id(tensor), ())
        offset = tensor.storage_offset()
        return next((held for held in found if _begin(held) <= offset < _end(held)), None)

    @property
    def by_name(self) -> Mapping[str, Held]:
        """Each by the name of its step."""
        return {held.name: held for held in self.all}


def _along(factor: NDArray[np.float64], part: Look, held: Held) -> Factors:
    return factor.reshape([-1 if axis == part.axis else 1 for axis in range(held.tensor.dim())])


def _begin(held: Held) -> int:
    return int(held.tensor.storage_offset())


def _end(held: Held) -> int:
    reach = sum((n - 1) * step for n, step in zip(held.tensor.shape, held.tensor.stride(), strict=True))
    return _begin(held) + reach + 1


def _held(step: Step, tensor: Tensor, graph: Graph, protected: bool) -> Held:
    axis, blocks = _blocks(step.name, graph)
    return Held(step, tensor, _kept(step, tensor), axis, blocks, protected=protected)


def _kept(step: Step, tensor: Tensor) -> str:
    if not tensor.requires_grad:
        return "frozen (requires_grad is False)"
    if not tensor.is_floating_point():
        return f"of dtype {step.dtype}"
    return "" if isinstance(step.action, Draw | Copy) else f"a step that does {type(step.action).__name__.lower()}"


def _blocks(name: str, graph: Graph) -> tuple[int | None, tuple[NDArray[np.intp], ...]]:
    """Along which dimension packed blocks follow one another, and their indices there."""
    uses = [use for use in graph.of(name) if use.parts and use.axes is not None and len(use.axes.outputs) == 1]
    if not uses or uses[0].axes is None:
        return None, ()
    axis = uses[0].axes.outputs[0]
    parts = dict.fromkeys(use.parts for use in uses)
    return axis, tuple(np.concatenate([part.places(axis) for part in several]) for several in parts)
