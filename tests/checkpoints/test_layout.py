"""Which file holds what, as transformers would cut it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from huggingface_hub import split_torch_state_dict_into_shards
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

import fanin
from fanin.checkpoints.layout import layout_of
from fanin.checkpoints.sizes import shown, size_in_bytes
from fanin.initializers import Constant, Normal
from fanin.plans import Plan
from fanin.plans.steps import Draw, Step

DTYPES = {"float32": np.float32, "float16": np.float16, "int64": np.int64, "float64": np.float64}


def step(name, shape, dtype="float32", **more):
    law = Normal() if dtype.startswith(("float", "bfloat")) else Constant(1)
    return Step(name, shape, dtype, "parameter", Draw(law), "for the test", **more)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([*DTYPES])), min_size=1, max_size=12), st.integers(8, 300)
)
def test_cut_as_the_hub_cuts(tensors, limit):
    plan = Plan(tuple(step(f"t{n}", (count,), dtype) for n, (count, dtype) in enumerate(tensors)))
    layout = layout_of(plan, 0, None, limit)

    class Sized:
        def __init__(self, nbytes):
            self.nbytes = nbytes

    from huggingface_hub.serialization._base import split_state_dict_into_shards_factory

    sized = {f"t{n}": Sized(count * np.dtype(DTYPES[dtype]).itemsize) for n, (count, dtype) in enumerate(tensors)}
    theirs = split_state_dict_into_shards_factory(
        sized,
        get_storage_size=lambda tensor: tensor.nbytes,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=limit,
    )
    assert dict(layout.weight_map) == theirs.tensor_to_filename
    assert layout.data_bytes == theirs.metadata["total_size"]
    assert [shard.filename for shard in layout.shards] == list(theirs.filename_to_tensors)


def test_cut_as_transformers_cuts_a_model(sample_of):
    sample = sample_of("llama")
    theirs = split_torch_state_dict_into_shards(
        sample.build().state_dict(), filename_pattern="model{suffix}.safetensors", max_shard_size="100KB"
    )
    assert dict(layout_of(sample.plan, 0, None, "100KB").weight_map) == theirs.tensor_to_filename


def test_a_tensor_larger_than_a_file_gets_its_own():
    plan = Plan((step("a", (2,)), step("b", (100,)), step("c", (2,))))
    assert layout_of(plan, 0, None, 64).weight_map == {
        "a": "model-00002-of-00002.safetensors",
        "b": "model-00001-of-00002.safetensors",
        "c": "model-00002-of-00002.safetensors",
    }


def test_index_and_headers(sample_of, tmp_path):
    sample = sample_of("gpt2")
    written = fanin.write(sample.plan, tmp_path, seed=9, dtype="bf16", max_shard_size="200KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert index["metadata"]["total_size"] == written.bytes
    assert index["metadata"]["total_parameters"] == sum(p.numel() for p in sample.build().parameters())
    assert list(index["weight_map"]) == [each.name for each in sample.plan.steps if each.persistent]
    assert written.files == (*sorted(set(index["weight_map"].values())), "model.safetensors.index.json")
    for name in written.files[:-1]:
        with safe_open(tmp_path / name, "pt") as file:
            assert file.metadata() == {
                "format": "pt",
                "fanin.seed": "9",
                "fanin.dtype": "bfloat16",
                "fanin.plan_hash": sample.plan.hash,
                "fanin.recipe": "native",
                "fanin.stream_version": index["metadata"]["fanin.stream_version"],
                "lm_head.weight": "transformer.wte.weight",
            }


def test_one_file_has_the_bytes_that_save_writes(sample_of, tmp_path):
    sample = sample_of("llama")
    model = fanin.materialize(sample.build(), sample.plan, seed=4)
    fanin.save(model, tmp_path / "saved.safetensors", plan=sample.plan, seed=4)
    fanin.write(sample.plan, tmp_path / "out", seed=4)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (tmp_path / "saved.safetensors").read_bytes()


def test_integers_keep_their_dtype(tmp_path):
    kinds = ["float32", "int64", "bool", "float64", "bfloat16"]
    plan = Plan(tuple(step(kind, (3,), kind) for kind in kinds))
    fanin.write(plan, tmp_path, dtype="f16")
    held = fanin.open_weights(tmp_path / "model.safetensors")
    seen = {name: str(held[name].dtype).removeprefix("torch.") for name in kinds}
    assert seen == dict.fromkeys(kinds, "float16") | {"int64": "int64", "bool": "bool"}


def test_an_empty_plan_is_an_empty_file(read, tmp_path):
    assert fanin.write(Plan(()), tmp_path).files == ("model.safetensors",)
    assert read(tmp_path) == {}


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(1, 9))
def test_shares_are_all_files_once_and_even(sizes, world):
    layout = layout_of(Plan(tuple(step(f"t{n}", (size,)) for n, size in enumerate(sizes))), 0, None, 4)
    shares = layout.shares(world)
    assert sorted(shard.filename for share in shares for shard in share) == [each.filename for each in layout.shards]
    loads = [sum(shard.size for shard in share) for share in shares]
    assert max(loads) - min(loads) <= max(shard.size for shard in layout.shards)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("5GB", 5 * 10**9),
        ("5GiB", 5 * 2**30),
        ("1.5 mb", 1_500_000),
        ("10kib", 10_240),
        ("7", 7),
        (7, 7),
        ("2TB", 2 * 10**12),
    ],
)
def test_sizes(text, count):
    assert size_in_bytes(text) == count


@pytest.mark.parametrize("wrong", ["", "GB", "5 apples", "-5GB", 0, -1, True, 1.5, "0KB", "5GB5", "１GB", None])
def test_what_is_no_size(wrong):
    with pytest.raises(fanin.ArgumentError, match="a size "):
        size_in_bytes(wrong)


def test_sizes_for_people():
    assert [shown(count) for count in (0, 999, 1000, 5 * 10**9)] == ["0 B", "999 B", "1.00 kB", "5.00 GB"]


@pytest.mark.parametrize("wrong", ["int8", "bfloat", "", 16])
def test_what_is_no_dtype(tmp_path, wrong):
    with pytest.raises(fanin.ArgumentError) as caught:
        fanin.write(Plan(()), tmp_path / "out", dtype=wrong)
    assert str(caught.value) == (
        "dtype must be 'bf16', 'f16', 'f32', one of bfloat16, float16, float32, float64, or None, got " + repr(wrong)
    )
    assert not (tmp_path / "out").exists()


def test_a_dtype_that_no_file_holds(tmp_path):
    plan = Plan((step("phases", (3,), "complex32"),))
    with pytest.raises(fanin.PlanError, match="'phases' has dtype complex32, which safetensors does not hold"):
        fanin.write(plan, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"threads": 0}, "threads must be a whole number from 1, got 0"),
        ({"rank": 2, "world": 2}, "rank must be from 0 to world - 1, got rank 2 of world 2"),
        ({"rank": -1}, "rank must be from 0 to world - 1, got rank -1 of world 1"),
        ({"seed": -1}, "seed must be from 0 to 2**64 - 1, got -1"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, arguments, text):
    with pytest.raises(fanin.ArgumentError) as caught:
        fanin.write(Plan(()), tmp_path / "out", **arguments)
    assert str(caught.value) == text
    assert not (tmp_path / "out").exists()
