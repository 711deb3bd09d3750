"""GGUF files of the MNIST models against a forward pass written from ggml's source, from the file alone.

The file is read by llama.cpp's own package, and the network is computed in NumPy as
examples/mnist/mnist-common.cpp lays it out: dimensions ne are the reverse of NumPy's, an image is flattened as
(height, width, channels), biases of convolutions broadcast from [1, C, 1, 1]. The true program is compared by
bench/ggml_mnist_eval.py, which needs a built mnist-eval.
"""

import gguf
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fanin import WeightsError, data, load, save
from fanin.models import build
from fanin.torch.files import open_weights
from fanin.weights import Tensor, read_gguf, write_gguf
from fanin.weights.ggml_mnist import ARCHITECTURES, architecture_of, from_ggml, to_ggml


@pytest.fixture(scope="module")
def digits():
    return data.mnist().test


def as_ggml_stores(path):
    """Tensors by name with dimensions `ne` as ggml counts them, and the architecture."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: (tensor.shape.tolist(), tensor.tensor_type, tensor.data) for tensor in reader.tensors}
    return reader.fields["general.architecture"].contents(), tensors


def convolve(images, kernel, bias):
    """[n, c, h, w], padding 1: a sum over the window of shifted images."""
    h, w = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = [padded[:, :, y : y + h, x : x + w] for y in range(3) for x in range(3)]
    return np.einsum("knchw,ock->nohw", np.stack(windows), kernel.reshape(*kernel.shape[:2], 9), optimize=True) + bias


def pooled(images):
    n, c, h, w = images.shape
    return images.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


def ggml_loss(path, images, labels):
    architecture, stored = as_ggml_stores(path)
    values = {name: data.astype(np.float64) for name, (_, _, data) in stored.items()}
    x = images.reshape(len(images), 784).astype(np.float64)
    if architecture == "mnist-fc":
        hidden = np.maximum(x @ values["fc1.weight"].T + values["fc1.bias"], 0)
        logits = hidden @ values["fc2.weight"].T + values["fc2.bias"]
    else:
        x = x.reshape(len(images), 1, 28, 28)
        for name in ("conv1", "conv2"):
            x = pooled(np.maximum(convolve(x, values[f"{name}.kernel"], values[f"{name}.bias"]), 0))
        logits = x.transpose(0, 2, 3, 1).reshape(len(images), -1) @ values["dense.weight"].T + values["dense.bias"]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize(("name", "tolerance"), [("mnist-fc", 1e-6), ("mnist-cnn", 5e-6)])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_file_alone_gives_pytorchs_loss(tmp_path, digits, name, tolerance, scale):
    torch.manual_seed(1)
    model, path = build(name), tmp_path / "a.gguf"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    save(model, path)
    with torch.no_grad():
        expected = F.cross_entropy(model(torch.from_numpy(digits.inputs)).double(), torch.from_numpy(digits.targets))
    assert abs(ggml_loss(path, digits.inputs, digits.targets) - expected.item()) < tolerance


SHAPES = {
    "mnist-fc": {"fc1.weight": [784, 500], "fc1.bias": [500], "fc2.weight": [500, 10], "fc2.bias": [10]},
    "mnist-cnn": {
        "conv1.kernel": [3, 3, 1, 8],
        "conv1.bias": [1, 1, 8, 1],
        "conv2.kernel": [3, 3, 8, 16],
        "conv2.bias": [1, 1, 16, 1],
        "dense.weight": [784, 10],
        "dense.bias": [10],
    },
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_names_shapes_and_types_that_mnist_eval_asserts(tmp_path, name, dtype):
    save(build(name).to(dtype), tmp_path / "a.gguf")
    architecture, stored = as_ggml_stores(tmp_path / "a.gguf")
    assert architecture == name
    assert {key: shape for key, (shape, _, _) in stored.items()} == SHAPES[name]
    f32 = {key for key, (_, kind, _) in stored.items() if kind == gguf.GGMLQuantizationType.F32}
    wanted = set(stored) if name == "mnist-cnn" or dtype == torch.float32 else {"fc1.bias", "fc2.bias"}
    assert f32 == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_back_into_the_model_is_identical(tmp_path, name, dtype):
    model, twin = build(name).to(dtype), build(name).to(dtype)
    save(model, tmp_path / "a.gguf")
    load(twin, tmp_path / "a.gguf", strict=True)
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_columns_are_height_width_channels():
    weight = np.arange(7840, dtype=np.float32).reshape(10, 16, 7, 7)
    tensors = {n: Tensor.of(np.zeros(s, np.float32)) for n, s in ARCHITECTURES["mnist-cnn"].items()}
    stored = to_ggml("mnist-cnn", tensors | {"dense.weight": Tensor.of(weight.reshape(10, 784))})["dense.weight"].data
    for c, h, w in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (15, 6, 6), (3, 2, 5)]:
        assert np.array_equal(stored[:, (h * 7 + w) * 16 + c], weight[:, c, h, w])


def test_another_activation_is_not_called_mnist(tmp_path):
    save(build("mlp:784-500-10,activation=gelu"), tmp_path / "a.gguf")
    assert read_gguf(tmp_path / "a.gguf").metadata["general.architecture"] == "Sequential"
    save(build("cnn:1x28x28-8-16-10,activation=tanh"), tmp_path / "a.gguf")
    assert set(read_gguf(tmp_path / "a.gguf")) == set(ARCHITECTURES["mnist-cnn"])


def test_ones_own_class_with_these_layers_is():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.relu, self.fc2 = torch.nn.Linear(784, 500), torch.nn.ReLU(), torch.nn.Linear(500, 10)

    values = {name: Tensor.of(value.numpy()) for name, value in Net().state_dict().items()}
    assert architecture_of(values) == "mnist-fc"


def test_architecture_needs_every_name_shape_and_dtype():
    shapes = ARCHITECTURES["mnist-fc"]
    whole = {name: Tensor.of(np.zeros(shape, np.float32)) for name, shape in shapes.items()}
    assert architecture_of(whole) == "mnist-fc"
    assert architecture_of(whole | {"x": whole["fc1.bias"]}) is None
    assert architecture_of(whole | {"fc1.bias": whole["fc2.bias"]}) is None
    assert architecture_of(whole | {"fc1.bias": Tensor.of(np.zeros(500))}) is None


def test_a_file_that_is_not_the_architecture_it_claims(tmp_path):
    path = tmp_path / "a.gguf"
    write_gguf(path, {"w": np.zeros(3, np.float32)}, "mnist-fc")
    with pytest.raises(WeightsError) as caught:
        open_weights(path)
    assert str(caught.value) == (
        f"{path}: a mnist-fc file has the tensors fc1.weight, fc1.bias, fc2.weight, fc2.bias; found w"
    )


def test_wrong_shapes_and_a_plain_bias():
    zeros = {name: Tensor.of(np.zeros(shape, np.float32)) for name, shape in ARCHITECTURES["mnist-cnn"].items()}
    stored = to_ggml("mnist-cnn", zeros)
    assert from_ggml("mnist-cnn", stored | {"conv1.bias": zeros["conv1.bias"]})["conv1.bias"].shape == (8,)
    for name, shape, expected in [("conv1.bias", (8, 1, 1, 1), (8,)), ("dense.weight", (784, 10), (10, 784))]:
        with pytest.raises(WeightsError) as caught:
            from_ggml("mnist-cnn", stored | {name: Tensor.of(np.zeros(shape, np.float32))})
        assert str(caught.value) == f"mnist-cnn: {name!r} has shape {shape}, expected {expected}"
