"""The device meshes of a model's sharded tensors, and which ranks they tie together."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from fanin.errors import PlanError
from fanin.torch.agreement.words import listed_ranks
from fanin.torch.tensors import registrations, tensor_classes

_ANEW = "call init_process_group, make the mesh and shard the model anew"


@dataclass(frozen=True, slots=True)
class MeshForm:
    """What a mesh looks like.

    Attributes:
        names: of its dimensions, "" each where it has none.
        shape: the size of each dimension.
        ranks: its ranks in row-major order.
        root: the mesh that it was sliced from, None where it is one itself.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    ranks: tuple[int, ...]
    root: MeshForm | None = None

    @property
    def places(self) -> tuple[int, ...]:
        """Where its ranks stand in the root mesh."""
        place = {rank: index for index, rank in enumerate((self.root or self).ranks)}
        return tuple(place[rank] for rank in self.ranks)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where its ranks stand in the root mesh, counted from the first: the same for each slice of one kind.

        >>> MeshForm(("dp",), (2,), (5, 7), MeshForm(("dp", "tp"), (2, 2), (4, 5, 6, 7))).offsets
        (0, 2)
        """
        places = self.places
        return tuple(place - min(places) for place in places)

    def __str__(self) -> str:
        axes = ", ".join(
            f"{name}={size}" if name else str(size) for name, size in zip(self.names, self.shape, strict=True)
        )
        return f"({axes})"


def meshes_of(model: nn.Module) -> tuple[Any, ...]:
    """The distinct meshes of the model's DTensors, in the order of the model."""
    module = sys.modules.get("torch.distributed.tensor")
    if module is None or not any(issubclass(kind, module.DTensor) for kind in tensor_classes(model)):
        return ()
    sharded: list[Any] = [entry.tensor for entry in registrations(model) if isinstance(entry.tensor, module.DTensor)]
    return tuple(dict.fromkeys(tensor.device_mesh for tensor in sharded))


def form_of(mesh: Any) -> MeshForm:
    """The form of a `DeviceMesh` and of the root that it was sliced from."""
    root = _root_of(mesh)
    return _bare(mesh, None if root is mesh else _bare(root))


def check_mesh(mesh: Any) -> None:
    """Raise unless the process group that there is now is the one that the mesh was made for.

    Raises:
        PlanError: there is none, or another one.
    """
    import torch.distributed as dist

    form = form_of(mesh)
    if not dist.is_initialized():
        raise PlanError(f"the model is sharded over the mesh {form}, but there is no process group: {_ANEW}")
    rank = dist.get_rank()
    if not _matches(mesh, form, rank):
        raise PlanError(
            f"the mesh changed: the model is sharded over {form} of {listed_ranks(form.ranks)}, which is not from the "
            f"process group of now ({dist.get_world_size()} ranks, this is rank {rank}): {_ANEW}"
        )


def _matches(mesh: Any, form: MeshForm, rank: int) -> bool:
    """Whether the groups of the mesh exist and have the ranks that the mesh says."""
    import torch.distributed as dist

    place = mesh.get_coordinate()
    if place is None or rank not in form.ranks:
        return place is None and rank not in form.ranks
    try:
        groups = [set(dist.get_process_group_ranks(group)) for group in mesh.get_all_groups()]
    except (RuntimeError, KeyError, ValueError):
        return False
    rows = [mesh.mesh[(*place[:axis], slice(None), *place[axis + 1 :])] for axis in range(mesh.ndim)]
    return int(mesh.mesh[tuple(place)]) == rank and groups == [set(row.tolist()) for row in rows]


def _root_of(mesh: Any) -> Any:
    if hasattr(mesh, "_get_root_mesh"):
        return mesh._get_root_mesh()
    from torch.distributed.device_mesh import _mesh_resources  # pyright: ignore[reportPrivateUsage]

    return _mesh_resources.get_root_mesh(mesh)  # before torch 2.9


def _bare(mesh: Any, root: MeshForm | None = None) -> MeshForm:
    names = mesh.mesh_dim_names or ("",) * mesh.ndim
    return MeshForm(tuple(names), tuple(mesh.mesh.shape), tuple(mesh.mesh.flatten().tolist()), root)


def tied_ranks(rank: int, forms: Iterable[MeshForm]) -> tuple[int, ...]:
    """The ranks that share tensors with `rank`, directly or through others, if every rank has the same kinds of meshes.

    With a mesh (dp=2, tp=2) on ranks 0–3, tensors that are sharded over dp alone or over tp alone tie rank 0 to 2 and
    to 1, and through these to 3. A dimension that no tensor is sharded over (pipeline stages) ties nobody.

    >>> root = MeshForm(("pp", "dp", "tp"), (2, 2, 2), tuple(range(8)))
    >>> dp, tp = MeshForm(("dp",), (2,), (4, 6), root), MeshForm(("tp",), (2,), (4, 5), root)
    >>> tied_ranks(4, [dp, tp]), tied_ranks(4, [dp])
    ((4, 5, 6, 7), (4, 6))
    """
    links: dict[int, set[int]] = {rank: {rank}}
    for form in forms:
        for tile in _tiles(form):
            for member in tile:
                links.setdefault(member, {member}).update(tile)
    found, waiting = {rank}, [rank]
    while waiting:
        new = links[waiting.pop()] - found
        found |= new
        waiting += new
    return tuple(sorted(found))


def _tiles(form: MeshForm) -> Iterator[Sequence[int]]:
    """The ranks of this mesh and of the others of its kind, into which the root mesh is divided."""
    yield form.ranks
    ranks, offsets = (form.root or form).ranks, form.offsets
    free = set(range(len(ranks))) - set(form.places)
    for first in range(len(ranks)):
        tile = [first + offset for offset in offsets]
        if free.issuperset(tile):
            free.difference_update(tile)
            yield [ranks[place] for place in tile]
