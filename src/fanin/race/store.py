"""Finished runs on disk, so that an interrupted race goes on where it was."""

from __future__ import annotations

import inspect
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
MANIFEST = "manifest.json"
FORMER_MANIFEST = "race.json"  # which is also what the result is written to


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
        self.manifest = manifest(path)
        self.single = self.manifest == self.path
        self.race = dict(race)
        self.facts: dict[str, Any] = {}
        self._runs: dict[str, Any] = {}
        former = self.path / FORMER_MANIFEST
        if self.manifest.exists():
            self._open(self.manifest)
            return
        if not self.single:
            self._make_folder()
            if former.exists() and "fanin_store" in _read(former):
                self._open(former)
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
        parts = {"runs": {}} | held
        missing = [name for name in ("race", "facts", "runs") if not isinstance(parts.get(name), dict)]
        if missing:
            raise DataError(
                f"{manifest} is a damaged store of a race: it holds no {' and no '.join(missing)}: remove it, or name "
                "another place"
            )
        known = parts["race"]
        for name, value in self.race.items():
            if known.get(name) != value:
                raise DataError(
                    f"{self.path} holds the runs of another race: its {name} is {known.get(name)}, this one's is "
                    f"{value}: name another place, or race the same"
                )
        self.facts, self._runs = parts["facts"], parts["runs"]

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {self.path} cannot be made: {error.strerror}") from error

    def _write_manifest(self) -> None:
        data = {"fanin_store": FORM, "race": self.race, "facts": self.facts}
        _write(self.manifest, data | {"runs": self._runs} if self.single else data)


def manifest(place: str | Path) -> Path:
    """The file that says which race a store holds: the store itself, or one in its folder.

    >>> manifest("one.json").as_posix(), manifest("runs").as_posix()
    ('one.json', 'runs/manifest.json')
    """
    path = Path(place)
    return path if path.suffix == ".json" and not path.is_dir() else path / MANIFEST


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
    """What a model is and holds: its modules as they print, their code, and every stored value.

    >>> values_digest(nn.Linear(2, 3)) == values_digest(nn.Linear(2, 3))
    False
    """
    parts: list[Any] = [repr(model), *sources(model)]
    for name, tensor in model.state_dict().items():
        parts += [name, str(tensor.dtype), list(tensor.shape), _bytes(tensor)]
    return digest(*parts)


def sources(model: nn.Module) -> list[str]:
    """The code of a model's own classes and their bases, which alone tells what they compute; torch's and fanin's are
    known by their names.

    >>> sources(nn.Sequential(nn.Linear(2, 3)))
    []
    """
    classes = {each for module in model.modules() for each in type(module).__mro__}
    own = (each for each in classes if not each.__module__.startswith(("torch.", "fanin.")))
    return sorted({_source(each) for each in own} - {""})


def course_digest(course: Course) -> str:
    """The samples, bit by bit, and the task."""
    tensors = (*course.train, *course.test)
    return digest(course.objective.task, *(each for tensor in tensors for each in (list(tensor.shape), _bytes(tensor))))


def _source(of: type) -> str:
    try:
        return inspect.getsource(of)
    except (OSError, TypeError, SyntaxError):  # typed into a prompt, built in, or its file is half edited
        return ""


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
