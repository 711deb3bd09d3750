"""Constructors that ask for random values: what every draw agrees on is a law, the rest is held and named."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from fanin.errors import CaptureError
from fanin.initializers import Constant, Normal, TruncatedNormal
from fanin.plans.steps import Draw, Keep
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize


class Grows(nn.Module):
    """Has one more layer if a random number says so."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4))
        if self.w.sum().item() > 0:
            self.extra = nn.Linear(2, 2)


def test_a_structure_that_depends_on_chance_is_refused_by_line():
    with pytest.raises(CaptureError) as caught:
        capture(Grows)
    text = str(caught.value)
    assert text.startswith("the constructor asks for a value at ")
    assert "(Grows.__init__), which is random, and which tensors the model has depends on it: with another" in text
    assert "draw 'extra.bias' is missing or has another shape." in text
    assert text.endswith("Build the model as usual and give it to fanin.plan instead.")
    with pytest.raises(CaptureError, match=r"asks for the result of nonzero at .* which tensors the model has depends"):
        capture(lambda: nn.Linear(int((torch.randn(50) > 0).nonzero().shape[0]), 2))


class Asks(nn.Module):
    """Scales one tensor by the norm of another through a Python number."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 6)
        self.w = nn.Parameter(torch.randn(40))
        self.unit = nn.Parameter(self.w.detach() / self.w.norm().item())
        self.level = nn.Parameter(torch.full((3,), self.w.norm().item()))


def test_tensors_that_depend_on_the_answer_hold_one_draw_together():
    captured = capture(Asks)
    plan, model = captured.plan, captured.model
    assert [name for name, step in plan.items() if isinstance(step.action, Keep)] == ["w", "unit", "level"]
    assert isinstance(plan["layer.weight"].action, Draw)
    assert plan.notes[0].startswith("the constructor asks for a value at ")
    assert plan.notes[0].endswith(
        "(Asks.__init__) and for 1 more random values; level, unit, w depend on it and hold the values of one draw, "
        "for any seed"
    )
    assert plan["level"].why.endswith("the captured model holds the values of one draw, for any seed")
    materialize(model, plan, seed=1).requires_grad_(False)
    assert float(model.unit.norm()) == pytest.approx(1.0, abs=1e-6)
    assert model.level.tolist() == pytest.approx([float(model.w.norm())] * 3)
    assert capture(Asks).plan.hash == plan.hash
    assert float(model.w.std()) == pytest.approx(1.0, abs=5 / 80**0.5)


class Apart(nn.Module):
    """Two tensors that only the answer joins."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(40))
        self.level = nn.Parameter(torch.full((3,), self.w.norm().item()))
        self.other = nn.Parameter(torch.randn(40))


def test_what_was_asked_about_is_held_with_what_the_answer_made():
    captured = capture(Apart)
    actions = {name: type(step.action) for name, step in captured.plan.items()}
    assert actions == {"w": Keep, "level": Keep, "other": Draw}
    assert float(captured.model.level.detach()[0]) == pytest.approx(float(captured.model.w.detach().norm()))


class Looks(nn.Module):
    """Asks, and does nothing with the answer."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4))
        self.seen = f"{self.w.std().item():.3f}"


def test_an_answer_without_consequence_leaves_the_law():
    plan = capture(Looks).plan
    assert plan["w"].initializer == Normal()
    assert plan.notes[0].endswith("(Looks.__init__), which is random; in 6 draws no tensor depended on it")


class Unlike(nn.Module):
    """A rejection loop that fanin has no pattern for."""

    def __init__(self):
        super().__init__()
        w = torch.randn(200)
        while int((w.abs() > 1.5).sum()) > 0:
            w = torch.where(w.abs() > 1.5, torch.randn(200), w)
        self.w = nn.Parameter(w)


def test_a_loop_without_a_pattern_is_run_for_real():
    captured = capture(Unlike)
    assert isinstance(captured.plan["w"].action, Keep)
    values = materialize(captured.model, captured.plan).w.detach()
    law = TruncatedNormal.absolute(0.0, 1.0, -1.5, 1.5)
    _, std = law.moments((200,))
    assert float(values.abs().max()) <= 1.5
    assert abs(float(values.mean())) < 5 * std / 200**0.5
    assert abs(float(values.std()) - std) < 5 * std / 200**0.5


class FromPython(nn.Module):
    """Random numbers of Python and NumPy, which no operator shows."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.drawn = nn.Parameter(torch.from_numpy(np.random.default_rng().normal(size=4)))
        self.old = nn.Parameter(torch.from_numpy(np.random.normal(size=4)))
        self.level = nn.Parameter(torch.full((2,), random.random()))


def test_random_numbers_of_python_and_numpy_are_found():
    state = random.getstate(), str(np.random.get_state())
    captured = capture(FromPython)
    plan = captured.plan
    assert (random.getstate(), str(np.random.get_state())) == state
    assert plan["w"].initializer == Constant(1.0)
    assert [name for name, step in plan.items() if isinstance(step.action, Keep)] == ["drawn", "old", "level"]
    assert plan.notes == (
        "the constructor takes random numbers from Python or NumPy; drawn, level, old depend on it and hold the "
        "values of one draw, for any seed",
    )
    level = materialize(captured.model, plan).level.tolist()
    assert level[0] == level[1]
    assert 0 < level[0] < 1


class Seeded(nn.Module):
    """Random numbers of NumPy that are the same each time."""

    def __init__(self):
        super().__init__()
        np.random.seed(3)
        self.w = nn.Parameter(torch.from_numpy(np.random.normal(size=4)))


def test_seeded_numbers_are_data(agrees_with_constructor):
    captured = agrees_with_constructor(Seeded)
    assert captured.plan.notes == ()


class Poisson(nn.Module):
    """Asks for a value of a law that fanin does not have, through one that depends on another draw."""

    def __init__(self):
        super().__init__()
        rates = torch.rand(3)
        self.w = nn.Linear(int(torch.poisson(rates * 9).sum().item()) + 1, 2)


def test_a_question_about_a_law_without_a_name_is_answered_by_the_operator():
    with pytest.raises(CaptureError, match=r"asks for a value at .*Poisson.* has another shape"):
        capture(Poisson)


class Unnamed(nn.Module):
    """Draws from laws that fanin does not have."""

    def __init__(self):
        super().__init__()
        self.counts = nn.Parameter(torch.poisson(4 * torch.ones(1000)))
        self.tail = nn.Parameter(torch.empty(1001).cauchy_())
        self.share = nn.Parameter(torch.distributions.Beta(2.0, 3.0).sample((1002,)))
        self.picked = nn.Buffer(torch.multinomial(torch.ones(6), 3))
        both = torch.poisson(torch.ones(3))
        self.first, self.second = nn.Parameter(both * 2), nn.Parameter(both + 1)
        self.b = nn.Parameter(torch.zeros(3))


def test_laws_without_a_name_are_drawn_for_real_or_unknown_by_name():
    captured = capture(Unnamed)
    plan, model = captured.plan, captured.model
    held = ("counts", "tail", "share", "picked")
    assert all(isinstance(plan[name].action, Keep) for name in held)
    assert plan["counts"].why.startswith("it draws with poisson at ")
    assert plan["counts"].why.endswith(
        "a law that fanin does not have; the captured model holds one real draw, for any seed"
    )
    assert plan.unknown == ("first", "second")
    assert "poisson" in plan["first"].why
    assert plan["b"].initializer == Constant(0.0)
    counts, share = model.counts.detach(), model.share.detach()
    assert abs(float(counts.mean()) - 4) < 5 * 2 / 1000**0.5
    assert abs(float(share.mean()) - 0.4) < 5 * 0.2 / 1000**0.5
    assert abs(float(model.tail.detach().median())) < 5 * 1.5708 / 1000**0.5
    assert len(set(model.picked.tolist())) == 3
    torch.manual_seed(77)
    again = capture(Unnamed).model
    assert torch.equal(again.counts, counts)
    assert torch.equal(again.picked, model.picked)


class Validates(nn.Module):
    """Code that checks its arguments on tensors, as torch.distributions does."""

    def __init__(self):
        super().__init__()
        law = torch.distributions.Normal(torch.tensor(1.0), torch.tensor(2.0))
        self.w = nn.Parameter(law.sample((600,)))


def test_checks_of_arguments_are_answered(agrees_with_constructor):
    captured = capture(Validates)
    assert captured.plan.notes == ()
    values = materialize(captured.model, captured.plan, seed=3).w.detach() if not captured.plan.unknown else None
    assert abs(float(values.mean()) - 1) < 5 * 2 / 600**0.5
    assert abs(float(values.std()) - 2) < 5 * 2 / 1200**0.5
