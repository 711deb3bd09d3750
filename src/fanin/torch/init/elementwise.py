"""Laws with given numbers: uniform, normal, truncated normal."""

from __future__ import annotations

import warnings

import torch
from torch import Generator, Tensor

from fanin.initializers import TruncatedNormal
from fanin.torch.init.drawing import draw
from fanin.torch.init.laws import normal_law, number, through_torch, truncated_law, truncated_through_torch, uniform_law


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with values from U(a, b), in place: mean (a + b)/2, standard deviation (b − a)/√12.

    Args:
        tensor: any shape, floating point or complex (then each part by itself).
        a, b: the bounds, in the units of the values.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        RuntimeError: a > b, or bounds beyond the dtype, as torch says it.

    Source: `torch.nn.init.uniform_`.

    >>> w = uniform_(torch.empty(3, 5), -0.1, 0.1)
    >>> bool((w.abs() <= 0.1).all())
    True
    """
    if torch.overrides.has_torch_function_variadic(tensor):
        return torch.overrides.handle_torch_function(uniform_, (tensor,), tensor=tensor, a=a, b=b, generator=generator)
    return draw_uniform(tensor, a, b, generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with values from N(mean, std²), in place.

    Args:
        tensor: any shape, floating point or complex (then variance std²/2 in each part).
        mean, std: of the values, in their units.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        RuntimeError: std negative or NaN, as torch says it.

    Source: `torch.nn.init.normal_`.

    >>> w = normal_(torch.empty(300, 500), std=0.02)
    >>> round(float(w.std()), 3)
    0.02
    """
    if torch.overrides.has_torch_function_variadic(tensor):
        return torch.overrides.handle_torch_function(
            normal_, (tensor,), tensor=tensor, mean=mean, std=std, generator=generator
        )
    return draw_normal(tensor, mean, std, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with values from N(mean, std²) given a ≤ value ≤ b, in place; the bounds are values, not sigmas.

    With std = 0.02 the default bounds lie at 100 sigmas and cut nothing; for sigmas use `truncated_normal_`. Where
    the bounds do cut, the values' own standard deviation is below `std`: 0.8796·std at ±2 sigmas. No rejection:
    the time does not depend on the bounds.

    Args:
        tensor: any shape, floating point.
        mean, std: of the law before the cut. std = 0 gives the nearest allowed value (torch divides by zero).
        a, b: the least and the greatest value.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        RuntimeError: a > b, as torch says it, or std negative (torch 2.13 draws with its absolute value).

    Warns:
        UserWarning: mean more than 2 std outside the bounds. torch's own; here the law is right there too.

    Source: `torch.nn.init.trunc_normal_`.

    >>> w = trunc_normal_(torch.empty(3, 5), std=1.0, a=0.0, b=0.5)
    >>> bool((w >= 0).all() and (w <= 0.5).all())
    True
    """
    if number(std) < 0:
        with torch.no_grad():
            return tensor.normal_(mean, std)  # refuses, in torch's words
    law = truncated_law(tensor, mean, std, a, b)
    if law is not None and not tensor.is_meta and (mean < a - 2 * std or mean > b + 2 * std):
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    return draw(tensor, law, generator, lambda: truncated_through_torch(tensor, mean, std, a, b, generator))


def truncated_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    lower: float = -2.0,
    upper: float = 2.0,
    corrected: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with values from a normal law cut at `lower` and `upper` of its sigmas, in place.

    Args:
        tensor: any shape, floating point.
        mean, std: of the values if `corrected`, else of the parent law.
        lower, upper: the bounds, in sigmas of the parent, counted from its mean.
        corrected: choose the parent so that the values have exactly this mean and std: at ±2 sigmas its std
            is std / 0.8796256610342398. False is what JAX's, Keras' and timm's plain truncated normal do.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        ArgumentError: a number is not finite, std is negative, or lower ≥ upper.

    Source: the law inside `variance_scaling` of JAX, Keras and timm; not in torch.

    >>> w = truncated_normal_(torch.empty(300, 500), std=0.02)
    >>> round(float(w.std()), 3), float(w.abs().max()) <= 2 * 0.02 / 0.8796
    (0.02, True)
    """
    law = TruncatedNormal(mean, std, lower, upper, corrected)
    return draw(tensor, law, generator, lambda: through_torch(tensor, law, generator))


def draw_uniform(tensor: Tensor, a: float, b: float, generator: Generator | None) -> Tensor:
    """U(a, b) without asking subclasses first."""
    return draw(tensor, uniform_law(tensor, a, b), generator, lambda: tensor.uniform_(a, b, generator=generator))


def draw_normal(tensor: Tensor, mean: float, std: float, generator: Generator | None) -> Tensor:
    """N(mean, std²) without asking subclasses first."""
    law = normal_law(tensor, mean, std)
    return draw(tensor, law, generator, lambda: tensor.normal_(mean, std, generator=generator))
