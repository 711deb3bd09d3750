"""Descriptions in files."""

from __future__ import annotations

from pathlib import Path

from fanin.errors import ArgumentError, FaninError, UnknownNameError
from fanin.models.architecture.record import Architecture

LARGEST_FILE = 16 * 2**20


def read(path: str | Path) -> Architecture:
    """The architecture that a file describes: JSON where its name ends in `.json`, else TOML.

    Its shapes are checked, too; nothing is allocated.

    Raises:
        ArgumentError, UnknownNameError: as `Architecture`; a file that is missing, unreadable, too large or no text.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.toml")
    ...     _ = path.write_text('layers = [{ name = "fc", type = "linear", out = 2 }]\\n[inputs]\\nx = [3]\\n')
    ...     read(path).shapes()
    {'fc': (1, 2)}
    """
    path = Path(path)
    text = _text(path)
    try:
        architecture = Architecture.from_json(text) if path.suffix == ".json" else Architecture.from_toml(text)
        architecture.shapes()
    except UnknownNameError as error:
        raise UnknownNameError(f"{path}: {error}") from None
    except FaninError as error:
        raise ArgumentError(f"{path}: {error}") from None
    return architecture


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise ArgumentError(f"{path} is larger than {LARGEST_FILE // 2**20} MiB, which no description is")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise UnknownNameError(f"there is no file {str(path)!r}") from None
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path} is not a text: byte {error.start} is not UTF-8") from None
