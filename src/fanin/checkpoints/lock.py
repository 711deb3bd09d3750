"""One writer at a time for each share of a folder."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fanin.errors import WeightsError
from fanin.weights.atomic import unwritable

_NAME = ".fanin-write-{rank}-of-{world}.lock"
_MOST = 4096  # bytes read of a lock file


@contextmanager
def writer_lock(folder: Path, rank: int, world: int) -> Generator[None]:
    """Hold the folder's lock for writer `rank` of `world` while the block runs.

    The system gives the lock back when the process ends, however it ends; the file says who holds it. Where a file
    system has no locks, a file counts as held while its process lives, or if it is another host's.

    Raises:
        WeightsError: another process writes the same share, or a number of writers other than `world` is at work.
    """
    path = folder / _NAME.format(rank=rank, world=world)
    handle = _acquired(path)
    try:
        _sign(handle, path)
        _refuse_other_worlds(folder, world)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquired(path: Path) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unwritable(error, path.parent, path) from error
        if not _lock(handle):
            holder = _holder(handle)
            os.close(handle)
            raise WeightsError(_busy_text(holder, path), path=path.parent)
        if _is_at(handle, path):
            return handle
        os.close(handle)  # its last holder removed it in the meantime


def _sign(handle: int, path: Path) -> None:
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
    except OSError as error:
        raise unwritable(error, path.parent, path) from error


def _refuse_other_worlds(folder: Path, world: int) -> None:
    for other in sorted(folder.glob(_NAME.format(rank="*", world="*"))):
        if other.name.endswith(f"-of-{world}.lock"):
            continue
        try:
            handle = os.open(other, os.O_RDWR)
        except OSError:
            continue
        free, holder = _lock(handle), _holder(handle)
        os.close(handle)
        if not free:
            raise WeightsError(_busy_text(holder, other), path=folder)
        other.unlink(missing_ok=True)


def _lock(handle: int) -> bool:
    """Whether nobody else holds the file; if so it is held from now on."""
    try:
        import fcntl
    except ImportError:  # Windows
        return not _lives(_holder(handle))
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL):
            raise
        return not _lives(_holder(handle))
    return True


def _holder(handle: int) -> dict[str, Any]:
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(handle, _MOST))
    except ValueError:  # empty: its holder has only just made it
        return {}
    return found if isinstance(found, dict) else {}


def _lives(holder: dict[str, Any]) -> bool:
    match holder:
        case {"pid": int(pid), "host": str(host)}:
            return host != socket.gethostname() or (pid != os.getpid() and _is_running(pid))
        case _:
            return False


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _busy_text(holder: dict[str, Any], path: Path) -> str:
    who = f"process {holder['pid']} on {holder.get('host')}" if "pid" in holder else "another process"
    return (
        f"{who} is writing a checkpoint into this folder: wait until it ends or choose another folder "
        f"(if it has ended already, remove {path.name})"
    )
