"""Uses of parameters as the classes of modules tell them, where no forward pass could be followed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from fanin.axes import Axes
from fanin.graph.records import Part, Use
from fanin.torch.trace.recurrent import gate_uses

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._BatchNorm,  # pyright: ignore[reportPrivateUsage]
    nn.modules.instancenorm._InstanceNorm,  # pyright: ignore[reportPrivateUsage]
)


def uses_by_type(model: nn.Module) -> Iterator[Use]:
    """The use of each parameter whose module's class tells it; activations are not known this way."""
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            shape, tensor = tuple(parameter.shape), f"{name}.{key}" if name else key
            if isinstance(module, nn.RNNBase | nn.RNNCellBase):
                yield from _recurrent_uses(module, name, key, shape)
            elif isinstance(module, nn.MultiheadAttention) and key.startswith("in_proj"):
                yield from _packed_uses(module, tensor, shape, name)
            else:
                op, axes = _use(module, key, shape)
                if op:
                    yield Use(tensor, op, axes, module=name, padding=_padding(module))


def _recurrent_uses(module: nn.Module, name: str, key: str, shape: tuple[int, ...]) -> Iterator[Use]:
    """A layer's keys tell what they are: weight_ih_l0, bias_hh_l1_reverse, weight_hr_l0."""
    dot = f"{name}." if name else ""
    kind, _, rest = key.partition("_")
    if rest.startswith("hr"):
        yield Use(dot + key, "linear", Axes.linear(shape), "linear", module=name, role="projection")
        return
    role = "" if kind == "bias" else "recurrent input" if rest.startswith("ih") else "recurrent hidden"
    partner = f"{dot}weight_{rest}" if kind == "bias" else ""
    yield from (replace(use, role=role) for use in gate_uses(dot + key, shape, _recurrent(module), partner, name))


def _packed_uses(attention: nn.MultiheadAttention, tensor: str, shape: tuple[int, ...], module: str) -> Iterator[Use]:
    """Query, key and value, one below the other."""
    third = (shape[0] // 3, *shape[1:])
    for place, role in enumerate(("attention query", "attention key", "attention value")):
        parts = (Part((place * third[0], *(0,) * (len(shape) - 1)), third),)
        if len(shape) == 2:
            yield Use(tensor, "linear", Axes.linear(third), module=module, role=role, parts=parts)
        else:
            apart = f"{role.split()[1][0]}_proj_weight"
            same = attention._qkv_same_embed_dim  # pyright: ignore[reportPrivateUsage]
            weight = "in_proj_weight" if same else apart
            partner = tensor.removesuffix("in_proj_bias") + weight
            yield Use(tensor, "bias", module=module, parts=parts, partner=partner)


def _use(module: nn.Module, key: str, shape: tuple[int, ...]) -> tuple[str, Axes | None]:
    if isinstance(module, _NORMS) or _looks_like_rms_norm(module):
        return ("norm_scale" if key == "weight" else "norm_shift"), None
    if "bias" in key:
        return "bias", None
    return _weight(module, shape)


def _weight(module: nn.Module, shape: tuple[int, ...]) -> tuple[str, Axes | None]:
    match module:
        case nn.Linear() | nn.MultiheadAttention():
            return "linear", Axes.linear(shape) if len(shape) == 2 else None
        case nn.Bilinear():
            return "bilinear", Axes(shape, outputs=(0,), inputs=(1, 2))
        case nn.Embedding() | nn.EmbeddingBag():
            return "embedding", None
        case nn.PReLU():
            return "prelu", None
        case nn.modules.conv._ConvNd():  # pyright: ignore[reportPrivateUsage]
            return _convolution(module, shape)
        case _ if _is_transformers_conv1d(module, shape):
            return "linear", Axes(shape, outputs=(1,), inputs=(0,))
        case _:
            return "", None


def _padding(module: nn.Module) -> int | None:
    return module.padding_idx if isinstance(module, nn.Embedding | nn.EmbeddingBag) else None


def _convolution(module: nn.Module, shape: tuple[int, ...]) -> tuple[str, Axes | None]:
    stride = 1
    for step in module.stride:  # pyright: ignore[reportGeneralTypeIssues]
        stride *= int(step)
    groups = int(module.groups)  # pyright: ignore[reportArgumentType]
    if isinstance(module, _TRANSPOSED):
        return "conv_transpose", Axes.conv_transpose(shape, groups, stride)
    return ("conv", Axes.conv(shape, groups, stride)) if isinstance(module, _CONVOLUTIONS) else ("", None)


def _recurrent(module: nn.Module) -> str:
    if isinstance(module, nn.RNNCell):
        return f"rnn_{module.nonlinearity}_cell"
    name = str(getattr(module, "mode", type(module).__name__)).lower()
    return name.removesuffix("cell") + "_cell" if name.endswith("cell") else name


def _is_transformers_conv1d(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """GPT-2's `Conv1D`, a linear layer stored [in, out]; known by its fields `nx` and `nf`."""
    return type(module).__name__ == "Conv1D" and shape == (getattr(module, "nx", None), getattr(module, "nf", None))


def _looks_like_rms_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith(("RMSNorm", "LayerNorm")) and [
        key for key, _ in module.named_parameters(recurse=False)
    ] in (["weight"], ["weight", "bias"])
