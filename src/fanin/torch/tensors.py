"""The stored tensors of a model: each once, however many names it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from fanin.errors import PlanError
from fanin.torch.sharded.dtensor import is_dtensor, local_of
from fanin.torch.unwrapped import is_wrapping

Kind = Literal["parameter", "buffer"]
PLAIN_CLASSES = frozenset({nn.Parameter, torch.Tensor})


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


# Models have very many tensors: records from rows of columns take half the time of calls of the classes.
_NEW_STORED: partial[StoredTensor] = partial(tuple.__new__, StoredTensor)
_NEW_REGISTRATION: partial[Registration] = partial(tuple.__new__, Registration)


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
    if not entries:
        return ()
    names, _, _, tensors, kinds, persistent = zip(*entries, strict=True)
    keys = identities(tensors)
    _check_names(names, keys)
    if len(set(keys)) == len(keys):
        return tuple(map(_NEW_STORED, zip(names, tensors, kinds, repeat(()), persistent, strict=False)))
    found: dict[Hashable, list[Registration]] = {}
    for key, entry in zip(keys, entries, strict=True):
        found.setdefault(key, []).append(entry)
    return tuple(_stored(each) for each in found.values())


def registrations(model: nn.Module) -> Iterator[Registration]:
    """Every place where a module of `model` holds a tensor, tied ones and shared modules repeated."""
    for dot, module in _modules(model):
        if parameters := _held(dot, module._parameters):  # pyright: ignore[reportPrivateUsage]
            yield from _registered(dot, module, parameters, "parameter", repeat(True))
        if buffers := _held(dot, module._buffers):  # pyright: ignore[reportPrivateUsage]
            passing = module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage]
            yield from _registered(dot, module, buffers, "buffer", [key not in passing for key in buffers])


def tensor_classes(model: nn.Module) -> set[type]:
    """The classes of all that modules of `model` hold as parameters and buffers; NoneType may be among them."""
    kinds: set[type] = set()
    for _, module in _modules(model):
        kinds.update(map(type, module._parameters.values()))  # pyright: ignore[reportPrivateUsage]
        kinds.update(map(type, module._buffers.values()))  # pyright: ignore[reportPrivateUsage]
    return kinds


def _registered(
    dot: str, module: nn.Module, tensors: Mapping[str, torch.Tensor], kind: Kind, persistent: Iterable[bool]
) -> Iterator[Registration]:
    names = map(dot.__add__, tensors)
    rows = zip(names, repeat(module), tensors, tensors.values(), repeat(kind), persistent, strict=False)
    return map(_NEW_REGISTRATION, rows)


def _held(dot: str, tensors: Mapping[str, torch.Tensor | None]) -> dict[str, torch.Tensor]:
    """Those that are there.

    Raises:
        PlanError: one has no shape yet.
    """
    held = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    if not PLAIN_CLASSES.issuperset(map(type, held.values())):
        for key, tensor in held.items():
            _check_shaped(dot + key, tensor)
    return held


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


def identities(tensors: Sequence[torch.Tensor]) -> list[Hashable]:
    """The identity of each; where nothing else begins at a tensor's address, the address alone."""
    if not PLAIN_CLASSES.issuperset(map(type, tensors)):
        return list(map(identity, tensors))
    try:
        places = list(map(torch.Tensor.data_ptr, tensors))
    except RuntimeError:  # sparse tensors have none
        return list(map(identity, tensors))
    if len(set(places)) == len(places) and 0 not in places:
        return list[Hashable](places)
    times = Counter(places)
    times[0] = len(places)
    return [place if times[place] == 1 else identity(t) for place, t in zip(places, tensors, strict=True)]


def _check_names(names: Sequence[str], keys: Sequence[Hashable]) -> None:
    if len(set(names)) == len(names):
        return
    found: dict[str, Hashable] = {}
    for name, key in zip(names, keys, strict=True):
        if found.setdefault(name, key) != key:
            raise PlanError(
                f"two tensors are called {name!r} once the names of wrappers (torch.compile, checkpointing, data "
                "parallelism) are left out: rename one of the modules"
            )


def _check_shaped(name: str, tensor: torch.Tensor) -> None:
    if isinstance(tensor, UninitializedTensorMixin):
        raise PlanError(f"{name!r} is a lazy tensor without a shape yet: run the model once on a batch, then plan it")


def _stored(entries: list[Registration]) -> StoredTensor:
    first = entries[0]
    names = dict.fromkeys(entry.name for entry in entries)
    persistent = any(entry.persistent for entry in entries)
    return StoredTensor(first.name, first.tensor, first.kind, tuple(names)[1:], persistent)
