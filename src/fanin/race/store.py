"""Finished runs on disk, so that an interrupted race goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import nn

from fanin.errors import DataError
from fanin.race.course import Course
from fanin.race.run import Run
from fanin.race.training import Trained
from fanin.weights.atomic import atomic_file

FORM = 1
MANIFEST = "race.json"


class Store:
    """Runs by their keys: a folder with one file for each, or one file (a name that ends in .json) with all.

    Every file is written whole or not at all, so what was kept survives a killed process.
    """

    def __init__(self, path: str | Path, race: Mapping[str, Any]) -> None:
        """Open or make the store of this race.

        Raises:
            DataError: the store of another race, or a file in it that cannot be read.
            WeightsError: it cannot be written.
        """
        self.path = Path(path)
        self.single = self.path.suffix == ".json" and not self.path.is_dir()
        self.race = dict(race)
        self.facts: dict[str, Any] = {}
        self._runs: dict[str, Any] = {}
        manifest = self.path if self.single else self.path / MANIFEST
        if manifest.exists():
            self._open(manifest)
        else:
            if not self.single:
                self._make_folder()
            self._write_manifest()

    def get(self, key: str) -> Trained | None:
        """The run of that key, if it was kept."""
        if not self.single and key not in self._runs and (self.path / f"{key}.json").exists():
            self._runs[key] = _read(self.path / f"{key}.json")
        return None if key not in self._runs else _trained(self._runs[key], self.path)

    def keep(self, key: str, run: Run) -> None:
        """Keep a finished run."""
        self._runs[key] = run.to_dict()
        if self.single:
            self._write_manifest()
        else:
            _write(self.path / f"{key}.json", self._runs[key])

    def note(self, **facts: Any) -> None:
        """Keep facts about the race: its steps, its engine, the time it took."""
        self.facts |= facts
        self._write_manifest()

    def _open(self, manifest: Path) -> None:
        held = _read(manifest)
        if held.get("fanin_store") != FORM:
            raise DataError(
                f"{manifest} is no store of a race: 'fanin_store' is {held.get('fanin_store')!r}, not {FORM}"
            )
        known = held["race"]
        for name, value in self.race.items():
            if known.get(name) != value:
                raise DataError(
                    f"{self.path} holds the runs of another race: its {name} is {known.get(name)}, this one's is "
                    f"{value}: name another place, or race the same"
                )
        self.facts, self._runs = held["facts"], held.get("runs", {})

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {self.path} cannot be made: {error.strerror}") from error

    def _write_manifest(self) -> None:
        data = {"fanin_store": FORM, "race": self.race, "facts": self.facts}
        if self.single:
            _write(self.path, data | {"runs": self._runs})
        else:
            _write(self.path / MANIFEST, data)


def digest(*parts: Any) -> str:
    """BLAKE2b-128 in hex of texts, bytes, numbers and JSON.

    >>> digest("a", 1) == digest("a", 1) != digest("a", 2)
    True
    """
    hashed = blake2b(digest_size=16)
    for part in parts:
        each = part if isinstance(part, bytes | memoryview) else json.dumps(part, sort_keys=True).encode()
        hashed.update(len(each).to_bytes(8, "little"))
        hashed.update(each)
    return hashed.hexdigest()


def values_digest(model: nn.Module) -> str:
    """What a model is and holds: its modules as they print, and every stored value.

    >>> values_digest(nn.Linear(2, 3)) == values_digest(nn.Linear(2, 3))
    False
    """
    parts: list[Any] = [repr(model)]
    for name, tensor in model.state_dict().items():
        parts += [name, str(tensor.dtype), list(tensor.shape), _bytes(tensor)]
    return digest(*parts)


def course_digest(course: Course) -> str:
    """The samples, bit by bit, and the task."""
    tensors = (*course.train, *course.test)
    return digest(course.objective.task, *(each for tensor in tensors for each in (list(tensor.shape), _bytes(tensor))))


def _bytes(tensor: Any) -> bytes:
    import torch

    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _trained(data: Any, path: Path) -> Trained:
    try:
        run = asdict(Run.from_dict(data))
        return Trained(*(run[name] for name in ("losses", "seen", "test_losses", "scores")), complete=True)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds a damaged run ({type(error).__name__}: {error})") from None


def _read(path: Path) -> Any:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a race's runs: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path} cannot be read as a race's runs: it holds a {type(data).__name__}")
    return data


def _write(path: Path, data: Any) -> None:
    with atomic_file(path) as file:
        file.write(json.dumps(data, allow_nan=False).encode())
