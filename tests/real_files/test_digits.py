"""Two networks for handwritten digits as packages ship them: one saved on CUDA, both read without unpickling."""

import pytest
import torch
from torch import nn

from fanin import open_weights
from fanin.data.mnist import mnist

MNIST = ("ccexam", "ccexam/weights/mnist.pth")
HANDWRITING = ("digit-recognizer-py", "digit_recognizer/models/handwriting_model.pth")


def block(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)


def head(inputs, hidden):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 10))


class Ccexam(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*block(1, 32), *block(32, 64))
        self.classifier = head(64 * 7 * 7, 128)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Recognizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_layers = nn.Sequential(*block(1, 32), *block(32, 64), *block(64, 128))
        self.fc_layers = head(128 * 3 * 3, 256)

    def forward(self, x):
        return self.fc_layers(self.conv_layers(x).flatten(1))


@pytest.mark.parametrize("place", [MNIST, HANDWRITING], ids=["ccexam", "digit-recognizer"])
def test_bit_for_bit_as_torch_reads_it(shipped, place):
    found = open_weights(path := shipped(*place))
    wanted = torch.load(path, weights_only=True, map_location="cpu")
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) and found[name].device.type == "cpu" for name in wanted)


def test_ccexam_was_saved_on_cuda(shipped):
    assert b"cuda:0" in shipped(*MNIST).read_bytes()


@pytest.mark.parametrize(
    ("place", "network", "right"),
    [(MNIST, Ccexam, 995), (HANDWRITING, Recognizer, 998)],
    ids=["ccexam", "digit-recognizer"],
)
def test_digits_read_right(shipped, place, network, right):
    model = network().eval()
    model.load_state_dict(open_weights(shipped(*place)))
    digits = mnist().test
    images = (torch.from_numpy(digits.inputs) - 0.1307) / 0.3081  # as both packages scale them
    with torch.no_grad():
        answers = model(images).argmax(1)
    assert int((answers == torch.from_numpy(digits.targets)).sum()) == pytest.approx(right, abs=1)
