"""Running the program of a `Replay` step: JSON data that names operators of `torch.ops.aten` and their arguments.

A program is a list of lines `[operator, arguments, keyword arguments as pairs]`; the last line's result is the
tensor. Besides operators there are three sources of tensors:

    ["tensor", [name], []]                               another stored tensor of the model
    ["draw", [law as pairs, shape, dtype, stream, lane], []]   random values; stream "" is the step's own name
    ["data", [dtype, shape, base64], []]                 small literal values, row-major, little-endian

Arguments are JSON values, or marked: `["$", line]`, `["$", line, output]`, `["dtype", name]`,
`["memory_format", name]`, `["float", "inf"]`, `["complex", re, im]`.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from fanin.errors import FaninError, PlanError
from fanin.initializers import Initializer
from fanin.torch.replay_held import Held
from fanin.torch.replay_ops import META, operator, takes_device

MAX_LINES = 20_000
_FLOOR = 1 << 22  # elements that any result may have, however small the program's tensor is
_FACTOR = 64  # elements that a result may have for each of the tensor's
_READ = 4  # elements that a result may have for each of those of a tensor that the program has read

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_FORMATS = {str(form).removeprefix("torch."): form for form in (torch.contiguous_format, torch.preserve_format)}


@dataclass(frozen=True, slots=True)
class Draws:
    """A line that draws: the law, what it fills, and the stream (name "" for the step's own) with its lane."""

    law: Initializer
    shape: tuple[int, ...]
    dtype: torch.dtype
    stream: str
    lane: int

    @property
    def blank(self) -> torch.Tensor:
        """What is drawn, without values."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a program gets tensors that it does not compute, and its operators: by default those that plans may run."""

    tensor: Callable[[str], torch.Tensor]
    draw: Callable[[Draws], torch.Tensor]
    operator: Callable[[str], Any] = operator


def run(program: tuple[Any, ...], sources: Sources, device: str = "cpu", limit: int = _FLOOR) -> torch.Tensor:
    """The tensor that `program` computes, on the CPU, or its shape and dtype alone on `device` "meta".

    Args:
        program: the lines.
        sources: its other tensors.
        device: "cpu" or "meta".
        limit: elements that a single result may have; after it read a tensor, at least four times that one's.

    Raises:
        PlanError: a malformed program, an operator that plans may not run, or a result beyond `limit`.
    """
    _check_form(program)
    last_use = _last_uses(program)
    results: dict[int, Any] = {}
    held = Held(limit)
    with torch.no_grad():
        for number, line in enumerate(program):
            try:
                results[number] = _run_line(line, results, sources, device, limit)
            except FaninError:
                raise
            except Exception as error:
                raise PlanError(f"line {number} of the program, {line[0]!r}, fails: {error}") from error
            if line[0] == "tensor":
                held.limit = limit = max(limit, _READ * results[number].numel())
            _check_size(number, line, results[number], limit)
            held.take(number, results[number])
            for spent in last_use.get(number, ()):
                held.give_back(results.pop(spent))
    return _tensor(results[len(program) - 1])


def limit_for(shape: tuple[int, ...]) -> int:
    """Elements that a result may have in a program that computes a tensor of this shape."""
    return max(_FLOOR, _FACTOR * prod(shape))


def names_read(program: tuple[Any, ...]) -> tuple[str, ...]:
    """The stored tensors that a program reads."""
    return tuple(line[1][0] for line in program if line[0] == "tensor")


def _check_form(program: tuple[Any, ...]) -> None:
    if not 0 < len(program) <= MAX_LINES:
        raise PlanError(f"a program has from 1 to {MAX_LINES} lines, this one has {len(program)}")
    for number, line in enumerate(program):
        if not isinstance(line, tuple) or list(map(type, line)) != [str, tuple, tuple]:  # pyright: ignore[reportUnknownArgumentType]
            raise PlanError(f"line {number} of the program is not [operator, arguments, keyword arguments]")


def _check_size(number: int, line: tuple[Any, ...], result: Any, limit: int) -> None:
    for tensor in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(tensor, torch.Tensor) and tensor.numel() > limit:
            raise PlanError(
                f"line {number} of the program, {line[0]!r}, makes {tensor.numel()} elements; allowed are {limit}"
            )


def _last_uses(program: tuple[Any, ...]) -> dict[int, list[int]]:
    """For each line, the earlier results that nothing after it needs."""
    last = {used: number for number, line in enumerate(program) for used in _references(line[1:]) if used < number}
    spent: dict[int, list[int]] = {}
    for used, number in last.items():
        spent.setdefault(number, []).append(used)
    return spent


def _references(value: Any) -> set[int]:
    if not isinstance(value, tuple):
        return set()
    match value:
        case ("$", int(line), *_) if line >= 0:
            return {line}
        case _:
            pass
    return {used for item in value for used in _references(item)}


def _run_line(line: tuple[Any, ...], results: dict[int, Any], sources: Sources, device: str, limit: int) -> Any:
    name, arguments, options = line
    match name:
        case "tensor":
            return sources.tensor(arguments[0]).detach().clone()
        case "data":
            return _data(*arguments).to(device)
        case "draw":
            return _drawn(arguments, sources, limit)
        case _:
            found = sources.operator(name)
    given = [_decoded(argument, results) for argument in arguments]
    named = {key: _decoded(value, results) for key, value in options}
    if takes_device(found):
        named["device"] = device
    if name.startswith("as_strided"):
        _check_inside(*given[:4])
    _check_pieces(name, given)
    if device == "meta":
        return META.get(name, found)(*given, **named)
    _check_factory(line, found, given, named, limit)
    return found(*given, **named)


def _check_inside(base: torch.Tensor, size: list[int], stride: list[int], offset: int | None = None) -> None:
    """Refuse a view that leaves the tensor's memory (on the meta device torch would let it grow)."""
    held = base.untyped_storage().nbytes() // base.element_size()
    first = base.storage_offset() if offset is None else offset
    last = first + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
    if 0 not in size and not 0 <= first <= last < held:
        raise PlanError(f"the program views elements {first} to {last} of memory that has {held}")


def _check_pieces(name: str, given: list[Any]) -> None:
    """Refuse to take a tensor apart into more pieces than a program has lines."""
    base = name.partition(".")[0]
    if base in ("split", "chunk", "unbind"):
        most = max(given[0].shape, default=1)
        size = given[1] if base == "split" and isinstance(given[1], int) else 1
        if most > MAX_LINES * max(size, 1):
            raise PlanError(f"{name!r} takes a tensor apart into up to {most} pieces; allowed are {MAX_LINES}")


def _check_factory(line: tuple[Any, ...], found: Any, given: list[Any], named: dict[str, Any], limit: int) -> None:
    """Refuse a result beyond the limit before its memory is taken."""
    if takes_device(found):
        _check_size(-1, line, found(*given, **(named | {"device": "meta"})), limit)


def _drawn(arguments: tuple[Any, ...], sources: Sources, limit: int) -> torch.Tensor:
    law, shape, dtype, stream, lane = arguments
    draws = Draws(Initializer.from_dict(dict(law)), tuple(shape), _dtype(dtype), stream, lane)
    _check_size(-1, ("draw",), draws.blank, limit)
    return sources.draw(draws)


def _data(dtype: str, shape: tuple[int, ...], text: str) -> torch.Tensor:
    try:
        raw = bytearray(b64decode(text, validate=True))
    except (Base64Error, ValueError) as error:
        raise PlanError(f"a literal of the program is not base64: {error}") from None
    flat = torch.frombuffer(raw, dtype=_dtype(dtype)) if raw else torch.empty(0, dtype=_dtype(dtype))
    return flat.reshape(shape)


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise PlanError(f"the program names the dtype {name!r}, which torch does not have")
    return DTYPES[name]


def _decoded(value: Any, results: dict[int, Any]) -> Any:
    if not isinstance(value, tuple):
        return value
    match value:
        case ("$", int(line)):
            return _tensor(results[line])
        case ("$", int(line), int(output)):
            return results[line][output]
        case ("dtype", str(name)):
            return _dtype(name)
        case ("memory_format", str(name)):
            return _FORMATS[name]
        case ("float", str(text)):
            return float(text)
        case ("complex", re, im):
            return complex(re, im)
        case _:
            return [_decoded(item, results) for item in value]


def _tensor(value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise PlanError(f"the program uses {type(value).__name__} where a tensor is needed")
    return value
