"""Whatever goes wrong, nothing half-written has a name, and the same call goes on afterwards."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import fanin
from fanin.checkpoints.slabs import SLAB
from fanin.initializers import Normal
from fanin.plans import Plan
from fanin.plans.steps import Draw, Step

ROOT = Path(__file__).parents[2]
INDEX = "model.safetensors.index.json"
PLAN = Plan(tuple(Step(f"w{n}", (3 << 20,), "float32", "parameter", Draw(Normal()), "for the test") for n in range(3)))
FILES = tuple(f"model-0000{n}-of-00003.safetensors" for n in range(1, 4))
posix = pytest.mark.skipif(os.name == "nt", reason="limits, signals and users of POSIX")


def write(folder, **more):
    return fanin.write(PLAN, folder, 1, **({"max_shard_size": "13MB", "threads": 2} | more))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write(folder)
    return content(folder)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


def finished_only(folder, whole):
    """Whether all files that are there are finished ones, the index excepted."""
    found = content(folder)
    return INDEX not in found and found.items() <= whole.items()


def test_several_slabs_in_several_files(folder, whole):
    assert min(len(whole[name]) for name in FILES) > 5 * SLAB
    write(folder, threads=1)
    assert content(folder) == whole


@pytest.mark.parametrize("calls", [0, 1, 4])
@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "Input/output error")])
def test_a_write_that_fails(folder, whole, monkeypatch, calls, number, reason):
    count, lock, pwrite = [0], threading.Lock(), os.pwrite

    def failing(handle, data, offset):
        if len(data) < 4096:  # the line in the lock
            return pwrite(handle, data, offset)
        with lock:
            count[0] += 1
            if count[0] > calls:
                raise OSError(number, os.strerror(number))
        return pwrite(handle, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", failing)
        with pytest.raises(fanin.WeightsError) as caught:
            write(folder)
    assert str(caught.value) in {f"{folder / name}: cannot be written: {reason}" for name in FILES}
    assert finished_only(folder, whole)
    write(folder)
    assert content(folder) == whole


@pytest.mark.parametrize("moment", ["fsync", "ftruncate"])
def test_a_disk_that_is_full_at_the_last_moment(folder, whole, monkeypatch, moment):
    def failing(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, moment, failing)
        with pytest.raises(fanin.WeightsError, match="cannot be written: the disk is full"):
            write(folder)
    assert content(folder) == {}
    write(folder)
    assert content(folder) == whole


def test_a_write_that_takes_less_than_it_is_given(folder, whole, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, offset: pwrite(handle, data[: 4096 * 300 + 8], offset))
    write(folder)
    assert content(folder) == whole


def test_a_finished_file_that_cannot_be_read_back(folder, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write(folder)
    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(fanin.WeightsError, match=r"safetensors: cannot be read: Input/output error"):
        write(folder, verify=True)


def test_a_disk_that_takes_no_direct_writes(folder, whole, monkeypatch):
    opened, seen = os.open, []

    def cached(path, flags, *mode):
        if flags & getattr(os, "O_DIRECT", 0):
            seen.append(path)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", cached)
    write(folder)
    assert content(folder) == whole
    assert len(seen) == (3 if hasattr(os, "O_DIRECT") else 0)


def test_too_little_room_is_said_before_anything_is_written(folder, monkeypatch):
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20_000_000))
    with pytest.raises(fanin.WeightsError) as caught:
        write(folder)
    assert str(caught.value) == (
        f"{folder}: the disk has 20.00 MB free, and 37.75 MB are still to be written: make room, or choose another "
        "folder"
    )
    assert content(folder) == {}


def test_room_that_a_killed_writer_claimed_counts_as_free(folder, whole, monkeypatch):
    folder.mkdir()
    (folder / f".fanin-{FILES[0]}.partial").write_bytes(bytes(20_000_000))
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20_000_000))
    write(folder)
    assert content(folder) == whole


@posix
def test_a_limit_on_file_sizes(folder, whole):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 23, before[1]))
    try:
        with pytest.raises(fanin.WeightsError) as caught:
            write(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == f"{folder / FILES[0]}: cannot be written: the file is larger than this system allows"
    assert content(folder) == {}
    write(folder)
    assert content(folder) == whole


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(fanin.WeightsError) as caught:
        write(tmp_path / "out")
    assert str(caught.value) == f"{tmp_path / 'out'}: is a file: a checkpoint needs a folder"
    with pytest.raises(fanin.WeightsError) as caught:
        write(tmp_path / "out" / "inner")
    assert str(caught.value) == (
        f"{tmp_path / 'out' / 'inner'}: a part of this path is a file: a checkpoint needs a folder"
    )
    assert (tmp_path / "out").read_bytes() == b"mine"


@posix
def test_a_read_only_folder(folder):
    folder.mkdir()
    folder.chmod(0o555)
    for parent in list(folder.parents)[:3]:
        parent.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(fanin.WeightsError) as caught:
            write(folder)
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
    assert str(caught.value) == f"{folder}: cannot be written: the folder '{folder}' is read-only for this user"
    assert content(folder) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, fanin.PlanError])
@pytest.mark.parametrize("calls", [0, 3])
def test_a_progress_callback_that_raises(folder, whole, error, calls):
    seen = []

    def progress(done, total):
        seen.append((done, total))
        if len(seen) > calls:
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write(folder, progress=progress)
    assert len(seen) == calls + 1
    assert finished_only(folder, whole)
    assert not any(thread.name.startswith("fanin-write") for thread in threading.enumerate())
    write(folder)
    assert content(folder) == whole


def test_progress_counts_every_byte_on_the_callers_thread(folder):
    seen = []
    total = sum(len(data) for data in content_of_shards(folder).values())
    fanin.write(
        PLAN,
        folder / "new",
        1,
        max_shard_size="13MB",
        progress=lambda done, of: seen.append((done, of, threading.current_thread())),
    )
    assert {(of, thread) for _, of, thread in seen} == {(total, threading.current_thread())}
    steps = [done for done, _, _ in seen]
    assert steps == sorted(steps)
    assert steps[-1] == total


def content_of_shards(folder):
    write(folder / "first")
    return {name: data for name, data in content(folder / "first").items() if name != INDEX}


def test_progress_begins_at_what_is_kept(folder):
    write(folder)
    size = (folder / FILES[1]).stat().st_size
    total = sum((folder / name).stat().st_size for name in FILES)
    (folder / FILES[1]).unlink()
    seen = []
    write(folder, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (total, total)
    assert seen[0][0] > total - size


@posix
def test_files_are_flushed_then_named_and_the_index_is_last(folder, monkeypatch):
    events = []
    fsync, replace, truncate = os.fsync, os.replace, os.ftruncate
    lock = threading.Lock()

    def name_of(handle):
        return Path(f"/proc/self/fd/{handle}").readlink().name

    def flushed(handle):
        with lock:
            events.append(("flushed", name_of(handle)))
        fsync(handle)

    def renamed(source, target):
        with lock:
            events.append(("named", Path(target).name))
        replace(source, target)

    def cut(handle, size):
        with lock:
            events.append(("cut", name_of(handle)))
        truncate(handle, size)

    for name, spy in (("fsync", flushed), ("replace", renamed), ("ftruncate", cut)):
        monkeypatch.setattr(os, name, spy)
    write(folder)
    for name in FILES:
        partial = f".fanin-{name}.partial"
        assert events.index(("cut", partial)) < events.index(("flushed", partial)) < events.index(("named", name))
    last = events.index(("named", INDEX))
    assert all(events.index(("named", name)) < last for name in FILES)
    assert events[last - 1 :] == [("flushed", f".fanin-{INDEX}.partial"), ("named", INDEX), ("flushed", "out")]


@posix
def test_killed_again_and_again():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "checkpoint_stress.py", "--kills", "5", "--megabytes", "12", "--seed", "3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("5 kills in ")
