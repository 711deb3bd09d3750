"""Forecasters: equal to transformers' PatchTST, levels, patches, independent channels, errors."""

import pytest
import torch
from torch.nn import functional as F

from fanin import ArgumentError, UnknownNameError
from fanin.models.forecaster import forecaster
from fanin.models.layers.series import Levels, Patches


@pytest.fixture(params=["patch", "lstm"])
def kind(request):
    return request.param


def series(steps=40):
    return torch.randn(4, steps, 3, generator=torch.Generator().manual_seed(0)).cumsum(1)


def small(kind, **options):
    return forecaster(40, 5, 3, 8, 2, kind=kind, patch=8, stride=4, heads=2, **options)


PATCHTST_NAMES = {
    "model.encoder.embedder.input_embedding": "network.embedding",
    "model.encoder.positional_encoder.position_enc": "network.positions.table.weight",
    "model.encoder.layers": "network.blocks",
    "head.projection": "network.head",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.out_proj": "attention.output",
    "norm_sublayer1.batchnorm": "attention_norm.norm",
    "norm_sublayer3.batchnorm": "feedforward_norm.norm",
    "ff.0": "feedforward.up",
    "ff.3": "feedforward.down",
}


def renamed(name):
    for theirs, ours in PATCHTST_NAMES.items():
        name = name.replace(theirs, ours)
    return name


@pytest.mark.parametrize("training", [True, False])
def test_the_forecast_of_patchtst(training):
    transformers = pytest.importorskip("transformers")
    shape = {
        "num_input_channels": 3,
        "context_length": 44,
        "prediction_length": 5,
        "patch_length": 8,
        "patch_stride": 4,
    }
    sizes = {"d_model": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "ffn_dim": 32, "pre_norm": False}
    config = transformers.PatchTSTConfig(
        **shape, **sizes, norm_type="batchnorm", scaling=None, pooling_type=None, positional_encoding_type="random"
    )
    theirs = transformers.PatchTSTForPrediction(config).train(training)
    ours = small("patch", levels="none").train(training)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.5)
    ours.load_state_dict({renamed(name): value for name, value in theirs.state_dict().items()})
    padded = F.pad(series().mT, (0, 4), mode="replicate").mT  # which theirs leaves to its caller
    torch.testing.assert_close(
        ours(series()), theirs(past_values=padded).prediction_outputs, rtol=1e-4, atol=1e-4, check_stride=False
    )


def test_lstm_formula():
    model = small("lstm", levels="last")
    outputs, _ = model.network.lstm(series() - series()[:, -1:])
    expected = model.network.head(outputs[:, -1]).reshape(4, 3, 5).mT + series()[:, -1:]
    torch.testing.assert_close(model(series()), expected)


@pytest.mark.parametrize("levels", ["standard", "last"])
def test_a_shift_of_the_series_shifts_the_forecast(kind, levels):
    model, shift = small(kind, levels=levels).eval(), torch.tensor([100.0, -5.0, 7.0])
    torch.testing.assert_close(model(series() + shift), model(series()) + shift, rtol=0, atol=1e-3)
    plain = small(kind, levels="none").eval()
    assert (plain(series() + shift) - plain(series()) - shift).abs().max() > 1


def test_a_scale_of_the_series_scales_the_forecast(kind):
    model, scale = small(kind).eval(), torch.tensor([10.0, 0.5, 3.0])
    torch.testing.assert_close(model(scale * series()), scale * model(series()), rtol=1e-3, atol=1e-3)


def test_levels():
    x = series()
    centred, level, scale = Levels("standard")(x)
    torch.testing.assert_close(level, x.mean(1, keepdim=True))
    torch.testing.assert_close(scale, x.std(1, keepdim=True, correction=0), rtol=1e-4, atol=0)
    torch.testing.assert_close(centred * scale + level, x)
    centred, level, scale = Levels("last")(x)
    assert torch.equal(level, x[:, -1:])
    assert torch.equal(scale, torch.ones(4, 1, 3))
    assert torch.equal(centred, x - x[:, -1:])


def test_a_constant_series_is_forecast_as_itself_or_near():
    flat = torch.full((2, 40, 3), 1e4)
    for kind in ("patch", "lstm"):
        forecast = small(kind).eval()(flat)
        assert ((forecast - 1e4).abs() < 1).all()


def test_patches_with_the_last_value_repeated_at_the_end():
    x = torch.arange(10.0).reshape(1, 10, 1)
    assert Patches(4, 3)(x)[0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 9, 9, 9]]
    assert small("patch").network.head.in_features == 10 * 8


def test_channels_do_not_see_each_other_in_patches():
    model, changed = small("patch").eval(), series()
    changed[..., 1] = -changed[..., 1]
    before, after = model(series()), model(changed)
    assert torch.equal(before[..., [0, 2]], after[..., [0, 2]])
    assert not torch.equal(before[..., 1], after[..., 1])
    swapped = model(series()[..., [2, 0, 1]])
    torch.testing.assert_close(swapped, before[..., [2, 0, 1]])  # the same weights for each


def test_channels_see_each_other_in_an_lstm():
    model, changed = small("lstm").eval(), series()
    changed[..., 1] = -changed[..., 1]
    assert not torch.equal(model(series())[..., 0], model(changed)[..., 0])


@pytest.mark.parametrize("norm", ["layer", "rms", "batch", None])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_norms(norm, placement):
    model = small("patch", norm=norm, placement=placement, activation="swiglu", bias=False)
    assert model(series()).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "arima"}, "forecaster: kind must be 'patch' or 'lstm', got 'arima'"),
        ({"lookback": 8}, "forecaster: a patch of 16 steps is longer than the 8 that are read"),
        ({"stride": 0}, "forecaster: stride must be a positive integer, got 0"),
        ({"horizon": 0}, "forecaster: horizon must be a positive integer, got 0"),
        ({"channels": 0, "kind": "lstm"}, "forecaster: channels must be a positive integer, got 0"),
        ({"levels": "first"}, "levels must be one of standard, last, none, got 'first'"),
        ({"heads": 3}, "attention: 3 heads do not divide the width 64"),
        ({"dropout": 2.0}, "forecaster: dropout must be at least 0 and below 1, got 2.0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError) as caught:
        forecaster(**options)
    assert str(caught.value) == message


def test_unknown_norm():
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'instance'\. Known: batch, layer, rms"):
        forecaster(norm="instance")
