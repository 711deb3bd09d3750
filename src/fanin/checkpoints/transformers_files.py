"""What transformers reads beside the weights: config.json and generation_config.json."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn


def config_files(model: nn.Module, dtype: str | None = None) -> dict[str, bytes]:
    """The files by name that make a folder of weights a checkpoint for `from_pretrained`; none for other models.

    They are what `save_pretrained` writes: the config with the class and the dtype filled in, and, where the model
    generates text, how. The model and its config stay as they are.

    Args:
        model: captured, on the meta device or real.
        dtype: in which its floating tensors are stored, as torch names it; by default in the model's own.

    Source: transformers' `PreTrainedModel.save_pretrained`.

    >>> config_files(nn.Linear(2, 2))
    {}
    """
    config: Any = getattr(model, "config", None)
    if not callable(getattr(config, "save_pretrained", None)):
        return {}
    told = deepcopy(config)
    told.architectures = [type(model).__name__]
    told.dtype = dtype or str(getattr(model, "dtype", "float32")).removeprefix("torch.")
    with TemporaryDirectory(prefix="fanin-") as folder:
        told.save_pretrained(folder)
        if _generates(model):
            deepcopy(model.generation_config).save_pretrained(folder)  # pyright: ignore[reportArgumentType, reportCallIssue, reportAttributeAccessIssue]
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _generates(model: Any) -> bool:
    can = getattr(model, "can_generate", None)
    return callable(can) and bool(can()) and getattr(model, "generation_config", None) is not None
