"""DCP folders: read by torch into plain and FSDP2 models, bit for bit; in pieces; nothing unfinished loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.api import CheckpointException

import fanin
from fanin import WeightsError
from fanin.checkpoints import dcp_items
from fanin.checkpoints.dcp import write_dcp
from fanin.initializers import Normal

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # by torch's own load


class Tied(nn.Module):
    """Every kind of tensor: elementwise, a matrix law, tied, computed, a scalar, integers, an empty one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 6)
        self.square = nn.Linear(6, 6)
        self.head = nn.Linear(6, 40, bias=False)
        nn.init.orthogonal_(self.square.weight)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.head.weight = self.embed.weight
        self.norm = nn.BatchNorm1d(6)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.none = nn.Parameter(torch.empty(0, 6))
        self.register_buffer("table", torch.arange(12.0).sin())


@pytest.fixture(scope="module")
def made() -> fanin.Captured:
    return fanin.capture(Tied)


def expected(made: fanin.Captured, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    model = fanin.materialize(Tied(), made.plan, seed=5)
    return (model if dtype is None else model.to(dtype)).state_dict()


def loaded(folder: Path, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state = {name: torch.full_like(tensor, 77) for name, tensor in like.items()}
    checkpoint.load(state, checkpoint_id=folder, no_dist=True)
    return state


def same_bits(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    def bits(tensor: torch.Tensor) -> bytes:
        return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()

    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and bits(one[name]) == bits(two[name]) for name in one
    )


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_torch_reads_what_materialize_gives(made, tmp_path, dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcp_items, "_LARGEST", 100)  # the embedding in ten runs of rows or more
    files = write_dcp(made.plan, tmp_path / "out", 5, dtype=dtype)
    like = expected(made, None if dtype is None else torch.bfloat16)
    assert same_bits(loaded(tmp_path / "out", like), like)
    assert files[0] == ".metadata"
    assert len(files) == len(dcp_items.items_of(made.plan, dtype)) + 1 > len(like) + 3
    assert json.loads((tmp_path / "out" / "fanin.json").read_text())["fanin.plan_hash"] == made.plan.hash


def test_a_tied_tensor_is_stored_once_and_found_under_each_name(made, tmp_path) -> None:
    write_dcp(made.plan, tmp_path, 5)
    metadata = checkpoint.FileSystemReader(tmp_path).read_metadata()
    places = {index.fqn: (info.relative_path, info.offset) for index, info in metadata.storage_data.items()}
    assert places["head.weight"] == places["embed.weight"]
    assert len({path for path, _ in places.values()}) == len(list(tmp_path.glob("*.distcp")))


def test_items_cover_each_tensor_once(monkeypatch: pytest.MonkeyPatch, made) -> None:
    monkeypatch.setattr(dcp_items, "_LARGEST", 100)
    items = dcp_items.items_of(made.plan, None)
    runs = [item for item in items if item.name == "embed.weight"]
    assert [item.first for item in runs] == [24 * number for number in range(10)]
    assert [len([item for item in items if item.name == "square.weight"])] == [1]  # its rows need each other
    for count in (1, 2, 3, 50):
        shares = dcp_items.shares_of(items, count)
        assert sorted(item.key for share in shares for item in share) == sorted(item.key for item in items)
    heavy, light = (sum(item.nbytes for item in share) for share in dcp_items.shares_of(items, 2))
    assert abs(heavy - light) <= 144  # the largest item


def test_progress_counts_bytes(made, tmp_path) -> None:
    seen: list[tuple[int, int]] = []
    write_dcp(made.plan, tmp_path, 5, progress=lambda done, total: seen.append((done, total)))
    due = sum(item.nbytes for item in dcp_items.items_of(made.plan, None))
    assert seen[-1] == (due, due)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_finished_checkpoint_is_not_replaced_unless_asked(made, tmp_path) -> None:
    write_dcp(made.plan, tmp_path, 5)
    with pytest.raises(WeightsError) as caught:
        write_dcp(made.plan, tmp_path, 6)
    assert str(caught.value) == (
        f"{tmp_path}: there is a checkpoint already: choose another folder, or replace it with --force (overwrite=True)"
    )
    assert same_bits(loaded(tmp_path, expected(made)), expected(made))
    write_dcp(made.plan, tmp_path, 6, overwrite=True)
    assert not same_bits(loaded(tmp_path, expected(made)), expected(made))


def test_a_failed_write_leaves_nothing_that_loads_and_tells_why(made, tmp_path, monkeypatch) -> None:
    write_dcp(made.plan, tmp_path, 5)

    def fails(self, *_: object, **__: object) -> None:
        raise WeightsError("the ink is dry")

    with monkeypatch.context() as patch:
        patch.setattr(Normal, "fill", fails)
        with pytest.raises(WeightsError, match=r"^the ink is dry$"):
            write_dcp(made.plan, tmp_path, 5, overwrite=True)
    assert not (tmp_path / ".metadata").exists()
    with pytest.raises(CheckpointException, match="metadata"):
        loaded(tmp_path, expected(made))
    write_dcp(made.plan, tmp_path, 5)
    assert same_bits(loaded(tmp_path, expected(made)), expected(made))


def test_a_disk_that_takes_nothing_is_told_with_the_folder(made, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError) as caught:
        write_dcp(made.plan, tmp_path / "file", 5)
    assert str(caught.value).startswith(f"{tmp_path / 'file'}: cannot be written: ")
