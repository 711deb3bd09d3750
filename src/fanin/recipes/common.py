"""Rules that variance-keeping recipes share: everything but the weights of linear layers and convolutions."""

from __future__ import annotations

from math import sqrt

from fanin.initializers import Blocks, Constant, Initializer, Normal
from fanin.recipes.matching import has_role
from fanin.recipes.recipe import Rule
from fanin.recipes.tensor_info import TensorInfo


def _one(tensor: TensorInfo) -> Initializer:
    return Constant(1.0 - (tensor.parameter or 0.0))


def _why_one(tensor: TensorInfo) -> str:
    stored = tensor.parameter
    return "a norm starts as plain normalisation" + (f"; the code adds {stored:g} to it" if stored else "")


def padded(law: Initializer, tensor: TensorInfo) -> Initializer:
    """`law` for a lookup table, whose row for padding is 0 where it has one."""
    if tensor.padding is None:
        return law
    return Blocks(law, parts=(((tensor.padding, 0), (1, tensor.shape[-1]), Constant(0.0)),))


def _table(tensor: TensorInfo) -> Initializer:
    return padded(Normal(std=1 / sqrt(tensor.shape[-1]) if tensor.tied_head else 1.0), tensor)


def _why_table(tensor: TensorInfo) -> str:
    padding = "" if tensor.padding is None else f"; row {tensor.padding} is padding: 0"
    if tensor.tied_head:
        return f"tables of a model with a tied head: 1/√{tensor.shape[-1]} gives logits of unit variance{padding}"
    return f"a lookup passes its rows on: unit variance out{padding}"


NORMS = (
    Rule(has_role("norm scale"), _one, _why_one, "Ioffe & Szegedy 2015"),
    Rule(has_role("norm shift"), lambda _: Constant(0.0), "a norm starts centred", "Ioffe & Szegedy 2015"),
)
OTHERS = (
    Rule(has_role("bias"), lambda _: Constant(0.0), "a bias starts at 0", "He et al. 2015"),
    *NORMS,
    Rule(has_role("embedding", "position", "token"), _table, _why_table),
    Rule(has_role("slope"), lambda _: Constant(0.25), "PReLU starts at slope 1/4", "He et al. 2015"),
)
