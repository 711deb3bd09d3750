"""Recurrent networks, reduced: chrono before forget bias 1 before none, the IRNN before ReLU and tanh."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import pytest


def test_what_a_network_remembers_decides_how_soon_it_learns(quick: Callable[..., dict[str, Any]]) -> None:
    pytest.importorskip("mlxtend")
    found = quick("sequences")
    assert [claim["text"] for claim in found["claims"] if not claim["reached"]] == []
    assert len(found["claims"]) == 5
    loss = {row["start"]: float(row["test loss, nats"]) for row in found["table"]}
    assert loss["chrono"] < loss["forget bias 1"] < loss["no forget bias"]
    assert loss["chrono"] < 10 * log(8) / 50
    assert loss["IRNN"] < min(loss["ReLU"], loss["tanh"])


def test_forget_bias_1_is_1_once_and_leaves_weights(load: Callable[[str], Any]) -> None:
    import torch

    import fanin.models

    model = fanin.models.build("lstm:width=4,inputs=3")
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    load("sequences").forget_bias_1(model, 0, torch.zeros(1, 2, 3))
    summed = model.lstm.bias_ih_l0 + model.lstm.bias_hh_l0
    assert summed.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    same = [name for name, tensor in model.named_parameters() if torch.equal(tensor, before[name])]
    assert same == ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "head.weight", "head.bias"]
