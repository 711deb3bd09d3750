"""The application `generation` in its reduced form: both networks learn; and its Fréchet distance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

if not Path("/usr/share/datasets/fashion-mnist").is_dir():
    pytest.skip("needs the Debian package dataset-fashion-mnist", allow_module_level=True)


def test_the_claims_hold_in_the_reduced_form(quick) -> None:
    found = quick("generation")
    assert found["reached"]
    for start in found["numbers"]["trained"]:
        for run in start["runs"]:
            assert run["distances"][-1] < run["distances"][0] / 2
            assert run["classes"] >= 5


def test_frechet_distance_of_known_normal_distributions(load) -> None:
    """Of diagonal ones: Σ (μ − ν)² + (σ − τ)²; and 0 between equals."""
    judge = load("adversaries.judge")
    zero = torch.zeros(2, dtype=torch.double)
    one, other = torch.diag(torch.tensor([1.0, 4.0]).double()), torch.diag(torch.tensor([9.0, 4.0]).double())
    assert judge.frechet(zero, one, zero, one) == pytest.approx(0, abs=1e-9)
    assert judge.frechet(zero, one, zero + 2, other) == pytest.approx(8 + 4)
    turn = torch.linalg.qr(torch.randn(2, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0)))[0]
    assert judge.frechet(zero, turn @ one @ turn.T, zero + 2, turn @ other @ turn.T) == pytest.approx(12)


def test_moments(load) -> None:
    features = torch.tensor([[0.0, 2.0], [2.0, 2.0]])
    mean, covariance = load("adversaries.judge").moments(features)
    assert mean.tolist() == [1, 2]
    assert covariance.tolist() == [[2, 0], [0, 0]]


def test_showing_images_leaves_the_model_as_it_is(load) -> None:
    import fanin

    training = load("adversaries.training")
    model = fanin.models.dcgan(shape=(1, 14, 14), width=4, latent=3)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    images = training.shown(model, training.noise(5, 3, torch.Generator().manual_seed(0)))
    assert images.shape == (5, 1, 14, 14)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert model.training


def test_tiles_stand_row_by_row(load) -> None:
    images = torch.arange(36.0).reshape(36, 1, 1, 1).expand(36, 1, 2, 2)
    tiles = load("adversaries.picture")._tiles(images)
    assert tiles.shape == (12, 12)
    assert tiles[0, ::2].tolist() == [0, 1, 2, 3, 4, 5]
    assert tiles[::2, 0].tolist() == [0, 6, 12, 18, 24, 30]
