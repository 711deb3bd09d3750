"""Writing past the caches: an ordinary store reads the line that it is about to overwrite, these do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types, uint64
from numba.extending import intrinsic

from fanin.random.kernels.decorators import spliced

LEAST = 1 << 24
"""Bytes of memory from which it pays: what is smaller is likely read again while the caches still hold it."""

LINE = 64
"""Bytes of a line of the caches."""

VECTOR = 32
"""Bytes that are copied at a time, the most that the compiler splits well for any CPU."""


@spliced
def put_past_caches(out: Any, at: int, values: Any, count: int) -> None:
    """`count` of the values into out[at:], of the same dtype; whole lines of memory are written past the caches."""
    size = out.itemsize
    begin, source = uint64(out.ctypes.data) + uint64(at * size), uint64(values.ctypes.data)
    head = min(int(-begin & uint64(LINE - 1)) // size, count)
    lines = (count - head) * size // LINE
    tail = head + lines * LINE // size
    for i in range(head):
        out[at + i] = values[i]
    skipped = uint64(head * size)
    _copy_lines(begin + skipped, source + skipped, lines)  # pyright: ignore[reportCallIssue]  # Numba passes the context
    for i in range(tail, count):
        out[at + i] = values[i]


@intrinsic
def _copy_lines(typing: Any, target: Any, source: Any, lines: Any) -> Any:
    """Copy whole lines; the target's first byte must begin one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, of, count = arguments
        copied_lines(builder, to, of, count, ir.Constant(ir.IntType(8), 0), _carry_on)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp), generate


def _carry_on(vector: Any, carried: Any) -> Any:
    return carried


def copied_lines(builder: Any, to: Any, of: Any, count: Any, carried: Any, look: Callable[[Any, Any], Any]) -> Any:
    """Code that copies whole lines past the caches; `look` makes of each vector and what is carried what is carried on.

    Returns:
        what is carried in the end.
    """
    index, start, first = count.type, builder.block, carried
    loop, after = builder.append_basic_block("lines"), builder.append_basic_block("after.lines")
    builder.cbranch(builder.icmp_signed(">", count, index(0)), loop, after)
    builder.position_at_end(loop)
    line, carried = builder.phi(index), builder.phi(first.type)
    line.add_incoming(index(0), start)
    carried.add_incoming(first, start)
    last = carried
    for part in range(0, LINE, VECTOR):
        offset = builder.add(builder.mul(line, index(LINE)), index(part))
        last = look(_copied_vector(builder, builder.add(to, offset), builder.add(of, offset)), last)
    following = builder.add(line, index(1))
    line.add_incoming(following, loop)
    carried.add_incoming(last, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    end = builder.phi(first.type)
    end.add_incoming(first, start)
    end.add_incoming(last, loop)
    return end


def _copied_vector(builder: Any, target: Any, source: Any) -> Any:
    vector = ir.VectorType(ir.IntType(8), VECTOR)
    value = builder.load(builder.inttoptr(source, vector.as_pointer()), align=1)
    stored = builder.store(value, builder.inttoptr(target, vector.as_pointer()), align=VECTOR)
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
    return value


@intrinsic
def finish(typing: Any) -> Any:
    """Let other threads see what was written past the caches before anything that is written from now on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate
