"""new_head: another head on a model that exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError, PlanError
from fanin.graph import Graph
from fanin.heads.bias import Link, Start, start
from fanin.heads.find import Head, find_head
from fanin.heads.record import HeadChange
from fanin.initializers import Constant, Initializer
from fanin.random.stream import Stream
from fanin.recipes import Recipe, named
from fanin.torch.agreement import Team
from fanin.torch.fill import fill
from fanin.torch.native import Native, native
from fanin.torch.pieces import is_part
from fanin.torch.planning import plan
from fanin.torch.protection import given_up
from fanin.torch.refusing_kept import refuse_kept
from fanin.torch.resizable import check_resizable, refuse_whole
from fanin.torch.resized import lay, resized
from fanin.torch.resizing import Resizing, configs
from fanin.torch.same_pass import check_same_pass
from fanin.torch.sharded import fully_sharded
from fanin.torch.trace import trace

_COUNTS = frozenset(("num_labels", "num_classes", "n_classes", "num_class", "n_labels"))


def new_head(
    model: nn.Module,
    out_features: int,
    *,
    head: str | None = None,
    init: str | Recipe | Initializer = "zero",
    bias: str | float | Sequence[float] | None = None,
    prior: float | Sequence[float] | None = None,
    link: Link = "softmax",
    seed: int = 0,
    inputs: Any = None,
    override_keep: bool = False,
) -> HeadChange:
    """Give a model a head of `out_features` outputs: the last linear layer or 1×1 convolution gets another size and new
    values, and what counts its classes (`num_labels`, `num_classes`) the new number. All other tensors stay.

    With the zero head (W = 0) the first predictions are the bias alone, whatever the features are: uniform with b = 0,
    so that the loss starts at ln C, and the classes' own frequencies with b = ln prior, so that it starts at their
    entropy H(prior) ≤ ln C. The first step then moves the head alone, as no gradient passes a zero weight.

    - softmax: b_c = ln(n_c / Σn)
    - sigmoid: b = −ln((1 − π)/π), so that σ(b) = π; RetinaNet starts at π = 0.01, b = −4.59512
    - "nlhb": b = −ln C, so that σ(b) = 1/(C + 1) for every class (timm's ViT)
    - regression: bias = the targets' mean, so that the loss starts at their variance

    The module and, where it has them, its parameters stay the objects they are, hooks too. What an optimizer keeps for
    them has the old shape: make the optimizer afterwards. Nothing is changed if an error is raised.

    Args:
        model: real, on any device, sharded or not (DTensor, FSDP2: every rank calls this); not quantised.
        out_features: C, the number of outputs.
        head: name of the head's module, or of a module that it is in; found by the graph where None.
        init: "zero", the name of a recipe, a recipe, or an initializer, for the weight; a recipe also gives the bias
            its law where neither bias nor prior is given.
        bias: "zero" (the default), "nlhb", a number, or one for each output. A head without a bias gets one if the
            values are not 0.
        prior: instead: counts or chances of the classes (softmax), or the chance π of each output, or of all (sigmoid).
        link: what turns outputs into chances, for `prior` and for the loss that the record tells.
        seed: of the weight's random numbers, 0 to 2⁶⁴ − 1.
        inputs: what to trace the model with; made up where None.
        override_keep: also where `fanin.keep` (or `fanin.load`, which marks what it loads) protects the old head.
            What transformers loaded needs no such word.

    Raises:
        ArgumentError: an argument that cannot mean anything; no head, or several.
        UnknownNameError: no module or recipe of that name.
        PlanError: a head that is tied, quantised, protected, or followed by what wants the old size; a model under
            FSDP1, ZeRO-3 or DistributedDataParallel; another rank failed, or was asked for something else.
        TraceError: the forward pass fails on `inputs`.

    Source: Lin et al. 2017, arXiv 1708.02002 (RetinaNet), section 4.1; Dosovitskiy et al. 2021, arXiv 2010.11929.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> print(new_head(model, 2, prior=[90, 10]))
    Sequential: new head 2, 3×8 → 2×8
    weight 0; bias ln of the prior
    loss at the start: 0.3251 nats
    note: no gradient passes a zero weight: the first step moves the head alone
    >>> print(*(round(chance, 6) for chance in model(torch.ones(1, 4)).softmax(-1).tolist()[0]))
    0.9 0.1
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"new_head changes a module, got {type(model).__name__}")
    refuse_whole(model)
    fully_sharded.reshard(model)
    team = Team.of(model)

    def prepare() -> _Prepared:
        _check(out_features, seed)
        started = start(out_features, bias, prior, link)
        recipe = _recipe(init)
        source = native(model)
        graph = trace(model, inputs, source.plan)
        found = find_head(model, graph, head)
        for each in (found.weight, *(() if found.bias is None else (found.bias,))):
            check_resizable(model, each.name, each.tensor)
        protected = refuse_kept(model, found.names, override_keep=override_keep)
        _check_bias(found, with_bias=bool(started.values.any()))
        return _Prepared(source, graph, found, started, init, recipe, protected, inputs)

    ready = team.agreed_request(prepare, model, seed, partial(_Prepared.lines, outputs=out_features))
    found, started = ready.found, ready.started
    before, free = tuple(found.weight.tensor.shape), bias is None and prior is None
    with torch.no_grad(), given_up(model, found.names), Resizing(model) as resizing:
        made = team.decided(lambda: _changed(model, resizing, ready, out_features, seed, free=free))
    zero = made.weight == Constant(0.0)
    return HeadChange(
        model=type(ready.source.model).__name__,
        head=found.name,
        before=before,
        after=tuple(found.weight.tensor.shape),
        weight=made.why,
        bias="" if made.beside is None else started.why if made.law is None else made.law.describe(),
        loss=started.loss if zero and made.law is None else None,
        seed=seed,
        sizes=made.sizes,
        given_up=ready.protected,
        notes=("no gradient passes a zero weight: the first step moves the head alone",) if zero else (),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """What is to be done, checked."""

    source: Native
    graph: Graph
    found: Head
    started: Start
    init: object
    recipe: Recipe | None
    protected: tuple[str, ...]
    inputs: Any

    def lines(self, outputs: int) -> Sequence[str]:
        """What all ranks must have in common."""
        init = self.init if self.recipe is None else self.recipe.name
        return f"{outputs} outputs of {self.found.name}", f"init {init!r}", f"bias {self.started.values.tolist()}"


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """What was done: the weight's law and the reason, the bias and its law, and the numbers that changed."""

    weight: Initializer
    why: str
    beside: torch.Tensor | None
    law: Initializer | None
    sizes: tuple[str, ...]


def _changed(model: nn.Module, resizing: Resizing, ready: _Prepared, outputs: int, seed: int, *, free: bool) -> _Made:
    """Give the head its size and values; `free` where the recipe may give the bias its law."""
    found, started, before = ready.found, ready.started, ready.found.outputs
    beside = _resized(model, resizing, found, outputs, with_bias=bool(started.values.any()))
    sizes = tuple(_counts(resizing, model, before, outputs))
    if outputs != before:
        check_same_pass(model, ready.graph, ready.inputs, ready.source.plan)
    weight, why, bias_law = _laws(model, found, ready.init, ready.recipe, ready.inputs)
    fill(found.weight.tensor, weight, Stream.named(seed, found.weight.name))
    law = bias_law if free else None
    if beside is not None and law is not None and found.bias is not None:
        fill(beside, law, Stream.named(seed, found.bias.name))
    elif beside is not None:
        lay(beside, 0, 0, torch.from_numpy(started.values))
    return _Made(weight, why, beside, law, sizes)


def _check_bias(found: Head, *, with_bias: bool) -> None:
    if not found.takes_a_bias and with_bias:
        kind = type(found.module).__name__
        raise PlanError(f"{found.name!r} ({kind}) has no bias, and its code adds none: only bias 0 fits it")
    if found.bias is None and with_bias and is_part(found.weight.tensor):
        raise PlanError(
            f"{found.name!r} has no bias, and a sharded head cannot get one: change the model before it is sharded, or "
            "let the bias be 0"
        )


def _check(out_features: object, seed: int) -> None:
    if type(out_features) is not int or out_features < 1:
        raise ArgumentError(f"out_features must be a positive integer, got {out_features!r}")
    Stream.named(seed, "")


def _recipe(init: object) -> Recipe | None:
    """The recipe that gives the weight its law; None for zero and for an initializer."""
    if isinstance(init, str) and init != "zero":
        return named(init)
    if isinstance(init, Recipe):
        return init
    if init != "zero" and not isinstance(init, Initializer):
        raise ArgumentError(f"init must be 'zero', a recipe or an initializer, got {init!r}")
    return None


def _resized(
    model: nn.Module, resizing: Resizing, found: Head, outputs: int, *, with_bias: bool
) -> torch.Tensor | None:
    """Give the head's tensors their new shapes, without values yet; the bias, where it has one or is to have one."""
    old = found.weight.tensor
    shape = [outputs if axis == found.dim else extent for axis, extent in enumerate(old.shape)]
    resizing.tensor(old, resized(model, found.weight.name, old, shape), found.dim)
    if found.bias is not None:
        resizing.tensor(found.bias.tensor, resized(model, found.bias.name, found.bias.tensor, (outputs,)), 0)
        return found.bias.tensor
    if not with_bias:
        return None
    made = nn.Parameter(old.new_zeros(outputs), requires_grad=old.requires_grad)
    resizing.parameter(found.module, "bias", made)
    return made


def _laws(
    model: nn.Module, found: Head, init: object, recipe: Recipe | None, inputs: Any
) -> tuple[Initializer, str, Initializer | None]:
    """The weight's law with the reason, and the bias's where a recipe tells it."""
    if isinstance(init, Initializer):
        return init, init.describe(), None
    if recipe is None:
        return Constant(0.0), "0", None
    steps = plan(model, recipe, inputs)
    step = steps[found.weight.name]
    if step.initializer is None:
        raise PlanError(
            f"recipe {recipe.name!r} has no law for the head {step.name!r} ({step.why}): choose another init"
        )
    told = f"{step.initializer.describe()} ({step.why})"
    return step.initializer, told, None if found.bias is None else steps[found.bias.name].initializer


def _counts(resizing: Resizing, model: nn.Module, before: int, after: int) -> Iterator[str]:
    """Set what modules and configs call the number of classes, and say which."""
    yield from resizing.numbers(_COUNTS.__contains__, (before,), after)
    for config in configs(model):  # transformers' have a property of that name, which makes the labels
        if getattr(config, "num_labels", None) == before != after:
            resizing.attribute(config, "num_labels", after)
            yield f"{type(config).__name__}.num_labels"
