"""What a rank states before it writes: everything that must be the same on all ranks for the shards to fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import fanin
from fanin.plans import Plan
from fanin.plans.json_form import step_to_dict
from fanin.random import stream as streams
from fanin.torch.agreement.meshes import MeshForm
from fanin.torch.tensors import StoredTensor

_DECIDING = ("name", "aliases", "shape", "dtype", "action")
REMEDIES = {
    "fanin version": "install the same version on every rank",
    "stream version": "install the same version of fanin on every rank",
    "seed": "pass the same seed on every rank",
    "mesh": "the mesh changed, or was made differently: build the same device mesh on every rank and shard anew",
    "tensors": "build and shard the same model on every rank",
    "plan": "make the plan once and send its JSON to all ranks, or plan the same model with the same recipe on each",
    "request": "pass the same arguments on every rank",
}
"""What ranks can differ in, in the order in which it is looked at, and what to do then."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What this rank is about to do.

    Attributes:
        facts: a short text for each key of `REMEDIES`.
        tensors: one line for each tensor of the model; `facts` has their hash.
        plan: one line for each step of the plan: what decides its values.
        request: instead of a plan, what was asked for, in lines.
    """

    facts: dict[str, str]
    tensors: tuple[str, ...]
    plan: tuple[str, ...] = ()
    request: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan, seed: int, stored: Sequence[StoredTensor], forms: Sequence[MeshForm]) -> Statement:
        """The statement of a rank that is to write `plan` with `seed` into the tensors `stored`."""
        tensors = tuple(_tensor_line(item) for item in stored)
        steps = tuple(_step_line(plan, name) for name in plan)
        return cls(_facts(seed, forms, tensors) | {"plan": digest(steps)}, tensors, steps)

    @classmethod
    def of_request(
        cls, request: Sequence[str], seed: int, stored: Sequence[StoredTensor], forms: Sequence[MeshForm]
    ) -> Statement:
        """The statement of a rank that is to change the tensors `stored` as `request` says."""
        tensors = tuple(_tensor_line(item) for item in stored)
        facts = _facts(seed, forms, tensors) | {"request": digest(request)}
        return cls(facts, tensors, request=tuple(request))

    def lines(self, fact: str) -> tuple[str, ...]:
        """What the hash of a fact was made from, one line for each tensor; empty for facts that are told whole."""
        return {"tensors": self.tensors, "plan": self.plan, "request": self.request}.get(fact, ())


def _facts(seed: int, forms: Sequence[MeshForm], tensors: Sequence[str]) -> dict[str, str]:
    return {
        "fanin version": fanin.__version__,
        "stream version": str(streams.STREAM_VERSION),
        "seed": str(seed),
        "mesh": "; ".join(_mesh_line(form) for form in forms),
        "tensors": digest(tensors),
    }


def digest(lines: Sequence[str]) -> str:
    """BLAKE2b-64 of lines, in hex."""
    return blake2b(json.dumps(lines).encode(), digest_size=8).hexdigest()


def _tensor_line(item: StoredTensor) -> str:
    dtype = str(item.tensor.dtype).removeprefix("torch.")
    placements = getattr(item.tensor, "placements", None)
    layout = "" if placements is None else f" {' '.join(map(str, placements))}"
    return f"{', '.join(item.names)} {tuple(item.tensor.shape)} {dtype}{layout}"


def _step_line(plan: Plan, name: str) -> str:
    told = step_to_dict(plan[name])
    return json.dumps({key: told[key] for key in _DECIDING}, ensure_ascii=False)


def _mesh_line(form: MeshForm) -> str:
    """The mesh as all its ranks see it: which slice of the root, but not which of the slices of one kind."""
    if form.root is None:
        return f"{form} of {_order(form.ranks)}"
    return f"{form} at {_order(form.offsets)} of {form.root} of {_order(form.root.ranks)}"


def _order(numbers: Sequence[int]) -> str:
    """Numbers in their order; equal steps in short, long irregular ones by a hash.

    >>> _order((0, 1, 2, 3)), _order((0, 2, 4)), _order((1, 0, 5))
    ('0…3', '0, 2…4', '1, 0, 5')
    """
    steps = {after - before for before, after in pairwise(numbers)}
    if len(numbers) > 2 and len(steps) == 1:
        return f"{numbers[0]}…{numbers[-1]}" if steps == {1} else f"{numbers[0]}, {numbers[1]}…{numbers[-1]}"
    if len(numbers) <= 16:
        return ", ".join(map(str, numbers))
    return f"{len(numbers)} ranks in an order with hash {digest(list(map(str, numbers)))}"
