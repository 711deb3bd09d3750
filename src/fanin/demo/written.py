"""Weights in files, read back and compared bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fanin
from fanin.plans import Plan

FORMATS = (".safetensors", ".gguf")


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file, its size in bytes, its number of tensors, and whether each was read back with the same bits."""

    path: Path
    bytes: int
    tensors: int
    same_bits: bool


def write(model: Any, plan: Plan, seed: int, folder: Path, name: str) -> tuple[WrittenFile, ...]:
    """Write the model in every format and read it back."""
    return tuple(_write(model, plan, seed, folder / f"{name}{suffix}") for suffix in FORMATS)


def _write(model: Any, plan: Plan, seed: int, path: Path) -> WrittenFile:
    fanin.save(model, path, plan, seed)
    read = fanin.open_weights(path)
    stored = model.state_dict()
    same = read.keys() == stored.keys() and all(bits(read[name]) == bits(stored[name]) for name in stored)
    return WrittenFile(path, path.stat().st_size, len(read), same)


def bits(tensor: Any) -> tuple[str, tuple[int, ...], bytes]:
    """A tensor down to the last bit."""
    return str(tensor.dtype), tuple(tensor.shape), tensor.contiguous().numpy().tobytes()
