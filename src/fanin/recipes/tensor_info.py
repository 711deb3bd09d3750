"""What a rule sees of one stored tensor."""

from __future__ import annotations

from dataclasses import dataclass, field

from fanin.axes import Axes
from fanin.errors import ArgumentError
from fanin.gains import gain
from fanin.graph.records import Place, Use
from fanin.initializers import Initializer


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One stored tensor as a rule sees it, free of any framework.

    Attributes:
        name: qualified name.
        shape: stored shape.
        dtype: stored dtype ("float32", "bfloat16", "int64", …).
        kind: "parameter" or "buffer".
        role: what it is for, one of `fanin.graph.ROLES`.
        uses: what the forward pass does with it.
        native: the law of the model's own code, where known.
        computed: that code computes its values and draws nothing (sinusoids).
        tied_head: some lookup table of the model is also its output projection.
        head_scale: the number by which the input of that projection is multiplied.
        head_behind_norm: that projection reads a norm.
        place: where in the network it stands: layer, stack, residual branch.
        partner_role: for a bias the role of the weight whose product it is added to; "" where not known.
        partner: for a bias the use of that weight, for a norm scale that of the weight before; None where not known.
        opening: for the last weight of a residual branch of two the use of the weight before it (of a gate and its
            value the gate, in attention the values); None elsewhere.
        model_layers: layers of the model's deepest stack, for tensors outside of stacks too.
        model_branches: residual branches of all its stacks together.
        first: it is the first weight that the forward pass multiplies anything with.

    >>> use = Use("fc.weight", "linear", Axes.linear((64, 256)), "relu")
    >>> tensor = TensorInfo("fc.weight", (64, 256), "float32", "parameter", "projection", (use,))
    >>> tensor.contracted.fans, tensor.following
    ((256.0, 64.0), 'relu follows: gain 1.414')
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    role: str
    uses: tuple[Use, ...] = ()
    native: Initializer | None = None
    computed: bool = False
    tied_head: bool = False
    head_scale: float = 1.0
    head_behind_norm: bool = False
    place: Place = field(default_factory=Place)
    partner_role: str = ""
    partner: Use | None = None
    opening: Use | None = None
    model_layers: int = 0
    model_branches: int = 0
    first: bool = False

    @property
    def heads(self) -> int | None:
        """Into how many heads an attention weight's output (or input, for the output projection) is split."""
        return next((use.heads for use in self.uses if use.heads is not None), None)

    @property
    def gate(self) -> str:
        """Which gate of a recurrent cell this block is ("forget"); "" where it is none, or several."""
        gates = {use.gate for use in self.uses}
        return gates.pop() if len(gates) == 1 else ""

    @property
    def _main(self) -> Use | None:
        """The use that gives it fans: the first that contracts it."""
        return next((use for use in self.uses if use.axes is not None), self.uses[0] if self.uses else None)

    @property
    def axes(self) -> Axes | None:
        """Which dimensions are in and out, where an operation contracts the tensor."""
        return None if self._main is None else self._main.axes

    @property
    def contracted(self) -> Axes:
        """`axes` of a tensor that has them.

        Raises:
            ArgumentError: no operation contracts it, so it has no fans.
        """
        if self.axes is None:
            raise ArgumentError(f"{self.name!r} (role {self.role}) has no fans: no operation contracts it")
        return self.axes

    @property
    def activation(self) -> str:
        """The nonlinearity that follows; "linear" for none, "" where it is not known."""
        return "" if self._main is None else self._main.activation

    @property
    def parameter(self) -> float | None:
        """The number of the use: the activation's, or the constant added to a norm's scale."""
        return None if self._main is None else self._main.parameter

    @property
    def reads(self) -> str:
        """The nonlinearity that its input came out of; "" where it is an input or came from a norm, sum or product."""
        return "" if self._main is None else self._main.reads

    @property
    def reads_parameter(self) -> float | None:
        """The number of the nonlinearity that its input came out of."""
        return None if self._main is None else self._main.reads_parameter

    @property
    def largest_of(self) -> int:
        """Of how many neighbours each value that it reads is the largest; 1 without max-pooling."""
        return 1 if self._main is None else self._main.largest_of

    @property
    def mean_of(self) -> int:
        """Of how many neighbours each value that it reads is the mean; 1 without average pooling."""
        return 1 if self._main is None else self._main.mean_of

    @property
    def normed(self) -> bool:
        """A norm follows its product."""
        return self._main is not None and self._main.normed

    @property
    def behind_norm(self) -> bool:
        """What it reads came out of a norm."""
        return self._main is not None and self._main.behind_norm

    @property
    def scores(self) -> float:
        """For queries how wide scores are where queries and keys have variance 1; 0 where not known."""
        return 0.0 if self._main is None else self._main.scores

    @property
    def gated_by(self) -> str:
        """The nonlinearity of the gate that its product is multiplied by; "" where there is none."""
        return "" if self._main is None else self._main.gated_by

    @property
    def padding(self) -> int | None:
        """The row of a lookup table that stands for padding."""
        return next((use.padding for use in self.uses if use.padding is not None), None)

    @property
    def gain(self) -> float:
        """The forward gain of the activation that follows; 1 where none is known."""
        return gain(self.activation, self.parameter).forward if self.activation else 1.0

    @property
    def following(self) -> str:
        """The activation and its gain in words."""
        match self.activation:
            case "":
                return "what follows is not known: gain 1"
            case "linear":
                return "no nonlinearity follows: gain 1"
            case name:
                number = "" if self.parameter is None else f"({self.parameter:g})"
                return f"{name}{number} follows: gain {self.gain:.4g}"
