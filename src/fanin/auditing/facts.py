"""What a model's config and modules say about its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fanin.errors import FaninError
from fanin.torch.capture import Captured, capture
from fanin.torch.tensors import stored_tensors
from fanin.torch.trace.constants import constants
from fanin.torch.unwrapped import unwrapped

Pair = tuple[str, str]


def config_of(model: nn.Module) -> dict[str, Any]:
    """A transformers model's config as plain data; nothing for other models."""
    config = getattr(model, "config", None)
    told = getattr(config, "to_dict", None)
    found = told() if callable(told) else None
    return dict(found) if isinstance(found, Mapping) else {}


def ties_of(model: nn.Module) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Names of the embedding and the head where the config has them as one tensor, and where it has them as two."""
    tied = getattr(getattr(model, "config", None), "tie_word_embeddings", None)
    if not isinstance(tied, bool):
        return (), ()
    table, head = (_weight(model, key) for key in ("get_input_embeddings", "get_output_embeddings"))
    if table is None or head is None:
        return (), ()
    # A tied tensor has one first name, but each module its own.
    pair = (_name(model, table), _name(model, head))
    return ((pair,), ()) if tied else ((), (pair,))


def types_of(model: nn.Module) -> dict[str, str]:
    """Where each module's class is from, with its name."""
    return {name: f"{type(module).__module__}.{type(module).__qualname__}" for name, module in model.named_modules()}


def shapeless(model: nn.Module) -> tuple[str, ...]:
    """Parameters without the `infshape` of the package mup."""
    return tuple(name for name, tensor in model.named_parameters() if not hasattr(tensor, "infshape"))


def rebuilt(model: nn.Module | Captured) -> dict[str, Tensor]:
    """The buffers that no state dict holds as the model's constructor computes them; none where it cannot be re-run."""
    if isinstance(model, Captured):
        return {}
    bare = unwrapped(model)
    config = getattr(bare, "config", None)
    volatile = {entry.name for entry in stored_tensors(bare) if entry.kind == "buffer" and not entry.persistent}
    if not volatile or config is None or not hasattr(bare, "initialize_weights"):
        return {}
    try:
        plan = capture(lambda: type(bare)(config)).plan
    except FaninError:
        return {}
    except (TypeError, ValueError, AttributeError):  # a constructor that takes more than a config
        return {}
    return {name: values for name, values in constants(plan).items() if name in volatile}


def _weight(model: nn.Module, getter: str) -> nn.Module | None:
    try:
        found = getattr(model, getter)()
    except (AttributeError, NotImplementedError, TypeError):
        return None
    return found if isinstance(found, nn.Module) and isinstance(getattr(found, "weight", None), Tensor) else None


def _name(model: nn.Module, module: nn.Module) -> str:
    found = next((name for name, each in model.named_modules() if each is module), "")
    return f"{found}.weight" if found else "weight"
