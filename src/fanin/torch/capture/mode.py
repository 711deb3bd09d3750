"""Watching a constructor run under fake tensors: which calls left each memory as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,  # pyright: ignore[reportPrivateUsage]
)

from fanin.torch.capture.chance import Sampler
from fanin.torch.capture.geometry import Geometry
from fanin.torch.capture.lazy import as_lazy
from fanin.torch.capture.questions import answer
from fanin.torch.capture.records import Call, Given, Made, Memory, State, Target, View, Written, covers
from fanin.torch.capture.rejection import Rejection
from fanin.torch.capture.schema import Effect, effect_of, effect_of_call, overwrites
from fanin.torch.capture.shortcuts import shortcut
from fanin.torch.capture.sites import site_of_call
from fanin.torch.capture.values import Values
from fanin.torch.tensors import storage_id

_EMPTY = torch.ops.aten.empty.memory_format
_DEVICE = torch.ops.prim.device.default
_UNIFORM = torch.ops.aten.uniform_.default
_FILLS = frozenset(
    {_UNIFORM, torch.ops.aten.normal_.default, torch.ops.aten.zero_.default, torch.ops.aten.fill_.Scalar}
)
_ATOMS = frozenset({FakeTensor, int, float, bool, type(None), torch.dtype, torch.device})
_LIFT = "aten::lift_fresh"
_SNAPSHOT_BYTES = 1 << 20


class CopiedFakeMode(FakeTensorMode):
    """A fake mode that deep copies of fake tensors share with their originals, so that they can meet again.

    It holds no weak references to its tensors: `Module.to(dtype)` swaps only tensors that have none.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.fake_tensor_converter.set_tensor_memo = _forget

    def __deepcopy__(self, memo: dict[int, Any]) -> CopiedFakeMode:
        return self


class Recorder(TorchDispatchMode):
    """Records, for each storage, the calls that made its present values.

    It stands above a `FakeTensorMode`: shapes and views are that mode's, history is this one's. Existing (real)
    tensors are read through fake twins and never changed.
    """

    def __init__(self, fake_mode: FakeTensorMode, sampler: Sampler) -> None:
        super().__init__()
        self.values = Values()
        self.sampler = sampler
        self._fake_mode = fake_mode
        self._count = 0
        # Storages are held so that no other takes the address of one that was freed.
        self._states: dict[int, tuple[Any, State]] = {}
        self._twins: dict[int, tuple[torch.Tensor, FakeTensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named: dict[str, Any] = kwargs or {}
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device
        if func._schema.name == _LIFT and not isinstance(args[0], FakeTensor):
            return self._lifted(args[0])
        effect = effect_of_call(func, args)
        args, named = self._twinned(args), self._twinned(named)
        if effect.asks and not _static(func, args):
            return self._asked(func, args, named)
        if effect.views:
            return self._viewed(func, effect, args, named)
        result = self._recorded(func, effect, args, named)
        return as_lazy(result) if func is _EMPTY and args[0] == [0] else result

    def view(self, tensor: torch.Tensor) -> View | None:
        """The present state of a tensor; None for a real tensor that the constructor did not touch."""
        if not isinstance(tensor, FakeTensor):
            held = self._twins.get(storage_id(tensor))
            return None if held is None else self.view(held[1].as_strided(*_layout(tensor)))
        state = self._state(tensor)
        return View(state, Geometry.of(tensor))

    def _settle(self, ended: Rejection, call: Call) -> None:
        """From now on the values of a rejection loop follow its law, because of what the loop was told."""
        view = ended.view
        for key, (storage, state) in self._states.items():
            if state is view.state:
                before = None if view.covers_memory else state
                settled = Written(state.memory, before, call, view.geometry, ended.law)
                self._states[key] = storage, settled
                return

    def _viewed(self, func: Any, effect: Effect, args: Any, named: dict[str, Any]) -> Any:
        """The result of a view; some operators (`to`, `reshape`) make a copy where a view is impossible."""
        result = self._run(func, args, named)
        new = [tensor for tensor in _tensors(result) if storage_id(tensor) not in self._states]
        if new:
            call = self._call(func, effect, args, named)
            for number, tensor in enumerate(new):
                self._made(tensor, call, number)
        return result

    def _recorded(self, func: Any, effect: Effect, args: Any, named: dict[str, Any]) -> Any:
        call = self._call(func, effect, args, named)
        result = args[0] if _is_plain_fill(func, args) else self._run(func, args, named)
        written = [_argument(args, named, *target) for target in effect.writes]
        for tensor in _tensors(written):
            self._wrote(tensor, call)
        for number, tensor in enumerate(_tensors(result)):
            self._made(tensor, call, number)
        return result

    def _run(self, func: Any, args: Any, named: dict[str, Any]) -> Any:
        quick = shortcut(self._fake_mode, func, args, named)
        return func(*args, **named) if quick is None else quick

    def _call(self, func: Any, effect: Effect, args: Any, named: dict[str, Any]) -> Call:
        written = {position for position, _ in effect.writes}
        outs = {name for _, name in effect.writes}
        given = tuple(self._encoded(value, position in written) for position, value in enumerate(args))
        keyed = {name: self._encoded(value, name in outs) for name, value in named.items()}
        self._count += 1
        scalars = tuple(value for value in args[1:] if isinstance(value, (int, float)))
        return Call(self._count, func, given, keyed, site_of_call(func._schema.name.removeprefix("aten::"), scalars))

    def _encoded(self, value: Any, target: bool) -> Any:
        if isinstance(value, torch.Tensor):
            state = self._state(value)
            geometry = Geometry.of(value)
            return Target(state.memory, geometry, state) if target else View(state, geometry)
        if isinstance(value, (tuple, list)):
            return tuple(self._encoded(item, target) for item in value)
        return value

    def _wrote(self, tensor: torch.Tensor, call: Call) -> None:
        state, geometry = self._state(tensor), Geometry.of(tensor)
        if _copies_itself(call, state, geometry):
            return
        fresh = overwrites(call) and covers(geometry, state.memory)
        self._set(tensor, Written(state.memory, None if fresh else state, call, geometry))

    def _made(self, tensor: torch.Tensor, call: Call, number: int) -> None:
        if storage_id(tensor) not in self._states:
            self._set(tensor, Made(_memory(tensor), call, number, Geometry.of(tensor)))

    def _state(self, tensor: torch.Tensor) -> State:
        held = self._states.get(storage_id(tensor))
        if held is not None:
            return held[1]
        raise RuntimeError(f"a fake tensor of shape {tuple(tensor.shape)} came from outside the constructor")

    def _set(self, tensor: torch.Tensor, state: State) -> None:
        storage = _storage(tensor)
        self._states[storage_id(tensor)] = storage, state

    def _lifted(self, real: torch.Tensor) -> torch.Tensor:
        """A fake tensor for values that Python or NumPy just handed to torch."""
        with self._fake_mode:
            fake = torch.empty_strided(real.shape, real.stride(), dtype=real.dtype, device=real.device)
        self._set(fake, Given(_memory(fake), _flat(real, _SNAPSHOT_BYTES)))
        return fake

    def _twinned(self, value: Any) -> Any:
        if type(value) in _ATOMS:
            return value
        if isinstance(value, torch.Tensor):
            return value if isinstance(value, FakeTensor) else self._twin(value)
        if isinstance(value, dict):
            return {key: self._twinned(item) for key, item in value.items()}
        return type(value)(self._twinned(item) for item in value) if type(value) in (tuple, list) else value

    def _twin(self, real: torch.Tensor) -> FakeTensor:
        """The fake tensor that stands for an existing one (all of its storage), so that views of it meet."""
        key = storage_id(real)
        if key not in self._twins:
            base = _flat(real)
            with self._fake_mode:
                fake = torch.empty(base.shape, dtype=base.dtype, device=base.device)
            self._twins[key] = real, fake  # pyright: ignore[reportArgumentType]
            self._set(fake, Given(_memory(fake), base))
        twin = self._twins[key][1]
        with self._fake_mode:
            return twin.as_strided(*_layout(real))  # pyright: ignore[reportReturnType]

    def _asked(self, func: Any, args: Any, named: dict[str, Any]) -> Any:
        call = self._call(func, effect_of(func), args, named)
        result = answer(call, self.values, self.sampler, self._settle)
        return self._lifted(result) if isinstance(result, torch.Tensor) else result


def _forget(t: torch.Tensor, v: FakeTensor) -> None:
    return


def _is_plain_fill(func: Any, args: Any) -> bool:
    """Whether the call fills a tensor with legal numbers: then there is nothing for the fake mode to work out."""
    return func in _FILLS and (len(args) < 3 or (args[1] <= args[2] if func is _UNIFORM else args[2] >= 0))


def _static(func: Any, args: Any) -> bool:
    """Whether the shape is known although the operator's could depend on values: an index without masks."""
    if func._schema.name != "aten::index":
        return False
    return all(index is None or index.dtype not in (torch.bool, torch.uint8) for index in args[1])


def _copies_itself(call: Call, state: State, geometry: Geometry) -> bool:
    """Whether it is the write-back of `w[:k] *= 2`: a copy of a view onto itself."""
    if call.name != "copy_":
        return False
    source = call.args[1]
    return source.state is state and source.geometry == geometry


def _argument(args: Any, named: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if position < len(args) else named.get(name)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, (tuple, list)) else []


def _storage(tensor: torch.Tensor) -> Any:
    return tensor.untyped_storage()


def _memory(tensor: torch.Tensor) -> Memory:
    return Memory(_storage(tensor).nbytes() // tensor.element_size(), tensor.dtype)


def _layout(tensor: torch.Tensor) -> tuple[torch.Size, tuple[int, ...], int]:
    return tensor.shape, tensor.stride(), int(tensor.storage_offset())


def _flat(real: torch.Tensor, snapshot: int = 0) -> torch.Tensor:
    """All of a real tensor's storage in one dimension; a copy if it has at most `snapshot` bytes."""
    size = _storage(real).nbytes()
    with _disable_current_modes():
        flat = real.detach().as_strided((size // real.element_size(),), (1,), 0)
        return flat.clone() if size <= snapshot else flat
