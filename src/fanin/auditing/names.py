"""What a tensor of a weights file is for, told by its name where there is no model to ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from fanin.axes import Axes
from fanin.graph.records import Place

_TABLE: tuple[tuple[str, str], ...] = (
    (r"lora_A(\.\w+)?\.weight$", "lora A"),
    (r"lora_B(\.\w+)?\.weight$", "lora B"),
    (r"(^|[._])(inv_freq|running_mean|running_var|num_batches_tracked|masked_bias|position_ids)$", "buffer"),
    (r"(^|[._])(wpe|position_embeddings?|embed_positions|pos_embed|positional_embedding)(\.weight)?$", "position"),
    (r"(^|[._])(token_embd|embed_tokens|wte|word_embeddings|tok_embeddings|shared|embeddings?)\.weight$", "embedding"),
    (r"(^|\.)(lm_head|output|head|classifier|fc_norm_head|embed_out)\.weight$", "head"),
    (r"(norm\w*|ln_?\w*|bn\d*|layer_?norm\w*|LayerNorm)\.(weight|gamma|scale)$", "norm scale"),
    (r"(norm\w*|ln_?\w*|bn\d*|layer_?norm\w*|LayerNorm)\.(bias|beta)$", "norm shift"),
    (r"weight_ih(_l\d+(_reverse)?)?$", "recurrent input"),
    (r"weight_hh(_l\d+(_reverse)?)?$", "recurrent hidden"),
    (r"(bias|bias_ih\w*|bias_hh\w*|beta)$", "bias"),
    (r"(q_proj|query|attn_q|wq|q_lin)\.weight$", "attention query"),
    (r"(k_proj|key|attn_k|wk|k_lin)\.weight$", "attention key"),
    (r"(v_proj|value|attn_v|wv|v_lin)\.weight$", "attention value"),
    (r"(c_attn|qkv|qkv_proj|query_key_value|attn_qkv|Wqkv)\.weight$|in_proj_weight$", "packed"),
    (r"(attn|attention|self_attn|crossattention)\.(c_proj|proj|dense|wo)\.weight$", "attention output"),
    (r"(o_proj|out_proj|out_lin|attn_output|attention\.output\.dense|wo)\.weight$", "attention output"),
    (r"(gate_proj|ffn_gate|w1)(\.weight)?$", "mlp gate"),
    (r"(up_proj|ffn_up|c_fc|fc1|lin1|intermediate\.dense|dense_h_to_4h|w3)(\.weight)?$", "mlp up"),
    (r"(down_proj|ffn_down|mlp\.c_proj|fc2|lin2|output\.dense|dense_4h_to_h|w2)(\.weight)?$", "mlp down"),
    (r"(router|gate|ffn_gate_inp)\.weight$", "router"),
)
_NUMBER = re.compile(r"\.(\d+)\.")
_GPT2 = re.compile(r"(^|\.)h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$")
_LAST = frozenset({"attention output", "mlp down"})


def roles_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The role of each name, "" where none is known.

    >>> list(roles_of({"h.0.mlp.c_fc.weight": (4, 16), "wte.weight": (99, 4)}).values())
    ['mlp up', 'embedding']
    """
    found = {name: _role(name, shape) for name, shape in shapes.items()}
    gated = any(role == "mlp gate" for role in found.values())
    # `w1` is the gate of SwiGLU beside a `w3`, and the first of two matrices without one.
    if gated and not any(re.search(r"w3(\.weight)?$", name) for name in shapes):
        found = {
            name: "mlp up" if role == "mlp gate" and re.search(r"w1(\.weight)?$", name) else role
            for name, role in found.items()
        }
    return found


def _role(name: str, shape: tuple[int, ...]) -> str:
    role = next((role for pattern, role in _TABLE if re.search(pattern, name)), "")
    if role in ("norm scale", "norm shift", "bias"):
        return role if len(shape) == 1 else ""
    if role:
        return role
    if len(shape) > 2 and name.endswith("weight"):
        return "convolution"
    return "projection" if len(shape) == 2 and prod(shape) and name.endswith("weight") else ""


def axes_by_name(name: str, role: str, shape: tuple[int, ...]) -> Axes | None:
    """The axes as torch stores this role; GPT-2's `Conv1D` is stored [in, out]."""
    if role == "convolution" and len(shape) > 2:
        return Axes.conv(shape)
    if len(shape) != 2 or role in ("", "buffer", "position", "bias", "norm scale", "norm shift"):
        return None
    return Axes(shape, outputs=(1,), inputs=(0,)) if _GPT2.search(name) else Axes.linear(shape)


def places_of(roles: Mapping[str, str]) -> dict[str, Place]:
    """The block of each tensor in its stack of numbered blocks, and whether it ends a residual branch."""
    stacks = {name: _stack(name) for name in roles}
    layers: dict[str, set[int]] = {}
    for stack, number in filter(None, stacks.values()):
        layers.setdefault(stack, set()).add(number)
    return {
        name: Place(where[0], where[1], len(layers[where[0]]), last=roles[name] in _LAST)
        for name, where in stacks.items()
        if where is not None
    }


def _stack(name: str) -> tuple[str, int] | None:
    found = _NUMBER.search(name)
    return (name[: found.start()], int(found.group(1))) if found else None


def digits_left_out(name: str) -> str:
    """A name with every number as `*`: the same for the tensors of repeated layers.

    >>> digits_left_out("h.11.mlp.w1.weight")
    'h.*.mlp.w1.weight'
    """
    return re.sub(r"(?<![A-Za-z])\d+", "*", name)
