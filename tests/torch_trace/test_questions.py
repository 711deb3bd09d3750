"""Code that asks tensors for values, which a trace does not have: what it is told, and that it is said."""

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from fanin.errors import TraceError
from fanin.torch.trace import trace

ASKS = "code asks for values, which a trace does not have: "


class Asking(nn.Module):
    """Two layers, and a function of the first one's output that decides on the way to the second."""

    def __init__(self, between):
        super().__init__()
        self.first, self.second, self.between = nn.Linear(4, 4), nn.Linear(4, 4), between

    def forward(self, x):
        return self.second(self.between(self.first(x)))


def some(x):
    return x if torch.isnan(x).any() else x * 2


def every(x):
    if not torch.isfinite(x).all():
        raise ValueError("not finite")
    return x


def number(x):
    return x * x.mean().item() + int(x.argmax()) + float(x.sum())


def listed(x):
    return torch.cat(x.split([1, 1]), 0) * x.sum(0).tolist()[0]


def array(x):
    return x + float(x.detach().numpy().sum())


CASES = {
    "any": (some, "conditions to hold for all, not for any"),
    "all": (every, "conditions to hold for all, not for any"),
    "item": (number, "numbers were taken to be 1"),
    "tolist": (listed, "numbers were taken to be 1"),
    "numpy": (array, "numbers were taken to be 1"),
    "nonzero": (lambda x: x[(x > 0).nonzero()[:, 0]], "a mask was taken to be true everywhere"),
    "mask": (lambda x: x[x[:, 0] > 0], "a mask was taken to be true everywhere"),
    "masked_select": (lambda x: x.masked_select(x > 0).view(-1, 4), "a mask was taken to be true everywhere"),
    "unique": (lambda x: x.unique().view(-1, 4), "values were taken to be distinct"),
    "repeats": (
        lambda x: x.repeat_interleave((x[:, 0] > 0).long(), dim=0),
        "numbers of repeats were taken to be equal",
    ),
    "equal": (lambda x: x if torch.equal(x, x + 1) else None, "values were taken to be equal"),
    "counts": (lambda x: x + torch.bincount(x.argmax(-1), minlength=4), "values were taken to be distinct"),
    "sizes": (
        lambda x: torch.cat([part * 2 for part in x.split((x > 0).long().sum(0).tolist())]),
        "numbers were taken to be 1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_pass_goes_on_and_says_what_was_assumed(name):
    between, said = CASES[name]
    graph = trace(Asking(between), torch.zeros(2, 4))
    assert graph.unreached == ()
    assert graph.of("second.weight")[0].axes.fans == (4, 4)
    (note,) = [note for note in graph.notes if note.startswith(ASKS)]
    assert said in note
    assert note.endswith("(the model itself)")


class Experts(nn.Module):
    """Tokens go to the experts that a router picks; the loop asks which experts were picked, and by whom."""

    def __init__(self):
        super().__init__()
        self.router, self.experts = nn.Linear(4, 3), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        picked = one_hot(self.router(x).argmax(-1), 3).T
        out = torch.zeros_like(x)
        for index in picked.sum(-1).nonzero().flatten():
            rows = torch.where(picked[index].bool())[0]
            out.index_add_(0, rows, self.experts[index](x[rows]))
        return out


def test_every_expert_is_reached():
    graph = trace(Experts(), torch.zeros(5, 4))
    assert graph.unreached == ()
    assert [graph.of(f"experts.{number}.weight")[0].axes.fans for number in range(3)] == [(4, 4)] * 3
    assert graph.notes == (f"{ASKS}a mask was taken to be true everywhere (the model itself)",)


class Stacked(nn.Module):
    """Hundreds of experts in one tensor, visited one by one."""

    def __init__(self, experts=300):
        super().__init__()
        self.router, self.up = nn.Linear(4, experts), nn.Parameter(torch.zeros(experts, 6, 4))
        self.visited = []

    def forward(self, x):
        picked = one_hot(self.router(x).argmax(-1), self.up.shape[0]).T
        out = x.new_zeros(5, 6)
        for index in picked.sum(-1).nonzero().flatten():
            self.visited.append(int(index))
            rows = torch.where(picked[index].bool())[0]
            out.index_add_(0, rows, nn.functional.linear(x[rows], self.up[index]))
        return out


def test_of_stacked_experts_two_stand_for_all():
    many, two = Stacked(), Stacked(2)
    graph = trace(many, torch.zeros(5, 4))
    assert graph.unreached == ()
    assert [use.axes.fans for use in graph.of("up")] == [
        use.axes.fans for use in trace(two, torch.zeros(5, 4)).of("up")
    ]
    assert graph.notes[0] == f"{ASKS}of experts in one tensor, the first 2 stand for all (the model itself)"
    assert many.visited == []


def test_what_holds_for_none_does_not_hold_for_all():
    def stops(x):
        found = x[:, 0] > 0
        if found.any() or found.all():
            raise ValueError("stopped early")
        return x

    assert trace(Asking(stops), torch.zeros(2, 4)).unreached == ()


def test_layers_that_ask_alike_are_said_together():
    model = nn.Sequential(Asking(some), Asking(some), Asking(some))
    (note,) = [note for note in trace(model, torch.zeros(2, 4)).notes if note.startswith(ASKS)]
    assert note.endswith("(0 and 2 more)")


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)


def test_the_branch_not_taken_is_unreached_and_classes_fill_in():
    graph = trace(Branching(), torch.zeros(2, 4))
    assert graph.unreached == ("a.weight", "a.bias")
    assert graph.of("a.weight")[0].axes.fans == (4, 4)
    assert ASKS in graph.notes[0]


def test_values_that_are_known_are_not_made_up():
    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(self, ids):
            if ids.max().item() != 7 or ids[ids > 4].tolist() != [5, 7]:
                raise ValueError("values were lost")
            return self.table(ids)[ids > 4]

    assert trace(Shifts(), torch.tensor([[1, 5, 7]])).notes == ()


def test_a_made_up_answer_that_does_not_fit_is_the_usual_error():
    with pytest.raises(TraceError, match=r"failed in Asking: RuntimeError"):
        trace(Asking(lambda x: x.view(int(x.sum()), 3)), torch.zeros(2, 4))
