"""From recorded calls to a program that computes a tensor again."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import torch

from fanin.errors import CaptureError
from fanin.initializers import Initializer
from fanin.torch.capture.geometry import Geometry
from fanin.torch.capture.records import Call, Made, Memory, State, Target, View, Written, covers, draws, history
from fanin.torch.capture.rewrites import draws_alone, rewritten
from fanin.torch.replay import MAX_LINES
from fanin.torch.replay_ops import operator

INLINE_BYTES = 1 << 16
"""Existing data up to this size may stand in a plan."""

_DROPPED = ("device", "layout", "pin_memory", "requires_grad", "generator")
Line = tuple[str, tuple[Any, ...], tuple[Any, ...]]


class NotReplayableError(CaptureError):
    """A tensor that no program can compute again."""


@dataclass(frozen=True, slots=True)
class Stand:
    """What a program uses in place of a random call: a law on a stream, or a stored tensor of the model."""

    stream: str = ""
    lane: int = 0
    tensor: str = ""


@dataclass(slots=True)
class Writer:
    """Writes the lines of one program.

    Attributes:
        stands: for each random call what to use in its place; a call that is missing cannot be replayed.
        inline: whether the program is for a plan; else it may run any operator and read data of any size.
        given, ops: where it is not, the data that `tensor` lines number, and the operators by name.
    """

    stands: Mapping[int, Stand] = field(default_factory=dict)
    inline: bool = True
    lines: list[Line] = field(default_factory=list)
    given: list[torch.Tensor] = field(default_factory=list)
    ops: dict[str, Any] = field(default_factory=dict)
    _memories: dict[Memory, tuple[tuple[Any, ...], Geometry]] = field(default_factory=dict)
    _stored: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    _calls: dict[int, int] = field(default_factory=dict)
    _views: dict[tuple[Memory, Geometry], tuple[Any, ...]] = field(default_factory=dict)

    def program(self, view: View) -> tuple[Line, ...]:
        """The program whose result is `view`.

        Raises:
            NotReplayableError: it needs random values without a stand, too much existing data, memory that
                nobody wrote, or an operator that plans may not run.
        """
        # Read first what is stored: a program may make as much as it has read.
        read = {stand.tensor for stand in self.stands.values() if stand.tensor}
        self._stored = {name: self._add("tensor", (name,)) for name in sorted(read)}
        for state in _needed(view.state):
            self._state(state)
            if len(self.lines) > MAX_LINES:
                raise NotReplayableError(f"its computation takes more than {MAX_LINES} operations")
        line = self._view(view.state.memory, view.geometry)
        if line != ("$", len(self.lines) - 1):
            self._add("alias.default", (line,))
        return tuple(self.lines)

    def operator(self, name: str) -> Any:
        """The operator that a line names."""
        return self.ops[name] if name in self.ops else operator(name)

    def _add(self, name: str, args: tuple[Any, ...], kwargs: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        self.lines.append((name, args, kwargs))
        return ("$", len(self.lines) - 1)

    def _state(self, state: State) -> None:
        if isinstance(state, Made):
            self._memories[state.memory] = self._made(state), state.geometry
        elif isinstance(state, Written):
            self._written(state)
        elif state.memory not in self._memories:
            flat = Geometry((state.memory.numel,), (1,), 0, state.memory.dtype)
            self._memories[state.memory] = self._existing(state.values), flat

    def _made(self, state: Made) -> tuple[Any, ...]:
        call = state.call
        if call.name.startswith(("empty", "new_empty")):
            return self._blank(state.geometry)
        if call.random and not self._runs_itself(call):
            return self._laid_out(self._drawn(call, state.geometry), state.geometry)
        if call.order not in self._calls:
            self._calls[call.order] = self._call(call, state.geometry.dtype)[1]
        several = len(call.op._schema.returns) > 1 or "[]" in str(call.op._schema.returns[0].type)
        line = self._calls[call.order]
        return ("$", line, state.output) if several else ("$", line)

    def _written(self, state: Written) -> None:
        call = state.call
        if state.memory not in self._memories:
            whole = Geometry((state.memory.numel,), (1,), 0, state.memory.dtype)
            self._memories[state.memory] = self._blank(whole), whole
        if draws(state) and not (state.law is None and self._runs_itself(call)):
            target = self._view(state.memory, state.geometry)
            self._add("copy_.default", (target, self._drawn(call, state.geometry, state.law)))
        elif call.order not in self._calls:
            self._calls[call.order] = self._call(call, state.geometry.dtype)[1]

    def _blank(self, geometry: Geometry) -> tuple[Any, ...]:
        flat = self._add("zeros.default", ((geometry.span[1],),), (("dtype", _encoded_dtype(geometry.dtype)),))
        whole = Geometry((geometry.span[1],), (1,), 0, geometry.dtype)
        return flat if geometry == whole else self._strided(flat, geometry)

    def _laid_out(self, line: tuple[Any, ...], geometry: Geometry) -> tuple[Any, ...]:
        """The values of `line` (row-major) with the strides of `geometry`."""
        if geometry.stride == torch.empty(geometry.shape, device="meta").stride():
            return line
        blank = self._blank(geometry)
        self._add("copy_.default", (blank, line))
        return blank

    def _strided(self, line: tuple[Any, ...], geometry: Geometry) -> tuple[Any, ...]:
        return self._add("as_strided.default", (line, geometry.shape, geometry.stride, geometry.offset))

    def _view(self, memory: Memory, geometry: Geometry) -> tuple[Any, ...]:
        line, made = self._memories[memory]
        if geometry == made:
            return line
        if (memory, geometry) not in self._views:
            line = line if geometry.dtype == made.dtype else self._reread(line, memory, geometry.dtype)
            self._views[memory, geometry] = self._strided(line, geometry)
        return self._views[memory, geometry]

    def _reread(self, line: tuple[Any, ...], memory: Memory, dtype: torch.dtype) -> tuple[Any, ...]:
        """The same memory as elements of another dtype (complex numbers as pairs)."""
        flat = self._strided(line, Geometry((memory.numel,), (1,), 0, memory.dtype))
        return self._add("view.dtype", (flat, _encoded_dtype(dtype)))

    def _existing(self, values: torch.Tensor) -> tuple[Any, ...]:
        size = values.numel() * values.element_size()
        if not self.inline:
            self.given.append(values)
            return self._add("tensor", (str(len(self.given) - 1),))
        if size > INLINE_BYTES:
            raise NotReplayableError(f"it is computed from {size:,} bytes of data that the constructor read")
        return self._add("data", literal(values))

    def _drawn(self, call: Call, geometry: Geometry, law: Initializer | None = None) -> tuple[Any, ...]:
        stand = self.stands.get(call.order)
        if stand is None:
            raise NotReplayableError(f"it depends on random numbers, drawn by {call.name} at {call.site.line}")
        if stand.tensor:
            return self._stored[stand.tensor]
        source = rewritten(call, law)
        if source is None:
            raise NotReplayableError(f"it draws with {call.name} at {call.site.line}, a law that fanin does not have")
        pairs = tuple(source.law.to_dict().items())
        dtype = geometry.dtype if geometry.dtype.is_floating_point else torch.float32
        name = str(dtype).removeprefix("torch.")
        line = self._add("draw", (pairs, geometry.shape, name, stand.stream, stand.lane))
        for step in source.steps:
            line = self._add(step.operator, (line, *step.args), step.kwargs)
        return line

    def _runs_itself(self, call: Call) -> bool:
        """Whether a random call that fanin has no law for may stand in the program as it is."""
        return call.order in self.stands and not self.inline and rewritten(call) is None

    def _named(self, call: Call) -> str:
        """The operator's name for the program."""
        name = str(call.op).removeprefix("aten.")
        if not self.inline:
            number = f"{name} of call {call.order}" if call.random else name
            self.ops[number] = call.op
            return number
        if call.op.namespace != "aten" or not _allowed(name):
            raise NotReplayableError(f"its computation uses {call.op} at {call.site.line}, which plans may not run")
        return name

    def _call(self, call: Call, made: torch.dtype) -> tuple[Any, ...]:
        name = self._named(call)
        cast = _promoted(call, made)
        args = tuple(self._encoded(argument, cast) for argument in call.args)
        kwargs = {k: v for k, v in call.kwargs.items() if k not in _DROPPED and v is not None}
        if "dtype" in {argument.name for argument in call.op._schema.arguments} and not list(call.views()):
            kwargs["dtype"] = made
        return self._add(name, args, tuple((k, self._encoded(v, cast)) for k, v in kwargs.items()))

    def _cast(self, line: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
        return self._add("_to_copy.default", (line,), (("dtype", _encoded_dtype(dtype)),))

    def _encoded(self, value: Any, cast: torch.dtype | None = None) -> Any:
        match value:
            case View():
                line = self._view(value.state.memory, value.geometry)
                return (
                    line if cast is None else self._add("_to_copy.default", (line,), (("dtype", _encoded_dtype(cast)),))
                )
            case Target():
                return self._view(value.memory, value.geometry)
            case tuple() | list():
                return tuple(self._encoded(item, cast) for item in value)
            case _:
                return _encoded_scalar(value)


def literal(values: torch.Tensor) -> tuple[str, tuple[int, ...], str]:
    """The arguments of a `data` line that holds `values`."""
    raw = values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return str(values.dtype).removeprefix("torch."), tuple(values.shape), b64encode(raw).decode()


def _needed(state: State) -> list[State]:
    """Every state that the computation of `state` passes through, in the order in which they came to be."""
    found: dict[int, State] = {}
    waiting = [state]
    while waiting:
        now = waiting.pop()
        if id(now) in found:
            continue
        found[id(now)] = now
        if isinstance(now, Written) and now.before is not None:
            waiting.append(now.before)
        if isinstance(now, (Made, Written)) and not draws_alone(now):
            waiting.extend(view.state for view in now.call.views())
    ordered = sorted(found.values(), key=lambda s: s.call.order if isinstance(s, (Made, Written)) else -1)
    _check_written(ordered)
    return ordered


def _check_written(states: list[State]) -> None:
    """Raise if memory that began empty is not written everywhere."""
    latest = {state.memory: state for state in states}
    for state in latest.values():
        if unwritten(View(state, Geometry((state.memory.numel,), (1,), 0, state.memory.dtype))):
            raise NotReplayableError("it uses memory from torch.empty of which not all is written")


def unwritten(view: View) -> bool:
    """Whether some element of the view is still as `torch.empty` left it."""
    past = history(view.state)
    first = past[0]
    if not isinstance(first, Made) or not first.call.name.startswith(("empty", "new_empty")) or not view.geometry.numel:
        return False
    writes = [state.geometry for state in past if isinstance(state, Written)]
    memory = view.state.memory
    if not writes or any(covers(write, memory) for write in writes):
        return not writes
    reached = torch.zeros(memory.numel, dtype=torch.bool, device="cpu")
    for write in writes:
        reached.as_strided(write.shape, write.stride, write.offset).fill_(True)
    return not bool(reached.as_strided(view.geometry.shape, view.geometry.stride, view.geometry.offset).all())


def _promoted(call: Call, made: torch.dtype) -> torch.dtype | None:
    """The dtype to cast integer operands to, where the result's follows the default dtype of that moment."""
    views = list(call.views())
    floats = any(view.geometry.dtype.is_floating_point or view.geometry.dtype.is_complex for view in views)
    writes = any(isinstance(argument, Target) for argument in (*call.args, *call.kwargs.values()))
    follows = made.is_floating_point and made != torch.float32 and call.name not in ("_to_copy", "index", "embedding")
    return made if views and follows and not floats and not writes else None


def _allowed(name: str) -> bool:
    try:
        operator(name)
    except Exception:
        return False
    return True


def _encoded_dtype(dtype: torch.dtype) -> tuple[str, str]:
    return "dtype", str(dtype).removeprefix("torch.")


def _encoded_scalar(value: Any) -> Any:
    if isinstance(value, float) and (not isfinite(value)):
        return "float", "nan" if value != value else "inf" if value == inf else "-inf"
    if isinstance(value, torch.dtype):
        return _encoded_dtype(value)
    if isinstance(value, torch.memory_format):
        contiguous = value is torch.contiguous_format
        return "memory_format", "contiguous_format" if contiguous else "preserve_format"
    if isinstance(value, complex):
        return "complex", value.real, value.imag
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise NotReplayableError(f"its computation uses a {type(value).__name__} as an argument")
