"""Architectures as data: layers, connections and loss in TOML or JSON, and models described so."""

from fanin.models.architecture.describing import describe
from fanin.models.architecture.reading import read
from fanin.models.architecture.record import Architecture
from fanin.models.architecture.records import Input, Layer
from fanin.models.architecture.registry import layer_types

__all__ = ["Architecture", "Input", "Layer", "describe", "layer_types", "read"]
