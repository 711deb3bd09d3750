"""One table with rows for the new tokens, computed beside the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fanin.plans import Plan
from fanin.torch.agreement import Team
from fanin.torch.resized import grown_grads, lay, resized, whole_of
from fanin.torch.sharded.refitted import Refitted
from fanin.vocabulary.record import TableChange
from fanin.vocabulary.request import Request
from fanin.vocabulary.rows import Rows, drawn_rows, own_law
from fanin.vocabulary.tables import Table


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """What a table is to become.

    Attributes:
        table: as it is.
        values: with the new rows; sharded as the table is.
        grads: the gradients that its objects get, by their `id`.
        change: for the record.
        equal: how many of its old rows at the end are the same.
    """

    table: Table
    values: Refitted
    grads: Mapping[int, torch.Tensor]
    change: TableChange
    equal: int


def grown(model: nn.Module, table: Table, request: Request, own: Plan, team: Team) -> Grown:
    """`table` with its new rows; nothing is changed yet. All ranks of a sharded model call this at the same time.

    A sharded table is brought together on each rank, so that every rank computes what one process would, and keeps its
    own part of what comes out.

    Raises:
        DataError: the table holds NaN or infinity.
        PlanError: an own law that is not known, a shape that cannot be sharded, or a failure on another rank.
    """
    old = table.stored.tensor
    shape = [request.after if axis == table.dim else extent for axis, extent in enumerate(old.shape)]
    values = team.decided(lambda: resized(model, table.name, old, shape))
    whole = whole_of(old, team)
    change, equal = team.decided(lambda: _written(table, whole, values.values, request, own))
    return Grown(table, values, grown_grads(model, old, values.values, table.dim, team), change, equal)


def _written(
    table: Table, whole: torch.Tensor, values: torch.Tensor, request: Request, own: Plan
) -> tuple[TableChange, int]:
    """Write all rows into `values`, and say so."""
    old = Rows.of(table.name, whole, table.dim, request.trained)
    mean, new = old.mean(), _new_rows(table, old, request, own)
    stored = new.to(whole.dtype)
    if request.after > table.rows:
        padding = mean.to(whole.dtype).expand(request.after - table.rows, -1)
        lay(values, table.dim, table.rows, _along(padding, table, whole.shape))
    lay(values, table.dim, 0, whole)
    if table.stands_in is not None and table.rows < request.before:
        stand_in = old.values[table.stands_in].expand(request.before - table.rows, -1)
        lay(values, table.dim, table.rows, _along(stand_in, table, whole.shape))
    lay(values, table.dim, request.first, _along(stored, table, whole.shape))
    shape = tuple(values.shape)
    every = Rows(table.name, stored, torch.arange(len(stored)))
    distinct = len(stored.float().unique(dim=0))
    before, aliases = tuple(whole.shape), table.stored.aliases
    change = TableChange(table.name, table.kind, before, shape, old.norms(), every.norms(), distinct, aliases)
    same = (old.values == old.values[-1]).all(1).flip(0).cumprod(0).sum()
    return change, int(same)


def _new_rows(table: Table, rows: Rows, request: Request, own: Plan) -> torch.Tensor:
    """The rows of the new tokens, [k, width] in float64."""
    count = len(request.tokens)
    match request.method:
        case "mean":
            return rows.mean().expand(count, -1)
        case "mean-cov":
            return rows.around_mean(count, request.scale, request.seed)
        case "normal":
            shape = list(table.stored.tensor.shape)
            shape[table.dim] = request.first + count
            law = own_law(own[table.name])
            return drawn_rows(law, table.name, tuple(shape), table.dim, request.first, request.seed)
        case _:
            return rows.of_pieces(_within(table, request.tokens.pieces))


def _within(table: Table, pieces: Sequence[Sequence[int]]) -> list[list[int]]:
    """Old ids as the table's own rows: beyond a smaller table the row that stands in for them."""
    return [[each if each < table.rows else (table.stands_in or 0) for each in ids] for ids in pieces]


def _along(rows: torch.Tensor, table: Table, shape: Sequence[int]) -> torch.Tensor:
    """Rows, [n, width], in the layout of the table."""
    others = [extent for axis, extent in enumerate(shape) if axis != table.dim]
    return rows.reshape(len(rows), *others).movedim(0, table.dim)
