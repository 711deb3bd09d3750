"""The application `forecasting` in its reduced form: trained models are better than naive forecasts."""

from __future__ import annotations

import numpy as np
import pytest

from fanin.data import load as data_of

pytest.importorskip("statsmodels")


def test_the_claims_hold_in_the_reduced_form(quick) -> None:
    found = quick("forecasting")
    assert [claim["text"] for claim in found["claims"] if not claim["reached"]] == []
    assert len(found["claims"]) == 4
    series = found["numbers"]["elnino"]
    unit = float(data_of(series["spec"]).scale.std[0])
    naive = series["naive RMSE"]["one season before"]
    for model in ("LSTM", "patch transformer"):
        runs = series["races"][model]["runs"]
        assert {run["start"] for run in runs} == {"native", "auto"}
        assert len(runs) == 2 * found["seeds"]
        assert np.mean([unit * run["scores"][-1] < naive for run in runs]) >= 0.75
        assert np.mean([unit * run["scores"][0] < naive for run in runs]) < 0.75  # not before it is trained


def test_naive_forecasts_by_hand(load) -> None:
    forecasting = load("forecasting")
    data = data_of("elnino,lookback=36,horizon=14")
    raw = data.scale.raw(np.concatenate([data.test.inputs[5], data.test.targets[5]]))[:, 0]
    told = {name: data.scale.raw(each[5])[:, 0] for name, each in forecasting.naive_forecasts(data, 12).items()}
    assert list(told) == ["last value", "one season before", "mean of 3 seasons"]
    assert np.allclose(told["last value"], raw[35])
    assert np.allclose(told["one season before"], [*raw[24:36], *raw[24:26]])
    expected = [np.mean([raw[month], raw[12 + month], raw[24 + month]]) for month in range(12)]
    assert np.allclose(told["mean of 3 seasons"], [*expected, *expected[:2]])


def test_rmse_is_the_races(load) -> None:
    from fanin.race.objective import objective

    torch = pytest.importorskip("torch")
    data = data_of("sunspots")
    forecast = np.zeros_like(data.test.targets)
    mine = load("forecasting").rmse(data, forecast)
    assert mine == pytest.approx(float(np.sqrt((data.test.targets.astype(float) ** 2).mean())))
    zero = torch.nn.MSELoss()(torch.from_numpy(forecast), torch.from_numpy(data.test.targets))
    assert mine == pytest.approx(float(zero) ** 0.5, rel=1e-6)
    assert objective("regression").score_name == "RMSE"
