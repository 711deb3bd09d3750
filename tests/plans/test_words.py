"""Laws and actions in a few words."""

import pytest

from fanin.initializers import (
    Blocks,
    Constant,
    Mapped,
    Negated,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
)
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.plans.words import law, law_with_std, std_in_parts, values, values_with_std


def step(action):
    return Step("w", (4, 4), "float32", "parameter", action, "")


@pytest.mark.parametrize(
    ("initializer", "shown"),
    [
        (Constant(0.0), "zeros"),
        (Constant(1.0), "ones"),
        (Constant(-2.5), "constant -2.5"),
        (Normal(std=0.02), "normal"),
        (Normal(1.0, 0.02), "normal, mean 1"),
        (Uniform(-0.25, 0.25), "uniform ±0.25"),
        (Uniform(0.0, 1.0), "uniform 0 … 1"),
        (TruncatedNormal(std=0.02), "truncated normal ±2σ"),
        (TruncatedNormal(std=0.02, lower=-1.0, upper=3.0), "truncated normal -1σ … 3σ"),
        (Orthogonal(), "orthogonal"),
        (Orthogonal(gain=1.5), "orthogonal, gain 1.5"),
        (Mapped(Uniform(1.0, 99.0), ("log",)), "log of uniform 1 … 99"),
        (Mapped(Uniform(-7.0, -2.0), ("exp", "inverse_softplus")), "inverse softplus of exp of uniform -7 … -2"),
        (Negated(Uniform(1.0, 2.0), shift=2), "minus uniform 1 … 2"),
    ],
)
def test_laws(initializer, shown):
    assert law(initializer, (4, 4)) == shown


def test_actions():
    actions = (Keep(), Unknown(), Copy("some/where/a.gguf", "fc1"), Replay((1, 2)), Draw(Normal(std=0.5)))
    told = ["keep", "UNKNOWN", "copy fc1 of a.gguf", "computed", "normal"]
    assert [values(step(each)) for each in actions] == told
    assert [values_with_std(step(each)) for each in actions] == [*told[:-1], "normal, std 0.5"]


HEADS = tuple(((64 * 3 * head, 0), (64, 512), Normal(std=0.25)) for head in range(8))
PADDED = Blocks(Normal(std=0.5), (((2, 0), (1, 8), Constant(0.0)),))
COVERED = Blocks(Normal(std=9.0), (((0, 0), (4, 8), Normal(std=0.5)), ((4, 0), (5, 8), Normal(std=0.25))))
COMB = Blocks(Normal(std=0.5), (((64, 0), (64, 512), Normal(std=0.25), (192, 512), (8, 1)),))


@pytest.mark.parametrize(
    ("packed", "shape", "short", "std", "long"),
    [
        (PADDED, (9, 8), "normal + zeros", "0.5 + 0", "normal std 0.5, but zeros in [2, :]"),
        (COVERED, (9, 8), "normal", "0.5 + 0.25", "normal std 0.5 in [0:4, :], normal std 0.25 in [4:9, :]"),
        (
            Blocks(Normal(std=0.5), HEADS),
            (1536, 512),
            "normal",
            "0.5 + 0.25",
            "normal std 0.5, but normal std 0.25 in 8 parts",
        ),
        (COMB, (1536, 512), "normal", "0.5 + 0.25", "normal std 0.5, but normal std 0.25 in [64:128 every 192, :]"),
        (
            Blocks(Constant(0.0), (((4,), (4,), Constant(1.0)),)),
            (16,),
            "zeros + ones",
            "0",
            "zeros, but ones in [4:8]",
        ),
    ],
    ids=["padding row", "covered base", "heads", "comb", "forget gate"],
)
def test_parts_of_a_packed_tensor(packed, shape, short, std, long):
    assert law(packed, shape) == short
    assert std_in_parts(packed, shape) == std
    assert law_with_std(packed, shape) == long


def test_many_stds_are_told_as_one():
    many = Blocks(Normal(), tuple(((row, 0), (1, 4), Normal(std=0.1 * (row + 1))) for row in range(5)))
    assert std_in_parts(many, (5, 4)) == f"{many.moments((5, 4))[1]:.4g}"
