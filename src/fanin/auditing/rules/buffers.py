"""Buffers that the constructor computes and that a load or `to_empty` leaves unwritten."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from fanin.auditing.records import Scene, Seen
from fanin.checking import Finding

_ROTARY = re.compile(r"(^|[._])inv_freq$")
_CLOSE = 1e-2  # dtypes and devices may round otherwise


def rebuilt(scene: Scene) -> Iterator[Finding]:
    """Non-persistent buffers against what the model's constructor computes."""
    for seen in scene.tensors:
        meant = scene.rebuilt.get(seen.name)
        if meant is None or seen.load is None or seen.kind != "buffer" or seen.persistent or _agree(seen.load(), meant):
            continue
        yield _unwritten(seen, "other values than the constructor computes", "the constructor's values", scene)


def rotary(scene: Scene) -> Iterator[Finding]:
    """RoPE's inverse frequencies: from 1 down, all positive."""
    for seen in scene.tensors:
        numbers = seen.numbers
        if numbers is None or not _ROTARY.search(seen.name) or seen.name in scene.rebuilt or numbers.nan:
            continue
        if numbers.low <= 0 or numbers.high > 1 or numbers.infinite:
            told = f"values from {numbers.low:.3g} to {numbers.high:.3g}"
            yield _unwritten(seen, told, "inverse frequencies from 1 down to above 0", scene)


def running(scene: Scene) -> Iterator[Finding]:
    """Running variances of batch norm: positive."""
    for seen in scene.tensors:
        if seen.name.endswith("running_var") and seen.numbers is not None and seen.numbers.low < 0:
            yield _unwritten(seen, f"a variance of {seen.numbers.low:.3g}", "variances of 0 or more", scene)
        elif seen.name.endswith("running_var") and seen.numbers is not None and seen.numbers.high == 0 and seen.size:
            yield _unwritten(seen, "all variances are 0", "1 before the first batch", scene)


def _unwritten(seen: Seen, told: str, expected: str, scene: Scene) -> Finding:
    owner = seen.name.rpartition(".")[0]
    known = scene.rebuilt.get(seen.name)
    fill = "fanin.materialize(model, plan)"
    if known is None and seen.name.endswith("running_var"):
        fill = f'model.get_submodule("{owner}").reset_running_stats()'
    elif scene.source == "model" and scene.config:
        build = f"type(model)(model.config).get_buffer({seen.name!r})"
        fill = f'model.get_buffer("{seen.name}").copy_({build})'
    return Finding(
        "buffers",
        "error",
        seen.name,
        told,
        expected,
        "a buffer that no state dict holds, or that nothing wrote, after to_empty or a load on the meta device",
        fill,
    )


def _agree(values: Tensor, meant: Tensor) -> bool:
    if values.shape != meant.shape:
        return True  # it grows with what the model has seen
    if not values.is_floating_point():
        return torch.equal(values.cpu(), meant.to(values.dtype))
    return torch.allclose(values.double().cpu(), meant.double(), rtol=_CLOSE, atol=1e-30, equal_nan=True)
