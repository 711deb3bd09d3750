"""The layers of torch.nn, named as in torch.nn.functional."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from fanin.models.architecture.kinds import REQUIRED, Kind, Option, attribute, kind_of_class

_BY_DIMENSIONS = {
    "adaptive_avg_pool": "AdaptiveAvgPool",
    "adaptive_max_pool": "AdaptiveMaxPool",
    "avg_pool": "AvgPool",
    "circular_pad": "CircularPad",
    "constant_pad": "ConstantPad",
    "conv": "Conv",
    "conv_transpose": "ConvTranspose",
    "dropout": "Dropout",
    "instance_norm": "InstanceNorm",
    "max_pool": "MaxPool",
    "reflection_pad": "ReflectionPad",
    "replication_pad": "ReplicationPad",
    "zero_pad": "ZeroPad",
}
"""Classes for one, two and three dimensions."""
_CHANNELS = {"conv": "in", "conv_transpose": "in", "instance_norm": "num_features"}
"""Those of them with an option that is the number of channels."""
_PLAIN: dict[str, type[nn.Module]] = {
    "alpha_dropout": nn.AlphaDropout,
    "celu": nn.CELU,
    "channel_shuffle": nn.ChannelShuffle,
    "dropout": nn.Dropout,
    "elu": nn.ELU,
    "embedding": nn.Embedding,
    "flatten": nn.Flatten,
    "fold": nn.Fold,
    "gelu": nn.GELU,
    "glu": nn.GLU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "local_response_norm": nn.LocalResponseNorm,
    "log_sigmoid": nn.LogSigmoid,
    "log_softmax": nn.LogSoftmax,
    "lp_pool1d": nn.LPPool1d,
    "lp_pool2d": nn.LPPool2d,
    "mish": nn.Mish,
    "pixel_shuffle": nn.PixelShuffle,
    "pixel_unshuffle": nn.PixelUnshuffle,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softmax": nn.Softmax,
    "softmin": nn.Softmin,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
    "threshold": nn.Threshold,
    "unflatten": nn.Unflatten,
    "unfold": nn.Unfold,
    "upsample": nn.Upsample,
}
_OUTPUT = {"output": (0,), "all": (), "hidden": (1,)}


def torch_kinds() -> Iterator[Kind]:
    """Every type that is a class of torch.nn."""
    for name, cls in _BY_DIMENSIONS.items():
        for rank in (1, 2, 3):
            sizes = {_CHANNELS[name]: (0, -1 - rank)} if name in _CHANNELS else {}
            yield kind_of_class(f"{name}{rank}d", getattr(nn, f"{cls}{rank}d"), sizes=sizes)
    for rank in (1, 2, 3):
        yield kind_of_class(f"batch_norm{rank}d", getattr(nn, f"BatchNorm{rank}d"), sizes={"num_features": (0, 1)})
    for name, cls in _PLAIN.items():
        yield kind_of_class(name, cls)
    yield kind_of_class("linear", nn.Linear, sizes={"in": (0, -1)})
    yield kind_of_class("layer_norm", nn.LayerNorm, sizes={"normalized_shape": (0, -1)})
    yield kind_of_class("rms_norm", nn.RMSNorm, sizes={"normalized_shape": (0, -1)})
    yield kind_of_class("group_norm", nn.GroupNorm, sizes={"num_channels": (0, 1)})
    bilinear = {"in1_features": (0, -1), "in2_features": (1, -1)}
    yield kind_of_class("bilinear", nn.Bilinear, least=2, most=2, sizes=bilinear)
    yield from _recurrent()
    yield from _attention()


def _recurrent() -> Iterator[Kind]:
    common = {
        "in": Option("input_size", REQUIRED),
        "hidden_size": Option("hidden_size", REQUIRED),
        "num_layers": Option("num_layers", 1),
        "bias": Option("bias", True),
        "batch_first": Option("batch_first", True),
        "dropout": Option("dropout", 0.0),
        "bidirectional": Option("bidirectional", False),
    }
    of_rnn = common | {"nonlinearity": Option("nonlinearity", "tanh")}
    of_lstm = common | {"proj_size": Option("proj_size", 0)}
    states = {"output": (0,), "all": (), "hidden": (1, 0), "cell": (1, 1)}
    sizes = {"in": (0, -1)}
    yield Kind("rnn", _batch_first(nn.RNN), of_rnn, 1, 2, sizes, _OUTPUT)
    yield Kind("gru", _batch_first(nn.GRU), common, 1, 2, sizes, _OUTPUT)
    yield Kind("lstm", _batch_first(nn.LSTM), of_lstm, 1, 2, sizes, states)
    yield kind_of_class("rnn_cell", nn.RNNCell, most=2, sizes=sizes)
    yield kind_of_class("gru_cell", nn.GRUCell, most=2, sizes=sizes)
    hidden = {"hidden": (0,), "all": (), "cell": (1,)}
    yield kind_of_class("lstm_cell", nn.LSTMCell, most=2, sizes=sizes, takes=hidden)


def _attention() -> Iterator[Kind]:
    options = {name: Option(name, default) for name, default in _ATTENTION.items()}
    parts = {"output": (0,)}
    sizes = {"embed_dim": (0, -1)}
    make, call = _batch_first(nn.MultiheadAttention), {"need_weights": False}
    yield Kind("multihead_attention", make, options, 3, 3, sizes, parts, _attention_options, call)
    block = {name: Option(name, default) for name, default in _BLOCK.items()}
    sizes = {"d_model": (0, -1)}
    yield Kind(
        "transformer_encoder_layer", _batch_first(nn.TransformerEncoderLayer), block, 1, 1, sizes, {}, _block_options
    )
    yield Kind(
        "transformer_decoder_layer", _batch_first(nn.TransformerDecoderLayer), block, 2, 2, sizes, {}, _block_options
    )


_ATTENTION: dict[str, Any] = {
    "embed_dim": REQUIRED,
    "num_heads": REQUIRED,
    "dropout": 0.0,
    "bias": True,
    "add_bias_kv": False,
    "add_zero_attn": False,
    "kdim": None,
    "vdim": None,
    "batch_first": True,
}
_BLOCK: dict[str, Any] = {
    "d_model": REQUIRED,
    "nhead": REQUIRED,
    "dim_feedforward": 2048,
    "dropout": 0.1,
    "activation": "relu",
    "layer_norm_eps": 1e-5,
    "batch_first": True,
    "norm_first": False,
    "bias": True,
}


def _batch_first(cls: type[nn.Module]) -> Any:
    """The class with the batch in the first dimension unless said otherwise, as a description has it."""

    def make(*, batch_first: bool = True, **options: Any) -> nn.Module:
        return cls(batch_first=batch_first, **options)

    make.cls = cls  # pyright: ignore[reportFunctionMemberAccess]
    return make


def _attention_options(module: nn.Module) -> dict[str, Any]:
    own: Any = module
    found = {name: attribute(own, name) for name in ("num_heads", "dropout", "add_zero_attn", "batch_first")}
    width = own.embed_dim
    return found | {
        "embed_dim": width,
        "bias": own.in_proj_bias is not None,
        "add_bias_kv": own.bias_k is not None,
        "kdim": None if own.kdim == width else own.kdim,
        "vdim": None if own.vdim == width else own.vdim,
    }


def _block_options(module: nn.Module) -> dict[str, Any]:
    own: Any = module
    return {
        "d_model": own.self_attn.embed_dim,
        "nhead": own.self_attn.num_heads,
        "dim_feedforward": own.linear1.out_features,
        "dropout": own.dropout.p,
        "activation": own.activation if isinstance(own.activation, str) else own.activation.__name__,
        "layer_norm_eps": own.norm1.eps,
        "batch_first": own.self_attn.batch_first,
        "norm_first": own.norm_first,
        "bias": own.linear1.bias is not None,
    }
