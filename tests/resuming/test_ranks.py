"""Runs of several ranks: bit for bit on as many ranks, the same values on another number of them."""

from __future__ import annotations

import json
import pickle
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata

from fanin import WeightsError
from fanin.resuming.shards_reader import ShardsReader

JOB = Path(__file__).with_name("ranks_job.py")
ALONE = runpy.run_path(str(JOB))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("ranks")
    made, run = ALONE["start"](found / "one", 0, 0, 1, sharded=False)
    ALONE["train"](made, run, 3, save_every=3)
    (found / "one.json").write_text(json.dumps(ALONE["values"](made)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*torchrun, JOB, found], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return found


@pytest.fixture(scope="module")
def seen(folder: Path) -> list[dict[str, Any]]:
    """What each of two ranks saw in one run under torchrun."""
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("kind", ["fsdp", "replicas"])
def test_two_ranks_go_on_bit_for_bit(seen, kind) -> None:
    for each in seen:
        assert each[kind]["resumed"] == [4, []]
        assert each[kind]["same losses"]
        assert each[kind]["same values"]
    assert seen[0][kind]["draw"] != seen[1][kind]["draw"]  # each has its own random numbers back


def test_what_both_hold_is_written_once(folder) -> None:
    save = max((folder / "replicas" / "cut").iterdir())
    sizes = [sum(path.stat().st_size for path in save.glob(f"shards/__{rank}_*")) for rank in range(2)]
    assert sum(sizes) < 40_000
    assert sorted(path.name for path in save.iterdir()) == [
        "files.json", "rank-0.json", "rank-0.safetensors", "rank-1.json", "rank-1.safetensors", "shards", "state.json"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["fsdp", "replicas"])
def test_one_process_goes_on_with_what_two_ranks_saved(folder, seen, kind) -> None:
    made, run = ALONE["start"](folder / kind / "cut", 5, 0, 1, sharded=False)
    resumed = run.resume()
    assert resumed.step == 7
    assert resumed.notes[-1:] == ("2 ranks saved and 1 go on: values are the same, later steps round differently",)
    assert ALONE["values"](made) == seen[0][kind]["values"]
    assert made["order"].state_dict()["epoch"] == 2
    assert torch.rand(2).tolist() == seen[0][kind]["draw"]


def test_two_ranks_go_on_with_what_one_process_saved(folder, seen) -> None:
    wanted = json.loads((folder / "one.json").read_text())
    note = "1 ranks saved and 2 go on: values are the same, later steps round differently"
    for each in seen:
        assert each["of one"] == [3, [note], wanted, 12]


def test_a_failure_of_one_rank_is_one_of_all_and_leaves_nothing(folder, seen) -> None:
    text = "log: 0 is a builtins.object, which only a pickle could hold: keep numbers, text, tensors"
    assert seen[1]["failing"].startswith(text)
    assert seen[0]["failing"].startswith("rank 1 failed, so this save is not whole, and earlier ones stay: log: 0")
    assert text in seen[0]["failing"]
    assert seen[0]["failing"].endswith(". Mend that and start all processes again: they go on from the last one")
    assert not (folder / "failing").exists()


def test_a_rank_that_cannot_resume_stops_all(seen) -> None:
    told = "belongs to another run: its seed is None there and 7 here"
    assert seen[1]["not resuming"].endswith(told)
    assert seen[0]["not resuming"].startswith("rank 1 failed, so no rank may go on from this save: ")
    assert seen[0]["not resuming"].endswith(f"{told}. Mend that and start all processes again")


def test_what_the_pickle_of_shards_says_is_what_torch_reads_there(folder) -> None:
    place = max((folder / "replicas" / "cut").iterdir()) / "shards"
    ours, theirs = ShardsReader(place).read_metadata(), FileSystemReader(place).read_metadata()
    assert ours.state_dict_metadata == theirs.state_dict_metadata
    assert {at: (each.relative_path, each.offset, each.length) for at, each in ours.storage_data.items()} == {
        at: (each.relative_path, each.offset, each.length) for at, each in theirs.storage_data.items()
    }


def test_the_pickle_of_shards_runs_nothing_and_changes_no_class(tmp_path) -> None:
    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was run",)

    # The class itself (no object of it) gets a state, which the unpickler of Python would set on it for good.
    patch = b"\x80\x04ctorch.distributed.checkpoint.metadata\nMetadata\n(N}X\x07\x00\x00\x00patchedI1\nstb."
    for data in (pickle.dumps(Hostile()), patch, b"damaged"):
        (tmp_path / ".metadata").write_bytes(data)
        with pytest.raises(WeightsError, match=r"\.metadata: "):
            ShardsReader(tmp_path).read_metadata()
    assert not (tmp_path / "was run").exists()
    assert not hasattr(Metadata, "patched")
