"""Beside the package `lsuv`: the same scales, in one pass instead of some for each layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fanin
from fanin.initializers import Orthogonal

lsuv = pytest.importorskip("lsuv")


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 25, 10)
    )


def test_the_scales_are_those_of_the_package(noise):
    batch, passes = noise(32, 3, 9, 9), []
    ours, theirs = network(), network()
    made = fanin.lsuv(ours, batch, tolerance=0.0)
    names = [step.name for step in made.steps if step.name.endswith("weight")]
    start = made.override({name: Orthogonal() for name in names})
    fanin.materialize(theirs, start, 0)
    theirs.register_forward_hook(lambda *_: passes.append(1))
    lsuv.lsuv_with_singlebatch(theirs, batch, std_tol=1e-5, do_orthonorm=False, verbose=False)
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        if our.dim() > 1:
            assert torch.allclose(our, their, rtol=4e-3)  # theirs is the sample deviation
    assert len(passes) >= 2 * len(names)
