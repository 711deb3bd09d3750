"""Slabs hold the right bytes wherever a file is cut, for every law, dtype and kind of step."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fanin
from fanin.checkpoints.flat import rectangles
from fanin.checkpoints.layout import layout_of
from fanin.checkpoints.slabs import slabs_of
from fanin.checkpoints.values import Values
from fanin.initializers import (
    Blocks,
    Constant,
    Cycle,
    Identity,
    Mapped,
    Mirrored,
    Negated,
    Normal,
    Orthogonal,
    Ramp,
    RowNormalized,
    Sparse,
    TruncatedNormal,
    Uniform,
)
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown

BETWEEN = 1 + 2**-11 + 2**-40  # rounds to 1 in float16 by way of float32, else upwards
LAWS = {
    "normal": ((37, 5, 11), Normal(std=0.02)),
    "truncated": ((1, 9001), TruncatedNormal(std=0.5)),
    "uniform": ((2003,), Uniform(-1.0, 2.0)),
    "scalar": ((), Normal()),
    "empty": ((0, 4), Normal()),
    "constant": ((700, 3), Constant(BETWEEN)),
    "blocks": (
        (60, 50),
        Blocks(Normal(), parts=(((5, 3), (20, 30), Constant(BETWEEN)), ((31, 0), (9, 50), Uniform()))),
    ),
    "mapped": ((40, 40), Mapped(Uniform(0.1, 2.0), ("log",))),
    "ramp": ((40, 40), Ramp(0.1, 7.0, axis=1)),
    "cycle": ((41, 40), Cycle((0.1, 0.7, 3.3), axis=0)),
    "negated": ((60,), Blocks(Uniform(), parts=(((0,), (30,), Negated(Uniform(), shift=30)),))),
    "identity": ((50, 60), Identity()),
    "orthogonal": ((50, 60), Orthogonal()),
    "experts": ((6, 30, 40), Orthogonal(rows=(1,), batch=(0,))),
    "inner experts": ((30, 6, 40), Orthogonal(rows=(0,), batch=(1,))),
    "gates": ((120, 30), Orthogonal(groups=4)),
    "sparse": ((50, 60), Sparse(sparsity=0.3, std=1.0)),
    "rows": ((70, 33), RowNormalized()),
    "mirrored": ((40, 40), Mirrored(Orthogonal(), axes=(0, 1))),
}


def step(name, shape, action, dtype="float32", **more):
    return Step(name, shape, dtype, "parameter", action, "for the test", **more)


def drawn(dtype):
    return Plan(tuple(step(name, shape, Draw(law), dtype) for name, (shape, law) in LAWS.items()))


def assembled(plan, dtype, size, seed=3):
    """Each tensor of the plan's only file, put together from slabs that are filled in the wrong order."""
    shard = layout_of(plan, seed, dtype).shards[0]
    values = Values.of(plan, seed, 1)
    content = torch.full((-(-shard.size // size) * size,), 0xAB, dtype=torch.uint8)
    slabs = list(slabs_of(shard, values.source, size))
    assert [slab.offset for slab in slabs] == list(range(0, shard.size, size))
    for slab in reversed(slabs):
        slab.fill(content[slab.offset : slab.offset + slab.size])
    assert content[: len(shard.header)].numpy().tobytes() == shard.header
    types = {described.name: getattr(torch, described.dtype) for described in shard.tensors}
    return {
        described.name: content[at : at + described.nbytes].view(types[described.name]).view(described.shape)
        for described, at in shard.places()
    }


def materialized(plan, seed=3):
    """The plan's values in a model."""
    model = nn.Module()
    for each in plan.steps:
        dtype = getattr(torch, each.dtype)
        key = each.name.replace(".", "_")
        model.register_buffer(key, torch.empty(each.shape, dtype=dtype, device="meta"))
    fanin.materialize(model, plan, seed=seed)
    return dict(model.named_buffers())


@pytest.mark.parametrize("size", [4096, 1 << 20])
@pytest.mark.parametrize("target", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("stored", ["float32", "float64", "bfloat16"])
def test_any_law_in_any_dtype(same_bits, stored, target, size):
    plan = drawn(stored)
    expected = {name: values.to(getattr(torch, target)) for name, values in materialized(plan).items()}
    assert same_bits(assembled(plan, target, size), expected)


shapes = st.lists(st.integers(1, 5), max_size=4).map(tuple)


@given(shapes.flatmap(lambda shape: st.tuples(st.just(shape), *[st.integers(0, prod(shape))] * 2)))
def test_rectangles_cover_a_run_once_in_order(case):
    shape, one, other = case
    first, last = min(one, other), max(one, other)
    grid = torch.arange(prod(shape)).reshape(shape)
    seen = []
    for region in rectangles(shape, first, last):
        slices = tuple(slice(a, a + n) for a, n in zip(region.start, region.size, strict=True))
        seen += grid[slices].reshape(-1).tolist()
    assert seen == list(range(first, last))


def test_rectangles_are_few():
    assert len(list(rectangles((9, 9, 9, 9), 1, 9**4 - 1))) <= 2 * 4 - 1


def test_programs_and_copies(same_bits, tmp_path):
    """Computed values, copies of drawn and of computed tensors, and tensors of a file in another dtype."""
    held = {"a": torch.randn(40, 30), "b": torch.randn(1300, dtype=torch.float64)}
    from safetensors.torch import save_file

    save_file(held, tmp_path / "held.safetensors")
    law = tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in Normal().to_dict().items())
    program = (
        ("draw", (law, (30, 40), "float32", "", 0), ()),
        ("tensor", ("first",), ()),
        ("mul.Tensor", (("$", 0), ("$", 1)), ()),
    )
    copy = (("tensor", ("first",), ()), ("alias.default", (("$", 0),), ()))
    path = str(tmp_path / "held.safetensors")
    plan = Plan(
        (
            step("computed", (30, 40), Replay(program)),
            step("first", (30, 40), Draw(Normal(std=0.1))),
            step("twin", (30, 40), Replay(copy)),
            step("narrow", (30, 40), Replay(copy), "float16"),
            step("read", (40, 30), Copy(path, "a"), "bfloat16"),
            step("read64", (1300,), Copy(path, "b")),
            step("count", (), Draw(Constant(7)), "int64"),
            step("mask", (9,), Draw(Constant(1)), "bool"),
        )
    )
    expected = materialized(plan)
    assert same_bits(assembled(plan, None, 4096), expected)
    changed = {name: each.float() if each.is_floating_point() else each for name, each in expected.items()}
    assert same_bits(assembled(plan, "f32", 4096), changed)
    assert expected["count"].dtype is torch.int64


def test_a_copy_of_a_drawn_tensor_is_not_computed_whole():
    copy = (("tensor", ("w",), ()), ("alias.default", (("$", 0),), ()))
    plan = Plan((step("w", (30, 40), Draw(Normal())), step("twin", (30, 40), Replay(copy))))
    values = Values.of(plan, 0, 1)
    assert values.source("twin") == values.source("w")


def test_experts_are_computed_one_after_the_other():
    experts = 3, 2500, 2500
    plan = Plan((step("w", experts, Draw(Orthogonal(rows=(1,), batch=(0,)))),))
    parts = Values.of(plan, 0, 1).source("w").parts
    assert [(part.first, part.last) for part in parts] == [(n * 2500**2, (n + 1) * 2500**2) for n in range(3)]


def test_values_that_nobody_has_are_named_before_anything_is_written(tmp_path):
    plan = Plan(
        (
            step("kept", (2,), Keep()),
            replace(step("unknown", (2,), Unknown()), why="nobody wrote it"),
            step("fine", (2,), Draw(Normal())),
        )
    )
    with pytest.raises(fanin.PlanError) as caught:
        fanin.write(plan, tmp_path / "out")
    assert str(caught.value) == (
        "the plan has no values for 2 tensors, and no model is at hand to keep them from: kept (to be kept); "
        "unknown (unknown: nobody wrote it). Give them a law with plan.override({name: initializer}), or a Copy step"
    )
    assert not (tmp_path / "out").exists()


def test_a_program_that_reads_what_nobody_has(tmp_path):
    copy = (("tensor", ("kept",), ()), ("alias.default", (("$", 0),), ()))
    plan = Plan((step("kept", (2,), Keep(), persistent=False), step("twin", (2,), Replay(copy))))
    with pytest.raises(fanin.PlanError) as caught:
        fanin.write(plan, tmp_path / "out")
    assert str(caught.value) == "'twin' is computed from 'kept', for which the plan has no values: draw them"


def test_a_law_that_does_not_fit(tmp_path):
    plan = Plan((step("w", (2,), Draw(Orthogonal())),))
    with pytest.raises(fanin.PlanError, match="'w' cannot be written: Orthogonal"):
        fanin.write(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_buffer_that_no_state_dict_holds_is_left_out_and_said(read, tmp_path):
    plan = Plan((step("w", (2,), Draw(Normal())), step("inv_freq", (2,), Keep(), persistent=False)))
    written = fanin.write(plan, tmp_path)
    assert written.skipped == ("inv_freq",)
    assert list(read(tmp_path)) == ["w"]
