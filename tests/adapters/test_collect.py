"""Statistics are those of all inputs at once, streamed; the model is left as it was found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from sklearn.decomposition import PCA
from torch import Tensor, nn

from fanin.adapters import collect, initialize_adapters
from fanin.adapters.rows import input_rows
from fanin.errors import ArgumentError, DataError, UnknownNameError

CONVOLUTIONS = {
    "1-D": (nn.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 9)),
    "2-D": (nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1)), (2, 4, 7, 6)),
    "3-D": (nn.Conv3d(2, 4, 2), (2, 2, 4, 5, 3)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=(2, 1)), (2, 4, 9, 8)),
    "grouped": (nn.Conv2d(6, 9, 3, groups=3, padding=1), (2, 6, 5, 5)),
    "depthwise": (nn.Conv1d(6, 12, 3, groups=6), (2, 6, 8)),
    "same": (nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 2)), (2, 4, 7, 6)),
    "valid": (nn.Conv1d(4, 6, 3, padding="valid"), (2, 4, 7)),
    "circular": (nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 7)),
    "reflecting": (nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="reflect"), (2, 4, 7, 6)),
    "unbatched": (nn.Conv1d(4, 6, 3), (4, 7)),
}


def rows_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@torch.no_grad()
def test_patches_times_the_weight_are_the_convolution(name: str) -> None:
    layer, shape = CONVOLUTIONS[name]
    signal = rows_of(*shape)
    rows = input_rows(layer, signal)
    made = rows @ layer.weight.reshape(layer.groups, -1, rows.shape[-1]).mT  # [groups, samples × places, outputs/group]
    expected = layer(signal) - layer.bias.reshape(-1, *(1 for _ in layer.kernel_size))
    batched = expected if expected.ndim == layer.weight.ndim else expected.unsqueeze(0)
    flat = batched.movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(made.movedim(0, 1).flatten(1), flat, atol=1e-5, rtol=0)


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 5))


def test_components_are_those_of_all_inputs_at_once(model: nn.Module) -> None:
    batches = [rows_of(20, 6, seed=seed) for seed in range(3)]
    seen = collect(model, batches, ["0", "3"], kind="inputs", components=8)
    model.eval()
    hidden = model[1](model[0](torch.cat(batches))).detach()
    for name, rows in (("0", torch.cat(batches)), ("3", hidden)):
        reference = PCA().fit(rows.double().numpy())
        found = seen[name]
        assert found.rows == 60
        assert found.components is not None
        assert found.singular_values is not None
        assert found.ratios is not None
        expected = torch.from_numpy(reference.components_).float()
        torch.testing.assert_close((found.components[0] * expected).sum(1).abs(), torch.ones(len(expected)))
        torch.testing.assert_close(found.singular_values[0], torch.from_numpy(reference.singular_values_).float())
        torch.testing.assert_close(found.ratios[0].sum(), torch.tensor(1.0))


def test_second_moments_are_not_centred_and_in_float64(model: nn.Module) -> None:
    batches = [rows_of(4, 5, 6, seed=seed) + 3 for seed in range(2)]
    seen = collect(model, iter(batches), ["0"], kind="covariance")
    rows = torch.cat(batches).reshape(-1, 6).double()
    assert seen.batches == 2
    assert seen["0"].rows == 40
    assert seen["0"].covariance is not None
    torch.testing.assert_close(seen["0"].covariance[0], rows.T @ rows / 40, atol=1e-5, rtol=0)


def test_gradients_are_the_mean_over_batches(model: nn.Module) -> None:
    batches = [rows_of(7, 6, seed=seed) for seed in range(3)]
    seen = collect(model, batches, ["0", "3"], kind="gradients", loss=lambda output, batch: output.square().mean())
    model.eval()
    sum(model(batch).square().mean() / 3 for batch in batches).backward()
    for name in ("0", "3"):
        gradient = model.get_submodule(name).weight.grad
        assert seen[name].gradient is not None
        torch.testing.assert_close(seen[name].gradient, gradient, atol=1e-6, rtol=1e-5)


class Masked(nn.Module):
    """A layer on tokens, one on flattened tokens, and one on the pooled signal."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.flat, self.pooled = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, signal: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        hidden = self.tokens(signal)
        hidden = self.flat(hidden.reshape(-1, 4)).reshape(signal.shape)
        return self.pooled(hidden.mean(1))


def test_padding_does_not_count() -> None:
    model, signal = Masked(), rows_of(3, 5, 4)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 1, 0, 0]])
    dirty = torch.where(mask[..., None] == 1, signal, torch.full_like(signal, 1e3))
    batch = {"signal": dirty, "attention_mask": mask}
    names = ["tokens", "flat", "pooled"]
    seen = collect(model, [batch], names, kind="covariance")
    assert [seen[name].rows for name in names] == [9, 9, 3]
    kept = signal[mask.bool()].double()
    assert seen["tokens"].covariance is not None
    torch.testing.assert_close(seen["tokens"].covariance[0], kept.T @ kept / 9, atol=1e-5, rtol=0)
    first = collect(model, [batch], ["tokens"], kind="covariance", mask=lambda batch: torch.eye(5)[:3])
    assert first["tokens"].rows == 3
    whole = collect(model, [batch], ["tokens"], kind="covariance", mask=lambda batch: None)
    assert whole["tokens"].rows == 15


@pytest.mark.parametrize("kind", ["inputs", "covariance", "gradients"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_as_it_was(kind: Any, fails: bool) -> None:
    base = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 5))
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["0", "3"]))
    model.train()
    base[1].eval()
    base[0].base_layer.weight.grad = torch.ones(8, 6)
    calls: list[int] = []
    base[3].register_forward_hook(lambda *_: calls.append(1))
    rows = rows_of(9, 6)
    torch.manual_seed(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    modes = [module.training for module in model.modules()]
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())

    def batches() -> Iterator[Tensor]:
        yield rows
        if fails:
            raise KeyboardInterrupt

    def run() -> None:
        collect(model, batches(), kind=kind, loss=lambda output, batch: output.square().mean())

    if fails:
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        run()
    assert len(calls) == 1  # the user's own hooks still ran
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert flags == {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert modes == [module.training for module in model.modules()]
    assert hooks == [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    assert torch.equal(base[0].base_layer.weight.grad, torch.ones(8, 6))
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if "base_layer" not in name)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == str(np.random.get_state())
    assert base[0].active_adapters == ["default"]
    assert not base[0].disable_adapters


def test_statistics_are_of_the_base_without_its_adapters() -> None:
    base = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5))
    plain = collect(base, [rows_of(9, 6)], ["1"], kind="covariance")["1"].covariance
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["0", "1"], init_lora_weights=False))
    seen = collect(model, [rows_of(9, 6)], kind="covariance")
    assert torch.equal(seen["base_model.model.1"].covariance, plain)
    assert list(seen) == ["base_model.model.0", "base_model.model.1"]


def test_statistics_of_the_plain_model_fit_the_peft_model() -> None:
    base = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5))
    seen = collect(base, [rows_of(9, 6)], ["*"], kind="covariance")
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["0", "1"]))
    assert initialize_adapters(model, "corda", statistics=seen).base_changed


def test_no_activation_is_kept() -> None:
    """No batch and no output of a layer outlives its pass."""
    alive: list[Any] = []
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5))

    def batches() -> Iterator[Tensor]:
        for seed in range(5):
            batch = rows_of(30, 6, seed=seed)
            alive.append(ref(batch))
            yield batch

    model[0].register_forward_hook(lambda _, args, output: alive.append(ref(output)))
    collect(model, batches(), ["0", "1"], kind="inputs", components=3)
    assert len(alive) == 10
    assert [each for each in alive if each() is not None] == []


def test_refusals(model: nn.Module) -> None:
    rows = rows_of(9, 6)
    with pytest.raises(UnknownNameError, match="unknown kind of statistics 'input'; did you mean 'inputs'"):
        collect(model, [rows], ["0"], kind="input")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="has no LoRA layers to go by: name the layers"):
        collect(model, [rows], kind="covariance")
    with pytest.raises(UnknownNameError, match="unknown layer '7'"):
        collect(model, [rows], ["7"], kind="covariance")
    with pytest.raises(ArgumentError, match="say how many, components="):
        collect(model, [rows], ["0"], kind="inputs")
    with pytest.raises(DataError, match="there are no batches"):
        collect(model, [], ["0"], kind="covariance")
    with pytest.raises(DataError, match="an input of layer '0' holds 1 non-finite values"):
        collect(
            model,
            [rows.index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(torch.inf))],
            ["0"],
            kind="inputs",
            components=2,
        )
    with pytest.raises(DataError, match="does not run on the given inputs: RuntimeError"):
        collect(model, [rows_of(9, 7)], ["0"], kind="covariance")
    with pytest.raises(DataError, match=r"the output's \.loss is no single number"):
        collect(model, [rows], ["0"], kind="gradients")
    with pytest.raises(DataError, match="the loss of a batch is nan"):
        collect(model, [rows], ["0"], kind="gradients", loss=lambda output, batch: output.mean() * torch.nan)
    with pytest.raises(DataError, match="does not depend on any of the chosen weights"):
        collect(model, [rows], ["0"], kind="gradients", loss=lambda output, batch: output.detach().mean())


def test_layers_without_such_statistics() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))
    with pytest.raises(ArgumentError, match="'0' is an embedding: its inputs are indices"):
        collect(model, [torch.arange(5)], ["0", "1"], kind="covariance")
    seen = collect(model, [torch.arange(5)], ["0"], kind="gradients", loss=lambda output, batch: output.sum())
    assert seen["0"].gradient is not None
    assert seen["0"].gradient.any(dim=1).tolist() == [True] * 5 + [False] * 4


def test_a_layer_that_no_batch_reaches() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, signal: Tensor) -> Tensor:
            return self.used(signal)

    for kind in ("covariance", "gradients"):
        with pytest.raises(DataError, match=r"no batch reached layers \['idle'\]"):
            collect(Half(), [rows_of(3, 4)], ["*"], kind=kind, loss=lambda output, batch: output.sum())  # type: ignore[arg-type]


def test_quantised_weights_have_no_gradients() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ArgumentError, match=r"holds torch\.int8 weights, which have no gradients"):
        collect(model, [rows_of(3, 4)], ["0"], kind="gradients", loss=lambda output, batch: output.sum())
