"""The deviation of many values, also where it is small beside their mean."""

from __future__ import annotations

import pytest
import torch

from fanin.data_driven.deviation import deviation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mean", [0.0, 3.0, 1000.0])
def test_it_is_that_of_double_precision(noise, dtype, mean):
    values = (noise(3, 700, 501) * 0.5 + mean).to(dtype)
    expected = float(values.double().std(correction=0))
    assert deviation(values) == pytest.approx(expected, rel=1e-3, abs=1e-12)
    assert deviation(values.transpose(0, 2)) == pytest.approx(expected, rel=1e-3, abs=1e-12)


def test_what_is_not_finite_stays_so(noise):
    values = noise(10, 10)
    values[3, 3] = float("nan")
    assert deviation(values) != deviation(values)
    values[3, 3] = float("inf")
    assert not deviation(values) < float("inf")


def test_one_value_has_none():
    assert deviation(torch.tensor([3.0])) == 0.0
    assert deviation(torch.tensor([float("nan")])) != 0.0
