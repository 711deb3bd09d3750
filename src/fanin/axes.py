"""What the dimensions of a stored tensor mean to the operation that uses it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fanin.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Axes:
    """Which dimensions of a stored tensor are outputs, inputs and batch; all others are receptive field.

    A shape alone cannot tell: `[64, 16, 4, 4]` is a convolution 16 → 64 or a transposed one 64 → 16, and
    `[3072, 768]` may be three packed matrices. So axes come from the operation that uses the tensor.

    Args:
        shape: the stored shape.
        outputs: dimensions that index outputs.
        inputs: dimensions that index inputs.
        batch: dimensions that index independent copies (experts); they count in no fan.
        groups: how many independent blocks the operation splits its channels into.
        transposed: the operation is a transposed convolution. Then the input dimension holds all groups
            (otherwise the output dimension does), and strides thin out the inputs that each output sees.
        stride: product of the strides; matters where `transposed`.

    Raises:
        ArgumentError: a dimension named twice or out of range, or groups that do not divide the channels.

    Formulas, with ∏k the receptive field:
        convolution:            fan_in = in·∏k,            fan_out = out/groups·∏k  (stored `in` is per group)
        transposed convolution: fan_in = in/groups·∏k/∏stride,  fan_out = out·∏k   (stored `out` is per group)

    >>> Axes.conv((64, 1, 3, 3), groups=64).fans           # depthwise; torch.nn.init says (9, 576)
    (9.0, 9.0)
    >>> Axes.conv_transpose((64, 16, 4, 4), stride=4).fans
    (256.0, 256.0)
    """

    shape: tuple[int, ...]
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    batch: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False
    stride: int = 1

    def __post_init__(self) -> None:
        named = self.outputs + self.inputs + self.batch
        if len(set(named)) != len(named) or any(not 0 <= axis < len(self.shape) for axis in named):
            raise ArgumentError(
                f"axes outputs={self.outputs} inputs={self.inputs} batch={self.batch} do not fit shape "
                f"{self.shape}: each must name a different dimension from 0 to {len(self.shape) - 1}"
            )
        if self.groups < 1 or self.stride < 1:
            raise ArgumentError(f"groups and stride must be at least 1, got {self.groups} and {self.stride}")
        if self._grouped % self.groups:
            raise ArgumentError(f"{self.groups} groups do not divide {self._grouped} channels of shape {self.shape}")

    @property
    def _grouped(self) -> int:
        return _size(self.shape, self.inputs if self.transposed else self.outputs)

    @property
    def receptive(self) -> tuple[int, ...]:
        """The dimensions of the receptive field."""
        named = {*self.outputs, *self.inputs, *self.batch}
        return tuple(axis for axis in range(len(self.shape)) if axis not in named)

    @property
    def fan_in(self) -> float:
        """How many stored values reach one output value."""
        fan = _size(self.shape, self.inputs) * _size(self.shape, self.receptive)
        return fan / (self.groups * self.stride) if self.transposed else float(fan)

    @property
    def fan_out(self) -> float:
        """How many output values one input value reaches (at stride 1)."""
        fan = _size(self.shape, self.outputs) * _size(self.shape, self.receptive)
        return float(fan) if self.transposed else fan / self.groups

    @property
    def fans(self) -> tuple[float, float]:
        """`(fan_in, fan_out)`."""
        return self.fan_in, self.fan_out

    @classmethod
    def linear(cls, shape: tuple[int, ...]) -> Axes:
        """`torch.nn.Linear`: stored [out, in]."""
        return cls(shape, outputs=(0,), inputs=(1,))

    @classmethod
    def conv(cls, shape: tuple[int, ...], groups: int = 1, stride: int = 1) -> Axes:
        """`torch.nn.Conv*d`: stored [out, in/groups, *k]."""
        return cls(shape, outputs=(0,), inputs=(1,), groups=groups, stride=stride)

    @classmethod
    def conv_transpose(cls, shape: tuple[int, ...], groups: int = 1, stride: int = 1) -> Axes:
        """`torch.nn.ConvTranspose*d`: stored [in, out/groups, *k]."""
        return cls(shape, outputs=(1,), inputs=(0,), groups=groups, transposed=True, stride=stride)


def _size(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return prod(shape[axis] for axis in axes)
