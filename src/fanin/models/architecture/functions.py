"""Functions and methods of tensors as layers of a description."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from fanin.models.architecture.operations import ELEMENTWISE

PREVIOUS = "previous"
"""As an input: what the step before made."""


@dataclass(frozen=True, slots=True)
class Made:
    """A layer without a name yet."""

    type: str
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known where a function is called.

    Attributes:
        value: the value of a node, on `meta`.
        batch: the number of samples, which no option may depend on.
        first: the first input of the model.
    """

    value: Callable[[Node], Any]
    batch: int
    first: Node

    def sizes(self, shape: Sequence[Any], of: Node) -> tuple[int, ...]:
        """Sizes of a new shape: 0 where the input's is kept, −1 where it depends on the batch."""
        old = tuple(self.value(of).shape)
        kept = [
            0 if at < len(old) and size == old[at] and isinstance(size, Size) else int(size)
            for at, size in enumerate(shape)
        ]
        return tuple(-1 if size and size % self.batch == 0 else size for size in kept)


class Size(int):
    """A number that was read from a tensor's shape."""


Converter = Callable[..., "list[Made]"]


def converted(seen: Seen, node: Node) -> list[Made] | Node | None:
    """The layers that a call of a function or method stands for; a node for one that changes nothing; else None."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    name = name.strip("_") if name.startswith("__") else name.removesuffix("_")
    if name in _NOTHING:
        source = node.args[0]
        return source if isinstance(source, Node) else None
    converter = _CONVERTERS.get(name)
    if converter is None:
        return None
    try:
        return converter(seen, *node.args, **node.kwargs)
    except (TypeError, ValueError):  # arguments that this form has no place for
        return None


_NOTHING = frozenset(("contiguous", "clone"))


def _sum(seen: Seen, left: Any, right: Any, *, alpha: float = 1) -> list[Made]:
    if isinstance(left, Node) and isinstance(right, Node):
        scaled = [Made("scale", (right,), {"by": _number(alpha)}), Made("add", (left, PREVIOUS))]
        return [Made("add", (left, right))] if alpha == 1 else scaled
    tensor, number = (left, right) if isinstance(left, Node) else (right, left)
    return [Made("shift", (tensor,), {"by": _number(number) * alpha})]


def _difference(seen: Seen, left: Any, right: Any) -> list[Made]:
    if not isinstance(left, Node):
        return [Made("neg", (right,)), Made("shift", (PREVIOUS,), {"by": _number(left)})]
    if not isinstance(right, Node):
        return [Made("shift", (left,), {"by": -_number(right)})]
    return [Made("subtract", (left, right))]


def _product(seen: Seen, left: Any, right: Any) -> list[Made]:
    if isinstance(left, Node) and isinstance(right, Node):
        return [Made("multiply", (left, right))]
    tensor, number = (left, right) if isinstance(left, Node) else (right, left)
    return [Made("scale", (tensor,), {"by": _number(number)})]


def _quotient(seen: Seen, left: Any, right: Any) -> list[Made]:
    if not isinstance(left, Node):
        return [Made("reciprocal", (right,)), Made("scale", (PREVIOUS,), {"by": _number(left)})]
    if not isinstance(right, Node):
        return [Made("divide", (left,), {"by": _number(right)})]
    return [Made("divide", (left, right))]


def _turned(converter: Converter) -> Converter:
    return lambda seen, right, left: converter(seen, left, right)  # pyright: ignore[reportUnknownLambdaType]


def _matmul(seen: Seen, left: Node, right: Node) -> list[Made]:
    return [Made("matmul", (left, right))]


def _power(seen: Seen, input: Node, exponent: Any) -> list[Made]:
    return [Made("power", (input,), {"exponent": _number(exponent)})]


def _joined(type: str) -> Converter:
    def convert(seen: Seen, tensors: Sequence[Node], dim: int = 0) -> list[Made]:
        if len(tensors) == 1:
            raise ValueError("one tensor is joined to nothing")
        return [Made(type, tuple(tensors), {"dim": dim})]

    return convert


def _reshape(seen: Seen, input: Node, *shape: Any, **named: Any) -> list[Made]:
    sizes = seen.sizes(_spread(shape or (named["shape"],)), input)
    if sum(size == -1 for size in sizes) > 1:
        raise ValueError("two sizes are left open")
    return [Made("reshape", (input,), {"shape": sizes})]


def _expand(seen: Seen, input: Node, *shape: Any) -> list[Made]:
    first, *rest = _spread(shape)
    old = tuple(seen.value(input).shape)
    if first != seen.batch or any(size not in (-1, known) for size, known in zip(rest, old[1:], strict=True)):
        raise ValueError("only samples are repeated")
    return [Made("expand_like", (input, seen.first))]


def _permute(seen: Seen, input: Node, *dims: Any) -> list[Made]:
    return [Made("permute", (input,), {"dims": _spread(dims)})]


def _reduced(type: str) -> Converter:
    def convert(seen: Seen, input: Node, dim: Any = None, keepdim: bool = False) -> list[Made]:
        if dim is None:
            raise ValueError("a mean over samples depends on the batch")
        dims = tuple(dim) if isinstance(dim, list | tuple) else dim
        return [Made(type, (input,), {"dim": dims} | ({"keepdim": True} if keepdim else {}))]

    return convert


def _getitem(seen: Seen, source: Node, index: Any) -> list[Made]:
    if not isinstance(seen.value(source), torch.Tensor):
        return [Made("item", (source,), {"index": int(index)})]
    made: list[Made] = []
    places = index if isinstance(index, tuple) else (index,)
    if Ellipsis in places:
        at = places.index(Ellipsis)
        missing = seen.value(source).dim() - sum(each is not None for each in places) + 1
        places = (*places[:at], *(slice(None),) * missing, *places[at + 1 :])
    dim = 0
    for each in places:
        before = PREVIOUS if made else source
        if each is None:
            made.append(Made("unsqueeze", (before,), {"dim": dim}))
        elif isinstance(each, slice):
            if (each.start, each.stop, each.step) != (None, None, None):
                made.append(Made("slice", (before,), _slice(seen, dim, each)))
        elif isinstance(each, int):
            made.append(Made("select", (before,), {"dim": dim, "index": int(each)}))
            continue
        else:
            raise ValueError("places are chosen by a tensor")
        dim += 1
    return made or [Made("identity", (source,))]


def _slice(seen: Seen, dim: int, chosen: slice) -> dict[str, Any]:
    given = {"start": chosen.start or None, "stop": chosen.stop, "step": chosen.step}
    return {"dim": dim} | {name: int(value) for name, value in given.items() if value is not None}


def _split(seen: Seen, input: Node, split_size_or_sections: Any, dim: int = 0) -> list[Made]:
    sizes = split_size_or_sections
    if isinstance(sizes, int):
        total = seen.value(input).shape[dim]
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)]
    return [Made("split", (input,), {"sizes": tuple(map(int, sizes)), "dim": dim})]


def _attention(
    seen: Seen,
    query: Node,
    key: Node,
    value: Node,
    attn_mask: None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> list[Made]:
    if attn_mask is not None:
        raise ValueError("masks are values")
    options = {"causal": is_causal, "scale": scale, "dropout": dropout_p}
    return [Made("dot_product_attention", (query, key, value), {k: v for k, v in options.items() if v})]


def _clamp(seen: Seen, input: Node, min: float, max: float) -> list[Made]:
    return [Made("hardtanh", (input,), {"min_val": float(min), "max_val": float(max)})]


def _pad(seen: Seen, input: Node, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> list[Made]:
    options = {"pad": tuple(pad)} | ({"mode": mode} if mode != "constant" else {})
    return [Made("pad", (input,), options | ({"value": float(value)} if value else {}))]


def _upsample(seen: Seen, input: Node, **options: Any) -> list[Made]:
    options.pop("antialias", None)
    return [Made("upsample", (input,), {name: value for name, value in options.items() if value is not None})]


def _layer(type: str, *names: str, **defaults: Any) -> Converter:
    """A function whose arguments are the options of a type, in this order."""

    def convert(seen: Seen, input: Node, *values: Any, **named: Any) -> list[Made]:
        if len(values) > len(names) + 1:
            raise ValueError("more arguments than options")
        given = dict(zip((*names, "inplace"), values, strict=False)) | named
        for ignored in ("inplace", "training", "dtype", "_stacklevel", "return_indices"):
            if not given.pop(ignored, None) or ignored in ("inplace", "training"):
                continue
            raise ValueError(f"{ignored} has no place in a description")
        if set(given) - set(names):
            raise ValueError("an argument that the type does not have")
        made = defaults | {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return [Made(type, (input,), {name: value for name, value in made.items() if value is not None})]

    return convert


def _number(value: Any) -> float:
    if isinstance(value, Size) or type(value) not in (int, float):
        raise ValueError("not a number that stays the same")
    return value


def _spread(values: Sequence[Any]) -> tuple[Any, ...]:
    only = values[0] if len(values) == 1 else None
    return tuple(only) if isinstance(only, list | tuple) else tuple(values)


_POOL = ("kernel_size", "stride", "padding")
_CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(("add", "iadd", "radd"), _sum),
    **dict.fromkeys(("sub", "isub"), _difference),
    "rsub": _turned(_difference),
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), _product),
    **dict.fromkeys(("truediv", "div", "itruediv"), _quotient),
    "rtruediv": _turned(_quotient),
    "pow": _power,
    **dict.fromkeys(("matmul", "mm", "bmm"), _matmul),
    **dict.fromkeys(("cat", "concat", "concatenate"), _joined("concatenate")),
    "stack": _joined("stack"),
    **dict.fromkeys(("reshape", "view"), _reshape),
    "expand": _expand,
    "permute": _permute,
    "transpose": _layer("transpose", "dim0", "dim1"),
    "t": _layer("transpose", dim0=0, dim1=1),
    "squeeze": _layer("squeeze", "dim"),
    "unsqueeze": _layer("unsqueeze", "dim"),
    "flatten": _layer("flatten", "start_dim", "end_dim", start_dim=0),
    "unflatten": _layer("unflatten", "dim", "unflattened_size"),
    "mean": _reduced("mean"),
    "sum": _reduced("sum"),
    "amax": _reduced("maximum"),
    "getitem": _getitem,
    "select": _layer("select", "dim", "index"),
    "chunk": _layer("chunk", "chunks", "dim", dim=0),
    "split": _split,
    "pad": _pad,
    "clamp": _clamp,
    "interpolate": _upsample,
    "scaled_dot_product_attention": _attention,
    **{name: _layer(name) for name in ELEMENTWISE},
    **{name: _layer(name) for name in ("relu", "relu6", "selu", "sigmoid", "tanh", "silu", "mish", "softsign")},
    **{name: _layer(name) for name in ("hardsigmoid", "hardswish", "tanhshrink")},
    "logsigmoid": _layer("log_sigmoid"),
    "gelu": _layer("gelu", "approximate"),
    **{name: _layer(name, "alpha") for name in ("elu", "celu")},
    "leaky_relu": _layer("leaky_relu", "negative_slope"),
    "softplus": _layer("softplus", "beta", "threshold"),
    "hardtanh": _layer("hardtanh", "min_val", "max_val"),
    "softmax": _layer("softmax", "dim"),
    "log_softmax": _layer("log_softmax", "dim"),
    "glu": _layer("glu", "dim"),
    **{name: _layer(name, "p", "training") for name in ("dropout", "alpha_dropout")},
    **{f"dropout{rank}d": _layer(f"dropout{rank}d", "p", "training") for rank in (1, 2, 3)},
    **{f"max_pool{r}d": _layer(f"max_pool{r}d", *_POOL, "dilation", "ceil_mode") for r in (1, 2, 3)},
    **{f"avg_pool{r}d": _layer(f"avg_pool{r}d", *_POOL, "ceil_mode", "count_include_pad") for r in (1, 2, 3)},
    **{f"adaptive_avg_pool{r}d": _layer(f"adaptive_avg_pool{r}d", "output_size") for r in (1, 2, 3)},
    **{f"adaptive_max_pool{r}d": _layer(f"adaptive_max_pool{r}d", "output_size") for r in (1, 2, 3)},
    "pixel_shuffle": _layer("pixel_shuffle", "upscale_factor"),
    "pixel_unshuffle": _layer("pixel_unshuffle", "downscale_factor"),
}
