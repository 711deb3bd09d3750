"""parametrize: a model whose hyperparameters stay right when it grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from fanin.errors import ArgumentError
from fanin.parametrizations import marks
from fanin.parametrizations.base import Base, from_model, from_numbers, heads_of, itself, layers_of
from fanin.parametrizations.dims import Dims, Factors
from fanin.parametrizations.growing import Growing, growing
from fanin.parametrizations.multipliers import Multiplier
from fanin.parametrizations.placing import Placing, Tuned
from fanin.parametrizations.record import Parametrized, Scaled
from fanin.parametrizations.schemes import Scheme, named
from fanin.parametrizations.seen import Seen, seen
from fanin.parametrizations.sizing import dims_of, grown, readouts
from fanin.parametrizations.values import Starts, starts
from fanin.parametrizations.widths import width_of
from fanin.parametrizations.writing import Values, check_standard, write
from fanin.recipes import Recipe
from fanin.torch.capture import Captured


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller of `parametrize` wants, in one piece."""

    base: Any
    base_width: int | None
    base_depth: int | None
    base_head_size: int | None
    at_base: bool
    headless: bool
    inputs: Any
    recipe: str | Recipe


def parametrize(
    model: nn.Module | Captured,
    scheme: str | Scheme = "mup",
    *,
    base: Any = None,
    base_width: int | None = None,
    base_depth: int | None = None,
    base_head_size: int | None = None,
    recipe: str | Recipe = "native",
    inputs: Any = None,
    seed: int = 0,
    values: Values | Literal["auto"] = "auto",
    multipliers: Literal["forward", "absorbed"] = "forward",
    tuned: Tuned = Tuned(),  # noqa: B008  frozen
    zero_readout: bool = False,
    zero_query: bool = False,
    at_base: bool = False,
    headless: bool = False,
) -> Parametrized:
    """Scale starts, learning rates and forward pass of `model` with its size, so that what was tuned at a base holds.

    Which dimensions of which tensor grow, and whether they are its inputs or outputs, the forward pass tells; names
    tell nothing. With m = fan-in over the base's, muP is (Yang et al. 2022, tables 8 and 3):

    | | input weights, tables, vectors | hidden weights | readout | readout, absorbed |
    |---|---|---|---|---|
    | standard deviation × | 1 | m^−½ | 1 | 1/m |
    | forward × | 1 | 1 | 1/m | 1 |
    | Adam learning rate × | 1 | 1/m | 1 | 1/m |
    | SGD learning rate × | m | m_out/m | m | 1/m |

    relative to what the model's own code (or `recipe`) draws at the base; attention scores fall as 1/d_head. At the
    base nothing changes, bit for bit.

    Args:
        model: real, meta or captured; changed in place: values, hooks for forward multipliers, and a mark.
        scheme: "mup", "spectral", "complete-p", "depth-mup", "u-mup" (no base), or one of
            `fanin.parametrizations.complete_p(alpha)`.
        base: the base: a smaller model of the same architecture, a captured one, a function that makes one, or a
            config of transformers. Dimensions that differ are those that grow. The surest way.
        base_width: or the base's width alone. The model's width is the size of its residual stream, else what its
            first weight makes; all its widths must be proportional to it.
        base_depth: with `base_width`: layers of the base, for schemes that scale with depth; the model's where None.
        base_head_size: with `base_width`: size of the base's attention heads; the model's where None.
        recipe: what is standard; "native" is the model's own code.
        inputs: to trace the model with; made up where None.
        seed: for "draw".
        values: "draw" (as `fanin.materialize`), "rescale" (those that are there, which must be the standard ones),
            "keep" (loaded ones); "auto" rescales what is there, and draws for meta and captured models and recipes.
        multipliers: "forward" are hooks; "absorbed" goes into start and rates, exactly (abc-symmetry), where the tensor
            is not tied or packed with others.
        tuned: forward multipliers of your own.
        zero_readout: start the readout at zero: then outputs do not differ between widths at step 0.
        zero_query: start queries at zero: attention starts uniform at any width.
        at_base: a `base` of the model's own size is meant.
        headless: the model has no readout, and that is meant.

    Returns:
        the record, whose `parameter_groups` the optimizer takes.

    Raises:
        ArgumentError: no base or two, one that is wider, or that differs in nothing; no readout; a dimension that the
            base would have a fraction of; values that are not the standard ones; a multiplier that has no place; a
            model that is parametrized already. The model is untouched then.
        UnknownNameError: no such scheme.
        As `fanin.plan` and `fanin.materialize`.

    >>> import fanin
    >>> model = fanin.models.mlp((10, 256, 256, 2))
    >>> record = parametrize(model, "mup", base_width=64)
    >>> record["fc2.weight"].factors.adam, record.multipliers[0].factor
    (0.25, 0.25)
    """
    chosen = named(scheme)
    module = model.model if isinstance(model, Captured) else model
    if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"parametrize takes a module or a captured model, not a {type(module).__name__}")
    marks.refuse_marked(module)
    asked = Asked(base, base_width, base_depth, base_head_size, at_base, headless, inputs, recipe)
    _check_arguments(asked, multipliers, tuned)
    here = seen(model, recipe, inputs)
    there, grows = _base(chosen, here, asked)
    dims = dims_of(here, there, grows)
    _check(chosen, here, there, dims, asked)
    placed = Placing(here, dims, absorb=multipliers == "absorbed").all(chosen, tuned, heads_of(here), there.heads)
    factors = {name: chosen.factors(each) for name, each in dims.items()}
    for each in placed:
        _absorb(each, factors, here)
    zeros = _zeros(here, dims, zero_readout=zero_readout, zero_query=zero_query)
    how = _how(values, module, captured=isinstance(model, Captured), recipe=recipe, relative=chosen.relative)
    start = starts(here, there, dims, factors, zeros, chosen) if how != "keep" else Starts(here.plan, {}, {})
    if how == "rescale":
        check_standard(module, here, start)
    record = _record(chosen, here, there, dims, factors, placed, start)
    write(module, start, how, seed)
    marks.attach(module, record)
    return record


def _check_arguments(asked: Asked, multipliers: object, tuned: object) -> None:
    if multipliers not in ("forward", "absorbed"):
        raise ArgumentError(f"multipliers must be 'forward' or 'absorbed', got {multipliers!r}")
    if not isinstance(tuned, Tuned):
        raise ArgumentError(f"tuned must be a fanin.parametrizations.Tuned(output=…), got {tuned!r}")
    for name, least in (("base_width", None), ("base_depth", 1), ("base_head_size", 1)):
        value = getattr(asked, name)
        if value is None:
            continue
        if type(value) is not int or (least is not None and value < least):
            raise ArgumentError(f"{name} must be a whole number of at least 1, got {value!r}")
        if asked.base_width is None:
            raise ArgumentError(f"{name} goes with base_width=: a base= has its own, and no base has none")


def _base(scheme: Scheme, here: Seen, asked: Asked) -> tuple[Base, Growing]:
    given = [name for name in ("base", "base_width") if getattr(asked, name) is not None]
    if not scheme.relative:
        if given:
            raise ArgumentError(f"{scheme.name} is relative to no base: leave {given[0]}= out")
        return itself(here), growing(here, asked.inputs)
    if len(given) != 1:
        raise ArgumentError(
            f"{scheme.name} is relative to a base: give base= (a smaller model, a function that makes it, or its "
            f"config) or base_width=, not {'both' if given else 'neither'}"
        )
    if asked.base_width is None:
        small = seen(marks.as_model(asked.base, here.model), asked.recipe, asked.inputs)
        there = from_model(here, small)
        grows = grown(here, there)
        # A model of the base's own size: nothing scales, but what its dimensions are matters still.
        return there, grows if any(map(any, grows.values())) else growing(here, asked.inputs)
    if asked.recipe != "native":
        raise ArgumentError(
            "how a recipe's laws depend on the width only a base model tells: give base= instead of base_width="
        )
    grows = growing(here, asked.inputs)
    width = width_of(here, grows)
    if not 1 <= asked.base_width <= width:
        raise ArgumentError(
            f"base_width must be from 1 to the model's width {width}, got {asked.base_width}: the base is the smaller "
            "of the two"
        )
    there = from_numbers(here, grows, width, asked.base_width, asked.base_depth, asked.base_head_size)
    return there, grows


def _check(scheme: Scheme, here: Seen, there: Base, dims: Mapping[str, Dims], asked: Asked) -> None:
    depths = {stack: (layers, there.layers.get(stack, layers)) for stack, layers in layers_of(here).items()}
    deeper = {stack: pair for stack, pair in depths.items() if pair[0] != pair[1]}
    if asked.base is not None and not asked.at_base and not deeper:
        wider = any(each.inputs != 1 or each.outputs != 1 for each in dims.values())
        if not wider:
            raise ArgumentError(
                "no dimension differs between the model and its base, so nothing would scale: make the base narrower, "
                "or say at_base=True if this model is the base"
            )
    if scheme.depth and not depths:
        raise ArgumentError(f"{scheme.name} scales residual branches, and {type(here.model).__name__} has none")
    for stack, (layers, base) in deeper.items():
        if layers < base:
            raise ArgumentError(
                f"the base is deeper than the model: {stack} has {layers} layers and in the base {base}"
            )
        if not scheme.depth:
            raise ArgumentError(
                f"{scheme.name} scales with the width alone, and {stack} has {layers} layers and in the base {base}: "
                "give a base of the same depth, or choose complete-p"
            )
    if not asked.headless and not readouts(here, dims) and any(each.kind == "hidden" for each in dims.values()):
        raise ArgumentError(
            f"no readout was found in {type(here.model).__name__}: no weight makes outputs of the model from a width; "
            "say headless=True if it has none (a backbone), or give inputs= that reach it"
        )


def _absorb(multiplier: Multiplier, factors: dict[str, Factors], here: Seen) -> None:
    if multiplier.side != "absorbed":
        return
    name = multiplier.tensor
    beside = [
        use.tensor
        for use in here.graph.uses
        if use.op == "bias" and use.partner == name and multiplier.why in ("attention", "branch")
    ]
    for each in dict.fromkeys((name, *beside)):
        factors[each] = factors[each].absorbing(multiplier.factor)


def _zeros(here: Seen, dims: Mapping[str, Dims], *, zero_readout: bool, zero_query: bool) -> dict[str, tuple[Any, ...]]:
    """The parameters that start at zero, with the parts of packed ones that do."""
    found: dict[str, tuple[Any, ...]] = {}
    for name in readouts(here, dims) if zero_readout else ():
        if dims[name].kind == "table":
            raise ArgumentError(f"the readout {name} is the input table too (tied): it cannot start at zero")
        found |= dict.fromkeys([name, *_biases(here, name)], ())
    for use in here.graph.uses if zero_query else ():
        if use.role == "attention query":
            found[use.tensor] = (*found.get(use.tensor, ()), *use.parts)
    return found


def _biases(here: Seen, name: str) -> list[str]:
    return [use.tensor for use in here.graph.uses if use.op == "bias" and use.partner == name]


def _how(
    values: Values | Literal["auto"], module: nn.Module, *, captured: bool, recipe: str | Recipe, relative: bool
) -> Values:
    empty = any(parameter.is_meta for parameter in module.parameters())
    if values == "auto":
        return "draw" if captured or empty or recipe != "native" or not relative else "rescale"
    if values not in ("draw", "rescale", "keep"):
        raise ArgumentError(f"values must be 'auto', 'draw', 'rescale' or 'keep', got {values!r}")
    if values == "rescale" and (captured or empty or recipe != "native" or not relative):
        raise ArgumentError("values='rescale' needs a real model in its own code's standard start: draw instead")
    return values


def _record(
    scheme: Scheme,
    here: Seen,
    there: Base,
    dims: Mapping[str, Dims],
    factors: Mapping[str, Factors],
    placed: list[Multiplier],
    start: Starts,
) -> Parametrized:
    steps = start.plan
    tensors = tuple(Scaled(name, each, factors[name], steps[name].std) for name, each in dims.items())
    notes = list(there.notes)
    if scheme.relative and all(factors[name] == Factors() for name in dims) and not placed:
        notes.append("the model has the size of its base: this is standard parametrization")
    return Parametrized(
        type(here.model).__name__, scheme.name, there.width, tensors, tuple(placed), tuple(notes), scheme.sgd, steps
    )
