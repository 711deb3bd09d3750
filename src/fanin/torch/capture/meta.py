"""Turning a model of fake tensors into an ordinary one on the meta device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from fanin.torch.tensors import share_hooks, storage_id

_OWN = frozenset(vars(nn.Module()))
_DEPTH = 8  # how deep lists and dicts in attributes are searched


@dataclass(slots=True)
class Exchange:
    """Replaces fake tensors by others, each object by one object, wherever a module holds them.

    Attributes:
        values: the real values of a fake tensor that is to stay real, or None.
        lost: attributes whose tensors cannot have values, because they depend on chance.
    """

    values: Callable[[torch.Tensor], torch.Tensor | None]
    lost: list[str] = field(default_factory=list)
    _done: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    _storages: dict[int, torch.UntypedStorage] = field(default_factory=dict)

    def model(self, model: nn.Module, kept: Mapping[int, torch.Tensor]) -> None:
        """Exchange every fake tensor in `model`; those whose id is in `kept` for the values given there."""
        for module in model.modules():
            for held in (module._parameters, module._buffers):  # pyright: ignore[reportPrivateUsage]
                for key, tensor in held.items():
                    if isinstance(tensor, FakeTensor):
                        held[key] = self._stored(tensor, kept)  # pyright: ignore[reportArgumentType]
        for name, module in model.named_modules():
            for key, value in list(vars(module).items()):
                if key not in _OWN:
                    vars(module)[key] = self._attribute(value, f"{name}.{key}".lstrip("."), _DEPTH)

    def _stored(self, fake: FakeTensor, kept: Mapping[int, torch.Tensor]) -> torch.Tensor:
        if id(fake) not in self._done:
            data = kept[id(fake)] if id(fake) in kept else self._meta(fake)
            self._done[id(fake)] = fake, _dressed(data, fake)
        return self._done[id(fake)][1]

    def _meta(self, fake: FakeTensor) -> torch.Tensor:
        """A meta tensor with the same layout, in a storage shared as the fake one's is."""
        key = storage_id(fake)
        if key not in self._storages:
            self._storages[key] = torch.UntypedStorage(fake.untyped_storage().nbytes(), device="meta")
        blank = torch.empty(0, dtype=fake.dtype, device="meta")
        return blank.set_(self._storages[key], fake.storage_offset(), fake.shape, fake.stride())  # pyright: ignore[reportArgumentType]

    def _attribute(self, value: Any, name: str, depth: int) -> Any:
        """`value` with its fake tensors exchanged; the same object where it holds none."""
        if isinstance(value, FakeTensor):
            return self._loose(value, name)
        if isinstance(value, weakref.ref):
            held = value()
            return weakref.ref(self._loose(held, name)) if isinstance(held, FakeTensor) else value
        if depth and type(value) in (list, tuple, dict):
            return self._container(value, name, depth - 1)
        return value

    def _container(self, value: Any, name: str, depth: int) -> Any:
        if type(value) is dict:
            changed = {key: self._attribute(item, f"{name}[{key!r}]", depth) for key, item in value.items()}
            pairs = zip(changed.values(), value.values(), strict=True)
        else:
            changed = [self._attribute(item, f"{name}[{at}]", depth) for at, item in enumerate(value)]
            pairs = zip(changed, value, strict=True)
        return value if all(new is old for new, old in pairs) else type(value)(changed)

    def _loose(self, fake: FakeTensor, name: str) -> torch.Tensor:
        """What stands for a fake tensor in a plain attribute: its parameter, its values, or its shape."""
        if id(fake) not in self._done:
            values = self.values(fake)
            if values is None:
                self.lost.append(name)
            self._done[id(fake)] = fake, self._meta(fake) if values is None else values.clone()
        return self._done[id(fake)][1]


def _dressed(data: torch.Tensor, fake: FakeTensor) -> torch.Tensor:
    """`data` as a parameter or buffer like `fake`, with the attributes that the model's code set on it."""
    tensor = nn.Parameter(data, fake.requires_grad) if isinstance(fake, nn.Parameter) else data
    if not isinstance(fake, nn.Parameter) and fake.requires_grad:
        tensor.requires_grad_()
    vars(tensor).update({key: value for key, value in vars(fake).items() if key not in _machinery()})
    share_hooks(fake, tensor)
    return tensor


@lru_cache(maxsize=1)
def _machinery() -> frozenset[str]:
    """Attributes that belong to every fake tensor."""
    with FakeTensorMode():
        return frozenset({*vars(torch.empty(0)), "_is_param"})
