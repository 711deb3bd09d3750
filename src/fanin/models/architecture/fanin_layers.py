"""The layers of fanin's own models, as types of a description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from fanin.models.activations import ACTIVATIONS
from fanin.models.architecture.kinds import REQUIRED, Kind, Option, kind_of_class
from fanin.models.layers.attention import Attention
from fanin.models.layers.experts import Experts
from fanin.models.layers.feedforward import GATED, GatedFeedForward, feedforward
from fanin.models.layers.images import AsImages
from fanin.models.layers.positions import LearnedPositions
from fanin.models.layers.rotary import Rotary
from fanin.models.layers.scalars import ScalarBias, ScalarScale
from fanin.models.layers.sequences import AsSteps, EveryStep, LastState, ShiftRight
from fanin.models.layers.series import AsForecast, Levels, Patches
from fanin.models.layers.shortcuts import PaddedShortcut
from fanin.models.layers.step_norms import StepBatchNorm

_PLAIN: dict[str, type[nn.Module]] = {
    "as_forecast": AsForecast,
    "as_images": AsImages,
    "every_step": EveryStep,
    "last_state": LastState,
    "levels": Levels,
    "padded_shortcut": PaddedShortcut,
    "patches": Patches,
    "scalar_bias": ScalarBias,
    "scalar_scale": ScalarScale,
    "shift_right": ShiftRight,
}


def fanin_kinds() -> Iterator[Kind]:
    """Every type that is a class of `fanin.models.layers`."""
    for name, cls in _PLAIN.items():
        yield kind_of_class(name, cls)
    width = {"width": (0, -1)}
    yield kind_of_class("as_steps", AsSteps)
    yield kind_of_class("rotary", Rotary, sizes={"size": (0, -1)})
    yield kind_of_class("attention", Attention, sizes=width, read=_attention)
    yield kind_of_class("learned_positions", LearnedPositions, sizes=width, read=_positions)
    yield kind_of_class("step_batch_norm", StepBatchNorm, sizes=width, read=_step_norm)
    options = {name: Option(name, default) for name, default in _EXPERTS.items()}
    yield Kind("experts", _Experts(), options, sizes=width, read=_experts)


_EXPERTS: dict[str, Any] = {
    "width": REQUIRED,
    "experts": REQUIRED,
    "chosen": REQUIRED,
    "hidden": REQUIRED,
    "activation": "gelu",
    "bias": True,
}


class _Experts:
    """Makes a mixture whose experts are feed-forward layers."""

    cls = Experts

    def __call__(
        self, width: int, experts: int, chosen: int, hidden: int, activation: str = "gelu", bias: bool = True
    ) -> nn.Module:
        return Experts(width, experts, chosen, lambda: feedforward(width, hidden, activation, bias=bias))


def _attention(module: nn.Module) -> dict[str, Any]:
    own: Any = module
    return {
        "width": own.query.in_features,
        "heads": own.heads,
        "kv_heads": None if own.kv_heads == own.heads else own.kv_heads,
        "causal": own.causal,
        "rotary": None if own.rotary is None else own.rotary.base,
        "bias": own.query.bias is not None,
        "dropout": own.dropout,
    }


def _positions(module: nn.Module) -> dict[str, Any]:
    own: Any = module
    return {"steps": own.table.num_embeddings, "width": own.table.embedding_dim}


def _step_norm(module: nn.Module) -> dict[str, Any]:
    own: Any = module
    return {"width": own.norm.num_features}


def _experts(module: nn.Module) -> dict[str, Any]:
    own: Any = module
    first = own.experts[0]
    return {
        "width": own.router.in_features,
        "experts": len(own.experts),
        "chosen": own.chosen,
        "hidden": first.up.out_features,
        "activation": _activation(first),
        "bias": first.up.bias is not None,
    }


def _activation(expert: Any) -> str:
    """The name that makes an activation such as the expert's."""
    wanted = repr(expert.activation)
    names = {name: ACTIVATIONS[str(inner)] for name, inner in GATED.items()}
    known = names if isinstance(expert, GatedFeedForward) else ACTIVATIONS
    return next((name for name, make in known.items() if repr(make()) == wanted), wanted)
