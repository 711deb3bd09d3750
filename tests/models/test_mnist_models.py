"""The two networks of ggml's example, written out by hand."""

import torch
import torch.nn.functional as F

from fanin.models import build, mnist_cnn, mnist_fc


def test_fc_names_and_shapes():
    assert {name: tuple(value.shape) for name, value in mnist_fc().state_dict().items()} == {
        "fc1.weight": (500, 784),
        "fc1.bias": (500,),
        "fc2.weight": (10, 500),
        "fc2.bias": (10,),
    }


def test_cnn_names_and_shapes():
    assert {name: tuple(value.shape) for name, value in mnist_cnn().state_dict().items()} == {
        "conv1.weight": (8, 1, 3, 3),
        "conv1.bias": (8,),
        "conv2.weight": (16, 8, 3, 3),
        "conv2.bias": (16,),
        "dense.weight": (10, 784),
        "dense.bias": (10,),
    }


def test_fc_is_ggmls():
    model, x = build("mnist-fc"), torch.rand(4, 784)
    weights = model.state_dict()
    hidden = F.relu(F.linear(x, weights["fc1.weight"], weights["fc1.bias"]))
    torch.testing.assert_close(model(x), F.linear(hidden, weights["fc2.weight"], weights["fc2.bias"]))


def test_cnn_is_ggmls():
    model, x = build("mnist-cnn"), torch.rand(4, 784)
    weights = model.state_dict()
    image = x.reshape(4, 1, 28, 28)
    for name in ("conv1", "conv2"):
        image = F.max_pool2d(F.relu(F.conv2d(image, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)), 2)
    torch.testing.assert_close(model(x), F.linear(image.flatten(1), weights["dense.weight"], weights["dense.bias"]))
    assert torch.equal(model(x), model(x.reshape(4, 1, 28, 28)))
