"""What cannot be checked is said in one clear sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fanin.checking import check
from fanin.errors import ArgumentError, DataError, PlanError
from fanin.initializers import Normal
from fanin.torch.planning import initialize, plan


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def refused(made: nn.Module, inputs: Any, loss: Any = None) -> str:
    with pytest.raises(DataError) as caught:
        check(made, inputs, loss)
    return str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_batch(value: float) -> None:
    x = torch.zeros(5, 4)
    x[2, 3] = x[4, 0] = value
    assert refused(model(), x) == (
        f"the batch holds 2 non-finite values of 20, the first ({value}) at index [2, 3]: "
        "clean the data before checking the model"
    )


def test_wrong_shape_names_the_layer() -> None:
    message = refused(model(), torch.zeros(2, 5))
    assert message.startswith("the model's forward pass failed in layer '0' (Linear): mat1 and mat2 shapes")
    assert message.endswith("(inputs: float32 [2, 5]); give a batch that the model accepts")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(0, 4), "the batch is empty: shape (0, 4); give at least one sample"),
        (3.0, "the inputs hold no tensor: give a batch, a tuple of arguments or a dict of keywords"),
        (
            torch.zeros(2, 4, device="meta"),
            "the batch is on meta, the model on cpu: move one, e.g. batch.to('cpu')",
        ),
    ],
)
def test_unusable_batches(inputs: Any, message: str) -> None:
    assert refused(model(), inputs) == message


def test_a_frozen_model_is_checked_forward_only() -> None:
    made = model().requires_grad_(False)
    report = check(made, torch.randn(2, 4))
    assert report.notes == (
        "all 4 parameters are frozen (requires_grad is False): there was no backward pass, so nothing is said of "
        "gradients; model.requires_grad_(True) brings it back",
    )
    assert (report.verdict, report.loss, report.findings) == ("healthy", None, ())
    assert [layer.measured.gradient for layer in report.layers] == [None] * 3
    assert not any(parameter.requires_grad for parameter in made.parameters())
    assert check(made, torch.randn(2, 4), torch.tensor([0, 2])).loss == pytest.approx(1.1, abs=0.5)


def test_meta_model() -> None:
    assert refused(model().to("meta"), torch.zeros(2, 4)).startswith(
        "parameter '0.weight' is on the meta device and holds no values to check"
    )


def test_model_without_parameters() -> None:
    assert "has no parameters" in refused(nn.ReLU(), torch.zeros(2, 4))


class Argmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).argmax(1)


def test_integer_outputs() -> None:
    assert refused(Argmax(), torch.zeros(2, 4)) == (
        "the model's output has no floating-point tensor to differentiate (seen: torch.int64)"
    )


@pytest.mark.parametrize(
    ("loss", "part"),
    [
        (lambda out: out, "loss(output) must return one number as a tensor, got shape (2, 3)"),
        (lambda out: 1.0, "loss(output) must return one number as a tensor, got float"),
        (lambda out: out.detach().sum(), "the loss does not depend on any parameter that requires grad"),
        (torch.zeros(2), "labels must be integers, got torch.float32"),
        (torch.zeros(5, dtype=torch.long), "labels of shape (5,) do not fit outputs of shape (2, 3)"),
        (torch.tensor([0, 3]), "labels run from 0 to 3, but the output has 3 classes"),
    ],
)
def test_unusable_losses(loss: Any, part: str) -> None:
    assert part in refused(model(), torch.zeros(2, 4), loss)


def test_inputs_as_tuple_and_mapping() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.linear(a + b)}

    a, b = torch.randn(2, 4), torch.randn(2, 4)
    made = Two()
    assert check(made, (a, b)).to_dict() == check(made, {"a": a, "b": b}).to_dict()


def test_a_plan_for_another_model() -> None:
    other = plan(nn.Sequential(nn.Linear(4, 9)), "he")
    with pytest.raises(PlanError, match=r"the plan has shape \[9, 4\] for '0.weight', the model \[8, 4\]"):
        check(model(), torch.zeros(2, 4), plan=other)
    with pytest.raises(PlanError, match=r"no step for parameter 'weight' of Linear"):
        check(nn.Linear(4, 3), torch.zeros(2, 4), plan=other)


def test_complex_parameters() -> None:
    made = nn.Sequential(nn.Linear(4, 8))
    made.register_parameter("w", nn.Parameter(torch.zeros(4, dtype=torch.complex64)))
    assert refused(made, torch.zeros(2, 4)) == (
        "parameter 'w' is complex64: only signals of real numbers can be checked; "
        "fanin.plan and fanin.count take such a model"
    )


def test_a_parameter_without_values_strays_from_no_plan() -> None:
    class WithEmpty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.none = nn.Linear(4, 8), nn.Parameter(torch.empty(0, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.linear(x), x @ self.none.t()], 1)

    made, x = WithEmpty(), torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    drawn = initialize(made, "native", x, seed=0)
    assert drawn["none"].shape == (0, 4)
    assert check(made, x, plan=drawn).findings == ()
    laws = drawn.override({"none": Normal()})
    assert check(made, x, plan=laws).findings == ()


def test_a_batch_of_one_says_what_it_cannot_tell() -> None:
    report = check(model(), torch.randn(1, 4))
    assert report.notes == (
        "the batch is one sample: what differs between samples, and how alike they become, cannot be measured",
    )
    layer = report.to_dict()["layers"][0]
    assert (layer["varying"], layer["correlation"], layer["effective_rank"]) == (None, None, None)


def test_a_loss_that_raises() -> None:
    def fails(_: Any) -> torch.Tensor:
        raise ValueError("no loss today")

    assert refused(model(), torch.zeros(2, 4), fails) == (
        "the forward pass came through, but loss(output) failed: ValueError: no loss today (output: float32 [2, 3])"
    )


class Refuses(torch.autograd.Function):
    """Passes forward only."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("one way only")


def test_a_backward_pass_that_raises_names_the_layer_that_it_had_reached() -> None:
    class OneWay(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Refuses.apply(x)

    made = nn.Sequential(nn.Linear(4, 8), OneWay(), nn.Linear(8, 3))
    message = refused(made, torch.zeros(2, 4))
    assert message == ("the backward pass failed before layer '1', which it had reached: RuntimeError: one way only")


def test_quantized_weights() -> None:
    made = nn.Sequential(nn.Linear(4, 8))
    made[0].weight = nn.Parameter(torch.zeros(8, 4, dtype=torch.int8), requires_grad=False)
    assert refused(made, torch.zeros(2, 4)) == (
        "parameter '0.weight' is quantized (int8): integers have no gradient and no scale of their own; "
        "check the model before it is quantized"
    )


def test_settings_of_the_optimizer() -> None:
    with pytest.raises(ArgumentError, match="optimizer must be 'adam' or 'sgd', got 'lion'"):
        check(model(), torch.zeros(2, 4), optimizer="lion")  # pyright: ignore
    with pytest.raises(ArgumentError, match="lr must be a positive number, got -1"):
        check(model(), torch.zeros(2, 4), lr=-1)
