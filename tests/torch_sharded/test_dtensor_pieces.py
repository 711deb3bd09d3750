"""What each rank of a mesh holds of a DTensor, against what torch itself puts into its memory."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from fanin.errors import PlanError
from fanin.torch.pieces import is_part, pieces_of, refusal, shape_of

MESHES = [(1,), (3,), (8,), (2, 3), (4, 2), (2, 2, 2), (1, 3, 2)]
slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numbered(shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor whose values are their own flat indices."""
    return torch.arange(prod(shape), dtype=torch.float32).view(shape)


def part(whole: torch.Tensor, region) -> torch.Tensor:
    return whole[tuple(slice(a, a + n) for a, n in zip(region.start, region.size, strict=True))]


def check(tensor: DTensor, whole: torch.Tensor) -> torch.Tensor:
    """The pieces are exactly the rank's memory, each with the values of its region; which elements they are."""
    held = torch.zeros(whole.shape, dtype=torch.int64)
    local = tensor.to_local()
    before = local.clone()
    for piece in pieces_of(tensor):
        assert piece.region.shape == shape_of(tensor) == tuple(whole.shape)
        assert torch.equal(piece.memory, part(whole, piece.region))
        assert piece.region.numel, "no piece is empty"
        part(held, piece.region).add_(1)
        piece.memory.neg_()
    assert torch.equal(local, -before), "all of the rank's memory is in the pieces, once"
    assert int(held.max() if held.numel() else 0) <= 1, "pieces are disjoint"
    return held


@st.composite
def layouts(draw):
    shape = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=3)))
    mesh = draw(st.sampled_from(MESHES))
    placements = [
        draw(st.one_of(st.just(Replicate()), st.integers(0, len(shape) - 1).map(Shard))) for _ in range(len(mesh))
    ]
    return shape, mesh, placements


@slow
@given(layouts())
def test_every_rank_of_any_mesh_and_placement(world, layout):
    shape, mesh_shape, placements = layout
    whole = numbered(shape)
    held = torch.zeros(shape, dtype=torch.int64)
    for rank in range(prod(mesh_shape)):
        with world(rank, mesh_shape) as mesh:
            held += check(distribute_tensor(whole, mesh, placements, src_data_rank=None), whole)
    copies = prod(n for n, placement in zip(mesh_shape, placements, strict=True) if placement.is_replicate())
    assert bool((held == copies).all()), "every element is held, once for each copy"


@slow
@given(st.integers(1, 24), st.sampled_from([(2, 2), (4, 2), (2, 3), (3, 2)]), st.integers(0, 1))
def test_interleaved_shards_as_distribute_tensor_cuts_them(world, rows, mesh_shape, dim):
    whole = numbered((rows, 3) if dim == 0 else (3, rows))
    for rank in range(prod(mesh_shape)):
        with world(rank, mesh_shape) as mesh:
            placements = [_StridedShard(dim, split_factor=mesh_shape[1]), Shard(dim)]
            tensor = distribute_tensor(whole, mesh, placements, src_data_rank=None)
            if refusal(tensor) is None:
                check(tensor, whole)
            else:
                assert rows % prod(mesh_shape), "even shards are never ambiguous"


def test_an_interleaved_shard_alone_is_several_rectangles(world):
    whole = numbered((8, 5))
    with world(1, (2,)) as mesh:
        tensor = distribute_tensor(whole, mesh, [_StridedShard(0, split_factor=4)], src_data_rank=None)
        assert [piece.region.start for piece in pieces_of(tensor)] == [(1, 0), (3, 0), (5, 0), (7, 0)]
        check(tensor, whole)


@settings(slow, max_examples=20)
@given(st.integers(1, 30), st.sampled_from([(2, 2), (4, 2), (2, 3)]), st.sampled_from([0, 1]))
def test_fsdp2_over_tensor_parallelism(world, rows, mesh_shape, tp_dim):
    """`fully_shard` cuts what tensor parallelism left, also where the placements that it writes say otherwise."""
    whole = numbered((rows, 6))
    held = torch.zeros(whole.shape, dtype=torch.int64)
    for rank in range(prod(mesh_shape)):
        with world(rank, mesh_shape) as mesh:
            dp, tp = mesh.mesh_dim_names
            module = nn.Linear(6, rows, bias=False)
            cut = distribute_tensor(whole, mesh[tp], [Shard(tp_dim)], src_data_rank=None)
            if not cut.to_local().numel():  # fully_shard refuses parameters that tensor parallelism leaves empty
                return
            module.weight = nn.Parameter(cut)
            fully_shard(module, mesh=mesh[dp])
            held += check(module.weight.data, whole)
    assert bool((held == 1).all())


def test_hybrid_sharding_over_tensor_parallelism(world):
    whole = numbered((9, 4))
    held = torch.zeros(whole.shape, dtype=torch.int64)
    for rank in range(8):
        with world(rank, (2, 2, 2)) as mesh:
            copies, dp, tp = mesh.mesh_dim_names
            module = nn.Linear(4, 9, bias=False)
            module.weight = nn.Parameter(distribute_tensor(whole, mesh[tp], [Shard(0)], src_data_rank=None))
            fully_shard(module, mesh=mesh[copies, dp])
            held += check(module.weight.data, whole)
    assert bool((held == 2).all())


def test_uneven_interleaved_shards_that_can_be_read_in_two_ways_are_refused(world):
    """27 rows over dp=3 × tp=4: a rank has one row under both readings, row 26 or row 20."""
    with world(0, (3, 4)) as mesh:
        placements = [_StridedShard(0, split_factor=4), Shard(0)]
        tensor = distribute_tensor(numbered((27, 1)), mesh, placements, src_data_rank=None)
        with pytest.raises(PlanError, match=r"\(_S\(0, 4\), S\(0\)\).*can be read in two ways: materialize the model"):
            pieces_of(tensor)


def test_a_dimension_of_rank_zero_and_columns_in_memory(world):
    with world(2, (4,)) as mesh:
        scalar = DTensor.from_local(torch.tensor(3.0), mesh, [Replicate()])
        (piece,) = pieces_of(scalar)
        assert (piece.region.shape, piece.memory.shape) == ((), ())
        whole = numbered((8, 6))
        turned = DTensor.from_local(whole[4:6].t().contiguous().t(), mesh, [Shard(0)])
        assert turned.to_local().stride() == (1, 2)
        check(turned, whole)


def test_a_rank_outside_the_mesh_holds_nothing(world):
    with world(3, (2,), size=4) as mesh:
        tensor = DTensor.from_local(
            torch.empty(0), mesh, [Shard(0)], run_check=False, shape=torch.Size([4]), stride=(1,)
        )
        assert refusal(tensor) is None
        assert pieces_of(tensor) == ()


def test_partial_is_refused_by_name(world):
    with world(0, (2, 2)) as mesh:
        tensor = DTensor.from_local(torch.zeros(2, 3), mesh, [Shard(0), Partial()])
        assert refusal(tensor) == (
            "is a DTensor with placements (S(0), P(sum)), of which P(sum) holds summands, not values: redistribute it "
            "to Shard or Replicate first"
        )
        with pytest.raises(PlanError, match=r"a tensor of shape \(4, 3\) is a DTensor with placements"):
            pieces_of(tensor)


def test_a_placement_that_nobody_knows_is_refused(world):
    class Ragged(Placement):
        def __str__(self):
            return "Ragged"

    with world(0, (2,)) as mesh:
        tensor = DTensor.from_local(torch.zeros(4), mesh, [Replicate()])
        tensor._spec.placements = (Ragged(),)
        assert "of which Ragged is none that fanin knows" in refusal(tensor)


def test_shards_of_other_sizes_than_torch_makes_are_refused(world):
    with world(0, (2,)) as mesh:
        tensor = DTensor.from_local(
            torch.zeros(3, 2), mesh, [Shard(0)], run_check=False, shape=torch.Size([8, 2]), stride=(2, 1)
        )
        assert "holds (3, 2) here: shards of other sizes than torch.chunk makes cannot be placed" in refusal(tensor)


def test_plain_tensors_are_whole(world):
    tensor = torch.zeros(3, 2)
    assert not is_part(tensor)
    assert shape_of(tensor) == (3, 2)
    (piece,) = pieces_of(tensor)
    assert piece.memory is tensor
    with world(0, (2,)) as mesh:
        assert is_part(DTensor.from_local(tensor, mesh, [Shard(0)]))
