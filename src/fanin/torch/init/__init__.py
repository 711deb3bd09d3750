"""In-place initialization of tensors: a drop-in for `torch.nn.init`, and what it lacks.

Same names, arguments, return values, warnings and exceptions. Each random function takes one 64-bit number from
the generator (the given one, or the device's default one) as the key of fanin's stream, so `torch.manual_seed` works as
before and every value depends on the key and its index alone. docs/torch-init.md lists the differences.

>>> import torch
>>> import fanin.torch.init as init
>>> w = init.kaiming_normal_(torch.empty(4096, 256), nonlinearity="relu")
>>> round(float(w.square().mean() * 256), 1)
2.0
"""

from fanin.torch.init.constants import constant_, dirac_, eye_, identity_, ones_, zeros_
from fanin.torch.init.deprecated import (
    constant,
    dirac,
    eye,
    kaiming_normal,
    kaiming_uniform,
    normal,
    orthogonal,
    sparse,
    uniform,
    xavier_normal,
    xavier_uniform,
)
from fanin.torch.init.elementwise import normal_, trunc_normal_, truncated_normal_, uniform_
from fanin.torch.init.fans import calculate_gain
from fanin.torch.init.matrices import delta_orthogonal_, orthogonal_, row_normalized_, sparse_
from fanin.torch.init.scaled import (
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "delta_orthogonal_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "identity_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "row_normalized_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "truncated_normal_",
    "uniform",
    "uniform_",
    "variance_scaling_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]
