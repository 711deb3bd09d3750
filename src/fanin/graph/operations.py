"""What operations do to a signal, by their names."""

from __future__ import annotations

# A weight meets data here; `Use.op` of its use.
WEIGHTED = frozenset(
    (
        "linear",
        "bilinear",
        "conv",
        "conv_transpose",
        "lstm",
        "gru",
        "rnn_tanh",
        "rnn_relu",
        "lstm_cell",
        "gru_cell",
        "rnn_tanh_cell",
        "rnn_relu_cell",
    )
)
PRODUCTS = frozenset(
    ("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv", "_grouped_mm", "_trilinear", "convolution")
)
ATTENTION = "scaled_dot_product_attention"
SOFTMAX = frozenset(("_softmax", "_safe_softmax"))
SUMS = frozenset(("add", "sub", "addcmul"))
CHOOSING = frozenset(("topk", "sort", "argmax", "max"))
NORMS = frozenset(
    (
        "native_layer_norm",
        "native_group_norm",
        "native_batch_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_batch_norm_with_update",
        "_batch_norm_no_update",
        "cudnn_batch_norm",
        "_fused_rms_norm",
    )
)
# Of the values in a window one: their largest, or their mean.
LARGEST = frozenset(
    ("max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool3d", "amax")
)
AVERAGES = frozenset(("avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "mean"))
# Each channel by itself, over positions: pooled, padded or enlarged.
RESAMPLING = (LARGEST | AVERAGES) - {"amax", "mean"} | {
    "constant_pad_nd",
    "reflection_pad1d",
    "reflection_pad2d",
    "replication_pad2d",
    "upsample_nearest2d",
    "upsample_bilinear2d",
}
# Only a statistic is left.
REDUCTIONS = frozenset(("mean", "sum", "var", "var_mean", "std", "amax", "linalg_vector_norm", "norm"))
NONLINEAR = frozenset(
    (
        "relu",
        "relu6",
        "threshold",
        "leaky_relu",
        "_prelu_kernel",
        "rrelu_with_noise",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "sigmoid",
        "log_sigmoid_forward",
        "tanh",
        "softplus",
        "hardtanh",
        "hardswish",
        "hardsigmoid",
        "clamp",
        "clamp_min",
        "clamp_max",
        "minimum",
        "maximum",
        "erf",
        "sin",
        "cos",
        "exp",
        "glu",
        "softshrink",
        "hardshrink",
    )
)
LIMITS = frozenset(("clamp", "clamp_min", "clamp_max", "maximum", "minimum", "hardtanh", "threshold"))
# They take the stream on to the sum: same elements, moved, picked, copied or pooled.
CARRYING = frozenset(
    (
        "_to_copy",
        "clone",
        "copy",
        "alias",
        "detach",
        "native_dropout",
        "constant_pad_nd",
        "roll",
        "index",
        "gather",
        "index_select",
        "index_put",
        "_unsafe_index",
        "slice_scatter",
        "masked_fill",
        "where",
        "cat",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "max_pool2d_with_indices",
        "_adaptive_avg_pool2d",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_bilinear2d",
        "pixel_shuffle",
        "pixel_unshuffle",
        "flip",
        "mul",
        "div",
        "add",
    )
)
