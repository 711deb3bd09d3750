"""What a folder holds already: gone on with, replaced or refused, but never mixed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

import fanin
from fanin.checkpoints import finish
from fanin.checkpoints.lock import writer_lock
from fanin.initializers import Normal, Uniform
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Step

INDEX = "model.safetensors.index.json"
PLAN = Plan(tuple(Step(f"w{n}", (100,), "float32", "parameter", Draw(Normal()), "for the test") for n in range(4)))
FILES = tuple(f"model-0000{n}-of-00004.safetensors" for n in range(1, 5))


def write(folder, plan=PLAN, seed=1, **more):
    return fanin.write(plan, folder, seed, **({"max_shard_size": 400} | more))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def whole(tmp_path):
    """A finished checkpoint's files."""
    write(tmp_path / "whole")
    return content(tmp_path / "whole")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


def test_the_same_call_again_keeps_everything(folder, whole):
    write(folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != INDEX}
    again = write(folder)
    assert (again.written, again.kept) == ((), FILES)
    assert times == {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != INDEX}
    assert content(folder) == whole


def test_goes_on_after_what_is_finished(folder, whole):
    write(folder)
    (folder / INDEX).unlink()
    (folder / FILES[1]).unlink()
    (folder / FILES[2]).rename(folder / f".fanin-{FILES[2]}.partial")
    again = write(folder)
    assert (again.written, again.kept) == (FILES[1:3], (FILES[0], FILES[3]))
    assert content(folder) == whole


@pytest.mark.parametrize("change", [-1, 1, -100])
def test_a_file_of_another_size_is_written_anew(folder, whole, change):
    write(folder)
    os.truncate(folder / FILES[1], len(whole[FILES[1]]) + change)
    assert write(folder).written == (FILES[1],)
    assert content(folder) == whole


def test_verify_finds_a_changed_value(folder, whole):
    write(folder)
    damaged = bytearray(whole[FILES[2]])
    damaged[-1] ^= 1
    (folder / FILES[2]).write_bytes(damaged)
    assert write(folder).written == ()
    assert write(folder, verify=True).written == (FILES[2],)
    assert content(folder) == whole


OTHER_LAW = PLAN.override({"w1": Uniform()})


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 2}, "the seed is '1' there and '2' here"),
        ({"plan": OTHER_LAW}, f"the plan is '{PLAN.hash}' there and '{OTHER_LAW.hash}' here"),
        ({"dtype": "bf16"}, "the dtype is 'float32' there and 'bfloat16' here"),
        ({"max_shard_size": 800}, "it is cut into other files (another max_shard_size)"),
        ({"max_shard_size": "5GB"}, "it is cut into other files (another max_shard_size)"),
    ],
)
def test_another_checkpoint_is_refused_and_named(folder, whole, change, difference):
    write(folder)
    with pytest.raises(fanin.WeightsError) as caught:
        write(folder, **change)
    text = str(caught.value)
    assert text.startswith(f"{folder}: the folder holds another checkpoint (model-0000")
    assert text.endswith(
        f"): {difference}. Write it again with its own settings, choose another folder, or pass overwrite=True, which "
        "deletes these files"
    )
    assert content(folder) == whole


def test_part_of_another_checkpoint_is_refused_too(folder):
    write(folder)
    for name in (INDEX, *FILES[:3]):
        (folder / name).unlink()
    with pytest.raises(fanin.WeightsError, match="the seed is '1' there and '2' here"):
        write(folder, seed=2)


@pytest.mark.parametrize("change", [{"seed": 2}, {"max_shard_size": "5GB"}, {"dtype": "bf16", "max_shard_size": 300}])
def test_overwrite_leaves_only_the_new_one(folder, tmp_path, change):
    write(folder)
    write(folder, overwrite=True, **change)
    write(tmp_path / "fresh", **change)
    assert content(folder) == content(tmp_path / "fresh")


def test_overwrite_draws_again_what_is_the_same(folder, whole):
    write(folder)
    assert write(folder, overwrite=True).written == FILES
    assert content(folder) == whole


def test_files_of_others_stay(folder, whole):
    folder.mkdir()
    foreign = {
        "config.json": b"{}",
        "tokenizer.json": b"...",
        ".fanin-12ab.partial": b"x",
        "model.safetensors.txt": b"y",
    }
    for name, data in foreign.items():
        (folder / name).write_bytes(data)
    write(folder)
    write(folder, overwrite=True)
    assert content(folder) == whole | foreign


@pytest.mark.parametrize("data", [b"", b"not safetensors at all", "saved"])
def test_a_file_that_write_did_not_make_is_refused(folder, tmp_path, data):
    folder.mkdir()
    if data == "saved":
        from safetensors.numpy import save_file

        save_file({}, folder / "model.safetensors")
    else:
        (folder / "model.safetensors").write_bytes(data)
    before = content(folder)
    with pytest.raises(fanin.WeightsError) as caught:
        write(folder)
    assert f"{folder}: the folder holds another checkpoint (model.safetensors): fanin.write did not make it." in str(
        caught.value
    )
    assert content(folder) == before


def test_without_resume_a_begun_checkpoint_is_refused(folder):
    write(folder)
    (folder / FILES[0]).unlink()
    with pytest.raises(fanin.WeightsError) as caught:
        write(folder, resume=False)
    assert str(caught.value) == (
        f"{folder}: holds 3 files of an earlier call: pass resume=True to go on, or overwrite=True to start anew"
    )


def test_what_killed_writers_left_is_removed(folder, whole):
    write(folder)
    (folder / ".fanin-model-00007-of-00009.safetensors.partial").write_bytes(b"half")
    (folder / f".fanin-{FILES[0]}.partial").write_bytes(b"half")
    (folder / ".fanin-write-0-of-1.lock").write_text("")
    (folder / ".fanin-write-3-of-8.lock").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    (folder / FILES[0]).unlink()
    write(folder)
    assert content(folder) == whole


def test_a_second_writer_is_refused(folder):
    folder.mkdir()
    with writer_lock(folder, 0, 1), pytest.raises(fanin.WeightsError) as caught:
        write(folder)
    assert str(caught.value) == (
        f"{folder}: process {os.getpid()} on {socket.gethostname()} is writing a checkpoint into this folder: wait "
        "until it ends or choose another folder (if it has ended already, remove .fanin-write-0-of-1.lock)"
    )
    assert list(folder.iterdir()) == []


def test_writers_that_share_differently_are_refused(folder):
    folder.mkdir()
    with writer_lock(folder, 1, 2):
        with pytest.raises(fanin.WeightsError, match=r"remove \.fanin-write-1-of-2\.lock"):
            write(folder)
        assert write(folder, rank=0, world=2).written


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_the_lock_of_a_killed_process_is_free(folder, whole):
    folder.mkdir()
    path = folder / ".fanin-write-0-of-1.lock"
    code = f"""
import fcntl, json, os, time
file = open({str(path)!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
json.dump({{"pid": os.getpid(), "host": "here"}}, file)
file.flush()
print(flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(fanin.WeightsError, match=f"process {other.pid} on here is writing a checkpoint"):
            write(folder)
        other.kill()
    assert path.exists()
    write(folder)
    assert content(folder) == whole


def test_a_file_that_the_plan_copies_from_is_not_overwritten(folder):
    write(folder, max_shard_size="5GB")
    source = str(folder / "model.safetensors")
    copying = Plan(tuple(replace(step, action=Copy(source, step.name)) for step in PLAN.steps))
    before = content(folder)
    with pytest.raises(fanin.PlanError) as caught:
        write(folder, plan=copying, overwrite=True)
    assert (
        str(caught.value) == f"the plan copies values from {source}, which would be overwritten: choose another folder"
    )
    assert content(folder) == before


# Several writers


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_several_writers_make_the_same_files(folder, whole, world):
    written = [write(folder, rank=rank, world=world) for rank in reversed(range(world))]
    assert sorted(name for each in written for name in each.written) == list(FILES)
    if world > 1:
        assert not (folder / INDEX).exists()
        done = finish(PLAN, folder, 1, max_shard_size=400)
        assert (done.files, done.kept) == ((*FILES, INDEX), FILES)
    assert content(folder) == whole


def test_finish_names_what_is_missing(folder):
    write(folder, rank=0, world=2)
    with pytest.raises(fanin.WeightsError) as caught:
        finish(PLAN, folder, 1, max_shard_size=400)
    assert str(caught.value) == (
        f"{folder}: 2 of 4 files are not there yet, the first is {FILES[1]}: call fanin.write again with the rank that "
        "was to write it"
    )
    assert not (folder / INDEX).exists()


def test_finish_finds_a_writer_with_another_seed(folder):
    write(folder, rank=0, world=2)
    write(folder, rank=1, world=2, seed=2)
    with pytest.raises(fanin.WeightsError, match="the seed is '2' there and '1' here"):
        finish(PLAN, folder, 1, max_shard_size=400)
    assert not (folder / INDEX).exists()


def test_one_writer_finishes_what_several_began(folder, whole):
    write(folder, rank=1, world=2)
    assert len(write(folder).kept) == 2
    assert content(folder) == whole


def test_a_moved_checkpoint_is_still_finished(folder, tmp_path):
    write(folder)
    shutil.move(folder, tmp_path / "moved")
    assert write(tmp_path / "moved").written == ()
