"""Any split of any shape: what each rank holds has the bits that one process draws there."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanin.initializers import Constant, Normal, Orthogonal, RowNormalized, Sparse, TruncatedNormal, Uniform

WORLD = 4
LAWS = (Normal(std=0.3), Uniform(-2.0, 1.0), TruncatedNormal(std=0.02), Constant(0.25))
MATRIX_LAWS = (Orthogonal(gain=1.5), Sparse(sparsity=0.5), RowNormalized())


@st.composite
def splits(draw: st.DrawFn) -> Any:
    """A shape, a mesh of all ranks, what each mesh dimension shards, a law and a dtype."""
    shape = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    mesh = draw(st.sampled_from([(WORLD,), (2, 2), (1, WORLD), (2, 1, 2)]))
    dims = tuple(draw(st.none() | st.integers(0, len(shape) - 1)) for _ in mesh)
    laws = LAWS + MATRIX_LAWS if len(shape) == 2 and min(shape) > 0 else LAWS
    law = draw(st.sampled_from(laws))
    return shape, mesh, dims, law, draw(st.sampled_from(["float32", "float64", "bfloat16", "float16"]))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(examples=st.lists(splits(), min_size=8, max_size=14))
def test_any_split_of_any_shape(pool: Any, examples: list[Any]) -> None:
    for answers in pool.run(WORLD, "splits", examples):
        assert answers == [""] * len(examples)


def test_the_shares_of_uneven_and_empty_shards(pool: Any) -> None:
    examples = [
        ((5, 3), (4,), (0,), Normal(), "float32"),
        ((2, 3), (4,), (0,), Normal(), "bfloat16"),
        ((7, 5), (2, 2), (0, 0), Orthogonal(), "float32"),
        ((3, 9), (2, 2), (1, 1), Uniform(0.0, 1.0), "float64"),
        ((0, 4), (2, 2), (0, 1), Normal(), "float32"),
        ((4, 0), (4,), (0,), Normal(), "float16"),
    ]
    assert pool.run(WORLD, "splits", examples) == [[""] * len(examples)] * WORLD


def test_shards_that_are_empty_twice(pool: Any) -> None:
    """Tensor parallelism leaves half of the ranks nothing, and FSDP2 cuts that nothing again."""
    assert pool.run(WORLD, "empty_twice") == [True] * WORLD
