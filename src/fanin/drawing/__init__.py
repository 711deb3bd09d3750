"""Drawings of architectures: layers, shapes, roles, parameters, and how they are connected."""

from fanin.drawing.draw import draw

__all__ = ["draw"]
