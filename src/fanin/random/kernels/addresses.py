"""Arrays over memory that is known by its address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic, overload
from numba.np.numpy_support import carray

from fanin.random.kernels.decorators import INLINED


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """`address` as a pointer to elements of the dtype of `like`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.uint64, like), generate


def array_at(address: int, count: int, like: Any) -> Any:
    """The `count` elements of the dtype of `like` at `address`, in compiled code; the caller vouches for the memory."""
    raise TypeError(f"no compiled form for {type(like)}")


@overload(array_at, jit_options=INLINED, strict=False)
def _array_at(address: Any, count: Any, like: Any) -> Callable[..., Any]:
    def at(address: Any, count: Any, like: Any) -> Any:
        return carray(_pointer(address, like), (count,))  # pyright: ignore[reportCallIssue]  # Numba passes the context

    return at
