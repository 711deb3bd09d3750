"""Mamba and Mamba-2: state-space parameters by their time scales, matrices as torch starts them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fanin import schemes
from fanin.initializers import Constant, Initializer, Mapped, Ramp, Uniform
from fanin.recipes.matching import beside, contracts, either, has_role, is_called
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo
from fanin.recipes.transformer_rules import (
    BESIDE_WEIGHTS,
    by_depth,
    normal,
    residual_output,
    why_by_depth,
)

# By name where no forward pass in the way of a scan shows what they are.
_DECAY = either(has_role("state-space A"), is_called("*.A_log"))
_SKIP = either(has_role("state-space D"), is_called("*.mixer.D"))
_STEP = either(has_role("time step"), is_called("*.dt_proj.bias", "*.dt_bias"))
DtMin = Annotated[float, "shortest time step"]
DtMax = Annotated[float, "longest time step"]


def mamba(dt_min: DtMin = 0.001, dt_max: DtMax = 0.1) -> Recipe:
    """A = −1 … −N per channel, time steps log-uniform in [dt_min, dt_max], D = 1; matrices U(±1/√fan-in).

    Residual outputs are divided by the root of their number. transformers draws all matrices from N(0, 0.1²) and
    leaves the division out.

    >>> from fanin.recipes import TensorInfo, named
    >>> tensor = TensorInfo("A_log", (8, 16), "float32", "parameter", "state-space A")
    >>> named("mamba").choose(tensor).initializer
    Mapped(base=Ramp(low=1.0, high=16.0, exponent=1.0, endpoint=True, axis=-1), functions=('log',))
    """
    return _state_space(
        "mamba",
        Rule(
            _DECAY,
            lambda tensor: Mapped(Ramp(1.0, max(float(tensor.shape[-1]), 1.0)), ("log",)),
            lambda tensor: f"A = −1 … −{tensor.shape[-1]} per channel, stored as a logarithm: S4D-Real",
        ),
        _time_step(dt_min, dt_max),
        "Gu & Dao 2023, arXiv 2312.00752; mamba mamba_simple.py and mixer_seq_simple.py",
    )


def mamba2(
    dt_min: DtMin = 0.001,
    dt_max: DtMax = 0.1,
    a_min: Annotated[float, "slowest decay rate"] = 1.0,
    a_max: Annotated[float, "fastest decay rate"] = 16.0,
) -> Recipe:
    """−A uniform in [a_min, a_max] per head, time steps log-uniform, D = 1; matrices as in `mamba`.

    transformers takes −A = 1 … heads instead.

    >>> from fanin.recipes import TensorInfo, named
    >>> tensor = TensorInfo("A_log", (8,), "float32", "parameter", "state-space A")
    >>> named("mamba2").choose(tensor).initializer
    Mapped(base=Uniform(low=1.0, high=16.0), functions=('log',))
    """
    decay = Mapped(Uniform(a_min, a_max), ("log",))
    return _state_space(
        "mamba2",
        Rule(
            _DECAY,
            lambda _: decay,
            f"−A uniform in [{a_min:g}, {a_max:g}] per head, stored as a logarithm",
        ),
        _time_step(dt_min, dt_max),
        "Dao & Gu 2024, arXiv 2405.21060; mamba mamba2.py and mixer_seq_simple.py",
    )


def _state_space(name: str, decay: Rule, time_step: Rule, source: str) -> Recipe:
    rules = (
        decay,
        time_step,
        Rule(_SKIP, lambda _: Constant(1.0), "D = 1: the input also passes by the state"),
        Rule(residual_output, _output, lambda tensor: f"U(±1/√fan-in), {why_by_depth(tensor)}"),
        Rule(has_role("embedding"), normal(0.02), "0.02 for the table, also where it is the head"),
        Rule(contracts, _standard, "U(±1/√fan-in) as torch starts it, time steps' projection too"),
        Rule(beside("convolution"), _beside_convolution, "U(±1/√fan-in) as torch starts it"),
        *BESIDE_WEIGHTS,
    )
    return Recipe(name, rules, "state-space parameters by time scale, matrices U(±1/√fan-in)", source)


def _time_step(dt_min: float, dt_max: float) -> Rule:
    law = Mapped(Uniform(_ln(dt_min), _ln(dt_max)), ("exp", "inverse_softplus"))
    return Rule(_STEP, lambda _: law, f"time steps log-uniform in [{dt_min:g}, {dt_max:g}], before a softplus")


def _ln(x: float) -> float:
    """ln x with the same last digit on every machine."""
    return float(Decimal(x).ln())


def _standard(tensor: TensorInfo) -> Initializer:
    return schemes.standard(tensor.contracted)


def _beside_convolution(tensor: TensorInfo) -> Initializer | None:
    axes = None if tensor.partner is None else tensor.partner.axes
    return None if axes is None else schemes.standard(axes)


def _output(tensor: TensorInfo) -> Initializer:
    return schemes.standard(tensor.contracted, 1 / by_depth(tensor))
