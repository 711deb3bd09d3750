"""The coordinate check: a few steps at several widths or depths, and how much each layer learns."""

from fanin.coordinates.check import coord_check
from fanin.coordinates.record import CoordinateCheck
from fanin.coordinates.slopes import LayerSlopes

__all__ = ["CoordinateCheck", "LayerSlopes", "coord_check"]
