"""Built-in architectures, and every way to name a model: `build("mlp:784-500-10")`, `factory("hf:gpt2")`."""

from fanin.models.catalogue import build, factory, names
from fanin.models.cnn import cnn
from fanin.models.inputs import example_inputs
from fanin.models.mlp import mlp
from fanin.models.mnist import mnist_cnn, mnist_fc
from fanin.models.presets import presets, with_preset
from fanin.models.python_objects import python_function

__all__ = [
    "build",
    "cnn",
    "example_inputs",
    "factory",
    "mlp",
    "mnist_cnn",
    "mnist_fc",
    "names",
    "presets",
    "python_function",
    "with_preset",
]
