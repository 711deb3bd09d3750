"""The same laws elsewhere: torch.nn.init, NumPy's Generator and JAX (where it is installed)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import nn

Action = Callable[[], object]
Shape = tuple[int, ...]

_TORCH: dict[str, Callable[[torch.Tensor], object]] = {
    "Constant": partial(nn.init.constant_, val=0.5),
    "Uniform": partial(nn.init.uniform_, a=-1.0, b=1.0),
    "Normal": partial(nn.init.normal_, std=0.02),
    "TruncatedNormal": partial(nn.init.trunc_normal_, std=0.02, a=-0.04, b=0.04),
    "Orthogonal": nn.init.orthogonal_,
    "Sparse": partial(nn.init.sparse_, sparsity=0.9),
    "Dirac": nn.init.dirac_,
    "Identity": nn.init.eye_,
}
_ONLY_FULL_PRECISION = ("Orthogonal", "Sparse")


def of_torch(law: str, tensor: torch.Tensor) -> Action | None:
    """torch's own call, in place on `tensor`; None where it has no such law or not for this dtype."""
    if law not in _TORCH or (law in _ONLY_FULL_PRECISION and tensor.dtype not in (torch.float32, torch.float64)):
        return None
    return partial(_TORCH[law], tensor)


def of_numpy(law: str, shape: Shape, dtype: torch.dtype) -> Action | None:
    """NumPy's Generator into memory that exists, in the two dtypes that it draws."""
    if dtype not in (torch.float32, torch.float64) or law not in ("Uniform", "Normal"):
        return None
    generator, out = np.random.default_rng(0), np.zeros(shape, str(dtype).removeprefix("torch."))
    draw = generator.random if law == "Uniform" else generator.standard_normal

    def fill() -> None:
        draw(out=out, dtype=out.dtype)
        np.multiply(out, out.dtype.type(0.02), out=out)

    return fill


def of_jax(law: str, shape: Shape, dtype: torch.dtype) -> Action | None:
    """JAX's initializer of that law, compiled, without the time to compile."""
    if find_spec("jax") is None or dtype == torch.float64:
        return None
    import jax

    laws = _jax_laws()
    if law not in laws or (law in ("Orthogonal", "DeltaOrthogonal") and dtype != torch.float32):
        return None
    kind = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}[dtype]
    order = (*shape[2:], shape[1], shape[0]) if law == "DeltaOrthogonal" else shape  # [k, k, in, out] in JAX
    draw, key = jax.jit(partial(laws[law], shape=order, dtype=kind)), jax.random.key(0)
    return lambda: draw(key).block_until_ready()


@cache
def _jax_laws() -> dict[str, Callable[..., Any]]:
    from jax.nn import initializers

    return {
        "Constant": initializers.constant(0.5),
        "Uniform": initializers.uniform(1.0),
        "Normal": initializers.normal(0.02),
        "TruncatedNormal": initializers.truncated_normal(0.02 / sqrt(0.7737)),
        "Orthogonal": initializers.orthogonal(),
        "DeltaOrthogonal": initializers.delta_orthogonal(),
    }
