"""The tensors of a transformers model, from its config alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fanin.errors import ArgumentError, FaninError, MissingExtraError
from fanin.names import Wanted
from fanin.torch.tensors import stored_tensors


def wanted_by(config: Mapping[str, Any]) -> list[Wanted]:
    """Names, shapes and dtypes of the tensors in the state dict of the model that a config describes.

    Raises:
        MissingExtraError: transformers is not installed.
        ArgumentError: it refuses the config.
    """
    try:
        from transformers import CONFIG_MAPPING
    except ImportError:
        raise MissingExtraError.of("transformers", "transformers", "names of transformers") from None
    from fanin.models.huggingface import model_of

    kind = str(config["model_type"])
    fields = {name: value for name, value in config.items() if name != "model_type"}
    try:
        made = CONFIG_MAPPING[kind](**fields)
        with torch.device("meta"):
            model = model_of(kind, made)
    except FaninError:
        raise
    except Exception as error:  # of any kind, where a file's numbers make no model
        raise ArgumentError(f"transformers refuses the config of {kind}: {error}") from error
    return [
        Wanted(entry.name, tuple(entry.tensor.shape), str(entry.tensor.dtype).removeprefix("torch."), entry.names[1:])
        for entry in stored_tensors(model)
        if entry.persistent
    ]
