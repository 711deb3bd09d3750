"""The stored tensors of a model: each once, however many names it has."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from fanin.errors import PlanError

Kind = Literal["parameter", "buffer"]


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """One parameter or buffer of a model.

    Attributes:
        name: qualified name, the first under which the model registers it.
        tensor: the tensor itself.
        kind: "parameter" or "buffer".
        aliases: its other names (tied weights, modules registered twice).
        persistent: whether a state dict holds it under any of its names.
    """

    name: str
    tensor: torch.Tensor
    kind: Kind
    aliases: tuple[str, ...] = ()
    persistent: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, the first one first."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """One place where a module holds a tensor: `module` registers `tensor` as `key`."""

    name: str
    module: nn.Module
    key: str
    tensor: torch.Tensor
    kind: Kind
    persistent: bool


def stored_tensors(model: nn.Module) -> tuple[StoredTensor, ...]:
    """Every parameter and buffer of `model` once, in order of registration: each module's parameters, then its buffers.

    Two registrations are one stored tensor if they are the same object or the same elements of the same memory
    (storage, offset, shape, strides and dtype); the later names become aliases.

    Args:
        model: any module, on any device, `meta` included.

    Raises:
        PlanError: a lazy parameter that has no shape yet.

    >>> head, body = nn.Linear(3, 2, bias=False), nn.Embedding(2, 3)
    >>> head.weight = body.weight
    >>> [(stored.name, stored.aliases) for stored in stored_tensors(nn.Sequential(body, head, nn.BatchNorm1d(2)))][:2]
    [('0.weight', ('1.weight',)), ('2.weight', ())]
    """
    found: dict[Hashable, list[Registration]] = {}
    for entry in registrations(model):
        found.setdefault(identity(entry.tensor), []).append(entry)
    return tuple(_stored(entries) for entries in found.values())


def registrations(model: nn.Module) -> Iterator[Registration]:
    """Every place where a module of `model` holds a tensor, tied ones and shared modules repeated."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        for key, parameter in module._parameters.items():  # pyright: ignore[reportPrivateUsage]
            if parameter is not None:
                yield Registration(dot + key, module, key, _shaped(dot + key, parameter), "parameter", True)
        for key, buffer in module._buffers.items():  # pyright: ignore[reportPrivateUsage]
            if buffer is not None:
                kept = key not in module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage]
                yield Registration(dot + key, module, key, _shaped(dot + key, buffer), "buffer", kept)


def identity(tensor: torch.Tensor) -> Hashable:
    """Equal for two tensors exactly if they are the same elements of the same memory."""
    try:
        storage = storage_id(tensor)
    except (RuntimeError, NotImplementedError):  # sparse and some wrapper tensors have no storage of their own
        return id(tensor)
    return storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def storage_id(tensor: torch.Tensor) -> int:
    """Equal for two tensors exactly if they lie in the same memory; for `meta` and fake tensors too."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def share_hooks(old: torch.Tensor, new: torch.Tensor) -> None:
    """Give `new` the gradient hooks of `old`; the handles that remove them act on both."""
    for kind in ("_backward_hooks", "_post_accumulate_grad_hooks"):
        if getattr(old, kind) is not None:
            setattr(new, kind, getattr(old, kind))


def _shaped(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, UninitializedTensorMixin):
        raise PlanError(f"{name!r} is a lazy tensor without a shape yet: run the model once on a batch, then plan it")
    return tensor


def _stored(entries: list[Registration]) -> StoredTensor:
    first = entries[0]
    names = dict.fromkeys(entry.name for entry in entries)
    persistent = any(entry.persistent for entry in entries)
    return StoredTensor(first.name, first.tensor, first.kind, tuple(names)[1:], persistent)
