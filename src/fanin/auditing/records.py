"""What the rules of an audit look at: light records of stored tensors, and the model around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fanin.auditing.numbers import Numbers
from fanin.axes import Axes
from fanin.graph.records import Place, Use
from fanin.plans import Plan
from fanin.plans.steps import Step
from fanin.torch.probe.histogram import Spread

MATRICES = frozenset(
    {
        "projection",
        "convolution",
        "transposed convolution",
        "attention query",
        "attention key",
        "attention value",
        "attention output",
        "mlp up",
        "mlp gate",
        "mlp down",
        "router",
        "head",
        "packed",
        "recurrent",
        "recurrent input",
        "recurrent hidden",
    }
)
"""Roles of what multiplies the signal."""
INNER = MATRICES - {"head", "router"}
"""Those of them that are never zero by intention, unless they end a residual branch."""
_FLOATS = ("float", "bfloat", "complex")


@dataclass(frozen=True, slots=True)
class Twins:
    """Units of one tensor with the same values.

    Attributes:
        units: how many units the tensor has.
        equal: how many of them have another one's values (units of zeros do not count).
        first, second: two of them.
    """

    units: int
    equal: int
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One stored tensor: what it is, what is planned for it, and what one read of its values found.

    Attributes:
        name, aliases, shape, dtype, kind, persistent: as of a step of a plan.
        trainable: it takes a gradient; True where that is not known.
        role, axes, uses, place: what the graph shows, or its name where there is no model.
        planned: its step in the plan that the audit was given.
        native: its step in the plan of the model's own code.
        numbers: of its values; None where it has none.
        twins: equal units; None where it has no units, or too few values in a unit to tell them apart.
        experts: equal ones among stacked experts; None where there are none.
        seconds: mean square of each row; empty where it was not read as rows.
        spread: quantiles and a histogram of a sample of the values.
        load: gives the values again.
        protected: who protects its values, "" where nobody does.
        unsound: why the tensor cannot be read, "" where it can.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Literal["parameter", "buffer"] = "parameter"
    aliases: tuple[str, ...] = ()
    persistent: bool = True
    trainable: bool = True
    role: str = ""
    axes: Axes | None = None
    uses: tuple[Use, ...] = ()
    place: Place = field(default_factory=Place)
    planned: Step | None = None
    native: Step | None = None
    numbers: Numbers | None = None
    twins: Twins | None = None
    experts: Twins | None = None
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    spread: Spread | None = None
    load: Callable[[], Tensor] | None = None
    protected: str = ""
    unsound: str = ""

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def floating(self) -> bool:
        """Its dtype has fractions."""
        return self.dtype.startswith(_FLOATS)

    @property
    def weight(self) -> bool:
        """It is a parameter of a floating-point dtype that holds values."""
        return self.kind == "parameter" and self.floating and self.numbers is not None and self.numbers.count > 0

    @property
    def law(self) -> Step | None:
        """The step that tells its values: the given plan's, else the model's own."""
        return self.planned or self.native

    @property
    def std(self) -> float | None:
        """Of its values, or else of its law."""
        if self.numbers is not None:
            return self.numbers.std
        return None if self.law is None else self.law.std

    @property
    def mean(self) -> float | None:
        """Of its values, or else of its law."""
        if self.numbers is not None:
            return self.numbers.mean
        return None if self.law is None else self.law.mean

    @property
    def matrix(self) -> bool:
        """It multiplies the signal."""
        return self.kind == "parameter" and self.role in MATRICES and len(self.shape) > 1


@dataclass(frozen=True, slots=True)
class Ranks:
    """What other processes hold of a model's tensors.

    Attributes:
        differing: tensors of which two ranks should hold the same values and do not, with the two ranks.
        repeated: tensors of which two ranks hold different parts that are bit for bit the same, with the two ranks.
    """

    differing: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    repeated: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that an audit knows.

    Attributes:
        tensors: the stored tensors.
        model: the class of the model, or the name of the file.
        source: "model", "file" or "plan".
        plan: the plan that the audit was given.
        config: the model's config (transformers), or the file's `config.json`, as plain data.
        ties, untied: pairs of names that the config has as one tensor, and as two.
        types: class names of the model's modules with the Python modules they are from, by qualified name.
        shapeless: parameters without the package mup's `infshape`.
        trained: the values look trained, not drawn.
        reference: the values that some tensors should still have, by name.
        rebuilt: values that the model's constructor computes without randomness, by name.
        ranks: what other processes hold.
        notes: what could not be looked at, and why.
    """

    tensors: tuple[Seen, ...]
    model: str = ""
    source: Literal["model", "file", "plan"] = "model"
    plan: Plan | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ties: tuple[tuple[str, str], ...] = ()
    untied: tuple[tuple[str, str], ...] = ()
    types: Mapping[str, str] = field(default_factory=dict[str, str])
    shapeless: tuple[str, ...] = ()
    trained: bool = False
    reference: Mapping[str, Tensor] | None = None
    rebuilt: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    ranks: Ranks = field(default_factory=Ranks)
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> Iterator[Seen]:
        """Parameters with values."""
        return (seen for seen in self.tensors if seen.weight)

    def named(self, name: str) -> Seen | None:
        """The tensor of a name, tied names included."""
        return next((seen for seen in self.tensors if name == seen.name or name in seen.aliases), None)

    def of_role(self, *roles: str) -> Sequence[Seen]:
        """The tensors of some roles."""
        return [seen for seen in self.tensors if seen.role in roles]
