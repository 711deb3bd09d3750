"""What an activation does to signals in deep random networks: `fanin.activation("gelu")`."""

from fanin.mean_field.activation import activation
from fanin.mean_field.view import ActivationView

__all__ = ["ActivationView", "activation"]
