"""Where in a model its forward multipliers go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt

import numpy as np
from torch import nn

from fanin.errors import ArgumentError
from fanin.graph import Use
from fanin.parametrizations.base import Head
from fanin.parametrizations.dims import Dims
from fanin.parametrizations.multipliers import Multiplier, Side, named_modules
from fanin.parametrizations.schemes import Scheme
from fanin.parametrizations.seen import Seen
from fanin.torch.tensors import stored_tensors


@dataclass(frozen=True, slots=True)
class Tuned:
    """Multipliers that are the user's to tune; 1 at the base's own.

    Attributes:
        input: of what lookup tables give.
        output: of logits.
        attention: of attention scores.

    Raises:
        ArgumentError: one is no finite number.

    >>> import fanin
    >>> model = fanin.models.mlp((10, 64, 64, 2))
    >>> print(fanin.parametrize(model, base_width=64, tuned=Tuned(output=2.0)).multipliers[0].factor)
    2.0
    """

    input: float = 1.0
    output: float = 1.0
    attention: float = 1.0

    def __post_init__(self) -> None:
        for name in ("input", "output", "attention"):
            value: object = getattr(self, name)
            if not isinstance(value, int | float) or not isfinite(value):
                raise ArgumentError(f"Tuned({name}=…) must be a finite number, got {value!r}")


class Placing:
    """Decides, for one model, between hooks and absorbing.

    Args:
        model: what is known of it.
        dims: of each parameter.
        absorb: use no hooks where the tensor itself can take the factor.
    """

    def __init__(self, model: Seen, dims: Mapping[str, Dims], *, absorb: bool) -> None:
        self._model, self._dims, self._absorb = model, dims, absorb
        self._modules = named_modules(model.model)
        self._names = {entry.name: entry.names for entry in stored_tensors(model.model)}

    def all(
        self, scheme: Scheme, tuned: Tuned, heads: Mapping[str, Head], base: Mapping[str, Head]
    ) -> list[Multiplier]:
        """Every multiplier that is not 1.

        Raises:
            ArgumentError: one that can be neither hung on a module nor absorbed.
        """
        found = [
            *self._products(scheme, tuned),
            *self._attention(scheme, tuned, heads, base),
            *self._branches(scheme),
            *self._inputs(tuned),
        ]
        return [each for each in found if each.factor != 1.0]

    def _products(self, scheme: Scheme, tuned: Tuned) -> Iterator[Multiplier]:
        for name, dims in self._dims.items():
            use = next((use for use in self._model.uses.get(name, ()) if use.axes is not None), None)
            if use is None:
                continue
            tied = dims.kind == "table"
            seen = replace(dims, kind="output", inputs=dims.outputs, fan_in=dims.fan_out) if tied else dims
            head = tied or self._model.role(name) == "head"
            factor = (scheme.tied if tied else scheme.forward)(seen) * (tuned.output if head else 1.0)
            if factor != 1.0:
                why = "readout" if seen.kind == "output" else "product"
                yield self._placed(name, use, "input", factor, why, own=not tied)

    def _attention(
        self, scheme: Scheme, tuned: Tuned, heads: Mapping[str, Head], base: Mapping[str, Head]
    ) -> Iterator[Multiplier]:
        for name, head in heads.items():
            factor = _sharpness(scheme, head, base.get(name, head)) * tuned.attention
            if factor == 1.0:
                continue
            uses = [use for use in self._model.uses[name] if use.role == "attention query"]
            runs = tuple(run for use in uses for run in _runs(use)) if uses[0].parts else ()
            placed = self._placed(name, uses[0], "output", factor, "attention", own=not runs)
            yield replace(placed, runs=runs)

    def _branches(self, scheme: Scheme) -> Iterator[Multiplier]:
        normed = {
            (place.stack, place.branch)
            for name, place in self._model.graph.places.items()
            if place.last and self._dims[name].kind == "vector"
        }
        for name, dims in self._dims.items():
            place, factor = self._model.place(name), scheme.branch(dims)
            ends = place.last and (dims.kind == "vector" or (place.stack, place.branch) not in normed)
            if ends and factor != 1.0:
                use = self._model.uses[name][0]
                yield self._placed(name, use, "output", factor, "branch", own=dims.kind != "vector")

    def _inputs(self, tuned: Tuned) -> Iterator[Multiplier]:
        for name, dims in self._dims.items():
            looked = [use for use in self._model.uses.get(name, ()) if use.op == "embedding"]
            if dims.kind == "table" and looked and tuned.input != 1.0:
                yield self._placed(name, looked[0], "output", tuned.input, "input", own=False)

    def _placed(self, name: str, use: Use, side: Side, factor: float, why: str, *, own: bool) -> Multiplier:
        hookable = self._is_alone(name, use.module)
        if hookable and not (self._absorb and own):
            return Multiplier(name, use.module, side, factor, why)
        if own:
            return Multiplier(name, "", "absorbed", factor, why)
        raise ArgumentError(
            f"the {why} multiplier {factor:.6g} of {name} has no place: {use.module or 'the model itself'} computes it "
            "among other things, and the tensor does other things too; give that product a module of its own "
            "(nn.Linear with the same parameter)"
        )

    def _is_alone(self, name: str, module: str) -> bool:
        """The module holds the tensor, and nothing else but what is added to its product."""
        held = self._modules.get(module)
        if held is None or next(held.children(), None) is not None or isinstance(held, nn.RNNBase | nn.RNNCellBase):
            return False
        own = [f"{module}.{key}" if module else key for key, _ in held.named_parameters(recurse=False)]
        others = [each for each in own if each not in self._names[name]]
        return len(others) < len(own) and all(self._is_beside(each, name) for each in others)

    def _is_beside(self, other: str, name: str) -> bool:
        uses: Sequence[Use] = self._model.uses.get(other, ())
        return all(use.op == "norm_shift" or (use.op == "bias" and use.partner in self._names[name]) for use in uses)


def _sharpness(scheme: Scheme, head: Head, base: Head) -> float:
    """What scores are multiplied by so that they fall as 1/d_head, and are at the base as the code has them."""
    if not scheme.relative:
        return 1 / (head.scores * sqrt(head.size)) if head.scores else 1.0
    if not head.scores or not base.scores:
        return sqrt(base.size / head.size)
    return base.scores / head.scores * sqrt(base.size / head.size)


def _runs(use: Use) -> Iterator[tuple[int, int]]:
    """(start, size) of the outputs that a block of a packed weight makes."""
    if use.axes is None:
        return
    (axis,) = use.axes.outputs
    for part in use.parts:
        places = part.places(axis)
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        yield from ((int(run[0]), len(run)) for run in np.split(places, cuts))
