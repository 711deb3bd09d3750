"""Gains: how much an activation shrinks a Gaussian signal, forward and backward, and where it keeps it."""

from fanin.gains.activation_gain import Gain as Gain
from fanin.gains.activation_gain import activation_names as activation_names
from fanin.gains.activation_gain import gain as gain
from fanin.gains.critical import CriticalPoint as CriticalPoint
from fanin.gains.critical import critical_point as critical_point
from fanin.gains.operating import gated_point as gated_point
from fanin.gains.operating import operating_point as operating_point
from fanin.gains.pooling import pooled_second_moment as pooled_second_moment
from fanin.gains.response import Response as Response
from fanin.gains.response import mirrored_response as mirrored_response
from fanin.gains.response import response as response
