"""What was done to a model's parametrization: by name, as data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError, WeightsError
from fanin.parametrizations.dims import Dims, Factors
from fanin.parametrizations.groups import family, parameter_groups
from fanin.parametrizations.multipliers import Multiplier
from fanin.plans import Plan
from fanin.text_table import aligned, number
from fanin.weights.atomic import atomic_file

VERSION = 1
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class Scaled:
    """One parameter.

    Attributes:
        name: qualified name, the first of tied ones.
        dims: which of its dimensions grow, and by how much.
        factors: what its start and learning rate are multiplied by.
        std: standard deviation that it starts with; None where its law is not known.
    """

    name: str
    dims: Dims
    factors: Factors
    std: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scaled:
        """What `dataclasses.asdict` made of it."""
        return cls(data["name"], Dims(**data["dims"]), Factors(**data["factors"]), data["std"])


@dataclass(frozen=True, slots=True)
class Parametrized:
    """What a parametrization makes of a model, keyed by qualified names: `str()` is a table, `to_json()` keeps it.

    It belongs to the model's architecture, not to one object: copies, compiled and sharded models, and models loaded
    from a checkpoint (after `fanin.parametrizations.attach`) are trained with the same record.

    Attributes:
        model: name of the model's class.
        scheme: name of the parametrization.
        base_width: the width that the factors are relative to; None where the base was a model, or there is none.
        tensors: every parameter.
        multipliers: what the forward pass multiplies, and what was absorbed instead.
        notes: what a person should know.
        sgd: the parametrization says how SGD scales, not only Adam.
        plan: where each tensor's values come from; not in the JSON, since a checkpoint has the values.

    >>> import fanin
    >>> model = fanin.models.mlp((10, 64, 64, 2))
    >>> record = fanin.parametrize(model, base_width=16)
    >>> groups = record.parameter_groups(model, 0.1, optimizer="adamw")
    >>> print(*((group["lr"], len(group["params"])) for group in groups))
    (0.1, 5) (0.025, 1)
    >>> Parametrized.from_json(record.to_json()) == record
    True
    """

    model: str
    scheme: str
    base_width: int | None
    tensors: tuple[Scaled, ...]
    multipliers: tuple[Multiplier, ...]
    notes: tuple[str, ...] = ()
    sgd: bool = True
    plan: Plan | None = field(default=None, compare=False, repr=False)

    def __getitem__(self, name: str) -> Scaled:
        """The parameter of that name.

        Raises:
            KeyError: there is none.
        """
        return {each.name: each for each in self.tensors}[name]

    def parameter_groups(
        self,
        model: nn.Module,
        lr: float,
        *,
        weight_decay: float = 0.0,
        optimizer: str | type[torch.optim.Optimizer] = "adamw",
        eps: float | None = None,
        decay_vectors: bool = True,
    ) -> list[dict[str, Any]]:
        """What `torch.optim` takes as its parameters.

        Every group has its own `lr` and, beside it, `lr_factor` = lr of the group / lr. Schedulers that multiply each
        group's rate (LambdaLR, cosine to 0, warmup) keep the ratios; OneCycleLR needs a list,
        `max_lr=[peak * group["lr_factor"] for group in groups]`.

        Args:
            model: the parametrized model or one like it: a copy, compiled, sharded, loaded.
            lr: the rate at the base.
            weight_decay: at the base. It is divided by what the rate is multiplied by, because torch's optimizers
                multiply it by the rate (CompleteP: by what its table says).
            optimizer: name or class: of the Adam family (steps that do not depend on the scale of gradients), or SGD.
            eps: Adam's ε at the base; None leaves it to the optimizer (1e-8 in groups where it scales).
            decay_vectors: also decay biases, norms and the like.

        Raises:
            UnknownNameError: an optimizer of another kind.
            ArgumentError: SGD under a parametrization that says nothing of it; a rate, decay or ε that is negative or
                not finite; or a trainable parameter not in the record.
        """
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("eps", 0.0 if eps is None else eps)):
            if isinstance(value, str) or not 0 <= value < float("inf"):
                raise ArgumentError(f"{name} must be a finite number of at least 0, got {value!r}")
        kind = family(optimizer)
        if kind == "sgd" and not self.sgd:
            raise ArgumentError(
                f"{self.scheme} says how Adam's rates scale, not SGD's: take an optimizer of Adam's family"
            )
        factors = {each.name: (each.dims.kind, each.factors) for each in self.tensors}
        return parameter_groups(
            model,
            factors,
            lr=lr,
            weight_decay=weight_decay,
            kind=kind,
            eps=eps,
            decay_vectors=decay_vectors,
        )

    def __str__(self) -> str:
        rows = [("parameter", "kind", "wider", "std ×", "Adam lr ×", "SGD lr ×", "starts with std")]
        rows += [(name, *cells) for name, cells in _grouped(self.tensors)]
        at = f", base width {self.base_width}" if self.base_width is not None else ""
        lines = [f"{self.model} · {self.scheme}{at}", *aligned(rows, left={0, 1})]
        told = dict.fromkeys(_NUMBER.sub("*", _told(each)) for each in self.multipliers)
        return "\n".join([*lines, *told, *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "fanin_parametrization": VERSION,
            "model": self.model,
            "scheme": self.scheme,
            "base_width": self.base_width,
            "tensors": [asdict(each) for each in self.tensors],
            "multipliers": [each.to_dict() for each in self.multipliers],
            "notes": list(self.notes),
            "sgd": self.sgd,
        }

    def to_json(self) -> str:
        """The record as JSON text, to be kept beside the checkpoint; `from_json` inverts it exactly."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Parametrized:
        """The record that `to_json` wrote.

        Raises:
            ArgumentError: something else, or of another version.
        """
        try:
            data = json.loads(text)
            if data["fanin_parametrization"] != VERSION:
                raise ArgumentError(
                    f"a parametrization of version {data['fanin_parametrization']!r}, this fanin reads {VERSION}"
                )
            return cls(
                data["model"],
                data["scheme"],
                data["base_width"],
                tuple(Scaled.from_dict(each) for each in data["tensors"]),
                tuple(Multiplier.from_dict(each) for each in data["multipliers"]),
                tuple(data["notes"]),
                bool(data["sgd"]),
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError(f"not the JSON of a parametrization: {type(error).__name__}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the JSON to a file, whole or not at all.

        Raises:
            WeightsError: it cannot be written.
        """
        with atomic_file(path) as file:
            file.write(self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Parametrized:
        """The record that `save` wrote.

        Raises:
            WeightsError: it cannot be read.
            ArgumentError: as `from_json`.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WeightsError(f"cannot be read: {error}", path=path) from error
        return cls.from_json(text)


def _grouped(tensors: Sequence[Scaled]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A row for each parameter; for those that differ in numbers of layers only, one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for each in tensors:
        dims, factors = each.dims, each.factors
        wider = f"{number(dims.inputs)} → {number(dims.outputs)}"
        numbers = map(number, (factors.init, factors.adam, factors.sgd, each.std))
        rows.setdefault((_NUMBER.sub("*", each.name), dims.kind, wider, *numbers), []).append(each.name)
    for (pattern, *cells), names in rows.items():
        yield (names[0] if len(names) == 1 else f"{pattern} ({len(names)})"), tuple(cells)


def _told(multiplier: Multiplier) -> str:
    if multiplier.side == "absorbed":
        return f"{multiplier.why} × {number(multiplier.factor)}: absorbed into start and rates of {multiplier.tensor}"
    part = " (its channels)" if multiplier.runs else ""
    return f"{multiplier.why} × {number(multiplier.factor)}: {multiplier.side} of {multiplier.module}{part}"
