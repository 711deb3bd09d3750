"""The old names without underscore, which torch still has, with torch's warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import ParamSpec

from torch import Tensor

from fanin.torch.init.constants import constant_, dirac_, eye_
from fanin.torch.init.elementwise import normal_, uniform_
from fanin.torch.init.matrices import orthogonal_, sparse_
from fanin.torch.init.scaled import kaiming_normal_, kaiming_uniform_, xavier_normal_, xavier_uniform_

P = ParamSpec("P")


def _alias(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    new = function.__name__
    old = new.removesuffix("_")

    def deprecated_init(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    deprecated_init.__name__ = deprecated_init.__qualname__ = old
    deprecated_init.__doc__ = f"Deprecated old name of `{new}`, which see. Warns with FutureWarning."
    return deprecated_init


uniform = _alias(uniform_)
normal = _alias(normal_)
constant = _alias(constant_)
eye = _alias(eye_)
dirac = _alias(dirac_)
xavier_uniform = _alias(xavier_uniform_)
xavier_normal = _alias(xavier_normal_)
kaiming_uniform = _alias(kaiming_uniform_)
kaiming_normal = _alias(kaiming_normal_)
orthogonal = _alias(orthogonal_)
sparse = _alias(sparse_)
