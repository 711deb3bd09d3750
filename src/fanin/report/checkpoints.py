"""What a checkpoint folder holds, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from fanin.random import STREAM_VERSION
from fanin.report import text
from fanin.report.layout import Field, grid, heading, stack, widest_fitting

if TYPE_CHECKING:
    from fanin.checkpoints.together import Order
    from fanin.checkpoints.write import Written

_MOST_FILES = 12


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder of weights as it was written.

    Attributes:
        folder: where it is.
        format: "safetensors" or "dcp".
        files: their bytes, by name.
        tensors, parameters, bytes: how many of each, and bytes of all values.
        about: recipe, seed, stream version and plan hash.
        written, kept: files of values that this run wrote, and those that an earlier one had finished.
        load: Python that loads it.
    """

    folder: Path
    format: str
    files: Mapping[str, int]
    tensors: int
    parameters: int
    bytes: int
    about: Mapping[str, Any]
    written: tuple[str, ...]
    kept: tuple[str, ...]
    load: str

    @classmethod
    def of(cls, written: Written, form: str, order: Order, model: str) -> Checkpoint:
        """What `write_folder` did, looked up on the disk; `model` is the name of the class."""
        names = (*written.files, *order.beside)
        plan, layout = order.plan, order.layout
        about = {"recipe": plan.recipe, "seed": order.seed, "stream_version": STREAM_VERSION, "plan_hash": plan.hash}
        return cls(
            written.folder,
            form,
            {name: (written.folder / name).stat().st_size for name in names},
            written.tensors,
            layout.parameters,
            layout.data_bytes,
            about,
            tuple(sorted(written.written)),
            tuple(sorted(written.kept)),
            _load(written, form, model, bool(order.beside)),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        head = {"path": str(self.folder), "format": self.format, "files": dict(self.files)}
        numbers = {"tensors": self.tensors, "parameters": self.parameters, "bytes": self.bytes}
        return head | numbers | dict(self.about) | {"written": self.written, "kept": self.kept, "load": self.load}


def checkpoint_report(checkpoint: Checkpoint, width: int) -> RenderableType:
    """One row for each file (of many, the largest), then what the values are from and how to load them."""
    files = dict(checkpoint.files)
    if len(files) > _MOST_FILES:
        largest = sorted(files, key=lambda name: -files[name])[: _MOST_FILES - 1]
        rest = [name for name in files if name not in largest]
        files = {name: files[name] for name in files if name in largest}
        files[f"{text.count(len(rest))} more"] = sum(checkpoint.files[name] for name in rest)
    fields = [
        Field("file", list(files)),
        Field("size", [text.size(size) for size in files.values()], number=True),
    ]
    summary = (
        f"{text.plural(checkpoint.tensors, 'tensor')}, {text.plural(checkpoint.parameters, 'parameter')}, "
        f"{text.size(checkpoint.bytes)} in all"
    )
    lines = [summary, *_resumed(checkpoint)]
    notes = [Text(f"{key}: {value}", style="dim") for key, value in checkpoint.about.items()]
    load = Text(f"load: {checkpoint.load}")
    return stack(
        heading(f"{checkpoint.folder}/"), "", grid(widest_fitting([fields], width)), "", *map(Text, lines), *notes, load
    )


def _resumed(checkpoint: Checkpoint) -> list[str]:
    if not checkpoint.kept:
        return []
    shards = sum(name.endswith(".safetensors") for name in checkpoint.files)
    if len(checkpoint.kept) == shards:
        return ["all files were finished already"]
    verb = "was" if len(checkpoint.kept) == 1 else "were"
    return [f"{len(checkpoint.kept)} of {shards} files {verb} finished already"]


def _load(written: Written, form: str, model: str, transformers: bool) -> str:
    folder = written.folder
    if form == "dcp":
        return f"torch.distributed.checkpoint.load(model.state_dict(), checkpoint_id={str(folder)!r})"
    if transformers:
        return f"transformers.{model}.from_pretrained({str(folder)!r})"
    match written.files:
        case (single,):
            return f"fanin.open_weights({str(folder / single)!r})"
        case _:
            return "model.load_state_dict(safetensors.torch.load_file(path), strict=False) for the path of each file"
