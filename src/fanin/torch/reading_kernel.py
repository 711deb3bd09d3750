"""The kernel that goes through mapped bytes of a file: looks at them, and copies them past the caches."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types, uint64
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from fanin.random.kernels.decorators import kernel, spliced
from fanin.random.kernels.fill import SOURCES
from fanin.random.kernels.streaming import LINE, VECTOR, copied_lines, finish

_WORD, _BITS = 8, 64  # of one word
_WORDS = VECTOR // _WORD
_give_back: Any = types.ExternalFunction("madvise", types.intc(types.uintp, types.uintp, types.intc))


def _read_windows(
    sources: Any,
    targets: Any,
    sizes: Any,
    exponents: Any,
    units: Any,
    found: Any,
    firsts: Any,
    pages: Any,
    lengths: Any,
    advice: int,
) -> None:
    for window in range(pages.size):
        for part in range(firsts[window], firsts[window + 1]):
            source, target, size = sources[part], targets[part], sizes[part]
            exponent, unit = exponents[part], units[part]
            head = min(-(target if target else source) & uint64(LINE - 1), size)
            lines = (size - head) // uint64(LINE)
            tail = head + lines * uint64(LINE)
            carried = _few(source, target, head, exponent, unit)
            carried |= _few(source + tail, target + tail if target else target, size - tail, exponent, unit)
            if target:
                carried |= _copy_lines(target + head, source + head, lines, exponent, unit)  # pyright: ignore[reportCallIssue]
            else:
                carried |= _look(source + head, lines, exponent, unit)
            found[part] = carried
        _give_back(pages[window], lengths[window], advice)
    finish()  # pyright: ignore[reportCallIssue]  # Numba passes the context


@spliced
def _look(source: Any, lines: Any, exponents: Any, units: Any) -> Any:
    """What the words of whole lines carry."""
    carried = uint64(0)
    words = carray(_words_at(source), (lines * uint64(LINE // _WORD),))
    for at in range(words.size):
        carried |= (words[at] & exponents) + units
    return carried


@spliced
def _few(source: Any, target: Any, size: Any, exponents: Any, units: Any) -> Any:
    """Copy less than a line, where there is a target; what its words carry, the last one filled up with zeros."""
    carried = word = uint64(0)
    run, out = carray(_bytes_at(source), (size,)), carray(_bytes_at(target), (size,))
    for at in range(size):
        value = run[at]
        if target:
            out[at] = value
        place = uint64(at % _WORD * _WORD)
        word |= uint64(value) << place
        if place == _BITS - _WORD or at == size - 1:
            carried |= (word & exponents) + units
            word = uint64(0)
    return carried


def _pointer(bits: int) -> Any:
    @intrinsic
    def at(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())

        return types.CPointer(types.Integer(f"uint{bits}", bits, signed=False))(types.uintp), generate

    return at


_bytes_at, _words_at = _pointer(8), _pointer(_BITS)


@intrinsic
def _copy_lines(typing: Any, target: Any, source: Any, lines: Any, exponents: Any, units: Any) -> Any:
    """Copy whole lines to where lines begin; what the words of all of them carry."""
    word = ir.IntType(_BITS)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, of, count, *numbers = arguments
        exponent, unit = (_repeated(builder, number) for number in numbers)
        words = exponent.type

        def look(vector: Any, carried: Any) -> Any:
            masked = builder.and_(builder.bitcast(vector, words), exponent)
            return builder.or_(carried, builder.add(masked, unit))

        carried = copied_lines(builder, to, of, count, ir.Constant(words, [0] * words.count), look)
        found = word(0)
        for place in range(words.count):
            found = builder.or_(found, builder.extract_element(carried, ir.IntType(32)(place)))
        return found

    return types.uint64(types.uintp, types.uintp, types.intp, types.uint64, types.uint64), generate


def _repeated(builder: Any, number: Any) -> Any:
    """A vector of the same word in all places."""
    words = ir.VectorType(ir.IntType(_BITS), _WORDS)
    vector = ir.Constant(words, ir.Undefined)
    for place in range(_WORDS):
        vector = builder.insert_element(vector, number, ir.IntType(32)(place))
    return vector


read_windows = kernel(_read_windows, SOURCES)
"""read_windows(sources, targets, sizes, exponents, units, found, firsts, pages, lengths, advice) reads windows.

The first six have one number for each part: the address of its bytes, where they are copied to (0: nowhere), how many
there are, and for `found[part]`, the or of (word & exponents) + units over its words of 64 bits. The parts of a window
begin at `firsts[window]`; after them madvise is given the address and length of its pages, and the advice.
"""
