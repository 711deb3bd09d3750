"""A file appears under its name whole or not at all, whatever goes wrong."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fanin import WeightsError
from fanin.weights import write_gguf, write_safetensors

BIG = {"w": np.ones(1 << 20, np.float32)}
posix = pytest.mark.skipif(os.name == "nt", reason="limits, signals and users of POSIX")


def write(path, tensors=BIG):
    write_gguf(path, tensors, "arch") if path.suffix == ".gguf" else write_safetensors(path, tensors)


@pytest.fixture(params=["a.gguf", "a.safetensors"])
def path(request, tmp_path):
    return tmp_path / request.param


def untouched(path):
    """The folder holds the file with its old content and nothing else."""
    return path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def run(path, before):
    """Write `path` in another process after the code `before`; its exit code and last line of errors."""
    code = f"""
        import os, sys, pathlib, numpy
        from fanin import WeightsError
        from fanin.weights import write_gguf, write_safetensors
        path = pathlib.Path({str(path)!r})
        tensors = {{"w": numpy.ones(1 << 20, numpy.float32)}}
        {before}
        try:
            write_gguf(path, tensors, "arch") if path.suffix == ".gguf" else write_safetensors(path, tensors)
        except WeightsError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip(), done.stderr


def test_replaces_an_existing_file(path):
    path.write_bytes(b"old")
    write(path)
    assert path.stat().st_size > 4 << 20
    assert list(path.parent.iterdir()) == [path]


@posix
def test_usual_permissions(path):
    path.with_name("other").touch()
    write(path)
    assert path.stat().st_mode == path.with_name("other").stat().st_mode


@posix
def test_follows_a_link(path):
    folder = path.parent / "elsewhere"
    folder.mkdir()
    (folder / "real").write_bytes(b"old")
    path.symlink_to(folder / "real")
    write(path)
    assert path.is_symlink()
    assert (folder / "real").stat().st_size > 4 << 20
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_disk_full_at_the_last_moment(path, monkeypatch, number, reason):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(WeightsError) as caught:
        write(path)
    assert str(caught.value) == f"{path}: cannot be written: {reason}"
    assert caught.value.path == path
    assert untouched(path)


@posix
def test_no_room_in_the_middle_of_a_write(path):
    path.write_bytes(b"old")
    code, out, err = run(path, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))")
    assert (code, out) == (0, f"{path}: cannot be written: the file is larger than this system allows"), err
    assert untouched(path)


@posix
@pytest.mark.parametrize("moment", ["fsync", "open"])
def test_killed(path, moment):
    path.write_bytes(b"old")
    code, _, _ = run(
        path, f"_{moment} = os.{moment}; os.{moment} = lambda *a: (_{moment}(*a), os.kill(os.getpid(), 9))"
    )
    assert code == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert [file.suffix for file in path.parent.iterdir() if file != path] == [".partial"]


@posix
def test_interrupted(path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path)
    assert untouched(path)


@posix
def test_read_only_folder(path):
    path.write_bytes(b"old")
    path.parent.chmod(0o555)
    try:
        drop = "os.geteuid() == 0 and os.seteuid(65534)"
        code, out, err = run(path, drop)
    finally:
        path.parent.chmod(0o755)
    assert (code, out) == (
        0,
        f"{path}: cannot be written: the folder {str(path.parent)!r} is read-only for this user",
    ), err
    assert untouched(path)


def test_missing_folder(tmp_path):
    path = tmp_path / "gone" / "a.gguf"
    with pytest.raises(WeightsError) as caught:
        write(path)
    assert str(caught.value) == f"{path}: cannot be written: there is no folder {str(path.parent)!r}"


def test_a_folder_of_that_name(path):
    path.mkdir()
    with pytest.raises(WeightsError) as caught:
        write(path)
    assert str(caught.value) == f"{path}: cannot be written: it is a folder; name a file in it"
    assert list(path.parent.iterdir()) == [path]


@posix
def test_folder_is_flushed_after_the_rename(path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")  # noqa: PTH112
        fsync(handle)

    def renamed(*names):
        events.append("rename")
        replace(*names)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    write(path)
    assert events == ["file", "rename", "folder"]
