"""A drawing in the language of Graphviz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from fanin.drawing import palette
from fanin.drawing.drawing import Box, Drawing
from fanin.drawing.labels import amount, roles, run_name, shape, text
from fanin.drawing.parts import INPUT, OUTPUT, Unit
from fanin.errors import MissingExtraError

MISSING = (
    "drawings need the Python package 'graphviz' (pip install 'fanin[draw]') and the program 'dot' of Graphviz "
    "(apt install graphviz, brew install graphviz or conda install graphviz): {} is not installed"
)
_FONT = "Helvetica,Arial,sans-serif"


def dot(drawing: Drawing) -> Any:
    """The graph, as the package `graphviz` holds it.

    Raises:
        MissingExtraError: that package is not installed.
    """
    try:
        digraph: Any = import_module("graphviz").Digraph
    except ImportError:
        raise MissingExtraError(MISSING.format("the package")) from None
    graph = digraph(
        graph_attr={"fontname": _FONT, "fontsize": "11", "fontcolor": palette.QUIET, "color": palette.FRAME}
        | {"style": "rounded", "nodesep": "0.25", "ranksep": "0.3", "bgcolor": "white", "labeljust": "l"},
        node_attr={
            "fontname": _FONT,
            "fontsize": "11",
            "fontcolor": palette.TEXT,
            "color": palette.LINE,
            "shape": "plain",
        },
        edge_attr={"color": palette.LINE, "arrowsize": "0.6"},
    )
    graph.attr(label=_table([(_summary(drawing), 13, True)]), labelloc="t", labeljust="c")
    names = {box.unit: f"u{number}" for number, box in enumerate(drawing.boxes)}
    _fill(graph, _nested(drawing), drawing, names, "")
    for line in drawing.lines:
        skip = {"color": palette.SKIP, "penwidth": "1.6"} if line in drawing.skips else {"weight": "8"}
        graph.edge(names[line[0]], names[line[1]], **skip)
    return graph


def titles(drawing: Drawing) -> dict[str, str]:
    """What each node of the graph is, in words."""
    return {f"u{number}": _words(box, drawing) for number, box in enumerate(drawing.boxes)}


def _summary(drawing: Drawing) -> str:
    return f"{drawing.model}: {drawing.total:,} parameters"


class _Group:
    """A frame: a module, or siblings that repeat; what stands in it."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.groups: dict[str, _Group] = {}

    def at(self, path: Sequence[str]) -> _Group:
        group = self
        for key in path:
            group = group.groups.setdefault(key, _Group())
        return group


def _nested(drawing: Drawing) -> _Group:
    root = _Group()
    for box in drawing.boxes:
        root.at(_frames(box.unit, drawing)).boxes.append(box)
    return root


def _frames(unit: Unit, drawing: Drawing) -> list[str]:
    """The frames around a box, the outermost first; a run of siblings, marked with a star, is one too."""
    parts = unit.module.split(".") if unit.module else list[str]()
    frames: list[str] = []
    for length in range(1, len(parts) + 1):
        path = ".".join(parts[:length])
        run = drawing.repeats.runs.get(path)
        if run is not None and (len(run.shown) > 1 or (length == len(parts) and not unit.op)):
            frames.append(run.mark)
        if length < len(parts) or unit.op:
            frames.append(path)
    return frames


def _fill(graph: Any, group: _Group, drawing: Drawing, names: Mapping[Unit, str], outer: str) -> None:
    for box in group.boxes:
        graph.node(names[box.unit], label=_label(box, drawing, outer))
    for number, (key, inner) in enumerate(group.groups.items()):
        # A frame around a single frame says nothing more.
        if len(inner.groups) == 1 and not inner.boxes and not key.startswith("*") and key not in drawing.repeats.runs:
            _fill(graph, inner, drawing, names, outer)
            continue
        with graph.subgraph(name=f"cluster_{_first(inner, names)}_{number}_{len(key)}") as frame:
            frame.attr(label=_table([(_frame(key, drawing, outer), 10, False)]), labeljust="l")
            _fill(frame, inner, drawing, names, outer if key.startswith("*") else key)


def _first(group: _Group, names: Mapping[Unit, str]) -> str:
    while not group.boxes:
        group = next(iter(group.groups.values()))
    return names[group.boxes[0].unit]


def _frame(key: str, drawing: Drawing, outer: str) -> str:
    if key.startswith("*"):
        run = next(each for each in drawing.repeats.runs.values() if each.mark == key)
        return run_name(run.shown, run.last, run.times)
    run = drawing.repeats.runs.get(key)
    kind = drawing.kinds[key]
    if run is None or len(run.shown) > 1:
        return f"{_inside(key, outer)}  {kind}"
    prefix = _inside(run.parent, outer)
    return f"{prefix}{'.' if prefix else ''}{run_name(run.shown, run.last, run.times)}  {kind}"


def _inside(name: str, outer: str) -> str:
    return "" if name == outer else name.removeprefix(f"{outer}.")


def _label(box: Box, drawing: Drawing, outer: str) -> str:
    unit = box.unit
    if unit.op in ("+", "−", "×"):
        return _table([(unit.op, 14, True)], fill=palette.PLAIN, border=1, padding=2)
    if unit.op:
        rows = [(unit.op, 11, True), (shape(box.shape, drawing.batch), 9, False)]
        ends = unit.op in (INPUT, OUTPUT)
        return _table(
            rows, fill=palette.TEXT if ends else palette.PLAIN, border=1, colour="#ffffff" if ends else palette.TEXT
        )
    held = box.holding
    rows = [
        (f"{_inside(unit.module, outer)}", 11, True),
        (f"{box.kind}  {shape(box.shape, drawing.batch)}".strip(), 10, False),
        (roles(held.roles), 9, False),
        (amount(held.count, box.times, drawing.total), 9, False),
        (f"tied to {', '.join(held.tied)}" if held.tied else "", 9, False),
    ]
    return _table(rows, fill=palette.fill(held.roles), border=1)


def _words(box: Box, drawing: Drawing) -> str:
    unit = box.unit
    held = box.holding
    what = f"{unit.module}: {box.kind}" if not unit.op else f"{unit.op} in {unit.module}" if unit.module else unit.op
    parts = (what, shape(box.shape, drawing.batch), roles(held.roles), amount(held.count, box.times, drawing.total))
    return "; ".join(part for part in parts if part)


def _table(
    rows: Sequence[tuple[str, int, bool]],
    fill: str = "",
    border: int = 0,
    padding: int = 2,
    colour: str = palette.TEXT,
) -> str:
    """A label of lines: text, size, bold; empty ones are left out."""
    marked = [(f"<B>{text(line)}</B>" if bold else text(line), size) for line, size, bold in rows if line]
    cells = "".join(
        f'<TR><TD><FONT POINT-SIZE="{size}" COLOR="{colour}">{line}</FONT></TD></TR>' for line, size in marked
    )
    if fill and len(rows) > 1:
        cells = f'<TR><TD HEIGHT="2"></TD></TR>{cells}<TR><TD HEIGHT="2"></TD></TR>'
    background = f' BGCOLOR="{fill}" STYLE="ROUNDED"' if fill else ""
    frame = f'BORDER="{border}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="{padding}" COLOR="{palette.FRAME}"'
    return f"<<TABLE {frame}{background}>{cells}</TABLE>>"
