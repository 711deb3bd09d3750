"""Which tensors a rule speaks about."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from fanin.errors import UnknownNameError
from fanin.graph.roles import MATRIX_ROLES, ROLES
from fanin.recipes.tensor_info import TensorInfo

Match = Callable[[TensorInfo], bool]


def has_role(*roles: str) -> Match:
    """Floating-point parameters with one of these roles (`fanin.graph.ROLES`).

    Raises:
        UnknownNameError: no role of that name.

    >>> has_role("bias", "norm shift")(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias"))
    True
    """
    for name in roles:
        if name not in ROLES:
            raise UnknownNameError.among("role", name, ROLES)
    return lambda tensor: tensor.role in roles and _is_drawn(tensor)


def is_called(*patterns: str) -> Match:
    """Floating-point parameters whose qualified name matches one of the shell patterns.

    >>> is_called("*.bias")(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias"))
    True
    """
    return lambda tensor: any(fnmatchcase(tensor.name, each) for each in patterns) and _is_drawn(tensor)


def contracts(tensor: TensorInfo) -> bool:
    """Weights of linear layers and convolutions, whose fans are known.

    >>> contracts(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias"))
    False
    """
    return tensor.axes is not None and _weights(tensor)


def _is_drawn(tensor: TensorInfo) -> bool:
    return tensor.kind == "parameter" and "float" in tensor.dtype


_FEEDFORWARD = [name for name in MATRIX_ROLES if not name.startswith("recurrent")]
_weights = has_role("projection", "convolution", "transposed convolution", *_FEEDFORWARD)
