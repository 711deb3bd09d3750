"""How much a forward pass in bfloat16 differs from one in float32, layer by layer."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from fanin.torch.probe.batch import arguments, tensors_in
from fanin.torch.probe.sampling import places

SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Precision:
    """One call of one module: ‖bfloat16 − float32‖/‖float32‖ of 4,096 of its outputs, and how many were not finite."""

    error: float | None
    non_finite: int


def precision(model: nn.Module, inputs: Any, names: set[str]) -> dict[str, Precision]:
    """Run the model in float32 and in bfloat16, parameters and inputs converted, in evaluation mode, without gradient.

    Of each module in `names` 4,096 outputs are kept from the first pass to the second. "#2" marks a second call.

    Raises:
        RuntimeError and others: what the model's own code says to bfloat16.
    """
    exact = _outputs(model, inputs, names, torch.float32)
    rough = _outputs(model, inputs, names, torch.bfloat16)
    return {name: _compared(exact[name], rough[name]) for name in exact if name in rough}


def _compared(exact: Tensor, rough: Tensor) -> Precision:
    if exact.shape != rough.shape:
        return Precision(None, 0)
    bad = ~torch.isfinite(rough)
    fine = ~bad & torch.isfinite(exact)
    size = float(torch.linalg.vector_norm(exact[fine], dtype=torch.float64))
    apart = float(torch.linalg.vector_norm((rough - exact)[fine], dtype=torch.float64))
    return Precision(apart / size if size else None, int(bad.sum()))


def _outputs(model: nn.Module, inputs: Any, names: set[str], dtype: torch.dtype) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()

    def keep(name: str, module: nn.Module, args: Any, output: Any) -> None:
        del module, args
        out = next((t for t in tensors_in(output) if t.is_floating_point()), None)
        if out is None:
            return
        calls[name] += 1
        flat = out.detach().reshape(-1)
        some = flat[places(flat.numel(), SAMPLE, flat.device)] if flat.numel() > SAMPLE else flat.clone()
        kept[name if calls[name] == 1 else f"{name}#{calls[name]}"] = some.float()

    def cast(leaf: Any) -> Any:
        return leaf.detach().to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    args, kwargs = tree_map(cast, arguments(inputs))
    tensors = {name: cast(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    with ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            if name in names:
                stack.callback(module.register_forward_hook(partial(keep, name)).remove)
        functional_call(model, tensors, args, kwargs)
    return kept
