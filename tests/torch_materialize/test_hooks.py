"""Hooks on parameters, and weak references to them, outlive materialize."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from fanin.torch.capture import capture
from fanin.torch.materialize import materialize


def layer():
    return nn.Linear(3, 4)


def hook(model, calls):
    """A hook that triples the weight's gradient, and one that sees the bias's."""
    handles = [
        model.weight.register_hook(lambda gradient: 3 * gradient),
        model.bias.register_post_accumulate_grad_hook(lambda bias: calls.append(bias)),
    ]
    return model, handles


def backward(model):
    model.zero_grad()
    model(torch.ones(1, 3)).sum().backward()
    return model.weight.grad.unique().tolist()


@pytest.mark.parametrize("weakly", [False, True])
def test_hooks_registered_on_meta_run_once_and_can_be_removed(weakly):
    calls = []
    captured = capture(layer)
    model, handles = hook(captured.model, calls)
    references = [weakref.ref(tensor) for tensor in model.parameters()] if weakly else []
    materialize(model, captured.plan)
    assert backward(model) == [3.0]
    assert len(calls) == 1
    assert calls[0] is model.bias
    assert all(seen() is tensor for seen, tensor in zip(references, model.parameters(), strict=False))
    for handle in handles:
        handle.remove()
    assert backward(model) == [1.0]
    assert len(calls) == 1


def test_hooks_registered_in_the_constructor_run_once_and_can_be_removed():
    calls, handles = [], []

    def factory():
        model, made = hook(layer(), calls)
        handles.extend(made)
        return model

    captured = capture(factory)
    model = materialize(captured.model, captured.plan)
    assert backward(model) == [3.0]
    assert len(calls) == 1
    assert calls[0] is model.bias
    for handle in handles:
        handle.remove()
    assert backward(model) == [1.0]
    assert len(calls) == 1


def test_hooks_of_a_frozen_parameter_wait_until_it_learns():
    captured = capture(layer)
    model, _ = hook(captured.model, [])
    model.weight.requires_grad_(False)
    materialize(model, captured.plan)
    assert not model.weight.requires_grad
    model.weight.requires_grad_(True)
    assert backward(model) == [3.0]


def test_weak_references_stay_with_the_parameter():
    captured = capture(lambda: nn.LSTM(3, 4))
    model = captured.model
    held = model.weight_ih_l0
    reference = weakref.ref(held)
    materialize(model, captured.plan)
    assert reference() is held is model.weight_ih_l0 is model._flat_weights[0]
    assert held.device.type == "cpu"
    assert model(torch.zeros(2, 1, 3))[0].shape == (2, 1, 4)
    model.weight_ih_l0.sum().backward()
    assert held.grad.unique().tolist() == [1.0]


def test_a_parameter_that_a_graph_holds_is_replaced_where_the_model_holds_it():
    captured = capture(layer)
    model = captured.model
    reference = weakref.ref(model.weight)
    graph = model(torch.zeros(1, 3, device="meta"))
    old = model.weight
    materialize(model, captured.plan)
    assert reference() is old
    assert graph.is_meta
    assert not model.weight.is_meta
    assert backward(model) == [1.0]
