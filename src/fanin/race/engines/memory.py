"""How many lanes fit into memory together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fanin.race.engines.units import Task

_SHARE = 0.5  # of what is free


def lane_bytes(task: Task) -> int:
    """About what one lane needs: weights, gradients, the optimizer's state, and what a step keeps for backward."""
    kept: Mapping[int, int] = _kept(task)
    (model,) = task.build((0,))
    values = sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers()))
    return 5 * values + 2 * sum(kept.values())


def lanes_that_fit(task: Task) -> int:
    """How many lanes of this kind half of the free memory holds, at least one."""
    return max(1, int(_SHARE * _free(task.course.train[0].device) / max(1, lane_bytes(task))))


def _kept(task: Task) -> dict[int, int]:
    """Bytes of each tensor that one training step keeps, by address; weights are among them, once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    inputs, targets = (values[: task.settings.batch_size] for values in task.course.train)
    (model,) = task.build((0,))
    with torch.autograd.graph.saved_tensors_hooks(keep, _same):
        task.course.objective.loss(model.to(inputs.device).train()(inputs), targets)
    return kept


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    if table.exists():
        fields = dict(line.split(":", 1) for line in table.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
