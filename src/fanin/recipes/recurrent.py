"""The starts of recurrent networks: orthogonal gates, identity, chrono.

A recurrent layer of torch has two biases that are summed: what a gate's bias should be stands in the first, beside
the input's weights; the second is 0.
"""

from __future__ import annotations

from typing import Annotated

from fanin import schemes
from fanin.errors import ArgumentError
from fanin.initializers import Constant, Identity, Mapped, Negated, Normal, Uniform
from fanin.recipes.matching import Match, beside, both, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo

_BIASES = beside("recurrent input", "recurrent hidden")
_ZERO = Rule(_BIASES, lambda _: Constant(0.0), "a recurrent bias starts at 0; two biases of one gate are summed")


def first_bias(gate: str) -> Match:
    """The bias of one gate that stands beside the input's weights.

    >>> bias = TensorInfo("bias_hh_l0", (4,), "float32", "parameter", "bias", partner_role="recurrent hidden")
    >>> first_bias("forget")(bias)
    False
    """
    return both(beside("recurrent input"), lambda tensor: tensor.gate == gate)


LSTM = Recipe(
    "lstm",
    (
        Rule(
            has_role("recurrent input"),
            lambda tensor: schemes.xavier_uniform(tensor.contracted),
            "Xavier uniform, each gate by its own fans",
        ),
        Rule(
            has_role("recurrent hidden"),
            lambda tensor: schemes.orthogonal(tensor.contracted),
            "each gate's matrix orthogonal: the state keeps its length",
            "Saxe et al. 2013, arXiv 1312.6120; Keras LSTM",
        ),
        Rule(
            first_bias("forget"),
            lambda _: Constant(1.0),
            "the forget gate starts open: 1, counted once over both biases",
            "Jozefowicz, Zaremba & Sutskever 2015, ICML",
        ),
        _ZERO,
    ),
    title="recurrent layers: Xavier inputs, orthogonal states per gate, forget bias 1",
    source="Keras LSTM and GRU: glorot_uniform kernel, orthogonal recurrent kernel, unit_forget_bias",
)


def _of_relu_cell(tensor: TensorInfo) -> bool:
    return any(use.op.startswith("rnn_relu") for use in tensor.uses)


def irnn(alpha: Annotated[float, "factor on the identity; below 1 the state is forgotten"] = 1.0) -> Recipe:
    """The start of a recurrent network of rectified linear units.

    >>> from fanin.recipes import named
    >>> named("irnn,alpha=0.01").rules[0].scheme(TensorInfo("w", (4, 4), "float32", "parameter", "recurrent hidden"))
    Identity(gain=0.01, batch=())
    """
    return Recipe(
        "irnn",
        (
            Rule(
                both(has_role("recurrent hidden"), _of_relu_cell),
                lambda _: Identity(alpha),
                "without input the state of a ReLU cell stays as it is" if alpha == 1 else "the state decays slowly",
            ),
            Rule(both(has_role("recurrent input"), _of_relu_cell), lambda _: Normal(std=0.001), "N(0, 0.001²)"),
            _ZERO,
        ),
        "ReLU recurrent layers: identity for the state",
        "Le, Jaitly & Hinton 2015, arXiv 1504.00941",
    )


def chrono(t_max: Annotated[float, "longest dependency expected, in time steps; above 2"] = 100.0) -> Recipe:
    """The biases of LSTM and GRU gates for dependencies of up to `t_max` steps; weights stay as they are.

    A cell forgets over 1/(1 − σ(b)) steps: with b = ln u and u uniform on [1, t_max − 1] that is 1 + u.

    Raises:
        ArgumentError: t_max is not above 2.

    >>> from fanin.graph import Use
    >>> from fanin.recipes import named
    >>> use = Use("bias_ih_l0", "bias", gate="forget")
    >>> bias = TensorInfo("bias_ih_l0", (9,), "float32", "parameter", "bias", (use,), partner_role="recurrent input")
    >>> named("chrono,t_max=784").choose(bias).initializer.describe()
    'Mapped(log(Uniform(low=1, high=783)))'
    """
    if not t_max > 2:
        raise ArgumentError(f"recipe 'chrono': t_max must be above 2 time steps, got {t_max:g}")
    law = Mapped(Uniform(1.0, t_max - 1), ("log",))
    scale = f"ln U(1, {t_max - 1:g}): a cell remembers for 2 to {t_max:g} steps"
    return Recipe(
        "chrono",
        (
            Rule(first_bias("forget"), lambda _: law, scale),
            Rule(first_bias("update"), lambda _: law, f"torch's update gate keeps the state: {scale}"),
            Rule(
                first_bias("input"),
                # In a stored LSTM bias the forget gate comes right after the input gate.
                lambda tensor: Negated(law, shift=tensor.shape[0]),
                "minus the forget gate's bias: a cell takes in as slowly as it forgets",
            ),
            _ZERO,
        ),
        "gate biases of LSTM and GRU for dependencies of a known length",
        "Tallec & Ollivier 2018, arXiv 1804.11188, section 2",
    )
