"""New tokens and heads in sharded models: the bits of one process, and the engine trains on; all ranks raise if one
cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch

# Model, how it is sharded, method, rows padded to a multiple of, steps of training before and after, dtype.
TRAINED = [
    ("words", "fsdp", "mean-cov", None, (1, 1), "float32"),
    ("words", "hsdp", "subtoken", None, (0, 2), "float32"),
    ("gpt2", "fsdp", "mean-cov", None, (1, 1), "float32"),
    ("words", "tp", "copy", None, (0, 2), "float32"),
    ("words", "tp fsdp", "mean", 8, (0, 2), "float32"),
]
STILL = [
    *(("words", how, "mean-cov", None, (0, 0), "float32") for how in ("0", "1", "-", "01", "-0")),
    *(("words", "00", method, 16, (0, 0), "bfloat16") for method in ("mean", "subtoken", "copy", "normal")),
    ("llama", "fsdp-tp", "mean-cov", None, (0, 0), "bfloat16"),
]


COLUMNS = ("words", "fsdp columns", "mean-cov", 2, (1, 1), "float32")
AFTERWARDS = ("words", "tp, then fsdp", "mean-cov", None, (0, 2), "float32")
HEADS = {"orthogonal": ("fsdp", "tp fsdp"), "zero": ("fsdp",)}


@pytest.fixture(scope="module")
def due(pool: Any) -> dict[Any, Any]:
    """What one process makes of each case."""
    cases = [*TRAINED, *STILL, COLUMNS, AFTERWARDS]
    made = pool.run(1, "all_extended", [(model, "plain", *rest) for model, _, *rest in cases])[0]
    heads = {init: pool.run(1, "headed", "plain", init)[0] for init in HEADS}
    grads = pool.run(1, "gradients", "plain")[0]
    return dict(zip(cases, made, strict=True)) | heads | {"gradients": grads}


def test_every_way_to_shard_gives_the_rows_of_one_process(pool: Any, due: Any) -> None:
    """Tied and untied tables, heads and their biases; along rows and columns, copied, on meshes of two dimensions,
    unevenly; and the record is the same."""
    for seen in pool.run(4, "all_extended", STILL):
        assert seen == [due[case] for case in STILL]


def test_the_engine_trains_a_model_that_grew(pool: Any, due: Any) -> None:
    """Before the first pass and after steps; gradients of before are kept, as FSDP2 accumulates them."""
    for seen in pool.run(4, "all_extended", TRAINED):
        for case, (hashes, record, losses, after) in zip(TRAINED, seen, strict=True):
            assert (hashes, record) == due[case][:2], case
            if "tp" in case[1]:  # sums of other order
                assert losses == pytest.approx(due[case][2], rel=1e-6), case
            else:
                assert (losses, after) == due[case][2:], case
            assert losses[-1] < losses[-2], case


@pytest.mark.parametrize("how", ["tp", "fsdp", "summands"])
def test_gradients_grow_with_their_parameters(pool: Any, due: Any, how: str) -> None:
    """torch may leave the gradient sharded otherwise than its parameter, or as summands."""
    for seen in pool.run(4, "gradients", how):
        assert seen.keys() == due["gradients"].keys()
        for name, rows in seen.items():
            assert len(rows) == len(due["gradients"][name])
            torch.testing.assert_close(torch.tensor(rows), torch.tensor(due["gradients"][name]))
            assert not torch.tensor(rows)[31:].any()


def test_tensor_parallelism_then_tokens_then_fully_shard(pool: Any, due: Any) -> None:
    for hashes, losses in pool.run(4, "sharded_afterwards", "mean-cov"):
        assert hashes == due[AFTERWARDS][0]
        assert losses == pytest.approx(due[AFTERWARDS][2], rel=1e-6)


def test_heads_are_those_of_one_process(pool: Any, due: Any) -> None:
    for init, ways in HEADS.items():
        hashes, record, losses = due[init]
        for how in ways:
            for seen in pool.run(4, "headed", how, init):
                assert seen[1] == record
                assert [seen[0][name] for name in ("head.weight", "head.bias")] == [
                    hashes[name] for name in ("head.weight", "head.bias")
                ]
                assert seen[2] == pytest.approx(losses, rel=1e-6)


def test_columns_under_fsdp_and_what_it_cannot_cut(pool: Any, due: Any) -> None:
    assert pool.run(2, "extended", *COLUMNS) == [due[COLUMNS]] * 2
    for outcome in pool.run(2, "uneven_columns"):
        assert outcome.untouched
        assert outcome.message.startswith(
            "'1.weight' cannot change its size to (8, 37): FSDP does not support uneven sharding on dim 1"
        )
        assert "choose one that the ranks can divide, as by pad_to_multiple_of=" in outcome.message


def test_a_head_without_a_bias_gets_none(pool: Any) -> None:
    for outcome in pool.run(2, "bias_for_a_sharded_head"):
        assert outcome.untouched
        assert outcome.message.startswith("'score' has no bias, and a sharded head cannot get one: change the model")


@pytest.mark.parametrize("on_all", [True, False])
def test_what_fails_late_is_taken_back_on_all_ranks(pool: Any, on_all: bool) -> None:
    for outcome, sizes, losses, expected in pool.run(2, "taken_back", on_all):
        assert "a part of the model has the old size" in outcome.message
        assert outcome.untouched
        assert sizes
        assert losses == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 6}, "rank 1 has 6 new tokens by mean from row 31, scale 1e-05: pass the same arguments on every"),
        ({"tokens": ["a", "b", "c", "d", "e"]}, "number 7: rank 0 has token '' of no piece, rank 1 has token 'a'"),
        ({"trained": 30, "tokens": 6, "method": "normal"}, "rank 1 has 6 new tokens by normal from row 30"),
        ({"seed": 3}, "rank 0 has seed 0, rank 1 has seed 3: pass the same seed on every rank"),
        ({"tokens": 0}, "no new tokens: got 0"),
        ({"method": "subtoken"}, "needs to know which old tokens each new one is made of"),
    ],
)
def test_one_rank_that_is_asked_otherwise_stops_all(pool: Any, options: dict[str, Any], message: str) -> None:
    for outcome in pool.run(2, "asked_otherwise", options):
        assert message in outcome.message
        assert outcome.message.endswith("nothing was written on any rank") or "(on rank 1; nothing" in outcome.message
        assert outcome.untouched


def test_a_copy_that_is_broken_on_one_rank_stops_all(pool: Any) -> None:
    first, second = pool.run(2, "one_copy_is_broken")
    assert first.message.startswith("rank 1 failed: DataError: 'head.weight': row 3 holds NaN or infinity")
    assert second.kind == "DataError"
    assert first.untouched
    assert second.untouched


def test_an_fsdp_that_is_not_known_is_refused(pool: Any) -> None:
    for outcome in pool.run(2, "another_torch"):
        assert outcome.message.startswith(
            "'tokens.weight' cannot change its size: it is under a fully_shard that fanin does not know (torch 2."
        )
        assert outcome.untouched


def test_gradients_that_wait_are_named(pool: Any) -> None:
    """Once they are reduced, tokens come, also where the last pass left the parameters gathered."""
    for outcome, kinds, shape in pool.run(2, "waiting_gradients"):
        assert outcome.message.startswith("'tokens.weight' cannot change its size: it has gradients that FSDP2 has not")
        assert outcome.untouched
        assert kinds == ["Tensor", "DTensor"]
        assert shape == (36, 8)
