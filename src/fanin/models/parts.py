"""Model classes that transformers registers nowhere: the text or vision part of another model."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from torch import nn

from fanin.errors import ArgumentError


def model_class_of_part(what: str, config: Any) -> Any:
    """The model class of transformers that is made from a config of exactly this class.

    Raises:
        ArgumentError: there is none; `what` names the config in the message.
    """
    found = sorted(_classes(type(config)), key=_preference)
    if not found:
        raise ArgumentError(
            f"{what}: transformers has no model of its own for {type(config).__name__}, which describes a part of "
            "another model: build that model"
        )
    return found[0]


def _classes(config_class: type) -> Iterator[type]:
    from transformers import PreTrainedModel

    package = importlib.import_module(config_class.__module__.rpartition(".")[0])
    for entry in pkgutil.iter_modules(package.__path__):
        if not entry.name.startswith("modeling_"):
            continue
        module = importlib.import_module(f"{package.__name__}.{entry.name}")
        for cls in vars(module).values():
            own = isinstance(cls, type) and issubclass(cls, PreTrainedModel) and cls.__module__ == module.__name__
            if own and cls.config_class is config_class and not cls.__name__.endswith("PreTrainedModel"):
                yield cls


def _preference(cls: Any) -> tuple[bool, int]:
    """Classes that have a forward pass; among them the one with a head, then the bare model, then what is left."""
    name = cls.__name__
    order = 0 if "For" in name else 1 if name.endswith("Model") else 2 if name.endswith("Backbone") else 3
    return cls.forward is nn.Module.forward, order
