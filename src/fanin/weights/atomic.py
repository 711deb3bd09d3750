"""Files that appear under their name whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from fanin.errors import WeightsError


@contextmanager
def atomic_file(path: str | Path) -> Generator[BinaryIO]:
    """A binary file to write; it gets the name `path` when the block ends without an error, and never before.

    Written under a temporary name in the same folder (`.fanin-….partial`), flushed to the disk with its folder's entry,
    then renamed, which replaces a file of that name in one step. On any error the temporary file is removed and an
    existing file stays as it was. A killed process leaves at most the temporary file.

    Args:
        path: the final name; a symbolic link is followed.

    Raises:
        WeightsError: the folder is missing or read-only, `path` is a folder, the disk is full, …
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".fanin-{token_hex(8)}.partial")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it")
        # Not tempfile: its files are private, and weights should get the user's usual permissions.
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            publish(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(error, path, target) from error


def publish(partial: Path, target: Path) -> None:
    """Give a finished file, flushed to the disk, its name: in one step, and so that it lasts."""
    partial.replace(target)
    sync_folder(target.parent)


def unwritable(error: OSError, path: str | Path, target: Path) -> WeightsError:
    """The error for a file that could not be written.

    Args:
        error: what the system said.
        path: the file as the user named it.
        target: its real place.
    """
    return WeightsError(f"cannot be written: {_reason(error, target)}", path=path)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk: names given and taken last after this."""
    if os.name == "nt":  # Windows opens no folders, and its rename is in the journal already
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: OSError, target: Path) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full"
        case errno.ENOENT:
            return f"there is no folder {str(target.parent)!r}"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"the folder {str(target.parent)!r} is read-only for this user"
        case errno.EFBIG:
            return "the file is larger than this system allows"
        case _:
            return error.strerror or str(error)
