"""Laws scaled by fans: Xavier, Kaiming, LeCun, variance scaling."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Generator, Tensor

from fanin import schemes
from fanin.axes import Axes
from fanin.initializers import Initializer
from fanin.schemes import Distribution, Mode
from fanin.torch.init.drawing import draw, is_empty
from fanin.torch.init.elementwise import draw_normal, draw_uniform
from fanin.torch.init.fans import FanMode, Nonlinearity, fan, fans, kaiming_gain
from fanin.torch.init.laws import through_torch

_NO_ELEMENTS = "Initializing zero-element tensors is a no-op"


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with values from U(±gain·√(6/(fan_in + fan_out))), in place; also named Glorot.

    Args:
        tensor: [out, in, *kernel]; torch's fans, from the shape alone.
        gain: factor on the standard deviation, as `calculate_gain` gives it.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        ValueError: fewer than two dimensions.
        RuntimeError: gain negative, as torch says it.

    Source: Glorot & Bengio 2010, equation 16; `torch.nn.init.xavier_uniform_`.

    >>> float(xavier_uniform_(torch.empty(64, 256)).abs().max()) <= 0.136931
    True
    """
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return draw_uniform(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with values from N(0, gain²·2/(fan_in + fan_out)), in place; also named Glorot. Not truncated.

    Args:
        tensor: [out, in, *kernel]; torch's fans, from the shape alone.
        gain: factor on the standard deviation, as `calculate_gain` gives it.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        ValueError: fewer than two dimensions.
        RuntimeError: gain negative, as torch says it.

    Source: Glorot & Bengio 2010; `torch.nn.init.xavier_normal_`.

    >>> round(float(xavier_normal_(torch.empty(400, 400)).std()), 3)
    0.05
    """
    return draw_normal(tensor, 0.0, _xavier_std(tensor, gain), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: FanMode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: Generator | None = None,
    *,
    gain: float | None = None,
) -> Tensor:
    """Fill with values from U(±gain·√(3/fan)), in place; also named He.

    Args:
        tensor: [out, in, *kernel]; torch's fans, from the shape alone.
        a: negative slope, for leaky_relu only.
        mode: fan_in keeps the variance of the signal, fan_out that of the gradient.
        nonlinearity: what follows the layer: a name or function for `calculate_gain`.
        generator: the torch generator that keys the draw; the device's default one if None.
        gain: the gain itself, in place of `a` and `nonlinearity`; not in torch.

    Raises:
        ValueError: fewer than two dimensions, an unknown mode or nonlinearity, a slope that is no number.

    Warns:
        UserWarning: a tensor without elements, which is left as it is.

    Source: He et al. 2015 (arXiv 1502.01852); `torch.nn.init.kaiming_uniform_`.

    >>> float(kaiming_uniform_(torch.empty(64, 600), nonlinearity="relu").abs().max()) <= 0.1
    True
    """
    if torch.overrides.has_torch_function_variadic(tensor):
        return torch.overrides.handle_torch_function(
            kaiming_uniform_,
            (tensor,),
            tensor=tensor,
            a=a,
            mode=mode,
            nonlinearity=nonlinearity,
            generator=generator,
            gain=gain,
        )
    if is_empty(tensor):
        warnings.warn(_NO_ELEMENTS, stacklevel=2)
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity, gain)
    return draw_uniform(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: FanMode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: Generator | None = None,
    *,
    gain: float | None = None,
) -> Tensor:
    """Fill with values from N(0, gain²/fan), in place; also named He. Not truncated.

    Args:
        tensor: [out, in, *kernel]; torch's fans, from the shape alone.
        a: negative slope, for leaky_relu only.
        mode: fan_in keeps the variance of the signal, fan_out that of the gradient.
        nonlinearity: what follows the layer: a name or function for `calculate_gain`.
        generator: the torch generator that keys the draw; the device's default one if None.
        gain: the gain itself, in place of `a` and `nonlinearity`; not in torch.

    Raises:
        ValueError: fewer than two dimensions, an unknown mode or nonlinearity, a slope that is no number.

    Warns:
        UserWarning: a tensor without elements, which is left as it is.

    Source: He et al. 2015 (arXiv 1502.01852), equation 10; `torch.nn.init.kaiming_normal_`.

    >>> round(float(kaiming_normal_(torch.empty(500, 800), nonlinearity="relu").std()), 3)
    0.05
    """
    if is_empty(tensor):
        warnings.warn(_NO_ELEMENTS, stacklevel=2)
        return tensor
    return draw_normal(tensor, 0, _kaiming_std(tensor, a, mode, nonlinearity, gain), generator)


def lecun_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, *, axes: Axes | None = None
) -> Tensor:
    """Fill with values from U(±gain·√(3/fan_in)), in place.

    Args:
        tensor: [out, in, *kernel], unless `axes` says otherwise.
        gain: factor on the standard deviation.
        generator: the torch generator that keys the draw; the device's default one if None.
        axes: what the dimensions mean; by default a plain convolution or linear layer.

    Raises:
        ValueError: fewer than two dimensions.
        ArgumentError: gain not finite.

    Warns:
        UserWarning: a tensor without elements, which is left as it is.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6; not in torch.

    >>> float(lecun_uniform_(torch.empty(64, 300)).abs().max()) <= 0.1
    True
    """
    if is_empty(tensor):
        warnings.warn(_NO_ELEMENTS, stacklevel=2)
        return tensor
    return _draw(tensor, schemes.lecun_uniform(_axes(tensor, axes), gain), generator)


def lecun_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, *, axes: Axes | None = None
) -> Tensor:
    """Fill with values from N(0, gain²/fan_in), in place. Not truncated, like `kaiming_normal_`.

    Args:
        tensor: [out, in, *kernel], unless `axes` says otherwise.
        gain: factor on the standard deviation; 1 is right for SELU.
        generator: the torch generator that keys the draw; the device's default one if None.
        axes: what the dimensions mean; by default a plain convolution or linear layer.

    Raises:
        ValueError: fewer than two dimensions.
        ArgumentError: gain not finite.

    Warns:
        UserWarning: a tensor without elements, which is left as it is.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6; Klambauer et al. 2017 for SELU; not in torch.

    >>> round(float(lecun_normal_(torch.empty(500, 400)).std()), 3)
    0.05
    """
    if is_empty(tensor):
        warnings.warn(_NO_ELEMENTS, stacklevel=2)
        return tensor
    return _draw(tensor, schemes.lecun_normal(_axes(tensor, axes), gain), generator)


def variance_scaling_(
    tensor: Tensor,
    scale: float = 1.0,
    mode: Mode = "fan_in",
    distribution: Distribution = "truncated_normal",
    generator: Generator | None = None,
    *,
    axes: Axes | None = None,
) -> Tensor:
    """Fill with zero-mean values of variance scale/fan, in place.

    Args:
        tensor: [out, in, *kernel], unless `axes` says otherwise.
        scale: gain²; 2 for ReLU.
        mode: the fan: "fan_in", "fan_out", "fan_avg", or "fan_geo_avg" = √(fan_in·fan_out).
        distribution: "uniform", "normal", or "truncated_normal", which is cut at ±2 sigmas and has the full variance.
        generator: the torch generator that keys the draw; the device's default one if None.
        axes: what the dimensions mean; by default a plain convolution or linear layer.

    Raises:
        ValueError: fewer than two dimensions.
        ArgumentError: scale negative or not finite.
        UnknownNameError: no mode or distribution of that name.

    Warns:
        UserWarning: a tensor without elements, which is left as it is.

    Source: `variance_scaling` of JAX and Keras; not in torch.

    >>> round(float(variance_scaling_(torch.empty(100, 900), 3.0, "fan_geo_avg", "normal").std()), 2)
    0.1
    """
    if is_empty(tensor):
        warnings.warn(_NO_ELEMENTS, stacklevel=2)
        return tensor
    return _draw(tensor, schemes.variance_scaling(_axes(tensor, axes), scale, mode, distribution), generator)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    fan_in, fan_out = fans(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: Nonlinearity, gain: float | None) -> float:
    count = fan(tensor, mode)
    return (kaiming_gain(nonlinearity, a, mode) if gain is None else gain) / math.sqrt(count)


def _axes(tensor: Tensor, axes: Axes | None) -> Axes:
    fans(tensor)  # refuses fewer than two dimensions in torch's words
    return Axes.conv(tuple(tensor.shape)) if axes is None else axes


def _draw(tensor: Tensor, law: Initializer, generator: Generator | None) -> Tensor:
    return draw(tensor, law, generator, lambda: through_torch(tensor, law, generator))
