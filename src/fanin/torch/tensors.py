"""The stored tensors of a model: each once, however many names it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from fanin.errors import PlanError
from fanin.torch.sharded.dtensor import is_dtensor, local_of
from fanin.torch.unwrapped import is_wrapping

Kind = Literal["parameter", "buffer"]
_ITS_OWN_CLASSES = frozenset({nn.Parameter, torch.Tensor})


class StoredTensor(NamedTuple):
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


class Registration(NamedTuple):
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

    Names are those of the model without wrappers: what `torch.compile`, checkpointing and data parallelism put in
    between (`_orig_mod`, `_checkpoint_wrapped_module`, `module`) is left out.

    Raises:
        PlanError: a lazy parameter that has no shape yet, or two tensors that have one name without the wrappers.

    >>> head, body = nn.Linear(3, 2, bias=False), nn.Embedding(2, 3)
    >>> head.weight = body.weight
    >>> [(stored.name, stored.aliases) for stored in stored_tensors(nn.Sequential(body, head, nn.BatchNorm1d(2)))][:2]
    [('0.weight', ('1.weight',)), ('2.weight', ())]
    """
    return stored_among(list(registrations(model)))


def stored_among(entries: Sequence[Registration]) -> tuple[StoredTensor, ...]:
    """The stored tensors that are registered so; entries and errors as of `stored_tensors`."""
    keys = _identities([entry.tensor for entry in entries])
    _check_names(entries, keys)
    if len(set(keys)) == len(keys):
        return tuple(StoredTensor(entry.name, entry.tensor, entry.kind, (), entry.persistent) for entry in entries)
    found: dict[Hashable, list[Registration]] = {}
    for key, entry in zip(keys, entries, strict=True):
        found.setdefault(key, []).append(entry)
    return tuple(_stored(each) for each in found.values())


def registrations(model: nn.Module) -> Iterator[Registration]:
    """Every place where a module of `model` holds a tensor, tied ones and shared modules repeated."""
    for dot, module in _modules(model):
        for key, parameter in module._parameters.items():  # pyright: ignore[reportPrivateUsage]
            if parameter is not None:
                yield Registration(dot + key, module, key, _shaped(dot + key, parameter), "parameter", True)
        for key, buffer in module._buffers.items():  # pyright: ignore[reportPrivateUsage]
            if buffer is not None:
                kept = key not in module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage]
                yield Registration(dot + key, module, key, _shaped(dot + key, buffer), "buffer", kept)


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Each module, shared ones repeated, with what its tensors' names begin with; in the order of `named_modules`.

    Wrappers (`torch.compile`, checkpointing, data parallelism) add nothing to names.
    """
    waiting = [("", model)]
    while waiting:
        dot, module = waiting.pop()
        yield dot, module
        inner = [
            (dot if is_wrapping(module, name) else f"{dot}{name}.", each)
            for name, each in module._modules.items()  # pyright: ignore[reportPrivateUsage]
            if each is not None
        ]
        waiting += reversed(inner)


def identity(tensor: torch.Tensor) -> Hashable:
    """Equal for two tensors exactly if they are the same elements of the same memory."""
    if is_dtensor(tensor):
        return identity(local_of(tensor)), tuple(tensor.shape)
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


def _identities(tensors: list[torch.Tensor]) -> list[Hashable]:
    """The identity of each; where nothing else begins at a tensor's address, the address alone."""
    if not _ITS_OWN_CLASSES.issuperset(map(type, tensors)):
        return list(map(identity, tensors))
    try:
        places = [tensor.data_ptr() for tensor in tensors]
    except RuntimeError:  # sparse tensors have none
        return list(map(identity, tensors))
    if len(set(places)) == len(places) and 0 not in places:
        return list[Hashable](places)
    times = Counter(places)
    times[0] = len(places)
    return [place if times[place] == 1 else identity(t) for place, t in zip(places, tensors, strict=True)]


def _check_names(entries: Sequence[Registration], keys: list[Hashable]) -> None:
    if len({entry.name for entry in entries}) == len(entries):
        return
    found: dict[str, Hashable] = {}
    for entry, key in zip(entries, keys, strict=True):
        if found.setdefault(entry.name, key) != key:
            raise PlanError(
                f"two tensors are called {entry.name!r} once the names of wrappers (torch.compile, checkpointing, data "
                "parallelism) are left out: rename one of the modules"
            )


def _shaped(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, UninitializedTensorMixin):
        raise PlanError(f"{name!r} is a lazy tensor without a shape yet: run the model once on a batch, then plan it")
    return tensor


def _stored(entries: list[Registration]) -> StoredTensor:
    first = entries[0]
    names = dict.fromkeys(entry.name for entry in entries)
    persistent = any(entry.persistent for entry in entries)
    return StoredTensor(first.name, first.tensor, first.kind, tuple(names)[1:], persistent)
