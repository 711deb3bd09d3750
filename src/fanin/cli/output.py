"""Where `fanin init` writes to: one file, or a folder."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from fanin.cli.verb import BadInput

FILES = (".safetensors", ".gguf")
FORMATS = ("safetensors", "gguf", "dcp")
_SUFFIX = re.compile(r"\.[A-Za-z]\w*")  # not that of llama-3.1-8b


@dataclass(frozen=True, slots=True)
class Output:
    """A place for weights.

    Attributes:
        path: the file or the folder.
        format: "safetensors", "gguf" or "dcp".
        folder: whether it is a folder, with as many files as it takes.
    """

    path: Path
    format: str
    folder: bool

    @classmethod
    def of(cls, text: str, chosen: str | None) -> Output:
        """The place that `text` names: a file if it ends like one, else a folder.

        Raises:
            BadInput: a suffix of no format, or a format that does not fit the name.
        """
        path = Path(text)
        suffix = "" if text.endswith(("/", "\\")) or path.is_dir() else path.suffix.lower()
        if suffix in FILES:
            if chosen not in (None, suffix[1:]):
                raise BadInput(
                    f"{text}: a {suffix} file is not written as {chosen}: leave --format out, or name a folder"
                )
            return cls(path, suffix[1:], folder=False)
        if _SUFFIX.fullmatch(suffix):
            raise BadInput(
                f"{text}: weights are written as {' or '.join(FILES)}, and the suffix {suffix!r} is neither; for a "
                f"folder of files write {text}/"
            )
        if chosen == "gguf":
            raise BadInput(f"{text}: GGUF weights are one file: give it a name ending in .gguf")
        return cls(path, chosen or "safetensors", folder=True)

    def check(self, force: bool) -> None:
        """Refuse before drawing, which may take minutes, what could not be written after it.

        Raises:
            BadInput: the folder around it is missing, or the file exists and `force` is not given.
        """
        if not self.path.absolute().parent.is_dir():
            parent = str(self.path.absolute().parent)
            raise BadInput(f"{self.path}: cannot be written: there is no folder {parent!r}")
        if self.folder and self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file: choose another name for the folder")
        if not self.folder and self.path.exists() and not force:
            raise BadInput(f"{self.path} exists: choose another name, or replace it with --force")

    @property
    def free(self) -> int:
        """Bytes that its disk has left."""
        there = self.path.absolute()
        return shutil.disk_usage(there if there.exists() else there.parent).free
