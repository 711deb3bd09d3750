"""The record of an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fanin.errors import ArgumentError
from fanin.models.architecture import building, json_form, losses, toml_form
from fanin.models.architecture.checks import checked_order, normal_layers, normal_outputs
from fanin.models.architecture.inference import Resolved, resolved
from fanin.models.architecture.network import Network
from fanin.models.architecture.records import Input, Layer


@dataclass(frozen=True)
class Architecture:
    """What a network computes, as data: inputs, layers with their connections, outputs and loss.

    A description says nothing of values: a plan does. It is checked as it is made, but for shapes, which `shapes()`,
    `read` and `build()` check before anything is allocated.

    Attributes:
        name: of the architecture.
        inputs: by the names of forward's arguments, in their order.
        layers: in any order; a layer without inputs reads the one before it.
        outputs: names of what the model returns; none for the last layer.
        loss: what it is trained with, one of `losses.LOSSES`.

    Raises:
        ArgumentError, UnknownNameError: a layer, option, connection or name that cannot be; the message names it.

    >>> net = Architecture("xor", {"x": Input((2,))}, (Layer("fc1", "linear", {"out": 3}), Layer("act", "tanh"),
    ...     Layer("fc2", "linear", {"out": 1})), loss="bce_with_logits")
    >>> net.shapes()["fc1"], Architecture.from_toml(net.to_toml()) == net
    ((1, 3), True)
    >>> list(net.build().state_dict())
    ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    """

    name: str
    inputs: Mapping[str, Input]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...] = ()
    loss: str = "none"

    def __post_init__(self) -> None:
        layers = normal_layers(self.name, self.inputs, self.layers)
        outputs = normal_outputs(layers, self.outputs)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "inputs", dict(self.inputs))
        losses.check(self.loss)
        _ = self._order

    @cached_property
    def _order(self) -> tuple[Layer, ...]:
        """The layers in an order in which they can run."""
        return checked_order(self.inputs, self.layers, self.outputs)

    @cached_property
    def _resolved(self) -> Resolved:
        return resolved(self.inputs, self._order)

    def shapes(self, batch: int = 1) -> dict[str, Any]:
        """The shape of every layer's output, by its name, computed without memory.

        Args:
            batch: number of samples.

        Returns:
            tuples of integers; for an output in several parts a tuple of such.

        Raises:
            ArgumentError: shapes that do not fit; names the layer, what it got and what it expects.
        """
        if batch < 1:
            raise ArgumentError(f"batch must be at least 1, got {batch}")
        return resolved(self.inputs, self._order, batch).shapes

    @property
    def parameters(self) -> int:
        """Values in all parameters, tied ones once."""
        return self._resolved.parameters

    def build(self) -> Network:
        """The model, with the values that its layers' constructors draw, on torch's default device.

        Raises:
            ArgumentError: shapes that do not fit, or parameters that do not fit into this machine's memory; nothing is
                allocated then.
        """
        return building.build(self.inputs, self.layers, self._order, self.outputs, self._resolved)

    def loss_function(self) -> losses.Loss | None:
        """The loss (outputs, targets) → mean, or None where there is none."""
        return losses.LOSSES[self.loss]

    def to_dict(self) -> dict[str, Any]:
        """What TOML and JSON hold; layers in their order, inputs left out where they are the layer before."""
        return json_form.to_dict(self)

    def to_toml(self) -> str:
        """The description as TOML, one line for each layer."""
        return toml_form.dumps(self.to_dict())

    def to_json(self) -> str:
        """The description as JSON."""
        return json_form.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, data: Any) -> Architecture:
        """The architecture that `to_dict` made, or a person wrote.

        Raises:
            ArgumentError, UnknownNameError: as the class, or data of another form.
        """
        return cls(**json_form.from_dict(data))

    @classmethod
    def from_toml(cls, text: str) -> Architecture:
        """The architecture in TOML.

        Raises:
            ArgumentError, UnknownNameError: as the class, or a text that is not TOML, with line and column.
        """
        return cls.from_dict(toml_form.loads(text))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """The architecture in JSON.

        Raises:
            ArgumentError, UnknownNameError: as the class, or a text that is not JSON, with line and column.
        """
        return cls.from_dict(json_form.loads(text))

    def __str__(self) -> str:
        return self.to_toml()

    def __hash__(self) -> int:
        return hash(self.to_json())
