"""Inputs made up, and what is said when a pass cannot be followed."""

import pytest
import torch
from torch import nn

from fanin.errors import TraceError
from fanin.torch.trace import trace

MADE = [
    (nn.Sequential(nn.Linear(7, 2)), "float32 (2, 7)"),
    (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)), "int64 (2, 8)"),
    (nn.Sequential(nn.Conv2d(3, 4, 3)), "float32 (2, 3, 32, 32)"),
    (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 784, 2)), "float32 (2, 1, 28, 28)"),
    (nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.Flatten(), nn.Linear(4 * 196, 2)), "float32 (2, 3, 224, 224)"),
    (nn.Sequential(nn.Conv1d(2, 4, 3)), "float32 (2, 2, 64)"),
    (nn.Sequential(nn.Conv3d(2, 4, 3)), "float32 (2, 2, 32, 32, 32)"),
    (nn.Sequential(nn.ConvTranspose2d(8, 4, 4)), "float32 (2, 8, 32, 32)"),
    (nn.Sequential(nn.LayerNorm(5)), "float32 (2, 5)"),
    (nn.Sequential(nn.BatchNorm1d(5)), "float32 (2, 5)"),
    (nn.Sequential(nn.BatchNorm2d(5)), "float32 (2, 5, 32, 32)"),
    (nn.Sequential(nn.GroupNorm(1, 4)), "float32 (2, 4, 8)"),
    (nn.GRU(6, 3, batch_first=True), "float32 (2, 8, 6)"),
    (nn.GRUCell(6, 3), "float32 (2, 6)"),
    (nn.TransformerEncoderLayer(8, 2, batch_first=True), "float32 (2, 8, 8)"),
    (nn.MultiheadAttention(8, 2), "float32 (2, 8, 8), float32 (2, 8, 8), float32 (2, 8, 8)"),
]


@pytest.mark.parametrize(("model", "described"), MADE, ids=lambda value: value if isinstance(value, str) else "")
def test_made_up_inputs(model, described):
    graph = trace(model)
    assert graph.notes == (f"inputs were made up: {described}",)
    assert graph.unreached == ()


@pytest.mark.parametrize(
    "inputs", [torch.zeros(2, 3), (torch.zeros(2, 3),), [torch.zeros(2, 3)], {"input": torch.zeros(2, 3)}]
)
def test_forms_of_given_inputs(inputs):
    assert trace(nn.Linear(3, 2), inputs).notes == ()


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Sequential(nn.ReLU(), nn.Linear(5, 4), nn.Conv2d(2, 3, 1))

    def forward(self, x):
        return self.second(self.first(x))


def test_a_failing_pass_on_given_inputs_names_the_layer():
    with pytest.raises(TraceError) as caught:
        trace(Deep(), torch.zeros(2, 4))
    text = str(caught.value)
    assert text.startswith("the forward pass failed in layer 'second.1' (Linear): RuntimeError: ")
    assert "\n" not in text


def test_a_failing_pass_on_made_up_inputs_keeps_what_was_followed():
    graph = trace(Deep())
    assert graph.of("first.weight")[0].activation == "relu"
    assert graph.unreached == ("second.1.weight", "second.1.bias", "second.2.weight", "second.2.bias")
    (use,) = graph.of("second.2.weight")
    assert (use.op, use.axes.fans, use.activation, use.module) == ("conv", (2, 3), "", "second.2")
    (note,) = graph.notes
    assert note.startswith("the forward pass was not followed to its end (the forward pass failed in layer 'second.1'")
    assert note.endswith("module classes fill in: pass inputs= to trace it")


class Masked(nn.Module):
    """Branches on indices and on constants of its own making, which keep their values."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(9, 4), nn.Linear(4, 4)
        self.register_buffer("order", torch.arange(3))

    def forward(self, ids):
        x = self.table(ids[:, self.order])
        mask = torch.ones(3, 3, dtype=torch.bool, device=x.device).tril()
        padding = torch.ones(1, 3, device=x.device)
        if mask.all() or not padding.all() or self.order.max() != 2 or ids.max().item() > 8:
            raise RuntimeError("values were lost")
        return self.out(x.masked_fill(~mask[:, :1], 0.0))


def test_indices_and_masks_keep_their_values():
    assert trace(Masked(), torch.tensor([[1, 2, 3]])).unreached == ()


def test_code_that_names_a_device_is_followed():
    class Moves(nn.Linear):
        def forward(self, x):
            return super().forward(x.to("cpu")).to(device="cpu", dtype=torch.float64)

    assert trace(Moves(3, 2), torch.zeros(1, 3)).unreached == ()


def test_nothing_tells_the_inputs():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def forward(self, x, y):
            return self.weight * x["z"] * y

    graph = trace(Odd())
    assert graph.unreached == ("weight",)
    assert graph.uses == ()
    assert "(nothing tells what inputs it takes)" in graph.notes[0]


def test_a_class_without_a_forward_pass_says_so():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(3, 2)

    graph = trace(Parts())
    assert graph.notes == ("Parts has no forward pass: module classes tell the uses of its parameters",)
    assert graph.of("encoder.weight")[0].axes.fans == (3, 2)


def test_parameters_that_are_never_used_are_unreached():
    model = nn.Sequential(nn.Linear(3, 3))
    model[0].spare = nn.Conv2d(2, 3, 1)
    graph = trace(model)
    assert graph.unreached == ("0.spare.weight", "0.spare.bias")
    assert graph.of("0.spare.weight")[0].op == "conv"
