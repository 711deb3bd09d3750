"""The same numbers as Microsoft's `mup` package at four times the base width, parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Any

import pytest
import torch
from small_parametrized import HEADS, Decoder, mlp, rates, tokens
from torch import nn
from torch.nn.functional import cross_entropy

import fanin

mup = pytest.importorskip("mup")
BASE, WIDTH = 16, 64
# Beside 1/√d_head of the base, as the package's 8/d: √d_base/d.
SCALE = sqrt(BASE / HEADS) / (WIDTH / HEADS)
BUILDS: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = {
    "mlp": (mlp, partial(mlp, readout=mup.MuReadout)),
    "decoder": (Decoder, partial(Decoder, readout=mup.MuReadout, scale=SCALE)),
}


def both(kind: str) -> tuple[nn.Module, nn.Module, fanin.parametrizations.Parametrized]:
    """Ours and theirs from the same standard values."""
    build, build_mup = BUILDS[kind]
    torch.manual_seed(0)
    ours = build(WIDTH)
    theirs = build_mup(WIDTH)
    theirs.load_state_dict(ours.state_dict())
    mup.set_base_shapes(theirs, build_mup(BASE), delta=build_mup(2 * BASE))
    return ours, theirs, fanin.parametrize(ours, "mup", base=lambda: build(BASE))


@pytest.mark.parametrize("kind", BUILDS)
def test_values_are_the_packages_bit_for_bit(kind: str) -> None:
    ours, theirs, _ = both(kind)
    other = dict(theirs.named_parameters())
    assert ours.state_dict().keys() == other.keys()
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, other[name]), name


@pytest.mark.parametrize("kind", BUILDS)
@pytest.mark.parametrize(("optimizer", "theirs_of"), [("adam", "MuAdam"), ("adamw", "MuAdamW"), ("sgd", "MuSGD")])
def test_rates_and_decay_are_the_packages(kind: str, optimizer: str, theirs_of: str) -> None:
    ours, theirs, record = both(kind)
    groups = record.parameter_groups(ours, 0.25, weight_decay=0.5, optimizer=optimizer)
    reference = getattr(mup, theirs_of)(theirs.parameters(), lr=0.25, weight_decay=0.5).param_groups
    for key in ("lr", "weight_decay"):
        assert rates(ours, groups, key) == rates(theirs, reference, key)
    assert len(set(rates(ours, groups).values())) > 1


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_is_the_packages(optimizer: str) -> None:
    ours, theirs, record = both("mlp")
    kind: Any = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    mine = kind(record.parameter_groups(ours, 0.02, optimizer=optimizer), lr=0.02)
    reference = (mup.MuAdam if optimizer == "adam" else mup.MuSGD)(theirs.parameters(), lr=0.02)
    inputs, labels = torch.randn(20, 10), torch.randint(3, (20,))
    for _ in range(4):
        for model, steps in ((ours, mine), (theirs, reference)):
            steps.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            steps.step()
    for (name, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter, other), name


def test_a_decoders_logits_are_the_packages() -> None:
    ours, theirs, record = both("decoder")
    assert {each.why for each in record.multipliers} == {"readout", "attention"}
    torch.testing.assert_close(ours(tokens()), theirs(tokens()), rtol=1e-5, atol=1e-6)


def test_the_numbers_of_the_issue() -> None:
    """At m = 4: hidden normal × 0.5, default readout × 2 over standard, Adam's hidden rate / 4."""
    build = partial(_normal, std=0.02)
    captured = fanin.capture(lambda: build(WIDTH))
    record = fanin.parametrize(captured, base=lambda: build(BASE))
    assert record["0.weight"].std == 0.02
    assert record["2.weight"].std == 0.01
    assert record["2.weight"].factors.adam == 0.25
    readout = fanin.parametrize(mlp(WIDTH), base_width=BASE)["4.weight"]
    assert readout.std == pytest.approx(2 / sqrt(3 * WIDTH), rel=1e-12)


def _normal(width: int, std: float) -> nn.Module:
    model = mlp(width)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            nn.init.zeros_(module.bias)
    return model
