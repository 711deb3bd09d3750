"""Every way to name a model, resolved to a factory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from fanin.errors import ArgumentError, FaninError, UnknownNameError
from fanin.models.families import FAMILIES, SHORTHANDS
from fanin.models.huggingface import config_factory, type_factory
from fanin.models.python_objects import python_factory
from fanin.models.specs import Spec, family_factory

Factory = Callable[[], nn.Module]

_FORMS = (
    "FAMILY:key=value",
    "path.py:factory",
    "package.module:factory",
    "hf:TYPE",
    "config.json",
    "FILE.toml",
)
_PYTHON = re.compile(r".+\.py:\w+|[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")
_DESCRIPTIONS = (".toml", ".arch.json")


def names() -> tuple[str, ...]:
    """Models that need nothing but their name.

    >>> names()[:3]
    ('mlp', 'cnn', 'resnet')
    """
    return (*FAMILIES, *SHORTHANDS)


def factory(spec: str, sizes: Mapping[str, Any] | None = None) -> Callable[[], nn.Module]:
    """A function without arguments that builds the model `spec` names, for `fanin.capture`; builds nothing yet.

    Args:
        spec: one of

            - a name of `names()`: `mnist-fc`, `resnet18`, `vit`, …;
            - a family with options: `resnet:depth=20,norm=none`, `mlp:depth=100,width=128`, `vit:depth=6,patch=4`;
            - `mlp:WIDTHS` as `mlp:784-500-10,activation=gelu,bias=false,norm=layer`;
            - `cnn:CxHxW-CHANNELS-CLASSES` as `cnn:1x28x28-8-16-10,activation=silu,kernel=5,pool=2,norm=batch`;
            - a path ending in `.toml` or `.arch.json`: a description of an architecture;
            - `path.py:factory` or `package.module:factory`: your own code, called without arguments;
            - `hf:TYPE` as `hf:gpt2,n_layer=2`: a transformers type, random weights, fields of its config replaced;
            - `hf:TYPE,preset=SIZE` as `hf:llama,preset=8b`: a published size of it (`presets("llama")`);
            - a path ending in `.json`: a transformers config. Never remote code, never the network.
        sizes: sizes of the data (`Dataset.sizes`); those that the builder of a family takes and `spec` does not say are
            used, all others left aside: `resnet:depth=20` fits any images.

    Raises:
        UnknownNameError: no model, option, file or type of that name.
        ArgumentError: a part of `spec` that cannot be meant.
        MissingExtraError: transformers is asked for and not installed.

    >>> build = factory("mlp:784-500-10,activation=gelu")
    >>> build().act1
    GELU(approximate='none')
    """
    if spec.endswith(_DESCRIPTIONS):
        from fanin.models.architecture import read

        return read(spec).build
    if spec.endswith(".json"):
        return config_factory(spec)
    kind = spec.partition(":")[0]
    if kind in FAMILIES or kind in SHORTHANDS:
        return family_factory(Spec.parse(spec), sizes or {})
    if spec.startswith("hf:"):
        parsed = Spec.parse(spec)
        return type_factory(parsed.what or "", parsed.values)
    if _PYTHON.fullmatch(spec):
        return python_factory(spec)
    raise UnknownNameError.among("model", spec, (*names(), *_FORMS))


def build(spec: str) -> nn.Module:
    """The model that `spec` names, with the weights its own constructor draws; see `factory` for what can be named.

    Raises:
        UnknownNameError, ArgumentError, MissingExtraError: as `factory`.
        ArgumentError: the constructor fails.

    >>> build("mnist-cnn").dense
    Linear(in_features=784, out_features=10, bias=True)
    """
    make = factory(spec)
    try:
        return make()
    except FaninError:
        raise
    except Exception as error:
        raise ArgumentError(f"model {spec!r} cannot be built: {type(error).__name__}: {error}") from error
