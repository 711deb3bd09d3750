"""The one look of all tables, and which columns fit a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import Box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fanin.report.text import elide

# rich's SIMPLE_HEAD with the same rule between sections, so that a sum stands under a line.
_RULED = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")
GAP = 2
SHORTEST_NAME = 16
NARROWEST_WORDS = 20


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its header, one cell for each row, and how it looks."""

    header: str
    cells: Sequence[str]
    style: str = ""
    number: bool = False

    @property
    def width(self) -> int:
        """Columns of the terminal that it takes unbroken."""
        return max(map(cell_len, (self.header, *self.cells)))

    def narrowed(self, width: int) -> Field:
        """The same names in at most `width` columns: elided where that still tells them apart, else broken at dots."""
        cells = [elide(cell, width) for cell in self.cells]
        if len(set(cells)) < len(set(self.cells)):
            cells = [_broken(cell, width) for cell in self.cells]
        return Field(self.header, cells, self.style, self.number)


def _broken(name: str, width: int) -> str:
    """The name over as many lines as it takes, broken behind dots; lines after the first are set in by one."""
    lines = [""]
    for part in re.findall(r"[^.]*\.?", name):
        if lines[-1].strip() and len(lines[-1]) + len(part) > width:
            lines.append(" ")
        lines[-1] += elide(part, width - 1)
    return "\n".join(lines)


def natural_width(fields: Sequence[Field]) -> int:
    """Columns of the terminal that a table of these takes with no cell broken."""
    return sum(field.width for field in fields) + GAP * (len(fields) - 1)


def widest_fitting(choices: Sequence[Sequence[Field]], width: int) -> list[Field]:
    """The first of `choices` that fits `width`.

    If none does, the last one: with its last column left to wrap if that is words with room for some of them,
    else with the names in its first column narrowed.
    """
    for fields in choices:
        if natural_width(fields) <= width:
            return list(fields)
    name, *others = choices[-1]
    if others and not others[-1].number and natural_width([name, *others[:-1]]) + GAP + NARROWEST_WORDS <= width:
        return [name, *others]
    return [name.narrowed(max(SHORTEST_NAME, width - natural_width(others) - GAP)), *others]


def references(header: str, texts: Sequence[str]) -> tuple[Field, Field, Text]:
    """A column of long texts, the same column with their numbers instead, and the numbered texts to stand below."""
    numbers = {each: f"[{index}]" for index, each in enumerate(dict.fromkeys(filter(None, texts)), 1)} | {"": ""}
    below = Text("\n".join(f"{number} {each}" for each, number in numbers.items() if each), style="dim")
    return Field(header, texts, "dim"), Field(header, [numbers[each] for each in texts], "dim"), below


def grid(fields: Sequence[Field], styles: Iterable[str] | None = None, *, total: bool = False) -> Table:
    """The table of these columns; `styles` are the rows' own, `total` sets the last row apart."""
    made = Table(box=_RULED, header_style="bold", show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for field in fields:
        wraps = field is fields[-1] and not field.number
        justify = "right" if field.number else "left"
        made.add_column(Text(field.header), style=field.style, justify=justify, no_wrap=not wraps, overflow="fold")
    rows = list(zip(*(field.cells for field in fields), strict=True))
    for index, (row, style) in enumerate(zip(rows, styles or [""] * len(rows), strict=True)):
        made.add_row(*map(Text, row), style=style or None, end_section=total and index == len(rows) - 2)
    return made


def heading(text: str) -> Text:
    """A short heading."""
    return Text(text, style="bold cyan")


def stack(*parts: RenderableType) -> Group:
    """Parts under each other."""
    return Group(*parts)
