"""Models to weights files and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from fanin.errors import ArgumentError, WeightsError
from fanin.models.layers.images import AsImages
from fanin.random import STREAM_VERSION
from fanin.torch.archive import write_archive
from fanin.torch.file_tensors import OpenedWeights, from_torch
from fanin.torch.tensors import stored_tensors
from fanin.weights import Tensor, read_weights, write_gguf, write_safetensors
from fanin.weights.atomic import atomic_file
from fanin.weights.ggml_mnist import ARCHITECTURES, architecture_of, from_ggml, to_ggml
from fanin.weights.gguf_codes import ARCHITECTURE_KEY
from fanin.weights.safetensors_header import Described

if TYPE_CHECKING:
    from fanin.plans import Plan

TORCH_SUFFIXES = (".pt", ".pth", ".bin")
SUFFIXES = (".safetensors", ".gguf", *TORCH_SUFFIXES)
_AS_IN_GGML = (nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity, AsImages)


def save(
    model: nn.Module,
    path: str | Path,
    plan: Plan | None = None,
    seed: int | None = None,
    *,
    architecture: str | None = None,
) -> None:
    """Write the model's parameters and persistent buffers to one file, atomically; the suffix says the format.

    Tied tensors are written once, under the first name. The file's metadata has `fanin.stream_version`, `fanin.dtype`
    and, where given, `fanin.seed`, `fanin.recipe`, `fanin.plan_hash`: enough to draw the same bits again.

    In GGUF, the two networks of ggml's MNIST example are written as that example reads them
    (`fanin.weights.ggml_mnist`); all others under the model's own names and shapes.

    Args:
        model: a model with values, on any device.
        path: ends in `.safetensors`, `.gguf`, or `.pt`, `.pth` or `.bin` (a plain dict, as `torch.load` reads it with
            `weights_only`); an existing file is replaced in one step.
        plan: the plan its values came from.
        seed: the seed they were drawn with.
        architecture: GGUF's `general.architecture`; default: "mnist-fc" or "mnist-cnn" for a model of their names,
            shapes and layers, else the name of the model's class.

    Raises:
        ArgumentError: another suffix.
        WeightsError: the file cannot be written, or the format cannot hold a tensor; nothing is left under `path`
            that was not there before.

    >>> import tempfile, fanin.models
    >>> folder = tempfile.TemporaryDirectory()
    >>> save(fanin.models.build("mnist-cnn"), f"{folder.name}/cnn.gguf", seed=7)
    >>> file = open_weights(f"{folder.name}/cnn.gguf")
    >>> file["dense.weight"].shape, file.metadata["general.architecture"], file.metadata["fanin.seed"]
    (torch.Size([10, 784]), 'mnist-cnn', 7)
    >>> folder.cleanup()
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(
            f"{path}: weights are written as {', '.join(SUFFIXES)}, and the suffix {suffix!r} is none of them"
        )
    stored = [entry for entry in stored_tensors(model) if entry.persistent]
    tensors = {entry.name: from_torch(entry.name, entry.tensor, path) for entry in stored}
    metadata = file_metadata({tensor.dtype for tensor in tensors.values()}, plan, seed)
    if suffix in TORCH_SUFFIXES:
        described = [Described(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()]
        runs = (iter([tensor.to_bytes()]) for tensor in tensors.values())
        with atomic_file(path) as written:
            write_archive(written, described, runs, {key: str(value) for key, value in metadata.items()})
        return
    if suffix == ".safetensors":
        write_safetensors(path, tensors, {"format": "pt"} | {key: str(value) for key, value in metadata.items()})
        return
    found = architecture or _ggml_architecture(model, tensors) or type(model).__name__
    write_gguf(path, to_ggml(found, tensors) if found == architecture_of(tensors) else tensors, found, metadata)


def open_weights(path: str | Path, *, entry: str | None = None) -> OpenedWeights:
    """The tensors of weights of any format by name, each mapped or read when it is asked for; nothing is unpickled.

    What the bytes say counts, not the name of the file:

    - safetensors, and GGUF 2 and 3 with plain or quantised tensors (quantised ones come as float32);
    - several files: an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`) or any part of a split
      GGUF opens them all;
    - PyTorch `.pt`, `.pth`, `.bin`: zip archives, TorchScript and the format before them. Tensors saved from any device
      come on the CPU. Other objects in the file are neither imported nor run but left out, and `.notes` says so;
    - folders of `torch.distributed.checkpoint`, and folders with one index or one weights file;
    - NumPy `.npz` and `.npy`.

    Writing to a tensor changes memory, never the file. A file that another program changes afterwards gives an error at
    the next tensor; one that it shortens while a tensor's memory is in use ends the process, as for every mapped file.
    A GGUF file of `mnist-fc` or `mnist-cnn` is shown with the names and shapes of the torch model.

    Args:
        path: a file, an index or a folder.
        entry: which part of a PyTorch checkpoint, by dotted name ("ema", "optimizer.state"), or "" for all of it. By
            default the model's: the first of `state_dict`, `model_state_dict`, `model_state`, `model`, `module`, … that
            holds tensors, else all tensors but an optimizer's. `.notes` says which, and what else there is.

    Raises:
        WeightsError: missing, truncated, contradictory or of an unknown format; says what and at which byte.
        ArgumentError: an entry for a file that has none.
        UnknownNameError: no such entry.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> save(nn.Linear(3, 2), f"{folder.name}/a.safetensors", seed=7)
    >>> file = open_weights(f"{folder.name}/a.safetensors")
    >>> list(file), file["weight"].shape, file.metadata["fanin.seed"]
    (['bias', 'weight'], torch.Size([2, 3]), '7')
    >>> torch.save({"epoch": 3, "ema": dict(file), "model": {"w": torch.ones(2)}}, f"{folder.name}/b.pt")
    >>> file = open_weights(f"{folder.name}/b.pt")
    >>> list(file), file.metadata
    (['w'], {'epoch': 3, 'fanin.entry': 'model'})
    >>> print(*file.notes)
    the tensors of entry 'model'; others with tensors (entry=...): 'ema'
    >>> list(open_weights(f"{folder.name}/b.pt", entry="ema"))
    ['bias', 'weight']
    >>> folder.cleanup()
    """
    file = read_weights(path, entry)
    architecture = file.metadata.get(ARCHITECTURE_KEY)
    if file.format != "gguf" or not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        return OpenedWeights(file, file)
    try:
        return OpenedWeights(file, from_ggml(architecture, file))
    except WeightsError as error:
        raise WeightsError(str(error), path=path) from None


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """All tensors of a weights file by name; see `open_weights`."""
    return dict(open_weights(path))


def file_metadata(dtypes: Iterable[str], plan: Plan | None, seed: int | None) -> dict[str, str | int]:
    """What a weights file says about where its values come from: enough to draw the same bits again."""
    found: dict[str, str | int] = {"fanin.stream_version": STREAM_VERSION, "fanin.dtype": ", ".join(sorted(dtypes))}
    if seed is not None:
        found["fanin.seed"] = seed
    if plan is not None:
        found |= {"fanin.recipe": plan.recipe, "fanin.plan_hash": plan.hash}
    return found


def _ggml_architecture(model: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    # An mlp:784-500-10 with another activation has the same names and shapes, but ggml would compute ReLU.
    bare = (module for module in model.modules() if not any(True for _ in (*module.children(), *module.parameters())))
    return architecture_of(tensors) if all(isinstance(module, _AS_IN_GGML) for module in bare) else None
