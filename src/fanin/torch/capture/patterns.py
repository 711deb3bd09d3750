"""Initializations of `torch.nn.init` that are several operators, recognised as what they are."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, prod
from typing import Any

from fanin.initializers import Constant, Dirac, Initializer, Normal, Orthogonal, Sparse
from fanin.torch.capture.geometry import Part
from fanin.torch.capture.records import Call, Made, View, Written, covers, made_by
from fanin.torch.capture.rewrites import rewritten
from fanin.torch.capture.values import Values

_Parts = Mapping[tuple[tuple[int, ...], tuple[int, ...]], Initializer]


def orthogonal_of(source: Any, part: Part, values: Values) -> Orthogonal | None:
    """The Haar matrix that is copied into `part`: Q·sign(diag R) of a Gaussian's QR factorization, or its transpose."""
    if not isinstance(source, View) or len(source.geometry.shape) != 2 or len(part.axes) != 2:
        return None
    q = _signed_q(source)
    if q is None or not _is_white(q) or not covers(source.geometry, source.state.memory):
        return None
    return Orthogonal(1.0, rows=part.axes[0]) if part.axes[0] and part.axes[1] else None


def _signed_q(source: View) -> View | None:
    """Q's own view in `q *= sign(diagonal(r))` or `q * sign(diagonal(r))`."""
    state = source.state
    if isinstance(state, Written) and state.call.name == "mul_" and isinstance(state.before, Made):
        factor, product = state.call.args[1], View(state.before, state.before.geometry)
    elif isinstance(state, Made) and state.call.name == "mul":
        product, factor = state.call.args
    else:
        return None
    return product if _is_q(product) and _is_sign_of_diagonal(factor, product) else None


def _is_q(view: Any) -> bool:
    return made_by(view, "linalg_qr") and isinstance(view.state, Made) and view.state.output == 0


def _is_sign_of_diagonal(factor: Any, q: View) -> bool:
    if not made_by(factor, "sign", "sgn"):
        return False
    diagonal = factor.state.call.args[0]  # pyright: ignore[reportAttributeAccessIssue]
    if made_by(diagonal, "diagonal_copy", "diag", "diagonal"):
        diagonal = diagonal.state.call.args[0]  # pyright: ignore[reportAttributeAccessIssue]
    same_call = isinstance(diagonal, View) and isinstance(diagonal.state, Made) and diagonal.state.output == 1
    return same_call and diagonal.state.call is q.state.call  # pyright: ignore[reportAttributeAccessIssue]


def _is_white(q: View) -> bool:
    """Whether what was factorized is a matrix of independent normal values around zero."""
    matrix = q.state.call.args[0]  # pyright: ignore[reportAttributeAccessIssue]
    if not matrix.covers_memory:
        return False
    state = matrix.state
    if not isinstance(state, (Made, Written)) or not state.call.random:
        return False
    if isinstance(state, Written) and not covers(state.geometry, state.memory):
        return False
    drawn = rewritten(state.call)
    return drawn is not None and isinstance(drawn.law, Normal) and drawn.law.mean == 0 and not drawn.steps


def dirac_of(shape: tuple[int, ...], base: Initializer | None, parts: _Parts) -> Dirac | None:
    """`dirac_`: zeros but for one value at the centre tap of each channel's own kernel."""
    values = set(parts.values())
    if base != Constant(0.0) or len(shape) < 3 or len(values) != 1 or any(prod(size) != 1 for _, size in parts):
        return None
    (value,) = values
    if not isinstance(value, Constant):
        return None
    positions = {start for start, _ in parts}
    for groups in range(1, shape[0] + 1):
        if shape[0] % groups == 0 and positions == _dirac(shape, groups):
            return Dirac(float(value.value), groups=groups, centre="torch")
    return None


def _dirac(shape: tuple[int, ...], groups: int) -> set[tuple[int, ...]]:
    per_group, centre = shape[0] // groups, tuple(size // 2 for size in shape[2:])
    channels = min(per_group, shape[1])
    return {(group * per_group + channel, channel, *centre) for group in range(groups) for channel in range(channels)}


def zeroed_column(call: Call, before: Normal, part: Part, values: Values) -> Sparse | None:
    """`column[randperm(rows)[:k]] = 0` on a column of N(0, std²): k zeros at random places."""
    indices, value = call.args[1], call.args[2]
    if len(indices) != 1 or not isinstance(indices[0], View) or values.scalar(value) != 0 or before.mean != 0:
        return None
    state, rows = indices[0].state, prod(part.size)
    geometry = indices[0].geometry
    if not isinstance(state, Made) or state.call.name != "randperm" or state.memory.numel != rows:
        return None
    if len(geometry.shape) != 1 or geometry.stride != (1,):
        return None
    return Sparse(_fraction(geometry.numel, rows), before.std)


def _fraction(zeros: int, rows: int) -> float:
    """A sparsity s with ceil(s·rows) = zeros also in floating point."""
    sparsity = zeros / rows
    return sparsity if ceil(sparsity * rows) == zeros else (zeros - 0.5) / rows


def sparse_of(shape: tuple[int, ...], base: Initializer | None, parts: _Parts) -> Sparse | None:
    """`sparse_`: every column of a normal matrix lost the same number of values."""
    laws = set(parts.values())
    if len(shape) != 2 or len(laws) != 1 or not isinstance(base, Normal):
        return None
    columns = {((0, column), (shape[0], 1)) for column in range(shape[1])}
    (law,) = laws
    return law if isinstance(law, Sparse) and set(parts) == columns else None
