"""1 process = 2, 4 and 8 processes, bit for bit, whatever the engine that shards the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MODELS = ("gpt2", "llama", "moe", "resnet18", "lstm", "mamba")
RECIPES = ("native", "orthogonal")
WORLDS = (2, 4, 8)
WAYS = ("fsdp", "fsdp-tp", "hsdp")


@pytest.fixture(scope="session")
def reference(pool: Any) -> dict[tuple[str, str], dict[str, str]]:
    """Hashes of every tensor as one process writes it."""
    cases = [(model, recipe) for model in MODELS for recipe in RECIPES]
    return {case: pool.run(1, "plain", *case, 0)[0] for case in cases}


@pytest.mark.parametrize("model", MODELS)
def test_captured_is_plain(pool: Any, reference: Any, model: str) -> None:
    for recipe in RECIPES:
        assert pool.run(1, "captured", model, recipe, 0) == [reference[model, recipe]]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("world", WORLDS)
def test_sharded_on_meta_is_plain(pool: Any, reference: Any, model: str, how: str, world: int) -> None:
    for recipe in RECIPES:
        assert pool.run(world, "from_meta", model, recipe, 0, how) == [reference[model, recipe]] * world


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("world", [2, 8])
def test_sharded_in_memory_is_plain(pool: Any, reference: Any, model: str, how: str, world: int) -> None:
    assert pool.run(world, "from_real", model, "native", 0, how) == [reference[model, "native"]] * world


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("world", [1, 4])
def test_straight_to_disk_is_plain(pool: Any, reference: Any, model: str, world: int, tmp_path: Path) -> None:
    names = pool.run(world, "persistent", model)[0]
    for recipe in RECIPES:
        due = {name: reference[model, recipe][name] for name in names}
        seen = pool.run(world, "on_disk", model, recipe, 0, str(tmp_path / recipe))
        assert seen == [due] * world


@pytest.mark.parametrize("how", ["fsdp", "hsdp"])
@pytest.mark.parametrize("model", ["gpt2", "llama"])
def test_the_engine_trains_what_was_made(pool: Any, reference: Any, how: str, model: str) -> None:
    for before, finite, after in pool.run(4, "trained", model, how):
        assert before == reference[model, "native"]
        assert finite
        assert all(after[name] != before[name] for name in before if name.endswith("weight"))


def test_references_differ_by_model_recipe_and_seed(pool: Any, reference: Any) -> None:
    """The hashes can tell apart what they are there to tell apart."""
    assert reference["gpt2", "native"] != reference["gpt2", "orthogonal"]
    assert pool.run(1, "plain", "gpt2", "native", 1) != [reference["gpt2", "native"]]
    assert all(len(set(hashes.values())) > 3 for hashes in reference.values())
