"""Parameters, bytes, tables; the model stays as it is."""

import json

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from fanin import ArgumentError, TraceError, count
from fanin.models import build, example_inputs


def test_mnist_fc():
    found = count(build("mnist-fc"), batch=500)
    assert found.parameters == found.trainable == 784 * 500 + 500 + 500 * 10 + 10 == 397_510
    assert found.buffers == 0
    assert found.macs == 500 * (784 * 500 + 500 * 10)
    assert found.flops == 2 * found.macs
    assert found.bytes.weights == found.bytes.gradients == 4 * 397_510
    assert found.bytes.adam == 8 * 397_510
    assert found.bytes.activations == 4 * 500 * (784 + 500)  # the images and the hidden layer after ReLU
    assert found.bytes.training == 16 * 397_510 + 4 * 500 * 1284


def test_mnist_cnn():
    found = count(build("mnist-cnn"), batch=2)
    assert found.parameters == 9_098
    assert found.macs == 2 * (28 * 28 * 8 * 9 + 14 * 14 * 16 * 8 * 9 + 784 * 10)


@pytest.mark.parametrize(
    "spec",
    [
        "mnist-fc",
        "mnist-cnn",
        "mlp:12-8-8-3,activation=gelu,norm=layer",
        "cnn:1x12x12-4-6-3,norm=batch,activation=silu",
        "hf:gpt2,n_layer=2,n_embd=16,n_head=2,vocab_size=50,attn_pdrop=0.0,use_cache=false",
        "hf:llama,num_hidden_layers=2,hidden_size=32,num_attention_heads=4,num_key_value_heads=2,vocab_size=50,"
        "intermediate_size=64,use_cache=false",
        "hf:vit,num_hidden_layers=1,hidden_size=16,num_attention_heads=2,image_size=32",
    ],
)
def test_activations_are_what_autograd_saves_of_the_real_model(spec):
    model = build(spec).train()
    inputs = example_inputs(model, 3)
    owned = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(**inputs) if isinstance(inputs, dict) else model(inputs)
    expected = sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in owned)
    assert count(model, inputs).bytes.activations == expected


def test_attention_keeps_no_scores():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    kept = [count(layer, torch.zeros(1, n, 8)).bytes.activations for n in (64, 128)]
    assert kept[1] == 2 * kept[0]


def test_frozen_weights_need_no_gradients():
    model = build("mlp:4-3-2")
    model.fc1.requires_grad_(False)
    found = count(model)
    assert (found.parameters, found.trainable) == (23, 8)
    assert found.bytes.gradients == 4 * 8
    assert found.bytes.adam == 8 * 8
    assert found.bytes.activations == 4 * 3  # fc1's inputs are not needed, ReLU's output is


def test_tied_weights_count_once():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    model[1].weight = model[0].weight
    found = count(model, torch.zeros(3, dtype=torch.long))
    assert found.parameters == 40
    assert [(module.name, module.parameters) for module in found.modules] == [("0", 40), ("1", 0)]
    assert found.flops == 2 * 3 * 4 * 10


def test_buffers_and_dtypes():
    found = count(nn.BatchNorm1d(6).bfloat16(), torch.zeros(4, 6, dtype=torch.bfloat16))
    assert found.buffers == 13
    assert found.bytes.buffers == 2 * 12 + 8
    assert found.bytes.weights == 2 * 12


def test_modules_add_up():
    found = count(build("cnn:1x12x12-4-6-3,norm=batch"), batch=5)
    assert sum(module.parameters for module in found.modules) == found.parameters
    assert sum(module.flops for module in found.modules) == found.flops
    assert sum(module.activations for module in found.modules) == found.bytes.activations
    assert [module.name for module in found.modules if module.flops] == ["conv1", "conv2", "dense"]


def test_the_same_real_and_meta():
    with torch.device("meta"):
        empty = build("mnist-cnn")
    assert count(empty, batch=3) == count(build("mnist-cnn"), batch=3)


def test_captured():
    from fanin import capture

    captured = capture(lambda: build("mnist-cnn"))
    assert count(captured, batch=3).to_dict() == count(build("mnist-cnn"), batch=3).to_dict()


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_inputs_are_repeated_to_the_batch(batch):
    assert count(build("mlp:4-3-2"), torch.zeros(3, 4), batch=batch).flops == 2 * batch * (12 + 6)
    assert count(build("mlp:4-3-2"), torch.zeros(3, 4)).batch == 3


def test_indices_keep_their_values_when_repeated():
    class Looks(nn.Module):
        def forward(self, tokens):
            return nn.functional.one_hot(tokens).float() if tokens.is_meta else torch.zeros(int(tokens.max()), 2)

    assert count(Looks(), torch.tensor([3, 5]), batch=4).batch == 4


def test_the_model_stays_as_it_was():
    model = build("cnn:1x8x8-2-3,norm=batch")
    model.conv1.eval()
    model.conv1.weight.grad = torch.ones_like(model.conv1.weight)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    count(model, batch=4)
    assert not calls
    assert (model.training, model.conv1.training) == (True, False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.conv1.weight.grad.sum() == model.conv1.weight.numel()
    assert not model.conv1._forward_hooks


def test_one_sample_through_batch_norm_is_counted_in_evaluation_mode():
    found = count(build("mlp:4-3-2,norm=batch"), torch.zeros(1, 4))
    assert found.flops == 2 * (12 + 6)
    assert found.notes == ("counted in evaluation mode: training mode fails",)


def test_unknown_inputs():
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 2))

        def forward(self, a, *, b):
            raise RuntimeError("never")

    found = count(Strange())
    assert (found.parameters, found.flops, found.macs, found.bytes.activations, found.batch) == (
        6,
        None,
        None,
        None,
        None,
    )
    assert found.notes == ("FLOPs and activations are not counted, nothing tells what inputs it takes: pass inputs=",)
    assert found.bytes.training == 4 * 4 * 6
    assert "(model)  Strange           6     -      -            -" in str(found)


def test_failing_inputs():
    with pytest.raises(TraceError) as caught:
        count(build("mlp:4-3-2"), torch.zeros(2, 5))
    assert str(caught.value).startswith("the forward pass of Sequential failed: RuntimeError: ")
    assert str(caught.value).endswith("; check inputs=")


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="batch must be at least 1, got 0"):
        count(build("mnist-fc"), batch=0)
    with pytest.raises(ArgumentError, match="samples must be at least 1, got -1"):
        count(build("mnist-fc"), samples=-1)
    with pytest.raises(ArgumentError, match="the inputs have no samples to make a batch of 3 from"):
        count(build("mnist-fc"), {"flag": True}, batch=3)


def test_table():
    found = count(build("mlp:4-3-2"), torch.zeros(8, 4), samples=100)
    assert str(found) == (
        "module  kind        parameters  MACs  FLOPs  activations\n"
        "--------------------------------------------------------\n"
        "fc1     Linear              15    96    192        128 B\n"
        "act1    ReLU                 0     0      0         96 B\n"
        "fc2     Linear               8    48     96          0 B\n"
        "--------------------------------------------------------\n"
        "total   Sequential          23   144    288        224 B\n"
        "\n"
        "23 of 23 parameters are trainable; 0 values in buffers\n"
        "weights 92 B + buffers 0 B + gradients 92 B + Adam 184 B + activations at batch 8 224 B = 592 B\n"
        "0.23 parameters per training sample: fewer than the ten samples per parameter of the old rule of thumb "
        "(Baum & Haussler 1989), so some overfitting is possible; watch the loss on held-out data."
    )


def test_dict_is_json():
    found = count(build("mlp:4-3-2"), torch.zeros(8, 4), samples=46)
    data = json.loads(json.dumps(found.to_dict()))
    assert data == found.to_dict()
    assert data["parameters_per_sample"] == 0.5
    assert data["macs"] == 144
    assert data["bytes"]["training"] == 592
    assert data["modules"][0] == {
        "name": "fc1",
        "kind": "Linear",
        "parameters": 15,
        "flops": 192,
        "macs": 96,
        "activations": 128,
    }


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (60_000, "6.63 parameters per training sample: enough to memorise the training data (Zhang et al. 2017)."),
        (397_510, "1 parameters per training sample: enough to memorise"),
        (397_511, "1 parameters per training sample: fewer than the ten samples"),
        (3_975_099, "0.1 parameters per training sample: fewer than the ten samples"),
        (3_975_100, "0.1 parameters per training sample: at least ten samples per parameter"),
    ],
)
def test_overfitting(samples, words):
    found = count(build("mnist-fc"), samples=samples)
    assert found.parameters_per_sample == 397_510 / samples
    assert found.overfitting.startswith(words)
    assert found.overfitting in str(found)


def test_without_samples_nothing_is_said():
    found = count(build("mnist-fc"))
    assert found.parameters_per_sample is None
    assert found.overfitting is None
