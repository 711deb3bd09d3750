"""What takes more than one pass: Jacobians and precision, beside what a probe has measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from fanin.torch.probe.batch_pass import Probe
from fanin.torch.probe.guard import untouched
from fanin.torch.probe.jacobian import Jacobian, jacobians
from fanin.torch.probe.precision import Precision, precision
from fanin.torch.probe.ranks import is_shared


@dataclass(frozen=True, slots=True)
class Thorough:
    """More of what a probe says, the Jacobians of blocks, and what could not be measured."""

    probe: Probe
    blocks: tuple[Jacobian, ...]
    rough: dict[str, Precision]


def thoroughly(model: nn.Module, inputs: Any, seen: Probe, seed: int) -> Thorough:
    """Measure Jacobians (one forward pass, with Lanczos steps in each layer) and precision (two more).

    In evaluation mode, since dropout differs from pass to pass; the model is left as it was.
    """
    if is_shared(model):
        note = "Jacobians and precision were not measured: the ranks hold parts of the model"
        return Thorough(replace(seen, notes=(*seen.notes, note)), (), {})
    notes = list(seen.notes)
    with untouched(model, training=False):
        found, failed = jacobians(model, inputs, seed)
        if failed:
            some = ", ".join(failed[:3]) + (", …" if len(failed) > 3 else "")
            notes.append(f"no Jacobian of {some}: autograd cannot differentiate their gradients")
        try:
            rough = precision(model, inputs, {layer.name.partition("#")[0] for layer in seen.layers})
        except Exception as error:  # any code of the model may refuse another dtype
            notes.append(f"precision was not measured: in bfloat16 the forward pass failed: {error}")
            rough = {}
    own = {each.name: (each.largest, each.smallest) for each in found}
    layers = tuple(
        replace(layer, jacobian=own.get(layer.name), precision=rough[layer.name].error if layer.name in rough else None)
        for layer in seen.layers
    )
    named = {layer.name for layer in seen.layers}
    blocks = tuple(each for each in found if each.name not in named)
    return Thorough(replace(seen, layers=layers, notes=tuple(notes)), blocks, rough)
