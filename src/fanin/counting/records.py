"""The numbers of a count."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fanin.counting.overfitting import overfitting
from fanin.counting.text import grouped, size, table


@dataclass(frozen=True, slots=True)
class ModuleCount:
    """What one module adds by itself, its children left out.

    Attributes:
        name: qualified name; "" is the model itself.
        kind: name of its class.
        parameters: values in the parameters it registers; a tied tensor counts where it stands first.
        flops: floating-point operations of its own code in one forward pass; None where no pass was run.
        activations: bytes its own code leaves for the backward pass; None where no pass was run.
    """

    name: str
    kind: str
    parameters: int
    flops: int | None
    activations: int | None

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates: half the FLOPs."""
        return None if self.flops is None else self.flops // 2


@dataclass(frozen=True, slots=True)
class Bytes:
    """Memory of one training step in bytes.

    Attributes:
        weights: all parameters in their dtypes, tied ones once.
        buffers: all buffers.
        gradients: one for each trainable parameter, in its dtype.
        adam: Adam's two moments for each trainable parameter, in its dtype, as torch.optim.Adam keeps them.
        activations: tensors kept for the backward pass, with the input batch; None where no pass was run.
    """

    weights: int
    buffers: int
    gradients: int
    adam: int
    activations: int | None

    @property
    def training(self) -> int:
        """All of them together."""
        return self.weights + self.buffers + self.gradients + self.adam + (self.activations or 0)


@dataclass(frozen=True, slots=True)
class Count:
    """What a model costs, in all and per module; see `fanin.count`.

    `str()` is a table, `to_dict()` is JSON data.

    Attributes:
        model: name of the model's class.
        parameters: values in all parameters, tied ones once.
        trainable: those that require gradients.
        buffers: values in all buffers.
        bytes: memory of one training step.
        flops: floating-point operations of one forward pass at `batch`; None where no pass was run.
        batch: number of samples in that pass; None where no pass was run or the inputs have no batch dimension.
        samples: number of training samples, if given.
        modules: the modules that add something, in order of registration.
        notes: what was assumed and what could not be counted.

    >>> import torch, fanin.counting
    >>> found = fanin.counting.count(torch.nn.Linear(3, 2), torch.zeros(8, 3))
    >>> found.parameters, found.flops, found.bytes.gradients, found.bytes.activations
    (8, 96, 32, 96)
    """

    model: str
    parameters: int
    trainable: int
    buffers: int
    bytes: Bytes
    flops: int | None
    batch: int | None
    samples: int | None
    modules: tuple[ModuleCount, ...]
    notes: tuple[str, ...] = ()

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates: half the FLOPs."""
        return None if self.flops is None else self.flops // 2

    @property
    def parameters_per_sample(self) -> float | None:
        """Trainable parameters per training sample."""
        return None if self.samples is None else self.trainable / self.samples

    @property
    def overfitting(self) -> str | None:
        """What the parameters per training sample mean, in a sentence or two; None where `samples` is not given."""
        return None if self.samples is None else overfitting(self.trainable, self.samples)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        derived: dict[str, Any] = {
            name: getattr(self, name) for name in ("macs", "parameters_per_sample", "overfitting")
        }
        derived["modules"] = [asdict(module) | {"macs": module.macs} for module in self.modules]
        derived["bytes"] = asdict(self.bytes) | {"training": self.bytes.training}
        return asdict(self) | derived | {"notes": list(self.notes)}

    def __str__(self) -> str:
        rows = [
            ("module", "kind", "parameters", "MACs", "FLOPs", "activations"),
            *(_row(m.name or "(model)", m.kind, m.parameters, m.flops, m.activations) for m in self.modules),
            _row("total", self.model, self.parameters, self.flops, self.bytes.activations),
        ]
        remarks = [*filter(None, [self.overfitting]), *(f"note: {note}" for note in self.notes)]
        return "\n".join([*table(rows), "", *_memory(self), *remarks])


def _row(name: str, kind: str, parameters: int, flops: int | None, activations: int | None) -> tuple[str, ...]:
    macs = None if flops is None else flops // 2
    return name, kind, grouped(parameters), grouped(macs), grouped(flops), size(activations)


def _memory(count: Count) -> list[str]:
    at = "" if count.batch is None else f" at batch {count.batch}"
    b = count.bytes
    return [
        f"{count.trainable:,} of {count.parameters:,} parameters are trainable; {count.buffers:,} values in buffers",
        f"weights {size(b.weights)} + buffers {size(b.buffers)} + gradients {size(b.gradients)} + Adam {size(b.adam)} "
        f"+ activations{at} {size(b.activations)} = {size(b.training)}",
    ]
