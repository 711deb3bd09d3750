"""Modules that compute one known thing by several operations: activations and RMS norms of transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fanin.torch.probe import rules
from fanin.torch.probe.elementwise import of_function
from fanin.torch.probe.signal import Rule
from fanin.torch.probe.tape import Tape

_ACTIVATIONS = "transformers.activations"
_ROWS = 8


def composite(module: nn.Module) -> str:
    """ "activation" or "norm" for a module that counts as one operation, else ""."""
    if next(module.children(), None) is not None:
        return ""
    own = [name for name, _ in module.named_parameters(recurse=False)]
    kind = type(module)
    if kind.__module__ == _ACTIVATIONS and not own:
        return "activation"
    named = kind.__name__.endswith("RMSNorm") or kind.__name__ == "T5LayerNorm"
    return "norm" if named and own == ["weight"] and not kind.__module__.startswith("torch.") else ""


def rule_of(tape: Tape, module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Rule | str:
    """The rule of a composite module's call."""
    x = args[0] if args else None
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return "a module without a tensor to work on"
    if composite(module) == "activation":
        return of_function(tape, x, module.forward)
    return _rms_norm(tape, module, x, out)


def _rms_norm(tape: Tape, module: nn.Module, x: Tensor, out: Tensor) -> Rule | str:
    """An RMS norm written out, if that is what a few of its rows show; with γ or with 1 + γ."""
    weight = module.get_parameter("weight").detach()
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    signal = tape.signal(x, -1)
    if not isinstance(eps, float) or signal is None or weight.ndim != 1 or x.shape[-1] != weight.numel():
        return "a norm that is not recognised"
    rows, seen = (t.detach().reshape(-1, weight.numel())[:_ROWS].float() for t in (x, out))
    for scale in (weight, 1 + weight):
        made = F.rms_norm(rows, (weight.numel(),), scale.float(), eps)
        if torch.allclose(made, seen, rtol=2e-2, atol=1e-2 * float(seen.abs().max())):
            wide = scale.double()
            factor = (float(wide.mean()), float(wide.square().mean()))
            return rules.rms_norm(tape.node(x), signal, weight.numel(), factor, eps)
    return "a norm that is not recognised"
