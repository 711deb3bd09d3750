"""Initializers: where values come from, with every number resolved."""

from fanin.initializers.base import Initializer as Initializer
