"""Which tensors a rule speaks about."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from fanin.errors import UnknownNameError
from fanin.gains import activation_names
from fanin.graph.roles import MATRIX_ROLES, ROLES
from fanin.recipes.tensor_info import TensorInfo

Match = Callable[[TensorInfo], bool]
SIDES = ("encoder", "decoder")


def has_role(*roles: str) -> Match:
    """Floating-point parameters with one of these roles (`fanin.graph.ROLES`).

    Raises:
        UnknownNameError: no role of that name.

    >>> has_role("bias", "norm shift")(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias"))
    True
    """
    _check_roles(roles)
    return lambda tensor: tensor.role in roles and _is_drawn(tensor)


def is_called(*patterns: str) -> Match:
    """Floating-point parameters whose qualified name matches one of the shell patterns, or lies in a module that does.

    >>> tensor = TensorInfo("fc.bias", (4,), "float32", "parameter", "bias")
    >>> is_called("*.bias")(tensor), is_called("fc")(tensor), is_called("f")(tensor)
    (True, True, False)
    """
    wanted = [pattern for each in patterns for pattern in (each, f"{each}.*")]
    return lambda tensor: any(fnmatchcase(tensor.name, each) for each in wanted) and _is_drawn(tensor)


def contracts(tensor: TensorInfo) -> bool:
    """Weights of linear layers and convolutions, whose fans are known.

    >>> contracts(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias"))
    False
    """
    return tensor.axes is not None and _weights(tensor)


def is_last(tensor: TensorInfo) -> bool:
    """The last weight of a residual branch, whose output is added to the stream: `place.last`, norms left out.

    >>> from fanin.graph import Place
    >>> is_last(TensorInfo("w", (4, 4), "float32", "parameter", "attention output", place=Place(last=True)))
    True
    """
    return tensor.place.last and _weights(tensor)


def in_stack(tensor: TensorInfo) -> bool:
    """Floating-point parameters inside of a stack of repeated layers.

    >>> in_stack(TensorInfo("lm_head.weight", (9, 4), "float32", "parameter", "head"))
    False
    """
    return tensor.place.layer is not None and _is_drawn(tensor)


def on_side(side: str) -> Match:
    """Floating-point parameters of the "encoder" or the "decoder" of a model that has both.

    Raises:
        UnknownNameError: neither.

    >>> on_side("encoder")(TensorInfo("lm_head.weight", (9, 4), "float32", "parameter", "head"))
    False
    """
    if side not in SIDES:
        raise UnknownNameError.among("side", side, SIDES)
    return lambda tensor: tensor.place.side == side and _is_drawn(tensor)


def beside(*roles: str) -> Match:
    """Biases that are added to the product of a weight with one of these roles.

    Raises:
        UnknownNameError: no role of that name.

    >>> bias = TensorInfo("fc.bias", (4,), "float32", "parameter", "bias", partner_role="mlp up")
    >>> beside("mlp up", "mlp down")(bias)
    True
    """
    _check_roles(roles)
    return lambda tensor: tensor.role == "bias" and tensor.partner_role in roles and _is_drawn(tensor)


def followed_by(*activations: str) -> Match:
    """Weights whose product goes into one of these nonlinearities next, by the names of `fanin.gains`.

    Raises:
        UnknownNameError: no activation of that name.

    >>> followed_by("relu")(TensorInfo("fc.weight", (4, 4), "float32", "parameter", "projection"))
    False
    """
    for name in activations:
        if name not in activation_names():
            raise UnknownNameError.among("activation", name, activation_names())
    return lambda tensor: tensor.activation in activations and _is_drawn(tensor)


def both(*matches: Match) -> Match:
    """Tensors that every one of `matches` speaks about.

    >>> from fanin.graph import Place
    >>> tensor = TensorInfo("w", (4, 4), "float32", "parameter", "mlp down", place=Place(side="encoder", last=True))
    >>> both(is_last, on_side("encoder"))(tensor)
    True
    """
    return lambda tensor: all(match(tensor) for match in matches)


def either(*matches: Match) -> Match:
    """Tensors that any one of `matches` speaks about.

    >>> tensor = TensorInfo("dt_bias", (4,), "float32", "parameter", "bias")
    >>> either(has_role("time step"), is_called("*dt_bias"))(tensor)
    True
    """
    return lambda tensor: any(match(tensor) for match in matches)


def _check_roles(roles: tuple[str, ...]) -> None:
    for name in roles:
        if name not in ROLES:
            raise UnknownNameError.among("role", name, ROLES)


def _is_drawn(tensor: TensorInfo) -> bool:
    return tensor.kind == "parameter" and "float" in tensor.dtype


_FEEDFORWARD = [name for name in MATRIX_ROLES if not name.startswith("recurrent")]
_weights = has_role("projection", "convolution", "transposed convolution", *_FEEDFORWARD)
