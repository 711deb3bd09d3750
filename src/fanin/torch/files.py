"""Models to weights files and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from fanin.errors import ArgumentError, WeightsError
from fanin.models.cnn import AsImages
from fanin.random import STREAM_VERSION
from fanin.torch.file_match import match
from fanin.torch.file_tensors import OpenedWeights, from_torch
from fanin.torch.tensors import stored_tensors
from fanin.weights import Tensor, read_weights, write_gguf, write_safetensors
from fanin.weights.ggml_mnist import ARCHITECTURES, architecture_of, from_ggml, to_ggml
from fanin.weights.gguf_codes import ARCHITECTURE_KEY

if TYPE_CHECKING:
    from fanin.plans import Plan

SUFFIXES = (".safetensors", ".gguf")
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
        path: ends in `.safetensors` or `.gguf`; an existing file is replaced in one step.
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
            f"{path}: weights are written as {' or '.join(SUFFIXES)}, and the suffix {suffix!r} is neither"
        )
    stored = [entry for entry in stored_tensors(model) if entry.persistent]
    tensors = {entry.name: from_torch(entry.name, entry.tensor, path) for entry in stored}
    metadata = file_metadata({tensor.dtype for tensor in tensors.values()}, plan, seed)
    if suffix == ".safetensors":
        write_safetensors(path, tensors, {"format": "pt"} | {key: str(value) for key, value in metadata.items()})
        return
    found = architecture or _ggml_architecture(model, tensors) or type(model).__name__
    write_gguf(path, to_ggml(found, tensors) if found == architecture_of(tensors) else tensors, found, metadata)


def open_weights(path: str | Path) -> OpenedWeights:
    """The tensors of a safetensors or GGUF file by name, each mapped from the file when asked for.

    Writing to a tensor changes memory, never the file. A GGUF file of `mnist-fc` or `mnist-cnn` is shown with the
    names and shapes of the torch model.

    Raises:
        WeightsError: missing, truncated or contradictory; says what and at which byte.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> save(nn.Linear(3, 2), f"{folder.name}/a.safetensors", seed=7)
    >>> file = open_weights(f"{folder.name}/a.safetensors")
    >>> list(file), file["weight"].shape, file.metadata["fanin.seed"]
    (['bias', 'weight'], torch.Size([2, 3]), '7')
    >>> folder.cleanup()
    """
    file = read_weights(path)
    architecture = file.metadata.get(ARCHITECTURE_KEY)
    if file.format != "gguf" or not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        return OpenedWeights(file, file)
    try:
        return OpenedWeights(file, from_ggml(architecture, file))
    except WeightsError as error:
        raise WeightsError(str(error), path=path) from None


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors or GGUF file by name; see `open_weights`."""
    return dict(open_weights(path))


def load_into(model: nn.Module, path: str | Path, *, cast: bool = False) -> nn.Module:
    """Copy a file's tensors into the model, in place; everything is checked before the first value is written.

    Each parameter and persistent buffer takes the tensor of its name; tied ones may stand under any of their names.

    Args:
        model: a model with memory (not on meta).
        path: a safetensors or GGUF file.
        cast: allow dtypes to differ even where values change; else they may differ only where every value survives.

    Returns:
        `model`.

    Raises:
        WeightsError: the file cannot be read, or names, shapes or dtypes do not fit; the model is then untouched.
    """
    pairs = match(model, open_weights(path), path, cast=cast)
    with torch.no_grad():
        for tensor, values in pairs:
            tensor.copy_(values)
    return model


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
