"""Reading weights files and loading them: fanin beside each format's own reader, and the peak memory of both."""

from __future__ import annotations

import copy
import gc
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from memory import peak_bytes, peak_reset
from rows import Row, best_seconds
from torch import nn

import fanin

LAYERS, SIDE = 96, 1024  # 403 MB of float32
MANY = 2000
WIDE = 4096  # 8 tensors of 67 MB, as those of a language model
ROUNDS = 9
_WITHIN = 1 / 1.2  # of the speed of the other side


def rows() -> list[Row]:
    """The figures as rows of a table; the files lie in the page cache, so that the readers are measured."""
    large = {f"layers.{number}.weight": torch.randn(SIDE, SIDE) for number in range(LAYERS)}
    many = {f"layers.{number}.weight": torch.randn(64) for number in range(MANY)}
    with tempfile.TemporaryDirectory(prefix="fanin-bench-") as name:
        folder = Path(name)
        return [
            *_speeds(folder, "large", large),
            *_speeds(folder, "many", many),
            *_loads(folder / "large.safetensors", large),
            *_loads(folder / "many.safetensors", many),
            *_wide(folder / "wide.safetensors"),
            *_peaks(folder, large),
        ]


def _speeds(folder: Path, name: str, tensors: dict[str, torch.Tensor]) -> list[Row]:
    """Each reader, and every value it gives touched by one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _readers(folder, name, tensors)
    finally:
        torch.set_num_threads(threads)


def _readers(folder: Path, name: str, tensors: dict[str, torch.Tensor]) -> list[Row]:
    size = sum(tensor.nbytes for tensor in tensors.values())
    about = f"{len(tensors):,} tensors, {size / 1e6:.0f} MB"
    safe, pt, npz = (folder / f"{name}.{suffix}" for suffix in ("safetensors", "pt", "npz"))
    safetensors.torch.save_file(tensors, safe)
    torch.save(tensors, pt)
    np.savez(npz, **{name: tensor.numpy() for name, tensor in tensors.items()})
    peers: list[tuple[str, Path, Callable[[], Iterable[torch.Tensor]], float | None]] = [
        ("safetensors, against `safetensors`", safe, lambda: safetensors.torch.load_file(safe).values(), _WITHIN),
        (".pt, against `torch.load(mmap=True)`", pt, lambda: torch.load(pt, mmap=True).values(), None),
        (".npz, against `numpy.load`", npz, lambda: _numpy(npz), None),
    ]
    found: list[Row] = []
    for what, path, theirs, target in peers:
        actions = [
            lambda path=path: _touched(fanin.open_weights(path).values()),
            lambda theirs=theirs: _touched(theirs()),
        ]
        ours, other = best_seconds(actions, ROUNDS)
        found.append(Row(f"{what}: {about}", size / ours / 1e9, size / other / 1e9, "GB/s", target))
    return found


def _touched(tensors: Iterable[torch.Tensor]) -> float:
    """Every value is read once."""
    return sum(float(tensor.view(-1).sum()) for tensor in tensors)


def _numpy(path: Path) -> list[torch.Tensor]:
    with np.load(path) as file:
        return [torch.from_numpy(file[name]) for name in file]


def _wide(path: Path) -> list[Row]:
    tensors = {f"layers.{number}.weight": torch.randn(WIDE, WIDE) for number in range(8)}
    safetensors.torch.save_file(tensors, path)
    return _loads(path, tensors)


class _Net(nn.Module):
    """A model of some tensors."""

    def __init__(self, tensors: dict[str, torch.Tensor], device: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Module() for _ in tensors)
        for layer, tensor in zip(self.layers, tensors.values(), strict=True):
            layer.weight = nn.Parameter(torch.zeros_like(tensor, device=device))


def _loads(path: Path, tensors: dict[str, torch.Tensor]) -> list[Row]:
    """`fanin.load` beside `load_file` and `load_state_dict`, by one thread each and by as many as each takes."""
    size = sum(tensor.nbytes for tensor in tensors.values())
    about = f"{len(tensors):,} tensors, {size / 1e6:.3g} MB"
    default = torch.get_num_threads()
    found: list[Row] = []
    for threads in dict.fromkeys((default, 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FANIN_NUM_THREADS", str(threads))
            torch.set_num_threads(threads)
            for what, ours, theirs in _loaders(path, tensors):
                seconds, other = best_seconds([ours, theirs], ROUNDS)
                name = f"`fanin.load` {what}: {about}, threads: {threads}"
                found.append(Row(name, size / seconds / 1e9, size / other / 1e9, "GB/s", _WITHIN))
    torch.set_num_threads(default)
    return found


def _loaders(
    path: Path, tensors: dict[str, torch.Tensor]
) -> list[tuple[str, Callable[[], object], Callable[[], object]]]:
    real, meta = _Net(tensors, "cpu"), _Net(tensors, "meta")

    def theirs_real() -> None:
        real.load_state_dict(safetensors.torch.load_file(path))

    def theirs_meta() -> nn.Module:
        model = copy.deepcopy(meta).to_empty(device="cpu")
        model.load_state_dict(safetensors.torch.load_file(path))
        return model

    def ours_meta() -> nn.Module:
        model = copy.deepcopy(meta)
        fanin.load(model, path)
        return model

    return [
        ("into a model with values", lambda: fanin.load(real, path), theirs_real),
        ('the same, nonfinite="allow"', lambda: fanin.load(real, path, nonfinite="allow"), theirs_real),
        ("into a meta model, against `to_empty` first", ours_meta, theirs_meta),
    ]


def _peaks(folder: Path, tensors: dict[str, torch.Tensor]) -> list[Row]:
    """Memory beyond the model's, anonymous and of mapped files, while it takes a file's values."""
    one, size = SIDE * SIDE * 4 / 1e6, sum(tensor.nbytes for tensor in tensors.values()) / 1e6
    safe = folder / "large.safetensors"
    theirs = _peak(tensors, "cpu", lambda model: model.load_state_dict(safetensors.torch.load_file(safe)))
    found: list[Row] = []
    for suffix in ("safetensors", "pt"):
        for device, own in (("cpu", 0.0), ("meta", size)):
            path = folder / f"large.{suffix}"
            taken = _peak(tensors, device, lambda model, path=path: fanin.load(model, path)) - own
            what = "model with values" if device == "cpu" else "meta model"
            name = (
                f"`fanin.load` of a .{suffix} into a {what}: memory beyond the model's, one tensor being {one:.1f} MB"
            )
            found.append(Row(name, max(taken, 0.1), theirs, "MB", limit=2 * one))
    return found


def _peak(tensors: dict[str, torch.Tensor], device: str, load: Callable[[nn.Module], object]) -> float:
    """Megabytes that a load takes beyond what the process has before it."""
    load(_Net(tensors, device))  # compiles what is compiled
    model = _Net(tensors, device)
    gc.collect()
    peak_reset()
    before = peak_bytes()
    load(model)
    return (peak_bytes() - before) / 1e6
