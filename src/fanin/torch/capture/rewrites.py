"""Random operators of torch, each as a law of fanin and the arithmetic that follows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fanin.initializers import Initializer, Normal, Uniform
from fanin.torch.capture.records import Call, Given, Made, State, View, Written, draws


@dataclass(frozen=True, slots=True)
class Follow:
    """One operator applied to the values so far."""

    operator: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A law, and what to do to its values."""

    law: Initializer
    steps: tuple[Follow, ...] = ()


def rewritten(call: Call, law: Initializer | None = None) -> Rewritten | None:
    """What the random `call` draws; None where fanin has no such law. `law` overrides it (rejection loops)."""
    if law is not None:
        return Rewritten(law)
    if any(isinstance(value, View) for value in call.kwargs.values()):
        return None
    match call.name:
        case "normal_" | "normal":
            return _normal(call.argument("mean"), call.argument("std"))
        case "randn" | "randn_like":
            return Rewritten(Normal())
        case "uniform_":
            return Rewritten(Uniform(call.argument("from"), call.argument("to")))
        case "rand" | "rand_like":
            return Rewritten(Uniform())
        case _:
            return _derived(call)


def draws_alone(state: State) -> bool:
    """Whether the state is a draw of a known law, which depends on nothing else."""
    return draws(state) and not isinstance(state, Given) and rewritten(state.call, _law(state)) is not None


def _law(state: Made | Written) -> Initializer | None:
    return state.law if isinstance(state, Written) else None


def _normal(mean: Any, std: Any) -> Rewritten | None:
    return None if isinstance(mean, View) or isinstance(std, View) else Rewritten(Normal(mean, std))


def _derived(call: Call) -> Rewritten | None:
    """Laws that are arithmetic on uniform values."""
    match call.name:
        case "exponential_":
            rate = -1.0 / call.argument("lambd")
            return Rewritten(Uniform(), (Follow("neg.default"), Follow("log1p.default"), Follow("mul.Scalar", (rate,))))
        case "log_normal_":
            return Rewritten(Normal(call.argument("mean"), call.argument("std")), (Follow("exp.default"),))
        case "bernoulli_" if not isinstance(call.args[1] if len(call.args) > 1 else 0.5, View):
            return Rewritten(Uniform(), (Follow("lt.Scalar", (call.argument("p"),)),))
        case "randperm":
            return Rewritten(Uniform(), (Follow("argsort.default"),))
        case "randint":
            low, high = call.argument("low", 0) or 0, call.argument("high")
            return Rewritten(
                Uniform(low, high), (Follow("floor.default"), _cast(call.kwargs.get("dtype") or torch.int64))
            )
        case _:
            return None


def _cast(dtype: torch.dtype) -> Follow:
    return Follow("_to_copy.default", (), (("dtype", ("dtype", str(dtype).removeprefix("torch."))),))
