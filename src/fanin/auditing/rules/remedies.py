"""Lines of code that mend a tensor, with `model`, `plan` and `inputs` as given to the audit."""

from __future__ import annotations

from math import sqrt

from fanin.auditing.records import Seen
from fanin.initializers import Constant, Normal, TruncatedNormal, Uniform
from fanin.recipes import names


def tensor_of(seen: Seen) -> str:
    """An expression for the tensor."""
    kind = "parameter" if seen.kind == "parameter" else "buffer"
    return f'model.get_{kind}("{seen.name}")'


def filled(seen: Seen, value: float) -> str:
    """All values set to one."""
    return f"torch.nn.init.constant_({tensor_of(seen)}, {value:g})"


def redrawn(seen: Seen) -> str:
    """The values drawn again: by the plan, else as the model's own code does, else with 1/√fan-in."""
    if seen.planned is not None and seen.planned.std is not None:
        return "fanin.materialize(model, plan)"
    match None if seen.native is None else seen.native.initializer:
        case Constant(value):
            return filled(seen, value)
        case Uniform(low, high):
            return f"torch.nn.init.uniform_({tensor_of(seen)}, {low:.4g}, {high:.4g})"
        case Normal(mean, std):
            return drawn(seen, std, mean)
        case TruncatedNormal() as law:
            mean, std = law.parent
            return (
                f"torch.nn.init.trunc_normal_({tensor_of(seen)}, {mean:g}, {std:.4g}, "
                f"{mean + law.lower * std:.4g}, {mean + law.upper * std:.4g})"
            )
        case _:
            return drawn(seen, usual_std(seen))


def drawn(seen: Seen, std: float, mean: float = 0.0) -> str:
    """Normal values."""
    return f"torch.nn.init.normal_({tensor_of(seen)}, {mean:g}, {std:.4g})"


def usual_std(seen: Seen) -> float:
    """1/√fan-in of a matrix, 0.02 where it has no fans."""
    return 1 / sqrt(seen.axes.fan_in) if seen.axes is not None and seen.axes.fan_in else 0.02


def override(seen: Seen, law: str) -> str:
    """Another law in the plan, and its values where the tensor has some."""
    line = f'plan = plan.override({{"{seen.name}": fanin.initializers.{law}}})'
    return line if seen.numbers is None else f"{line}; fanin.materialize(model, plan)"


def replan(recipe: str) -> str:
    """A new plan by the same recipe, where that has a name of its own."""
    return f'plan = fanin.plan(model, "{recipe}")' if recipe in names() else "plan = fanin.plan(model)"
