"""coord_check: does a parametrization keep the size of what layers learn, whatever the width or depth?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

from fanin.coordinates.fitting import over_seeds, slope
from fanin.coordinates.record import CoordinateCheck
from fanin.coordinates.slopes import LayerSlopes
from fanin.coordinates.training import Run, loss_of, train
from fanin.coordinates.watching import Watch, of_depth, of_width
from fanin.errors import ArgumentError, DataError, UnknownNameError
from fanin.models import example_inputs
from fanin.parametrizations import Parametrized, Scheme, named, parametrize
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize
from fanin.torch.probe.batch import Loss, require_usable

Build = Callable[[int], nn.Module]
Made = tuple[nn.Module, Parametrized | None]
Optimizer = str | type[torch.optim.Optimizer] | Callable[[nn.Module], torch.optim.Optimizer]
_FEWEST = 3
# Few samples: what a step does to one of many is mostly what it does for the others, and that part falls with the width
# until this is much larger than their number.
_SAMPLES, _SEQUENCES = 8, 1


def coord_check(
    build: Build,
    widths: Sequence[int] | None = None,
    *,
    depths: Sequence[int] | None = None,
    parametrization: str | Scheme | None = "mup",
    base: int | None = None,
    steps: int = 4,
    optimizer: Optimizer = "adamw",
    lr: float = 1e-2,
    seeds: int = 3,
    inputs: Any = None,
    loss: Loss = None,
    threshold: float = 0.15,
    options: Mapping[str, Any] | None = None,
) -> CoordinateCheck:
    """Train a few steps at several widths (or depths) and fit how the change of each layer's output scales.

        slope = d log mean|x_t − x_0| / d log width,   by least squares, for each layer and step t

    Where the parametrization is right, every slope is near 0: each layer learns as much at any size (Yang et al. 2022,
    appendix D). The change is measured, not the activations themselves: those of a readout that starts at random fall
    as 1/√width under muP, which is no mistake.

    Args:
        build: from a width (or depth) to a new model.
        widths: at least three, each a multiple of the smallest.
        depths: instead of widths: at least three; outputs of blocks and of what stands outside of them are compared.
        parametrization: "mup", "spectral", "complete-p", "depth-mup", "u-mup" or a scheme; None is the model as
            `build` makes it: standard, or parametrized by your own code.
        base: the width (or depth) that scaling is relative to; the smallest where None.
        steps: optimizer steps, all on one batch.
        optimizer: name or class in `torch.optim`; or a function from the model to its optimizer, for your own groups.
        lr: at the base.
        seeds: models of each size.
        inputs: a batch as `fanin.check` takes it, the same for all sizes; made up where the model's kind tells it.
        loss: a function of the model's output, or integer labels; without it the next token, random classes or numbers.
        threshold: the verdict's.
        options: further arguments of `fanin.parametrize` ("zero_readout", "tuned", …).

    Returns:
        slopes and verdict.

    Raises:
        ArgumentError: widths and depths, fewer than three sizes or repeated ones, or numbers that cannot be meant.
        UnknownNameError: no such parametrization or optimizer.
        DataError: the model does not run on the inputs, no inputs are known, or training diverges.
        As `fanin.parametrize`.

    >>> import fanin
    >>> done = coord_check(lambda n: fanin.models.mlp((8, n, n, 4)), (32, 64, 128), lr=0.01, seeds=2, steps=2)
    >>> done.passed, [layer.name for layer in done.layers]
    (True, ['fc1', 'fc2', 'fc3'])
    """
    along, sizes = _sizes(widths, depths)
    _check_numbers(steps=steps, seeds=seeds, lr=lr, threshold=threshold)
    if not callable(build):
        raise ArgumentError(f"build must be a function from a {along} to a model, got {build!r}")
    _check_optimizer(optimizer)
    scheme = None if parametrization is None or parametrization == "standard" else named(parametrization)
    start = _base(base, sizes)
    batch = inputs
    runs: list[list[Run]] = []
    layers: tuple[str, ...] = ()
    shapes: dict[tuple[tuple[int, ...], ...], int] = {}
    kind = ""
    with torch.random.fork_rng():
        for size in sizes:
            runs.append([])
            family = _family(build, size, start, scheme, batch, options or {})
            for seed in range(seeds):
                model, record = family(seed)
                kind = type(model).__name__
                _check_grown(model, shapes, size, along)
                batch = _batch(model) if batch is None else batch
                require_usable(model, batch)
                made = _optimizer(optimizer, model, record, lr)
                watch = Watch(model, batch, of_width(model) if along == "width" else of_depth(model))
                layers = _same(layers, watch.layers, size)
                wanted = loss_of(loss, batch, torch.Generator().manual_seed(seed))
                torch.manual_seed(seed)  # dropout
                runs[-1].append(train(model, made, watch, batch, wanted, steps, f"at {along} {size}, seed {seed}"))
    measured = tuple(_layer(name, sizes, runs) for name in layers)
    if all(layer.worst is None for layer in measured):
        raise DataError(f"no layer of {kind} has moved at all sizes, so that there is no slope: take more steps")
    return CoordinateCheck(
        kind,
        scheme.name if scheme is not None else "standard",
        along,
        sizes,
        steps,
        seeds,
        _told(optimizer),
        lr,
        threshold,
        measured,
        tuple(tuple(np.mean([run.losses for run in of], axis=0).tolist()) for of in runs),
    )


def _family(
    build: Build, size: int, base: int, scheme: Scheme | None, inputs: Any, options: Mapping[str, Any]
) -> Callable[[int], Made]:
    """From a seed to a new model of a size; under a scheme with the laws of its constructor, here and at the base."""
    if scheme is None:
        return lambda seed: (_checked(_seeded(build, size, seed)), None)
    captured = capture(lambda: _checked(build(size)))
    small = capture(lambda: build(base)) if scheme.relative else None
    chosen: dict[str, Any] = {"at_base": True, "inputs": inputs, **options}
    record = parametrize(captured, scheme, base=small, **chosen)

    def made(seed: int) -> Made:
        model = copy.deepcopy(captured.model)
        return (model if record.plan is None else materialize(model, record.plan, seed=seed)), record

    return made


def _seeded(build: Build, size: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build(size)


def _checked(model: object) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"build must return a torch.nn.Module, got {type(model).__name__}")
    return model


def _batch(model: nn.Module) -> Any:
    found = example_inputs(model, _SAMPLES)
    if isinstance(found, dict):
        found = {name: tensor[:_SEQUENCES] for name, tensor in found.items()}
    if found is None:
        raise DataError(
            f"nobody knows what {type(model).__name__} takes as input: give inputs=, the same batch for all sizes"
        )
    return found


def _optimizer(optimizer: Optimizer, model: nn.Module, record: Parametrized | None, lr: float) -> torch.optim.Optimizer:
    if not isinstance(optimizer, str | type):
        made: Any = optimizer(model)
        if not isinstance(made, torch.optim.Optimizer):
            raise ArgumentError(f"optimizer= must return a torch.optim.Optimizer, got {type(made).__name__}")
        return made
    kind = _optimizers()[optimizer.lower()] if isinstance(optimizer, str) else optimizer
    groups: Any = model.parameters() if record is None else record.parameter_groups(model, lr, optimizer=kind)
    decay = {"weight_decay": 0.0} if kind is torch.optim.AdamW else {}
    try:
        return cast("Any", kind)(groups, lr=lr, **decay)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{kind.__name__} does not take the parameters of {type(model).__name__} ({error}): give optimizer= a "
            "function from the model to its optimizer"
        ) from error


def _optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Those of torch whose steps take no function that computes the loss again."""
    kinds = {name.lower(): kind for name, kind in vars(torch.optim).items() if _is_optimizer(kind)}
    return {name: kind for name, kind in kinds.items() if kind is not torch.optim.Optimizer and name != "lbfgs"}


def _is_optimizer(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)


def _check_optimizer(optimizer: object) -> None:
    if isinstance(optimizer, str):
        if optimizer.lower() not in _optimizers():
            raise UnknownNameError.among("optimizer of torch.optim", optimizer, _optimizers())
    elif not callable(optimizer) or (isinstance(optimizer, type) and not _is_optimizer(optimizer)):
        raise ArgumentError(f"optimizer must be a name or class in torch.optim, or a function, got {optimizer!r}")


def _check_grown(model: nn.Module, shapes: dict[tuple[tuple[int, ...], ...], int], size: int, along: str) -> None:
    """Raise if nothing of it is to be trained, or a model of another size was as large: every slope would be 0."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise DataError(f"no parameter of {type(model).__name__} requires grad, so there is nothing to train")
    before = shapes.setdefault(tuple(tuple(parameter.shape) for parameter in model.parameters()), size)
    if before != size:
        raise ArgumentError(
            f"build({before}) and build({size}) make models of the same shapes: build must take the {along}"
        )


def _layer(name: str, sizes: tuple[int, ...], runs: list[list[Run]]) -> LayerSlopes:
    changes = [over_seeds(np.array([[step[name] for step in run.changes] for run in of])) for of in runs]
    slopes = [slope(sizes, [of[step] for of in changes]) for step in range(len(changes[0]))]
    return LayerSlopes(name, tuple(map(tuple, changes)), tuple(slopes))


def _same(before: tuple[str, ...], now: tuple[str, ...], size: int) -> tuple[str, ...]:
    if before and before != now:
        raise ArgumentError(
            f"the model of size {size} has other layers than the smaller ones: {sorted(set(now) ^ set(before))}; "
            "build must change nothing but the width (or, with depths=, the number of blocks)"
        )
    return now


def _sizes(
    widths: Sequence[int] | None, depths: Sequence[int] | None
) -> tuple[Literal["width", "depth"], tuple[int, ...]]:
    if (widths is None) == (depths is None):
        raise ArgumentError("give widths= or depths=, one of them")
    along: Literal["width", "depth"] = "width" if depths is None else "depth"
    sizes: Any = depths if widths is None else widths
    given: tuple[Any, ...] = tuple(sizes) if isinstance(sizes, Sequence) else (sizes,)
    if any(type(size) is not int or size < 1 for size in given) or len(set(given)) < max(len(given), _FEWEST):
        raise ArgumentError(
            f"a slope needs at least {_FEWEST} different {along}s, whole numbers as (64, 128, 256); got {given}"
        )
    return along, tuple(sorted(given))


def _base(base: int | None, sizes: tuple[int, ...]) -> int:
    if base is not None and not 1 <= base <= sizes[0]:
        raise ArgumentError(f"base must be at most the smallest size {sizes[0]}, got {base}")
    return sizes[0] if base is None else base


def _check_numbers(*, steps: int, seeds: int, lr: float, threshold: float) -> None:
    for name, value in (("steps", steps), ("seeds", seeds)):
        if type(value) is not int or value < 1:
            raise ArgumentError(f"{name} must be a whole number of at least 1, got {value!r}")
    for name, value in (("lr", lr), ("threshold", threshold)):
        if not 0 < value < float("inf"):
            raise ArgumentError(f"{name} must be positive and finite, got {value!r}")


def _told(optimizer: Optimizer) -> str:
    return optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", type(optimizer).__name__)
