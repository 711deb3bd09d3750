"""Documented mistakes in the code of models and libraries, by what a native plan shows of them.

A native plan reproduces what the authors' code draws, mistakes included; this table names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fanin.initializers import Constant, Normal, TruncatedNormal
from fanin.plans.groups import grouped_steps
from fanin.plans.steps import Step

_LISTED = 3
_NEVER_CUT = 8.0  # a normal value leaves ±8σ once in 10¹⁵ draws
_CLIP = "altclip|chinese_clip|clap|clip|clipseg|clvp|groupvit|kosmos2|metaclip_2|mlcd|owlv2|owlvit|x_clip"
_MAMBA2 = "mamba2|bamba|falcon_h1|granitemoehybrid|nemotron_h|zamba2"


@dataclass(frozen=True, slots=True)
class Defect:
    """A mistake: which steps of a native plan show it, what is wrong, and where that is documented."""

    shows: Callable[[str, Step], bool]
    what: str
    source: str


def defects(model: str, steps: Sequence[Step]) -> tuple[str, ...]:
    """One sentence for each documented mistake that the plan of the authors' own code shows, with its tensors.

    Args:
        model: the model's class.
        steps: the native plan's steps.

    >>> from fanin.plans.steps import Draw
    >>> law = TruncatedNormal(std=0.02, lower=-100.0, upper=100.0, corrected=False)
    >>> step = Step("head.weight", (10, 4), "float32", "parameter", Draw(law), "trunc_normal_(std=0.02)")
    >>> print(*defects("Net", [step]))
    native head.weight: trunc_normal_ cuts at ±2, not at ±2 std: at this std nothing is ever cut (torch.nn.init...)
    """
    return tuple(_sentences(model, steps))


def _sentences(model: str, steps: Sequence[Step]) -> Iterator[str]:
    for defect in DEFECTS:
        found = [group.name for group in grouped_steps([step for step in steps if defect.shows(model, step)])]
        if found:
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            yield f"native {', '.join(found[:_LISTED])}{more}: {defect.what} ({defect.source})"


def _is_lecun(model: str, step: Step) -> bool:
    return step.source.startswith("transformers.initialization:") and _never_cut(step)


def _is_uncut(model: str, step: Step) -> bool:
    return _never_cut(step) and not _is_lecun(model, step)


def _never_cut(step: Step) -> bool:
    law = step.initializer
    return isinstance(law, TruncatedNormal) and not law.corrected and min(-law.lower, law.upper) > _NEVER_CUT


def _is_clip_input(model: str, step: Step) -> bool:
    """A query, key or value whose std is below 1/√width, as only a depth factor makes it."""
    law = step.initializer
    if not (_from(_CLIP, step) and isinstance(law, Normal) and len(step.shape) == 2):
        return False
    return _ends(step, r"(q_proj|k_proj|v_proj|query|key|value)\.weight") and law.std * step.shape[1] ** 0.5 < 0.9


def _is_time_first(model: str, step: Step) -> bool:
    return _from("rwkv", step) and _ends(step, "time_first") and step.initializer == Constant(1.0)


def _is_wide_mamba(model: str, step: Step) -> bool:
    return model.startswith("Mamba") and step.initializer == Normal(std=0.1)


def _is_counted_a(model: str, step: Step) -> bool:
    return _from(_MAMBA2, step) and _ends(step, "A_log")


def _is_transposed(model: str, step: Step) -> bool:
    return step.axes is not None and step.axes.transposed and "kaiming_" in step.why


def _is_grouped(model: str, step: Step) -> bool:
    return step.axes is not None and step.axes.groups > 1 and "kaiming_" in step.why and "fan_out" in step.why


def _is_stacked(model: str, step: Step) -> bool:
    return step.axes is not None and bool(step.axes.batch) and ("kaiming_" in step.why or "xavier_" in step.why)


def _is_packed_xavier(model: str, step: Step) -> bool:
    is_packed = len(step.shape) == 2 and step.shape[0] == 3 * step.shape[1]
    return is_packed and _ends(step, "in_proj_weight") and "xavier_" in step.why


def _from(modules: str, step: Step) -> bool:
    return re.match(rf"transformers\.models\.({modules})\.", step.source) is not None


def _ends(step: Step, pattern: str) -> bool:
    return re.search(rf"(^|\.)({pattern})$", step.name) is not None


DEFECTS = (
    Defect(
        _is_lecun,
        "lecun_normal_ divides by 0.8796 for a cut at ±2σ that its absolute bounds never make: "
        "std is 1.137 times 1/√fan-in",
        "transformers/initialization.py",
    ),
    Defect(
        _is_uncut,
        "trunc_normal_ cuts at ±2, not at ±2 std: at this std nothing is ever cut",
        "torch.nn.init.trunc_normal_, whose bounds are absolute",
    ),
    Defect(
        _is_clip_input,
        "the depth factor 1/√(2·layers) stands on queries, keys and values; OpenAI's CLIP has it on the output "
        "projection and draws these with 1/√width",
        "openai/CLIP clip/model.py, initialize_parameters",
    ),
    Defect(
        _is_time_first,
        "all 1, because a parenthesis makes ones_like swallow the formula; RWKV-4 has log(0.3) plus a zigzag of ±0.5",
        "transformers/models/rwkv/modeling_rwkv.py; BlinkDL/RWKV-LM",
    ),
    Defect(
        _is_wide_mamba,
        "std 0.1; the authors leave torch's default to linear layers (1/√(3·fan-in)) and draw the embedding with 0.02",
        "state-spaces/mamba mamba_ssm/models/mixer_seq_simple.py, _init_weights",
    ),
    Defect(
        _is_counted_a,
        "A is 1, 2, … over the heads; the authors draw it uniformly from 1 to 16",
        "state-spaces/mamba mamba_ssm/modules/mamba2.py",
    ),
    Defect(
        _is_transposed,
        "torch takes the output channels of a transposed convolution for its fan-in",
        "torch.nn.init._calculate_fan_in_and_fan_out; pytorch issue 23854",
    ),
    Defect(
        _is_grouped,
        "torch counts the fan-out of a grouped convolution without its groups: std is 1/√groups of what mode fan_out "
        "asks for",
        "torch.nn.init._calculate_fan_in_and_fan_out; pytorch issue 23854",
    ),
    Defect(
        _is_stacked,
        "torch counts independent copies (experts) as channels",
        "torch.nn.init._calculate_fan_in_and_fan_out",
    ),
    Defect(
        _is_packed_xavier,
        "three square matrices are drawn as one of [3·width, width]: std is 1/√2 of Xavier's for each",
        "torch.nn.MultiheadAttention._reset_parameters",
    ),
)
