"""Rows of a table that are added to the outputs of stacked experts: biases, not an embedding."""

from __future__ import annotations

from collections.abc import Sequence

from fanin.torch.tensors import storage_id
from fanin.torch.trace.recording import Call

_STACKED = frozenset(("_grouped_mm", "bmm", "baddbmm"))
_CARRIES = frozenset(("_to_copy", "clone", "_unsafe_view"))
_NEAR = 64


def stacked_product(calls: Sequence[Call], index: int) -> int | None:
    """The number of the product of stacked matrices that the rows picked by call `index` are added to."""
    if calls[index].op not in ("index", "index_select"):
        return None
    rows = {storage_id(calls[index].outputs[0])}
    products: dict[int, int] = {}
    for number in range(max(index - _NEAR, 0), min(index + _NEAR, len(calls))):
        call = calls[number]
        read = {storage_id(tensor) for tensor in call.inputs}
        if call.op == "add" and number > index and read & rows:
            return next((products[storage] for storage in read if storage in products), None)
        source = rows if number > index and read & rows and call.op in _CARRIES else set[int]()
        rows |= {storage_id(out) for out in call.outputs} if source else set[int]()
        if call.op in _STACKED:
            products[storage_id(call.outputs[0])] = number
        elif call.op in _CARRIES and call.inputs and storage_id(call.inputs[0]) in products:
            products[storage_id(call.outputs[0])] = products[storage_id(call.inputs[0])]
    return None
