"""What theory predicts of single operations, against integrals and sums done by hand."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fanin.torch.probe import LayerProbe, probe

WIDTH = 64


def look(model: nn.Module, x: Any, *, std: float | None = None) -> dict[str, LayerProbe]:
    """Layers by name, in evaluation mode; every weight of law N(0, std²) where that is given."""
    laws = {} if std is None else {name: (0.0, std) for name, _ in model.named_parameters()}
    return {layer.name: layer for layer in probe(model, x, laws=laws, training=False).layers}


def nodes() -> tuple[Tensor, Tensor]:
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    weights = torch.exp(-z * z / 2)
    return z, weights / weights.sum()


def expected(seen: dict[str, LayerProbe], name: str) -> float:
    value = seen[name].expected_forward
    assert value is not None, seen[name].expected_why
    return value


def apart(positions: int, equal: bool) -> Tensor:
    """One sample whose positions are orthogonal, or all the same; E[x²] = 1 at each."""
    rows = torch.eye(WIDTH)[:positions] * sqrt(WIDTH)
    return rows[:1].expand(positions, -1).clone()[None] if equal else rows[None]


class Block(nn.Module):
    """relu(f₂ + relu(f₁)), and a sum again."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.relu(self.one(x))
        return self.three(self.last(self.two(skip) + skip))


def test_a_nonlinearity_behind_a_residual_sum() -> None:
    seen = look(Block(), apart(1, False)[0], std=sqrt(1 / WIDTH))
    z, weights = nodes()
    skip = torch.relu(z)
    q = float(weights @ skip**2)
    behind = torch.relu(skip[:, None] + sqrt(q) * z[None, :]).square()
    assert expected(seen, "last") == pytest.approx(float(weights @ behind @ weights), rel=0.02)
    assert expected(seen, "three") == pytest.approx(expected(seen, "last"), rel=1e-6)


def test_pooling_of_orthogonal_and_equal_positions() -> None:
    for equal in (False, True):
        x = apart(2, equal).transpose(1, 2)
        for pool, apart_q in ((nn.AvgPool1d(2), 0.5), (nn.MaxPool1d(2), 1.0), (nn.AdaptiveAvgPool1d(1), 0.5)):
            model = nn.Sequential(nn.Conv1d(WIDTH, 32, 1, bias=False), pool, nn.Conv1d(32, 8, 1, bias=False))
            seen = look(model, x, std=sqrt(1 / WIDTH))
            assert expected(seen, "1") == pytest.approx(1.0 if equal else apart_q, rel=0.02)
            assert expected(seen, "2") == pytest.approx(0.5 * expected(seen, "1"), rel=1e-6)


def test_pooling_behind_a_relu() -> None:
    model = nn.Sequential(nn.Conv1d(WIDTH, 32, 1, bias=False), nn.ReLU(), nn.MaxPool1d(2))
    z, weights = nodes()
    top = torch.relu(torch.maximum(z[:, None], z[None, :])).square()
    seen = look(model, apart(2, False).transpose(1, 2), std=sqrt(1 / WIDTH))
    assert expected(seen, "2") == pytest.approx(float(weights @ top @ weights), rel=0.05)
    model[2] = nn.AvgPool1d(2)
    seen = look(model, apart(2, False).transpose(1, 2), std=sqrt(1 / WIDTH))
    assert expected(seen, "2") == pytest.approx((0.5 + 0.5 / pi) / 2, rel=1e-3)


def test_neighbours_behind_a_convolution() -> None:
    """Each tap has a weight of its own: outputs are correlated only where one tap sees the same in both."""
    model = nn.Sequential(nn.Conv1d(WIDTH, 16, 3, bias=False), nn.AvgPool1d(2), nn.Conv1d(16, 4, 1, bias=False))
    twice = nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 1, bias=False), *model)
    for equal, apart_q in ((False, 0.5), (True, 1.0)):
        x, std = apart(4, equal).transpose(1, 2), sqrt(1 / 3 / WIDTH)
        seen = look(model, x, std=std)
        assert expected(seen, "0") == pytest.approx(1.0, rel=1e-6)
        assert expected(seen, "1") == pytest.approx(apart_q, rel=1e-6)
        again = look(twice, x, std=2 * sqrt(1 / WIDTH))
        assert expected(again, "1") == pytest.approx(48.0, rel=1e-6)
        assert expected(again, "2") == pytest.approx(48.0 * apart_q, rel=1e-6)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both, self.down = nn.Linear(WIDTH, 2 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Squared(Packed):
    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.both(x)[..., :WIDTH]) * self.both(x)[..., :WIDTH])


def test_gated_units() -> None:
    for model in (Gated(), Packed()):
        seen = look(model, apart(3, False)[0], std=sqrt(1 / WIDTH))
        assert expected(seen, "down") == pytest.approx(0.355776, rel=1e-3)
    assert look(Squared(), apart(3, False)[0])["down"].expected_why is None  # starts anew from measured values


def test_parts_of_a_packed_matrix_keep_their_own_size() -> None:
    model = Packed()
    with torch.no_grad():
        model.both.weight.normal_(0, sqrt(1 / WIDTH), generator=torch.Generator().manual_seed(0))
        model.both.weight[WIDTH:] *= 3
        model.down.weight.normal_(0, sqrt(1 / WIDTH), generator=torch.Generator().manual_seed(1))
    assert expected(look(model, apart(3, False)[0]), "down") == pytest.approx(9 * 0.355776, rel=0.1)


def test_special_matrices() -> None:
    same = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False), nn.ReLU())
    nn.init.normal_(same[0].weight, 0, 0.25, generator=torch.Generator().manual_seed(0))
    nn.init.eye_(same.get_parameter("1.weight"))
    seen = look(same, apart(2, False)[0])
    assert expected(seen, "1") == expected(seen, "0")
    assert expected(seen, "2") == pytest.approx(expected(seen, "0") / 2, rel=1e-6)
    mirrored = nn.Linear(WIDTH, 8, bias=False)
    with torch.no_grad():
        mirrored.weight[4:] = -mirrored.weight[:4]
    (row,) = look(nn.Sequential(mirrored), apart(2, False)[0]).values()
    assert row.expected_forward is None
    assert row.expected_why == "not predicted: half of '0.weight' mirrors the other half"
    zero = nn.Linear(WIDTH, 8)
    nn.init.zeros_(zero.weight)
    nn.init.constant_(zero.bias, 0.5)
    (row,) = look(nn.Sequential(zero), apart(2, False)[0]).values()
    assert row.expected_forward == pytest.approx(0.25, rel=1e-9)


def test_few_inputs_of_a_uniform_law_are_not_gaussian() -> None:
    model = nn.Sequential(nn.Linear(2, 64), nn.Tanh())
    seen = look(model, torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    assert seen["0"].expected_forward is not None
    assert seen["1"].expected_why == "not predicted: the distribution of what the nonlinearity sees is not followed"
    depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.SiLU())
    assert look(depthwise, torch.randn(2, 8, 6, 6))["1"].expected_forward is None


def test_evaluation_and_training_of_batch_norm_and_dropout() -> None:
    model = nn.Sequential(
        nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.Dropout(0.5), nn.Linear(WIDTH, 8)
    )
    laws = {"0.weight": (0.0, 2 / sqrt(WIDTH)), "3.weight": (0.0, sqrt(1 / WIDTH)), "3.bias": (0.0, 0.0)}
    x = apart(8, False)[0]
    for training, norm, last in ((False, 4 / (1 + 1e-5), 4 / (1 + 1e-5)), (True, 4 / (4 + 1e-5), 2 * 4 / (4 + 1e-5))):
        rows = {row.name: row for row in probe(model, x, laws=laws, training=training).layers}
        assert rows["1"].expected_forward == pytest.approx(norm, rel=1e-9)
        assert rows["3"].expected_forward == pytest.approx(last, rel=1e-9)


class Scaled(nn.Module):
    """x + a·f(x), with one number a or one for each unit."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.first, self.branch = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.scale, self.last = nn.Parameter(scale), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + self.scale * self.branch(x))


@pytest.mark.parametrize("scale", [torch.zeros(1), torch.tensor(0.5), torch.full((WIDTH,), 0.1)])
def test_scaled_branches(scale: Tensor) -> None:
    laws = {f"{name}.weight": (0.0, sqrt(1 / WIDTH)) for name in ("first", "branch", "last")}
    rows = {row.name: row for row in probe(Scaled(scale), apart(4, False)[0], laws=laws).layers}
    assert rows["last"].expected_forward == pytest.approx(1 + float(scale.flatten()[0]) ** 2, rel=1e-6)


def test_gradients_that_depend_on_values_are_not_predicted() -> None:
    pooled = nn.Sequential(nn.Conv1d(4, 32, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(32 * 7, 8))
    seen = look(pooled, torch.randn(4, 4, 16, generator=torch.Generator().manual_seed(0)))
    assert seen["0"].expected_gradient is None
    pooled[2] = nn.Conv1d(32, 32, 2, stride=2)
    seen = look(pooled, torch.randn(4, 4, 16, generator=torch.Generator().manual_seed(0)))
    assert seen["0"].expected_gradient is not None


class Half(nn.Module):
    """A branch whose weights have a mean: what it sends back has no expectation, so the sum has none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.branch = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(self.branch.weight, 1.0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return x - self.branch(torch.tanh(x))


def test_a_gradient_is_predicted_whole_or_not_at_all() -> None:
    assert look(Half(), apart(4, False)[0])["first"].expected_gradient is None


class Odd(nn.Module):
    """An operation that no rule covers, on a tensor of no dimension that rules know."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(torch.fft.fft(self.first(x)).real))


def test_reasons_are_handed_on() -> None:
    seen = look(Odd(), apart(4, False)[0])
    assert seen["act"].expected_why is not None
    assert seen["act"].expected_why.startswith("not predicted: ")
    assert seen["first"].expected_why is None
    assert seen["last"].expected_forward is not None
