"""Tensors whose values must stay: one mark that every pass honours, and the marks of others that it reads."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import ArgumentError, UnknownNameError
from fanin.plans.steps import Keep, Step, Unknown
from fanin.torch.capture import Captured
from fanin.torch.tensors import Registration, identities, identity, registrations

_KEPT = "_fanin_kept"  # in a module's __dict__: the keys of its own tensors that are kept
_FILLED = "_fanin_loaded"  # those of them that `fanin.load` has filled
_LOADED = "_is_hf_initialized"
_NO_REINIT = "_no_reinit"

Chosen = str | nn.Module | torch.Tensor


@dataclass(frozen=True, slots=True)
class Mark:
    """Why a tensor is protected.

    Attributes:
        why: for a person.
        source: who set the mark.
        values: the mark is about the values that are there; else about the law that the model's own code gave.
        held: the tensor has memory, and so values.
    """

    why: str
    source: str
    values: bool = True
    held: bool = True


BY_USER = "fanin.keep"
BY_LOAD = "fanin.load"
_BY_USER = Mark("marked keep: its values stay as they are", BY_USER)
_BY_LOAD = Mark("its values were loaded: they stay as they are", BY_LOAD)
_BY_LOADING = Mark("its values were loaded: they stay as they are", f"transformers' mark {_LOADED} on the tensor")
_BY_AUTHORS = Mark(
    "marked _no_reinit: no general rule may write it", f"the model's mark {_NO_REINIT} on the tensor", values=False
)


def keep(model: nn.Module | Captured, *chosen: Chosen) -> tuple[str, ...]:
    """Protect tensors: every plan for this model keeps their values, whatever the recipe, and `materialize` refuses
    plans that would write them.

    The mark stands on the module that registers the tensor, not in its state dict; copies and pickles of the model
    have it too. fanin honours two marks of others in the same way: `_is_hf_initialized` on a tensor, which
    transformers sets on values that it has loaded (its mark of the same name on modules says only that their init has
    run, and counts for nothing), and `_no_reinit`, by which a model's code says that no general rule may write a
    tensor (Mamba's time step): there the authors' own law stays.

    Args:
        model: the model, real, on the meta device or captured.
        chosen: names of tensors or modules ("backbone" stands for all in it), patterns of them as in shells
            ("*.attn", "h.0.*"), modules, or tensors of the model; nothing for all of its tensors.

    Returns:
        The names of the kept tensors among these, tied ones once.

    Raises:
        UnknownNameError: a name or pattern of nothing in the model; then nothing is marked.
        ArgumentError: a module or tensor of another model.

    >>> import fanin
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> keep(model, "0")
    ('0.weight', '0.bias')
    >>> before = model[0].weight.clone()
    >>> fanin.initialize(model, "he")["0.weight"].why, bool((model[0].weight == before).all())
    ('marked keep: its values stay as they are', True)
    """
    found = _chosen(_module(model), chosen)
    for entry in found:
        vars(entry.module)[_KEPT] = _kept(entry.module) | {entry.key}
        vars(entry.module)[_FILLED] = _filled(entry.module) - {entry.key}
    return _names(found)


def lock_loaded(model: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """Protect tensors that hold loaded values, as `keep` does and so that transformers' init leaves them alone too.

    Unlike what a user marks, they may be loaded again.
    """
    found = [entry for entry in registrations(model) if entry.name in names]
    for entry in found:
        if entry.key not in _kept(entry.module) or entry.key in _filled(entry.module):
            vars(entry.module)[_KEPT] = _kept(entry.module) | {entry.key}
            vars(entry.module)[_FILLED] = _filled(entry.module) | {entry.key}
        vars(entry.tensor)[_LOADED] = True
    return tuple(dict.fromkeys(entry.name for entry in found))


def unkeep(model: nn.Module | Captured, *chosen: Chosen) -> tuple[str, ...]:
    """Give tensors up again: takes back what `keep`, the loading of weights and `_no_reinit` marked.

    Args:
        model: the model.
        chosen: as for `keep`; nothing for all of its tensors.

    Returns:
        The names of the tensors that were protected and are no more.

    Raises:
        UnknownNameError, ArgumentError: as `keep`.

    >>> model = nn.Linear(4, 3)
    >>> keep(model), unkeep(model, "bias"), unkeep(model)
    (('weight', 'bias'), ('bias',), ('weight',))
    """
    found = [entry for entry in _chosen(_module(model), chosen) if _mark(entry) is not None]
    for entry in found:
        vars(entry.module)[_KEPT] = _kept(entry.module) - {entry.key}
        for mark in (_LOADED, _NO_REINIT):
            vars(entry.tensor).pop(mark, None)
    return _names(found)


@contextmanager
def given_up(model: nn.Module, names: Collection[str]) -> Generator[None]:
    """From here on nothing protects the values of the tensors of these names; if the block raises, all marks are back.

    `_no_reinit`, which is about a law, stays.
    """
    meant = [entry for entry in registrations(model) if entry.name in names]
    before = [(entry, _kept(entry.module), vars(entry.tensor).get(_LOADED)) for entry in meant]
    try:
        for entry in meant:
            vars(entry.module)[_KEPT] = _kept(entry.module) - {entry.key}
            vars(entry.tensor).pop(_LOADED, None)
        yield
    except BaseException:
        for entry, kept, loaded in reversed(before):
            vars(entry.module)[_KEPT] = kept
            if loaded is not None:
                vars(entry.tensor)[_LOADED] = loaded
        raise


def protections(model: nn.Module) -> dict[str, Mark]:
    """The mark of each protected tensor, by each of its names; one marked under one of its names is under all."""
    return protections_among(list(registrations(model)))


def protections_among(entries: Sequence[Registration]) -> dict[str, Mark]:
    """`protections` of the tensors that are registered so."""
    marking = {module for module in {entry.module for entry in entries} if _KEPT in vars(module)}
    perhaps = (entry.tensor.__dict__ or entry.module in marking for entry in entries)
    own = [_mark(entry) if may else None for entry, may in zip(entries, perhaps, strict=True)]
    if not any(own):
        return {}
    keys = identities([entry.tensor for entry in entries])
    marks = {key: mark for key, mark in zip(reversed(keys), reversed(own), strict=True) if mark is not None}
    without = {mark: replace(mark, held=False) for mark in set(marks.values())}
    marked = ((entry, marks.get(key)) for entry, key in zip(entries, keys, strict=True))
    return {entry.name: mark if has_values(entry.tensor) else without[mark] for entry, mark in marked if mark}


def honoured(
    steps: Sequence[Step], authors: Mapping[str, Step], marks: Mapping[str, Mark], *, constructed: bool
) -> tuple[Step, ...]:
    """The steps with those of protected tensors as their marks ask for.

    Args:
        steps: the steps of a plan.
        authors: the steps of the model's own code, by name.
        marks: the protected tensors.
        constructed: the authors' steps are what the constructor did, not what reset code would do.
    """
    return tuple(
        _protected(step, authors[step.name], marks[step.name], constructed) if step.name in marks else step
        for step in steps
    )


def _protected(step: Step, authors: Step, mark: Mark, constructed: bool) -> Step:
    if mark.values or mark.held:
        return replace(step, action=Keep(), why=mark.why, source=mark.source)
    if constructed:
        return replace(step, action=authors.action, why=f"{mark.why}; {authors.why}", source=authors.source)
    missing = "a meta tensor whose constructor is not known: plan the function that makes the model instead"
    return replace(step, action=Unknown(), why=f"{mark.why}, and it is {missing}", source=mark.source)


def protection_notes(marks: Mapping[str, Mark], steps: Mapping[str, Step]) -> Iterator[str]:
    """How many tensors hold loaded values, and how to give them up."""
    loaded = sum(1 for name in steps if marks.get(name, _BY_USER).source == _BY_LOADING.source)
    if loaded:
        yield (
            f"{loaded} of {len(steps)} tensors hold values that transformers loaded, and keep them; "
            "fanin.unkeep(model) gives them up"
        )


def has_values(tensor: torch.Tensor) -> bool:
    """Whether the tensor has memory of its own."""
    return not tensor.is_meta and not isinstance(tensor, FakeTensor)


def _module(model: object) -> nn.Module:
    module = model.model if isinstance(model, Captured) else model
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"expected a module or a captured model, got {type(module).__name__}")
    return module


def _mark(entry: Registration) -> Mark | None:
    if entry.key in _kept(entry.module):
        return _BY_LOAD if entry.key in _filled(entry.module) else _BY_USER
    if getattr(entry.tensor, _LOADED, False) is True and has_values(entry.tensor):
        return _BY_LOADING
    return _BY_AUTHORS if getattr(entry.tensor, _NO_REINIT, False) is True else None


def _kept(module: nn.Module) -> frozenset[str]:
    return vars(module).get(_KEPT, frozenset())


def _filled(module: nn.Module) -> frozenset[str]:
    return vars(module).get(_FILLED, frozenset())


def _chosen(model: nn.Module, chosen: Sequence[Chosen]) -> list[Registration]:
    """The registrations that are meant, and all others of the same tensors."""
    entries = list(registrations(model))
    picked = {id(entry) for each in chosen for entry in _picked(model, entries, each)}
    meant = {identity(entry.tensor) for entry in entries if not chosen or id(entry) in picked}
    return [entry for entry in entries if identity(entry.tensor) in meant]


def _picked(model: nn.Module, entries: Sequence[Registration], chosen: object) -> Iterator[Registration]:
    found = [entry for entry in entries if _means(chosen, entry, model)]
    if found:
        yield from found
    elif isinstance(chosen, str):
        modules = (name for name, _ in model.named_modules() if name)
        raise UnknownNameError.among("tensor or module", chosen, [*(entry.name for entry in entries), *modules])
    else:
        raise ArgumentError(f"the model holds no tensor of the {type(chosen).__name__} that is to be kept")


def _means(chosen: object, entry: Registration, model: nn.Module) -> bool:
    match chosen:
        case str():
            return fnmatchcase(entry.name, chosen) or fnmatchcase(entry.name, f"{chosen}.*")
        case nn.Module():
            return any(module is entry.module for module in chosen.modules())
        case torch.Tensor():
            return identity(entry.tensor) == identity(chosen)
        case _:
            raise ArgumentError(f"keep takes names, modules and tensors, not {type(chosen).__name__}")


def _names(entries: Sequence[Registration]) -> tuple[str, ...]:
    keys = [identity(entry.tensor) for entry in entries]
    firsts = {key: entry.name for key, entry in zip(reversed(keys), reversed(entries), strict=True)}
    return tuple(dict.fromkeys(map(firsts.__getitem__, keys)))
