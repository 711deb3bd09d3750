"""Recurrent builders: what they read, where they end, what they are made of, errors."""

import pytest
import torch
from torch import nn

from fanin import ArgumentError, DataError, UnknownNameError
from fanin.models.recurrent import gru, lstm, rnn
from fanin.models.seq2seq import seq2seq

BUILDERS = {"rnn": rnn, "lstm": lstm, "gru": gru}


def names(model):
    return [name for name, _ in model.named_children()]


@pytest.fixture(params=BUILDERS)
def builder(request):
    return BUILDERS[request.param]


def test_structure(builder):
    kind = builder.__name__
    assert names(builder(3, 2)) == ["steps", kind, "read", "head"]
    assert names(builder(vocabulary=9, norm="rms")) == ["embedding", kind, "read", "norm", "head"]
    assert type(builder().get_submodule(kind)) is {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]


def test_defaults_read_rows_of_digits_and_predict_tokens(builder):
    assert builder()(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    tokens = torch.randint(9, (2, 7))
    assert builder(vocabulary=9, width=6)(tokens).shape == (2, 7, 9)
    assert builder(vocabulary=9, classes=3, width=6)(tokens).shape == (2, 3)
    assert builder(vocabulary=9, classes=3, width=6, reads="every")(tokens).shape == (2, 7, 3)
    assert builder(4, 3, reads="every")(torch.randn(2, 7, 4)).shape == (2, 7, 3)
    assert builder(5, vocabulary=9, width=6).embedding.embedding_dim == 5
    assert builder(vocabulary=9, width=6).embedding.embedding_dim == 6


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn_formula(activation):
    model, x = rnn(3, 2, 4, activation=activation), torch.randn(5, 6, 3)
    cell, state = model.rnn, torch.zeros(5, 4)
    act = {"tanh": torch.tanh, "relu": torch.relu}[activation]
    for step in x.unbind(1):
        state = act(step @ cell.weight_ih_l0.T + cell.bias_ih_l0 + state @ cell.weight_hh_l0.T + cell.bias_hh_l0)
    torch.testing.assert_close(model(x), state @ model.head.weight.T + model.head.bias)


def test_the_last_layer_is_read_at_the_last_step(builder):
    model, x = builder(3, 2, 4, depth=2), torch.randn(5, 6, 3)
    outputs, _ = model.get_submodule(builder.__name__)(x)
    torch.testing.assert_close(model(x), model.head(outputs[:, -1]))


def test_each_direction_is_read_at_its_own_end(builder):
    model, x = builder(3, 2, 4, depth=2, bidirectional=True), torch.randn(5, 6, 3)
    outputs, _ = model.get_submodule(builder.__name__)(x)
    ends = torch.cat((outputs[:, -1, :4], outputs[:, 0, 4:]), dim=-1)  # the backward direction ends at the first step
    torch.testing.assert_close(model(x), model.head(ends))


def test_a_tagger_reads_both_directions_at_every_step(builder):
    model, x = builder(3, 2, 4, bidirectional=True, reads="every"), torch.randn(5, 6, 3)
    changed = x.clone()
    changed[:, -1] += 1
    assert not torch.equal(model(x)[:, 0], model(changed)[:, 0])
    one_way = builder(3, 2, 4, reads="every")
    assert torch.equal(one_way(x)[:, :-1], one_way(changed)[:, :-1])


def test_images_are_read_row_by_row(builder):
    model, images = builder(10, 3, 4), torch.randn(2, 2, 6, 5)
    rows = torch.stack([images[:, :, row].permute(0, 2, 1).flatten(1) for row in range(6)], dim=1)
    assert torch.equal(model(images), model(rows))
    grey = torch.randn(2, 1, 7, 10)
    assert torch.equal(model(grey), model(grey.flatten(1)))
    assert torch.equal(model(grey), model(grey[:, 0]))


@pytest.mark.parametrize("shape", [(2, 1, 7, 9), (2, 7, 9), (2, 63), (9,)])
def test_samples_of_another_size_are_refused(builder, shape):
    with pytest.raises(DataError) as caught:
        builder(10, 3, 4)(torch.randn(shape))
    said = "×".join(map(str, shape[1:]))
    assert str(caught.value) == (
        f"samples of shape {said} are no sequences of steps of 10 features: give inputs= the features of a step (of an "
        "image's row: width times channels)"
    )


def test_norm_stands_before_the_head(builder):
    model, x = builder(3, 2, 4, norm="layer"), torch.randn(5, 6, 3)
    outputs, _ = model.get_submodule(builder.__name__)(x)
    torch.testing.assert_close(model(x), model.head(nn.functional.layer_norm(outputs[:, -1], (4,))))
    assert builder(3, 2, 4, bidirectional=True, norm=nn.LayerNorm).norm.normalized_shape == (8,)


def test_bias_and_dropout(builder):
    assert not [name for name, _ in builder(3, 2, bias=False).named_parameters() if "bias" in name]
    assert builder(3, 2, depth=2, dropout=0.5).get_submodule(builder.__name__).dropout == 0.5
    assert builder(3, 2, depth=1, dropout=0.5).get_submodule(builder.__name__).dropout == 0  # torch would warn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"inputs": 0}, "inputs must be a positive integer, got 0"),
        ({"classes": -1}, "classes must be a positive integer, got -1"),
        ({"depth": 1.5}, "depth must be a positive integer, got 1.5"),
        ({"vocabulary": 0}, "vocabulary must be a positive integer, got 0"),
        ({"reads": "first"}, "reads must be 'last' or 'every', got 'first'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_bad_arguments(builder, options, message):
    with pytest.raises(ArgumentError) as caught:
        builder(**options)
    assert str(caught.value) == f"{builder.__name__}: {message}"


def test_unknown_names():
    with pytest.raises(
        ArgumentError, match="rnn: activation must be 'tanh' or 'relu', the two that torch has, got 'gelu'"
    ):
        rnn(activation="gelu")
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'batch'\. Known: layer, rms"):
        gru(norm="batch")


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_seq2seq_is_taught_with_the_tokens_before(cell):
    model = seq2seq(20, 8, 2, cell=cell, targets=30, embedding=5, start=3)
    source, target = torch.randint(20, (2, 4)), torch.randint(30, (2, 6))
    _, state = model.encoder(model.source(source))
    seen = torch.cat((torch.full((2, 1), 3), target[:, :-1]), dim=1)
    states, _ = model.decoder(model.target(seen), state)
    torch.testing.assert_close(model(source, target), model.head(states))
    assert model(source, target).shape == (2, 6, 30)


def test_seq2seq_hangs_on_the_source_and_not_on_the_future():
    model = seq2seq(20, 8)
    source, target = torch.randint(20, (2, 4)), torch.randint(20, (2, 6))
    later = target.clone()
    later[:, 3] = (later[:, 3] + 1) % 20
    assert torch.equal(model(source, target)[:, :4], model(source, later)[:, :4])
    assert not torch.equal(model(source, target)[:, 4:], model(source, later)[:, 4:])
    assert not torch.equal(model(source, target)[:, 0], model((source + 1) % 20, target)[:, 0])


def test_seq2seq_reads_ignored_targets_as_tokens():
    model, source = seq2seq(20, 8), torch.randint(20, (2, 4))
    assert torch.equal(model(source, torch.tensor([[5, -100, 7]] * 2)), model(source, torch.tensor([[5, 0, 7]] * 2)))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"cell": "elman"}, UnknownNameError, r"unknown cell of seq2seq 'elman'\. Known: gru, lstm, rnn"),
        ({"start": 64}, ArgumentError, "seq2seq: start must be one of the 64 tokens of the target, got 64"),
        ({"start": -1}, ArgumentError, "seq2seq: start must be one of the 64 tokens of the target, got -1"),
        ({"targets": 0}, ArgumentError, "seq2seq: targets must be a positive integer, got 0"),
        ({"dropout": -0.1}, ArgumentError, "seq2seq: dropout must be at least 0 and below 1, got -0.1"),
    ],
)
def test_seq2seq_bad_arguments(options, kind, message):
    with pytest.raises(kind, match=message):
        seq2seq(**options)
