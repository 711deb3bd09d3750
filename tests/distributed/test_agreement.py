"""Ranks that hold shards of one model write the same values, or all raise and say which rank is to blame."""

from __future__ import annotations

from typing import Any

import pytest

from fanin.random import STREAM_VERSION

SECONDS = 20  # the timeout of the process group is 30


def refused(outcomes: list[Any], *, kind: str = "PlanError") -> list[str]:
    """Every rank raised soon and touched nothing; what each said."""
    assert [outcome.kind for outcome in outcomes] == [kind] * len(outcomes), outcomes
    assert all(outcome.untouched for outcome in outcomes)
    assert max(outcome.seconds for outcome in outcomes) < SECONDS
    return [outcome.message for outcome in outcomes]


@pytest.mark.parametrize(("bad", "told"), [
    (3, "rank 3 has seed 7, ranks 0–2 have seed 0"),
    (0, "rank 0 has seed 7, ranks 1–3 have seed 0"),
    (2, "rank 2 has seed 7, ranks 0–1, 3 have seed 0"),
])  # fmt: skip
def test_another_seed(pool: Any, bad: int, told: str) -> None:
    said = refused(pool.run(4, "other_seed", bad))
    assert said == [f"{told}: pass the same seed on every rank; nothing was written on any rank"] * 4


def test_another_plan_names_the_step(pool: Any) -> None:
    said = set(refused(pool.run(4, "other_plan")))
    assert len(said) == 1
    text = said.pop()
    assert text.startswith("rank 1 has plan ")
    assert ", ranks 0, 2–3 have plan " in text
    assert "; number 3: rank 1 has {" in text
    assert '"name": "second.weight"' in text
    assert '"law": "Normal", "mean": 0.0, "std": 0.5' in text
    assert text.endswith("or plan the same model with the same recipe on each; nothing was written on any rank")


def test_words_of_the_plan_may_differ(pool: Any) -> None:
    assert [outcome.kind for outcome in pool.run(4, "other_words")] == [""] * 4


@pytest.mark.parametrize(("job", "told"), [
    (
        "other_stream_version",
        f"rank 1 has stream version {STREAM_VERSION + 1}, ranks 0, 2–3 have stream version {STREAM_VERSION}: "
        "install the same version of fanin on every rank",
    ),
    ("other_fanin_version", "rank 1 has fanin version 99.0, ranks 0, 2–3 have fanin version "),
    (
        "other_mesh",
        "rank 1 has mesh (replicas=4) of 0…3, ranks 0, 2–3 have mesh (dp=4) of 0…3: the mesh changed, or was made "
        "differently: build the same device mesh on every rank and shard anew",
    ),
])  # fmt: skip
def test_another_version_or_mesh(pool: Any, job: str, told: str) -> None:
    for text in refused(pool.run(4, job)):
        assert text.startswith(told)
        assert text.endswith("; nothing was written on any rank")


def test_another_model_names_the_tensor(pool: Any) -> None:
    for text in refused(pool.run(4, "other_model")):
        assert text.startswith("rank 1 has tensors ")
        assert "; number 1: rank 1 has first.weight (8, 4) float32 S(0), ranks 0, 2–3 have first.weight (6, 4)" in text
        assert text.endswith("build and shard the same model on every rank; nothing was written on any rank")


def test_validation_fails_on_one_rank(pool: Any) -> None:
    said = refused(pool.run(4, "protected"))
    own = said.pop(1)
    assert own.startswith("the plan would write 'first.weight', 'first.bias', whose values are protected")
    assert own.endswith("(on rank 1; nothing was written on any rank)")
    for text in said:
        assert text.startswith("rank 1 failed: PlanError: the plan would write 'first.weight', 'first.bias', whose")
        assert text.endswith("; nothing was written on any rank")


def test_validation_fails_on_all_ranks(pool: Any) -> None:
    for rank, text in enumerate(refused(pool.run(4, "all_protected"))):
        assert text.startswith("the plan would write 'first.weight'")
        assert text.endswith(f"(on rank {rank}; nothing was written on any rank)")


@pytest.mark.parametrize("meta", [True, False])
def test_a_progress_callback_raises_on_one_rank(pool: Any, meta: bool) -> None:
    outcomes = pool.run(4, "failing_progress", meta)
    own = outcomes.pop(1)
    assert own.kind == ("OSError" if meta else "HalfWrittenError")
    assert "the disk is full" in own.message
    assert own.message.endswith("\n(on rank 1; the other ranks raise too)")
    for outcome in outcomes:
        assert outcome.kind == "FaninError"
        assert outcome.message.startswith(f"rank 1 failed: {own.kind}: {own.message.splitlines()[0]}, while values")
        assert outcome.message.endswith(
            "the model is not whole on any rank. Mend the cause there and materialize again on all ranks"
        )
    assert own.untouched == outcomes[0].untouched == meta  # a meta model stays one on every rank
    assert max(outcome.seconds for outcome in (own, *outcomes)) < SECONDS


def test_a_law_raises_on_one_rank(pool: Any) -> None:
    outcomes = pool.run(4, "failing_law")
    assert [outcome.kind for outcome in outcomes] == ["FaninError", "MemoryError", "FaninError", "FaninError"]
    assert all(outcome.untouched and outcome.seconds < SECONDS for outcome in outcomes)
    assert outcomes[3].message.startswith("rank 1 failed: MemoryError: no memory left, while values were being written")


def test_one_rank_alone_writes_a_plain_model(pool: Any) -> None:
    outcomes = pool.run(4, "rank_zero_only")
    assert (outcomes[0].kind, outcomes[1:]) == ("", [None] * 3)
    assert pool.run(4, "team_size") == [(0, 1)] * 4


def test_the_process_group_is_gone(pool: Any) -> None:
    for text in refused(pool.run(2, "no_group", last=True)):
        assert text == (
            "the model is sharded over the mesh (dp=2), but there is no process group: call init_process_group, make "
            "the mesh and shard the model anew"
        )


def test_the_process_group_is_another(pool: Any, tmp_path: Any) -> None:
    for text in refused(pool.run(2, "other_group", str(tmp_path / "store"), last=True)):
        assert text == (
            "the mesh changed: the model is sharded over (dp=2) of ranks 0–1, which is not from the process group of "
            "now (1 ranks, this is rank 0): call init_process_group, make the mesh and shard the model anew"
        )


def test_a_rank_dies(pool: Any) -> None:
    outcomes = [outcome for outcome in pool.run(4, "dying", dying=1) if outcome is not None]
    assert len(outcomes) == 3
    for text in refused(outcomes):
        assert "to agree on what to write (" in text
        assert "a rank died, holds its tensors on another mesh, or did not call materialize" in text


def test_a_rank_sends_no_statement(pool: Any) -> None:
    outcomes = [outcome for outcome in pool.run(2, "garbage") if outcome is not None]
    assert refused(outcomes) == ["a rank sent what is no statement of fanin's: run the same version on every rank"]


def test_pipeline_stages_agree_each_by_itself(pool: Any) -> None:
    good = pool.run(8, "pipeline", None, None)
    assert [(outcome.kind, outcome.message) for outcome in good] == [("", "equal: True")] * 8
    alone = pool.run(8, "pipeline", None, 1)
    assert [outcome and outcome.message for outcome in alone] == ["equal: True"] * 4 + [None] * 4
    mixed = pool.run(8, "pipeline", 6, None)
    assert [outcome.kind for outcome in mixed[:4]] == [""] * 4
    for text in refused(mixed[4:]):
        assert text.startswith("rank 6 has seed 7, ranks 4–5, 7 have seed 0")
