"""`fanin init` into one file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import fanin
from fanin.cli.output import Output
from fanin.cli.printing import progress, show, writing
from fanin.cli.verb import BadInput

if TYPE_CHECKING:
    from torch import nn


def into_file(
    place: Output, name: str, model: nn.Module, plan: fanin.Plan, seed: int, dtype: str | None, as_json: bool
) -> None:
    """Write one file and show what it holds.

    Raises:
        BadInput: torchrun started several processes, which cannot share one file.
    """
    from fanin.report.files import file_data, file_report

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise BadInput(f"{place.path}: several processes write a folder of files, not one file: name a folder, as out/")
    if place.format == "safetensors":
        from fanin.checkpoints import Order, write_file

        with writing(f"Writing {place.path}") as advance:
            write_file(Order(plan, seed, dtype), place.path, advance)
    else:
        with progress(f"Drawing {name}") as advance:
            drawn = fanin.materialize(model, plan, seed=seed, progress=advance)
        with progress(f"Writing {place.path}"):
            fanin.save(stored_as(drawn, dtype), place.path, plan, seed)
    written = fanin.open_weights(place.path).file
    show(as_json, lambda: file_data(written), lambda width: file_report(written, width))


def stored_as(model: Any, dtype: str | None) -> Any:
    """The model in that type; values drawn in float32 are rounded once."""
    if dtype is None:
        return model
    import torch

    return model.to(getattr(torch, dtype))
