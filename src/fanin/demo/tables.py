"""The demo's own tables: weights as drawn, files as written."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from fanin.demo.drawn import Drawn
from fanin.demo.written import WrittenFile
from fanin.report import text
from fanin.report.layout import Field, grid, stack, widest_fitting


def drawn_report(drawn: Drawn, width: int) -> RenderableType:
    """One row per random tensor: the std its law promises and the std of its values."""
    rows = drawn.tensors
    fields = [
        Field("tensor", [row.name for row in rows]),
        Field("values", [text.count(row.values) for row in rows], number=True),
        Field("std promised", [text.number(row.promised) for row in rows], number=True),
        Field("std drawn", [text.number(row.measured) for row in rows], "green", number=True),
    ]
    again = "the same bits" if drawn.again_same else "OTHER BITS"
    took = Text(f"{text.plural(drawn.values, 'value')} in {drawn.seconds * 1000:.3g} ms; drawn again: {again}")
    return stack(grid(widest_fitting([fields], width)), "", took)


def written_report(files: Sequence[WrittenFile], width: int) -> RenderableType:
    """One row per file: its size, its tensors, and whether every bit came back."""
    fields = [
        Field("file", [str(file.path) for file in files]),
        Field("size", [text.size(file.bytes) for file in files], number=True),
        Field("tensors", [text.count(file.tensors) for file in files], number=True),
        Field("read back", ["the same bits" if file.same_bits else "OTHER BITS" for file in files], "green"),
    ]
    return grid(widest_fitting([fields], width), ["" if file.same_bits else "red" for file in files])
