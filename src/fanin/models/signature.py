"""Inputs of transformers models, made from the arguments that their forward takes and from their config.

Only shapes, indices and masks matter to those who trace: signals are on `meta`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fanin.models.argument_forms import BATCH, MAKERS, Sizes, signal, states
from fanin.models.rare_forms import RARE

# "Image features and image tokens do not match, tokens: 0, features: 8"
_MISMATCH = re.compile(r"(\w+) (?:features|placeholder).*tokens: *\d+,? *.*?features:? *(\d+)")
# What torch says where a signal is not as wide as a layer wants it.
_WIDTHS = (
    re.compile(r"same reduction dim, but got \[\d+, (?P<given>\d+)\] X \[(?P<wanted>\d+), \d+\]"),
    re.compile(r"normalized_shape=\[(?P<wanted>\d+)\], .* of size\s*(?:torch\.Size\()?\[.*?(?P<given>\d+)\]"),
)


# A sound that is added to the tokens place by place.
_LENGTHS = re.compile(
    rf"dimension of length (?P<wanted>\d+) at -2!.* broadcastable to \[{BATCH}, (?P<given>\d+), \d+\]"
)

_FORMS = MAKERS | RARE

# A pass that came further than this had accepted the shapes, so that others, which come less far, are worse.
_ACCEPTED = 60
# Passes for one choice of arguments; then fewer arguments are tried.
_MOST = 8


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pass on made-up inputs ended before its end, and how many operations it ran."""

    reason: str
    calls: int


def signature_inputs(model: nn.Module) -> Generator[dict[str, Any], Failure, bool]:
    """Keyword arguments that `model` may accept, the fullest first.

    Sent how a pass failed on them, it may mend them: models say how many placeholder tokens they want for an image
    or a sound. Nothing for a model without a config of transformers.

    Returns:
        whether there were any.
    """
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "model_type"):
        return False
    parameters = inspect.signature(model.forward).parameters
    required = [name for name, parameter in parameters.items() if _is_required(parameter)]
    main = getattr(model, "main_input_name", None)
    known = [name for name in parameters if name in required or name in _DATA or (name == main and name in _FORMS)]
    least = [name for name in known if name in required or name == main or name in _COMPANIONS]
    one_sound = [name for name in known if name != "input_features" or "input_values" not in known]
    levels = list({tuple(names): names for names in (known, one_sound, least)}.values())
    if _ATTENDS in parameters and _ATTENDS not in known and _has_cross_attention(model):
        levels.insert(0, [*known, _ATTENDS])
    if _EMBEDDED in parameters and _EMBEDDED not in required and "input_ids" in known:
        levels.append([_EMBEDDED if name == "input_ids" else name for name in known])
    annotations = {name: str(parameters[name].annotation) for name in required}
    sizes = Sizes(config, frozenset(parameters), annotations, _queries(config, known))
    for names in levels:
        furthest = tried = 0
        for variant in range(max((len(_forms(name, sizes)) for name in names), default=0)):
            mended: Sizes | None = sizes
            came = 0
            while mended is not None:
                made = _made(names, mended, variant)
                failure = yield made
                tried += 1
                came = max(came, failure.calls)
                mended = _mended(made, mended, failure.reason)
            if came < furthest > _ACCEPTED or tried >= _MOST:
                break
            furthest = max(furthest, came)
    return bool(known)


def _queries(config: Any, names: list[str]) -> tuple[tuple[int, int], ...]:
    """Placeholders for the images that a mask marks among the tokens, as many as the config says an image takes."""
    count = getattr(config, "latent_query_num", 0)
    return ((0, count),) if count and "image_embeds_position_mask" in names else ()


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variadic


def _has_cross_attention(model: nn.Module) -> bool:
    """No graph exists yet that could tell it; names only decide what to try first."""
    words = ("cross", "encoder_attn", "EncDecAttention")
    return any(word in name for name, _ in model.named_modules() for word in words)


def _forms(name: str, sizes: Sizes) -> list[Any]:
    """The forms of an argument; of one that is not known, by its annotation."""
    if name in _FORMS:
        return _FORMS[name](sizes)
    said = sizes.annotations.get(name, "")
    if "Tensor" not in said:
        return [1] if "int" in said else []
    if "Long" in said or "Int" in said:
        return [torch.zeros(BATCH, sizes.length, dtype=torch.long)]
    return [torch.ones(BATCH, sizes.length, dtype=torch.bool)] if "Bool" in said else states(sizes)


def _made(names: list[str], sizes: Sizes, variant: int) -> dict[str, Any]:
    made = {name: _forms(name, sizes) for name in names}
    chosen = {name: forms[min(variant, len(forms) - 1)] for name, forms in made.items() if forms}
    return chosen | {name: signal(*chosen[name].shape[:-1], width) for name, width in sizes.widths}


def _mended(made: dict[str, Any], sizes: Sizes, reason: str) -> Sizes | None:
    """Sizes with as many placeholder tokens, or a signal as wide, as the model asks for, if that was the reason."""
    for form in _WIDTHS:
        said = form.search(reason)
        if said is not None:
            return _widened(made, sizes, int(said["given"]), int(said["wanted"]))
    said = _LENGTHS.search(reason)
    if said is not None and int(said["given"]) == sizes.length < int(said["wanted"]) and not sizes.placeholders:
        return replace(sizes, placeholders=((0, int(said["wanted"]) - sizes.length),))
    said = _MISMATCH.search(reason)
    token = _placeholder(sizes, said[1].lower()) if said else None
    if said is None or token is None or int(said[2]) % BATCH or token in dict(sizes.placeholders):
        return None
    return replace(sizes, placeholders=(*sizes.placeholders, (token, int(said[2]) // BATCH)))


def _widened(made: dict[str, Any], sizes: Sizes, given: int, wanted: int) -> Sizes | None:
    # What another part of a model makes is the likeliest to be of another width than the config says.
    for name in sorted(made, key=lambda name: name not in RARE):
        value = made[name]
        signal = isinstance(value, torch.Tensor) and value.is_meta and value.dim() > 1 and value.shape[-1] == given
        if signal and name not in dict(sizes.widths):
            return replace(sizes, widths=(*sizes.widths, (name, wanted)))
    return None


def _placeholder(sizes: Sizes, kind: str) -> int | None:
    names = (f"{kind}_token_id", f"{kind}_token_index", f"{kind}_token", "image_token_id", "image_token_index")
    found = sizes.text.number(*names, default=-1)
    return None if found < 0 else found


# Optional arguments that carry data; without some of them a part of the model stays unused.
_DATA = frozenset(_FORMS) - {
    "attention_mask",
    "encoder_hidden_states",
    "inputs_embeds",
    "query_embeds",
    "hidden_states",
    "audio_codes",
    "codes",
    "protein_attention_mask",
    "qformer_attention_mask",
    "pixel_values_videos",
    "past_values_padding",
}
# They belong to the main input and go where it goes.
_ATTENDS = "encoder_hidden_states"
# What stands in for tokens where a part of a model does not embed them itself.
_EMBEDDED = "inputs_embeds"
_COMPANIONS = frozenset(("decoder_input_ids", "bbox"))
