"""One model type, captured and traced: what was understood and what was not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch import nn
from types_of_models import build, why_not

from fanin import capture
from fanin.graph import Graph, role
from fanin.torch.trace import trace

Row = dict[str, Any]
_LISTED = 12
_UNFOLLOWED = "the forward pass was not followed to its end ("


def measured(model_type: str) -> Row:
    """What capture and trace make of a type, as a line of JSON."""
    row: Row = {"type": model_type}
    try:
        make = build(model_type)
    except Exception as error:  # what a config refuses is an answer
        return row | {"unbuildable": _said(error)}
    return row | of_model(make)


def of_model(make: Callable[[], nn.Module], inputs: Any = None) -> Row:
    """Capture and trace of what `make` builds, on `inputs` or on made-up ones."""
    began = time.process_time()
    try:
        captured = capture(make)
    except Exception as error:  # a failure of capture, or of transformers: tell which
        reason = why_not(make)
        return {"unbuildable": reason} if reason else {"capture_failed": _said(error)}
    row: Row = {
        "model": type(captured.model).__name__,
        "tensors": len(captured.plan),
        "unknown": [f"{name}: {captured.plan[name].why}" for name in captured.plan.unknown][:_LISTED],
        "unknown_count": len(captured.plan.unknown),
        "capture_s": round(time.process_time() - began, 2),
    }
    began = time.process_time()
    try:
        graph = trace(captured.model, inputs, native=captured.plan)
    except Exception as error:  # a defect of fanin's, to be counted and not to stop the rest
        return row | {"trace_failed": _said(error)}
    return row | {"trace_s": round(time.process_time() - began, 2)} | _of_graph(graph)


def _of_graph(graph: Graph) -> Row:
    unfollowed = next((note for note in graph.notes if note.startswith(_UNFOLLOWED)), None)
    reached = {use.tensor for use in graph.uses} - set(graph.unreached)
    without = sorted(name for name in reached if role("parameter", graph.of(name)) == "unknown")
    return {
        "no_forward": any("has no forward pass" in note for note in graph.notes),
        "stopped": unfollowed and unfollowed.removeprefix(_UNFOLLOWED).partition("); module classes")[0],
        "notes": [note[:400] for note in graph.notes if note != unfollowed][:_LISTED],
        "parameters": len(reached) + len(graph.unreached),
        "unreached": list(graph.unreached)[:_LISTED],
        "unreached_count": len(graph.unreached),
        "without_role": [f"{name} ({', '.join(sorted({u.op for u in graph.of(name)}))})" for name in without][:_LISTED],
        "without_role_count": len(without),
    }


def _said(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}"[:400]
