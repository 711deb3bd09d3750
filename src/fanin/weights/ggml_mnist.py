"""The tensors of `mnist-fc` and `mnist-cnn` as ggml's MNIST example stores them, and back.

ggml keeps a convolution's bias as [1, channels, 1, 1], calls its weight `kernel`, and flattens the last image in order
height, width, channels, where torch has channels, height, width; so the columns of `dense.weight` are permuted.
ggml's example adds biases in float32 and wants all of the convolutional network in float32; both conversions
(from float16 or bfloat16) are exact.

Source: github.com/ggml-org/ggml, examples/mnist/mnist-common.cpp (`mnist_model_init_from_file`, `mnist_model_build`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import WeightsError
from fanin.weights.tensors import Tensor

_FC = {"fc1.weight": (500, 784), "fc1.bias": (500,), "fc2.weight": (10, 500), "fc2.bias": (10,)}
_CNN = {
    "conv1.weight": (8, 1, 3, 3),
    "conv1.bias": (8,),
    "conv2.weight": (16, 8, 3, 3),
    "conv2.bias": (16,),
    "dense.weight": (10, 784),
    "dense.bias": (10,),
}
_CHANNELS, _SIDE, _CLASSES = 16, 7, 10

ARCHITECTURES: Mapping[str, Mapping[str, tuple[int, ...]]] = {"mnist-fc": _FC, "mnist-cnn": _CNN}
"""Names and shapes of the torch model of each architecture."""


def architecture_of(tensors: Mapping[str, Tensor]) -> str | None:
    """The architecture whose torch model has exactly these names and shapes in float32, float16 or bfloat16, if any.

    >>> architecture_of({"fc1.weight": Tensor.of(np.zeros((500, 784), np.float32))}) is None
    True
    """
    if any(tensor.dtype not in ("float32", "float16", "bfloat16") for tensor in tensors.values()):
        return None
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return next((name for name, known in ARCHITECTURES.items() if shapes == known), None)


def to_ggml(architecture: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The torch model's tensors as ggml's example reads them.

    >>> names = to_ggml("mnist-cnn", {n: Tensor.of(np.zeros(s, np.float32)) for n, s in _CNN.items()})
    >>> names["conv1.bias"].shape
    (1, 8, 1, 1)
    """
    if architecture == "mnist-fc":
        return {name: tensor.to_float32() if name.endswith(".bias") else tensor for name, tensor in tensors.items()}
    return {_ggml_name(name): _ggml_cnn(name, tensor.to_float32()) for name, tensor in tensors.items()}


def from_ggml(architecture: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_ggml`: equal values, with ggml's float32 where it converted.

    Raises:
        WeightsError: names or shapes that are not those of the architecture.
    """
    known = ARCHITECTURES[architecture]
    expected = {_ggml_name(name) if architecture == "mnist-cnn" else name: name for name in known}
    if tensors.keys() != expected.keys():
        raise WeightsError(f"a {architecture} file has the tensors {', '.join(expected)}; found {', '.join(tensors)}")
    found = {name: tensors[stored] for stored, name in expected.items()}
    if architecture == "mnist-cnn":
        found = {name: _torch_cnn(name, tensor) for name, tensor in found.items()}
    for name, tensor in found.items():
        if tensor.shape != known[name]:
            raise WeightsError(f"{architecture}: {name!r} has shape {tensor.shape}, expected {known[name]}")
    return found


def _ggml_name(name: str) -> str:
    return name.replace(".weight", ".kernel") if name.startswith("conv") else name


def _ggml_cnn(name: str, tensor: Tensor) -> Tensor:
    values = tensor.data
    if name == "dense.weight":
        values = _columns(values, (_CHANNELS, _SIDE, _SIDE), (0, 2, 3, 1))
    elif name.startswith("conv") and name.endswith(".bias"):
        values = values.reshape(1, -1, 1, 1)
    return Tensor(values, tensor.dtype)


def _torch_cnn(name: str, tensor: Tensor) -> Tensor:
    values = tensor.data
    if name == "dense.weight" and values.shape == _CNN[name]:
        values = _columns(values, (_SIDE, _SIDE, _CHANNELS), (0, 3, 1, 2))
    elif name.startswith("conv") and name.endswith(".bias") and values.shape == (1, values.size, 1, 1):
        values = values.reshape(-1)
    return Tensor(values, tensor.dtype)


def _columns(values: NDArray[Any], image: tuple[int, int, int], order: tuple[int, int, int, int]) -> NDArray[Any]:
    return np.ascontiguousarray(values.reshape(_CLASSES, *image).transpose(order)).reshape(values.shape)
