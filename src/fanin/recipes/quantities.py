"""What a formula in a recipe file can speak about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi, prod

from fanin.recipes.tensor_info import TensorInfo


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of a tensor: its meaning, and its value, None where the tensor has none."""

    meaning: str
    of: Callable[[TensorInfo], float | None]


QUANTITIES: Mapping[str, Quantity] = {
    "fan_in": Quantity(
        "stored values that reach one output", lambda tensor: tensor.axes.fan_in if tensor.axes else None
    ),
    "fan_out": Quantity("outputs that one input reaches", lambda tensor: tensor.axes.fan_out if tensor.axes else None),
    "gain": Quantity("gain of the activation that follows, 1 where none is known", lambda tensor: tensor.gain),
    "layer": Quantity("0-based number of its layer in the stack", lambda tensor: tensor.place.layer),
    "layers": Quantity("layers of the stack", lambda tensor: tensor.place.layers or None),
    "branch": Quantity("0-based number of its residual branch", lambda tensor: tensor.place.branch),
    "branches": Quantity("residual branches of the stack", lambda tensor: tensor.place.branches or None),
    "members": Quantity("weights in a row in its branch", lambda tensor: tensor.place.members or None),
    "width": Quantity("size of the residual stream", lambda tensor: tensor.place.width or None),
    "heads": Quantity("attention heads of its output (input of an output projection)", lambda tensor: tensor.heads),
    "encoder_layers": Quantity("layers of the encoder beside a decoder", lambda t: t.place.encoder_layers or None),
    "decoder_layers": Quantity("layers of the decoder beside an encoder", lambda t: t.place.decoder_layers or None),
    "model_layers": Quantity("layers of the model's deepest stack", lambda tensor: tensor.model_layers or None),
    "model_branches": Quantity("residual branches of all its stacks", lambda tensor: tensor.model_branches or None),
    "rows": Quantity("first stored dimension", lambda tensor: tensor.shape[0] if tensor.shape else None),
    "columns": Quantity("last stored dimension", lambda tensor: tensor.shape[-1] if tensor.shape else None),
    "size": Quantity("number of stored values", lambda tensor: prod(tensor.shape)),
    "pi": Quantity("3.14159…", lambda _: pi),
}
"""Name → quantity."""
