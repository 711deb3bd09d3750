"""Drawing a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import nn

from fanin.drawing.dot import MISSING, dot, titles
from fanin.drawing.drawing import Drawing, drawing
from fanin.drawing.labels import text
from fanin.drawing.svg import accessible
from fanin.errors import ArgumentError, MissingExtraError
from fanin.torch.unwrapped import unwrapped
from fanin.weights.atomic import atomic_file

_TEXTS = (".dot", ".gv")
SUFFIXES = (".svg", ".png", ".pdf", *_TEXTS)


class HoldsModel(Protocol):
    """Something with a model, as `fanin.Captured`."""

    @property
    def model(self) -> nn.Module: ...


def draw(
    model: nn.Module | HoldsModel,
    inputs: Any = None,
    path: str | Path = "net.svg",
    *,
    depth: int | None = None,
    collapse: bool = True,
) -> Path:
    """Draw a model's layers: types, names, output shapes, roles and numbers of parameters, and what reads what.

    One pass runs on a copy without weights; lines are what was computed from what, so that residual connections show
    (in orange) whatever the code looks like. Blocks of one structure that follow each other are drawn once.

    Args:
        model: real, meta or captured; it stays as it is.
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments; made up where None.
        path: where to; SVG, PNG, PDF or Graphviz's own language by its suffix: `.svg`, `.png`, `.pdf`, `.dot`.
        depth: how many names deep layers are told apart; None for all: `h.0.attn` is three deep.
        collapse: whether repeated blocks are drawn once.

    Returns:
        the path.

    Raises:
        ArgumentError: a suffix of no format, a depth below 1, a drawing that nobody could read.
        TraceError: the pass fails, or nothing tells what inputs the model takes.
        MissingExtraError: the package `graphviz` or the program `dot` is missing.
        WeightsError: the file cannot be written.

    >>> import fanin, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = draw(fanin.models.build("mnist-cnn"), path=pathlib.Path(folder, "net.dot"))
    ...     "conv2" in made.read_text()
    True
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ArgumentError(
            f"drawings are written as {', '.join(SUFFIXES)}, not as {path.suffix or 'a file without suffix'}"
        )
    if depth is not None and (type(depth) is not int or depth < 1):
        raise ArgumentError(f"depth must be at least 1, got {depth!r}")
    module = model if isinstance(model, nn.Module) else model.model
    made = drawing(unwrapped(module), inputs, depth, collapse=collapse)
    picture = _picture(made, path.suffix)
    with atomic_file(path) as file:
        file.write(picture)
    return path


def _picture(made: Drawing, suffix: str) -> bytes:
    graph = dot(made)
    if suffix in _TEXTS:
        return str(graph.source).encode()
    import graphviz

    try:
        picture: bytes = graph.pipe(format=suffix[1:])
    except graphviz.ExecutableNotFound:
        raise MissingExtraError(MISSING.format("the program")) from None
    except graphviz.CalledProcessError as error:
        reason = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        raise ArgumentError(f"dot cannot draw {made.model}: {text(reason[0]) if reason else error}") from error
    return accessible(picture.decode(), titles(made), _described(made)).encode() if suffix == ".svg" else picture


def _described(made: Drawing) -> str:
    layers = [box for box in made.boxes if not box.unit.op]
    count = sum(box.times for box in layers)
    return (
        f"{made.model}, {made.total:,} parameters in {count:,} layers; from the input down to the output. "
        f"{len(made.skips)} residual connections are drawn."
    )
