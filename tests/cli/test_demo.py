"""`fanin demo --quick`: every part is told, every file is written, JSON holds the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import fanin as library

FILES = ["mnist-cnn.gguf", "mnist-cnn.safetensors", "mnist-fc.gguf", "mnist-fc.safetensors", "race.png"]
PARTS = ["count", "plan", "draw", "check", "write", "race"]
TITLES = [
    "1  What it costs",
    "2  Where every number comes from",
    "3  Drawn",
    "4  Does the signal survive",
    "5  Written and read back",
    "6  What the start does to training",
]


def test_the_demo_tells_every_part_and_lists_its_files(fanin, tmp_path: Path) -> None:
    done = fanin("demo", "--quick", "-o", tmp_path / "out")
    assert done.code == 0
    assert done.err == ""
    for model in ("mnist-fc", "mnist-cnn"):
        told = done.out.split(f"\n{model} ─")[1]
        places = [told.index(f"\n{title}\n") for title in TITLES]
        assert places == sorted(places)
        assert all(f"\n{name} " in told for name in ("native", "ggml-mnist", "xavier", "he", "orthogonal"))
    assert done.out.count("drawn again: the same bits") == 2
    assert done.out.count(" the same bits\n") == 2 + 4
    assert "OTHER BITS" not in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    listed = done.out.split("Files:\n")[1].split()
    assert [Path(path).name for path in listed] == [*FILES[2:4][::-1], *FILES[:2][::-1], "race.png"]


def test_json_holds_every_part_and_the_files_are_what_init_writes(fanin, tmp_path: Path) -> None:
    done = fanin("demo", "--quick", "--json", "--seed", 3, "-o", tmp_path / "demo")
    assert done.code == 0
    chapters = done.json["chapters"]
    assert {model: list(parts) for model, parts in chapters.items()} == {"mnist-fc": PARTS, "mnist-cnn": PARTS}
    cnn = chapters["mnist-cnn"]
    assert cnn["count"]["parameters"] == 9098
    assert cnn["draw"]["seed"] == 3
    assert all(tensor["measured"] == pytest.approx(tensor["promised"], rel=0.5) for tensor in cnn["draw"]["tensors"])
    assert all(file["same_bits"] for file in cnn["write"])
    assert len(cnn["race"]["runs"]) == 5
    assert sorted(Path(path).name for path in done.json["files"]) == FILES

    path = tmp_path / "again.gguf"
    assert fanin("init", "mnist-cnn", "--recipe", "he", "--seed", 3, "-o", path).code == 0
    one, other = library.open_weights(tmp_path / "demo" / "mnist-cnn.gguf"), library.open_weights(path)
    assert dict(one.metadata) == dict(other.metadata)
    assert all(one[key].equal(other[key]) for key in one)


def test_a_folder_that_cannot_be_made(fanin, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = fanin("demo", "--quick", "-o", tmp_path / "taken" / "below")
    assert done.code == 2
    assert done.error == f"the folder {tmp_path / 'taken' / 'below'} cannot be made: Not a directory"
