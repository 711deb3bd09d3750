"""Every way to name a model, resolved to a factory."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from fanin.errors import ArgumentError, FaninError, UnknownNameError
from fanin.models.huggingface import config_factory, type_factory
from fanin.models.mnist import mnist_cnn, mnist_fc
from fanin.models.python_objects import python_factory
from fanin.models.specs import Spec, cnn_factory, mlp_factory

Factory = Callable[[], nn.Module]

_NAMED: dict[str, Factory] = {"mnist-cnn": mnist_cnn, "mnist-fc": mnist_fc}
_FORMS = (
    "mlp:784-500-10",
    "cnn:1x28x28-8-16-10",
    "path.py:factory",
    "package.module:factory",
    "hf:TYPE",
    "config.json",
)
_PYTHON = re.compile(r".+\.py:\w+|[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")


def names() -> tuple[str, ...]:
    """Models that need nothing but their name.

    >>> names()
    ('mnist-cnn', 'mnist-fc')
    """
    return tuple(_NAMED)


def factory(spec: str) -> Callable[[], nn.Module]:
    """A function without arguments that builds the model `spec` names, for `fanin.capture`; builds nothing yet.

    Args:
        spec: one of

            - a name of `names()`: `mnist-fc`, `mnist-cnn`;
            - `mlp:WIDTHS` as `mlp:784-500-10,activation=gelu,bias=false,norm=layer`;
            - `cnn:CxHxW-CHANNELS-CLASSES` as `cnn:1x28x28-8-16-10,activation=silu,kernel=5,pool=2,norm=batch`;
            - `path.py:factory` or `package.module:factory`: your own code, called without arguments;
            - `hf:TYPE` as `hf:gpt2,n_layer=2`: a transformers type, random weights, fields of its config replaced;
            - `hf:TYPE,preset=SIZE` as `hf:llama,preset=8b`: a published size of it (`presets("llama")`);
            - a path ending in `.json`: a transformers config. Never remote code, never the network.

    Raises:
        UnknownNameError: no model, option, file or type of that name.
        ArgumentError: a part of `spec` that cannot be meant.
        MissingExtraError: transformers is asked for and not installed.

    >>> build = factory("mlp:784-500-10,activation=gelu")
    >>> build().act1
    GELU(approximate='none')
    """
    if spec in _NAMED:
        return _NAMED[spec]
    if spec.endswith(".json"):
        return config_factory(spec)
    if spec.startswith(("mlp:", "cnn:", "hf:")):
        parsed = Spec.parse(spec)
        if parsed.kind == "hf":
            return type_factory(parsed.what, parsed.options)
        return mlp_factory(parsed) if parsed.kind == "mlp" else cnn_factory(parsed)
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
