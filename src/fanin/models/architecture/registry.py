"""Every type of layer, by its name and by its class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

from torch import nn

from fanin.errors import ArgumentError, UnknownNameError
from fanin.models.activations import Elementwise
from fanin.models.architecture import operations, rearranging
from fanin.models.architecture.fanin_layers import fanin_kinds
from fanin.models.architecture.kinds import REQUIRED, Kind, Option, kind_of_class
from fanin.models.architecture.torch_layers import torch_kinds

PARAMETER, BUFFER, AGAIN = "parameter", "buffer", "again"
"""Types without a module of their own: a stored tensor, and a layer that is called a second time."""

_TWO = {"least": 2, "most": 2}
_MANY = {"least": 2, "most": None}


@cache
def kinds() -> Mapping[str, Kind]:
    """Every type by its name."""
    return {kind.name: kind for kind in (*torch_kinds(), *_operations(), *_stored(), *fanin_kinds())}


@cache
def _by_class() -> Mapping[type[nn.Module], Kind]:
    classes = ((_class(kind), kind) for kind in kinds().values())
    return {cls: kind for cls, kind in classes if cls is not None}


def layer_types() -> tuple[str, ...]:
    """The types of layers that a description may have.

    >>> len(layer_types()) > 100, "multihead_attention" in layer_types()
    (True, True)
    """
    return tuple(sorted(kinds()))


def named(where: str, name: str) -> Kind:
    """The type of that name.

    Raises:
        UnknownNameError: there is none; `where` names the layer.
    """
    if name not in kinds():
        raise UnknownNameError.among(f"type of {where}", name, kinds())
    return kinds()[name]


def kind_of(module: nn.Module) -> tuple[Kind, dict[str, Any]] | None:
    """The type and the options of a module; None where it has no type."""
    if isinstance(module, Elementwise):
        found = next((name for name, each in operations.ELEMENTWISE.items() if each is module.function), None)
        return None if found is None else (kinds()[found], {})
    kind = _by_class().get(type(module))
    return None if kind is None else (kind, kind.options_of(module))


def _class(kind: Kind) -> type[nn.Module] | None:
    made = getattr(kind.make, "cls", kind.make)
    return made if isinstance(made, type) and issubclass(made, nn.Module) else None


def _operations() -> Iterator[Kind]:
    yield kind_of_class("add", operations.Add, **_MANY)
    yield kind_of_class("multiply", operations.Multiply, **_MANY)
    yield kind_of_class("subtract", operations.Subtract, **_TWO)
    yield kind_of_class("divide", operations.Divide, most=2)
    yield kind_of_class("matmul", operations.MatMul, **_TWO)
    yield kind_of_class("expand_like", rearranging.ExpandLike, **_TWO)
    yield kind_of_class("concatenate", rearranging.Concatenate, **_MANY)
    yield kind_of_class("stack", rearranging.Stack, **_MANY)
    yield kind_of_class("together", rearranging.Together, **_MANY)
    yield kind_of_class("dot_product_attention", operations.DotProductAttention, least=3, most=3)
    for name, cls in {
        "scale": operations.Scale,
        "shift": operations.Shift,
        "power": operations.Power,
        "reshape": rearranging.Reshape,
        "permute": rearranging.Permute,
        "transpose": rearranging.Transpose,
        "squeeze": rearranging.Squeeze,
        "unsqueeze": rearranging.Unsqueeze,
        "mean": operations.Mean,
        "sum": operations.Sum,
        "maximum": operations.Maximum,
        "select": rearranging.Select,
        "slice": rearranging.Slice,
        "item": rearranging.Item,
        "chunk": rearranging.Chunk,
        "split": rearranging.Split,
        "pad": rearranging.Pad,
    }.items():
        yield kind_of_class(name, cls)
    for name in operations.ELEMENTWISE:
        yield Kind(name, partial(operations.elementwise, name), {})


def _stored() -> Iterator[Kind]:
    shape, values = Option("shape", REQUIRED), Option("values", REQUIRED)
    yield Kind(PARAMETER, _no_module, {"shape": shape}, 0, 0)
    yield Kind(BUFFER, _no_module, {"values": values, "persistent": Option("persistent", True)}, 0, 0)
    layer = Option("layer", REQUIRED, is_word=True)
    yield Kind(AGAIN, _no_module, {"layer": layer, "take": Option("take", "")}, 1, None)


def _no_module(**_: Any) -> nn.Module:
    raise ArgumentError("this type of layer has no module of its own")
