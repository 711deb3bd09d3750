"""Every builder of fanin round-trips through its description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fanin import models
from fanin.models.architecture import Architecture, describe

SPECS = [
    "mnist-fc",
    "mnist-cnn",
    "mlp:12-8-8-5,activation=gelu,norm=layer,bias=false",
    "mlp:12-8-5,norm=batch,activation=prelu",
    "cnn:1x8x8-4-6-10,norm=batch,activation=silu",
    "cnn:3x8x8-4-10,norm=instance,kernel=5",
    "resnet:depth=8,width=4",
    "resnet:depth=8,width=4,norm=none,fixup=true",
    "resnet:depth=8,width=4,norm=none,fixup=true,shortcut=projection",
    "resnet:depth=11,width=4,block=bottleneck,shortcut=projection,classes=3,shape=3x16x16",
    "resnet18",
    "vit:depth=2,width=16,heads=2,shape=3x16x16,patch=4",
    "vit:depth=1,width=16,heads=2,shape=1x8x8,patch=4,reads=average",
    "autoencoder:widths=32-8",
    "autoencoder:channels=4-8",
    "dcgan:width=4",
    "siren:width=16,omega=30",
    "rnn:width=8,activation=relu",
    "lstm:inputs=6,width=8,depth=2,bidirectional=true,norm=layer",
    "gru:inputs=6,width=8,reads=every,dropout=0.1,depth=2",
    "lstm:vocabulary=20,width=8",
    "seq2seq:width=8,cell=gru",
    "seq2seq:width=8",
    "transformer:depth=2,width=16,heads=2",
    "transformer:depth=1,width=16,heads=4,kv_heads=2,norm=rms,activation=swiglu,position=rotary,bias=false",
    "transformer:depth=1,width=16,heads=2,experts=4,experts_per_token=2,activation=geglu",
    "transformer:depth=2,width=16,heads=2,placement=post,tied=false,norm=none,position=none",
    "forecaster:lookback=24,horizon=6,width=16",
    "forecaster:lookback=24,horizon=6,width=16,norm=layer",
    "forecaster:kind=lstm,width=8,channels=2",
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_builders_model_is_what_its_description_builds(
    spec: str, kept: Callable[[nn.Module, Any], Architecture]
) -> None:
    model = models.build(spec)
    inputs = models.example_inputs(model, 3)
    made = kept(model, tuple(inputs.values()) if isinstance(inputs, dict) else inputs)
    again = describe(made.build(), _samples(made))
    assert {layer.name: layer for layer in again.layers} == {layer.name: layer for layer in made.layers}


def _samples(made: Architecture) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros((2, *each.shape), dtype=getattr(torch, each.dtype)) for each in made.inputs.values())


def test_the_families_are_all_here() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} >= set(models.FAMILIES)


def test_the_generator_of_a_gan_is_described_too(kept: Callable[[nn.Module, Any], Architecture]) -> None:
    model = models.build("dcgan:width=4")
    for name, part in model.named_children():
        inputs = models.example_inputs(part, 3)
        if isinstance(inputs, torch.Tensor):
            kept(part, inputs)
        else:
            assert name  # a part that says nothing of its inputs is covered by the whole


def test_a_published_count_survives() -> None:
    inputs = torch.zeros(2, 3, 224, 224, device="meta")
    with torch.device("meta"):
        made = describe(models.build("resnet50"), inputs)
    assert made.parameters == 25_557_032
    assert made.shapes()["fc"] == (1, 1000)


def test_the_tied_head_of_gpt2_is_counted_once() -> None:
    with torch.device("meta"):
        model = models.build("gpt2-small")
    made = describe(model, torch.zeros(2, 16, dtype=torch.long))
    assert made.parameters == 124_439_808
    head = next(layer for layer in made.layers if layer.ties)
    assert list(head.ties) == ["weight"]
