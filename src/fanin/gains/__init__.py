"""Gains: how much an activation shrinks a unit Gaussian signal, forward and backward."""

from fanin.gains.activation_gain import Gain as Gain
from fanin.gains.activation_gain import activation_names as activation_names
from fanin.gains.activation_gain import gain as gain
