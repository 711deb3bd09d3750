"""A checked model is exactly what it was, also where something raised."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fanin.checking import check
from fanin.errors import DataError
from fanin.torch.planning import initialize


def model() -> nn.Sequential:
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Flatten(), nn.Linear(288, 4)
    )
    made[1].eval()
    made[0].weight.grad = torch.full_like(made[0].weight, 7.0)
    made[5].bias.requires_grad_(False)
    return made


def state(made: nn.Module) -> list[Any]:
    return [
        [(n, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in made.named_modules()],
        [(n, p.requires_grad, p.data_ptr(), p.detach().clone().numpy().tobytes()) for n, p in made.named_parameters()],
        [(n, b.clone().numpy().tobytes()) for n, b in made.named_buffers()],
        [None if p.grad is None else (id(p.grad), float(p.grad.sum())) for p in made.parameters()],
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        repr(np.random.get_state()),
        torch.is_grad_enabled(),
    ]


def fails(_: Any) -> torch.Tensor:
    raise ValueError("no loss today")


def interrupted(_: Any) -> torch.Tensor:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("loss", "error"),
    [(None, None), (fails, DataError), (lambda out: out, DataError), (interrupted, KeyboardInterrupt)],
    ids=["fine", "raises", "vector", "interrupted"],
)
def test_everything_is_restored(loss: Callable[[Any], Any] | None, error: type[BaseException] | None) -> None:
    made, x = model(), torch.randn(4, 3, 8, 8, requires_grad=True)
    before = state(made)
    if error is None:
        check(made, x, loss)
    else:
        with pytest.raises(error):
            check(made, x, loss)
    assert state(made) == before
    assert x.grad is None
    assert not x._backward_hooks


def test_everything_is_restored_where_forward_raises() -> None:
    made, x = model(), torch.randn(4, 3, 9, 9)
    before = state(made)
    with pytest.raises(DataError):
        check(made, x)
    assert state(made) == before


def test_two_checks_are_the_same_with_dropout() -> None:
    made, x = model(), torch.randn(4, 3, 8, 8)
    first = check(made, x).to_dict()
    torch.rand(10)
    assert check(made, x).to_dict() == first


def test_works_under_no_grad() -> None:
    made = model()
    with torch.no_grad():
        assert check(made, torch.randn(4, 3, 8, 8)).layers[0].measured.gradient is not None


def test_no_activation_is_kept() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []

    class Watched(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = x * 2
            seen.append(weakref.ref(out))
            return out

    report = check(nn.Sequential(nn.Linear(4, 4), Watched(), nn.Linear(4, 2)), torch.randn(3, 4))
    gc.collect()
    assert report.layers
    assert [ref() for ref in seen] == [None]


@pytest.mark.parametrize("table", [nn.Embedding, nn.EmbeddingBag])
def test_rows_that_forward_shortens_come_back(table: type[nn.Embedding | nn.EmbeddingBag]) -> None:
    made = nn.Sequential(table(50, 16, max_norm=1.0), nn.Linear(16, 4))
    plan = initialize(made, "he", seed=0)
    before = made[0].weight.detach().clone()
    report = check(made, torch.arange(40).reshape(8, 5), plan=plan)
    assert torch.equal(made[0].weight, before)
    assert report.findings == ()


def test_a_thorough_check_leaves_no_trace_either() -> None:
    made, x = model(), torch.randn(4, 3, 8, 8)
    before = state(made)
    assert check(made, x, thorough=True).layers[0].measured.jacobian is not None
    assert state(made) == before


def test_a_compiled_model_is_checked_as_what_it_wraps() -> None:
    made = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    compiled, x = torch.compile(made), torch.randn(3, 4)
    assert check(compiled, x).to_dict() == check(made, x).to_dict()  # pyright: ignore
    assert compiled._orig_mod is made  # pyright: ignore


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_models_own_code_moves_is_put_back(fails: bool) -> None:
    """A forward that draws from every generator, as augmentations do, and leaves a gradient, as inner losses do."""

    class Busy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.body(x).sum().backward()
            x = x + random.random() + float(np.random.rand()) + torch.rand(())
            if fails:
                raise ValueError("not today")
            return self.body(x)

    model = Busy()
    model.body.weight.grad = torch.full((4, 4), 7.0)
    gradient = model.body.weight.grad
    python, legacy, state = random.getstate(), repr(np.random.get_state()), torch.get_rng_state()
    with pytest.raises(DataError) if fails else nullcontext():
        check(model, torch.ones(3, 4))
    assert random.getstate() == python
    assert repr(np.random.get_state()) == legacy
    assert torch.equal(torch.get_rng_state(), state)
    assert model.body.weight.grad is gradient
    assert bool((gradient == 7.0).all())
    assert model.body.bias.grad is None
