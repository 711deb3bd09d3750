"""Which tensor of a file goes into which tensor of a model, checked in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from fanin.errors import WeightsError
from fanin.torch.tensors import StoredTensor, stored_tensors

_SHOWN = 3


def match(
    model: nn.Module, file: Mapping[str, torch.Tensor], path: str | Path, *, cast: bool
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(tensor of the model, its values) for each parameter and persistent buffer.

    Raises:
        WeightsError: names missing or unexpected, another shape, values that the model's dtype would change (unless
            `cast`), copies of one tied tensor that differ, or a model without memory.
    """
    stored = [entry for entry in stored_tensors(model) if entry.persistent]
    _check_names(stored, file, path)
    return [(entry.tensor, _values(entry, file, path, cast=cast)) for entry in stored]


def _check_names(stored: list[StoredTensor], file: Mapping[str, torch.Tensor], path: str | Path) -> None:
    missing = [entry.name for entry in stored if not any(name in file for name in entry.names)]
    known = {name for entry in stored for name in entry.names}
    unexpected = sorted(name for name in file if name not in known)
    parts = [
        f"{what} {_listed(names)}"
        for what, names in (("the file lacks", missing), ("the model has no", unexpected))
        if names
    ]
    if parts:
        raise WeightsError(f"does not fit the model: {' and '.join(parts)}", path=path)


def _values(entry: StoredTensor, file: Mapping[str, torch.Tensor], path: str | Path, *, cast: bool) -> torch.Tensor:
    name, *copies = (name for name in entry.names if name in file)
    values, target = file[name], entry.tensor
    if target.is_meta:
        raise WeightsError(
            f"cannot be copied into {entry.name!r}, which is on meta: materialize the model first", path=path
        )
    if values.shape != target.shape:
        raise WeightsError(f"{name!r} has shape {list(values.shape)}, the model wants {list(target.shape)}", path=path)
    for copy in copies:
        if not _equal(values, file[copy]):
            raise WeightsError(f"{name!r} and {copy!r} are one tensor in the model and differ in the file", path=path)
    if not cast and not _survives(values, target.dtype):
        raise WeightsError(
            f"{name!r} is {_name(values.dtype)} in the file and {_name(target.dtype)} in the model, which would change "
            "values: pass cast=True or convert the model",
            path=path,
        )
    return values


def _survives(values: torch.Tensor, dtype: torch.dtype) -> bool:
    """Every value is the same number in `dtype`."""
    if values.dtype == dtype:
        return True
    if values.is_complex() and not dtype.is_complex:
        return not bool(values.imag.any()) and _survives(values.real, dtype)
    cast = values.to(dtype)
    return _equal(values, cast.to(values.dtype)) and (_is_inexact(values) or _same_signs(values, cast))


def _same_signs(values: torch.Tensor, cast: torch.Tensor) -> bool:
    # Integers that wrap around come back unharmed, but have the other sign in between; float64 keeps every sign.
    return bool(((values.double() < 0) == (cast.double() < 0)).all())


def _is_inexact(values: torch.Tensor) -> bool:
    return values.is_floating_point() or values.is_complex()


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(map(repr, found[:_SHOWN])) + more


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
