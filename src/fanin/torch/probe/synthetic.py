"""A batch for a model that came without one: shapes from its signature, values from a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from fanin.errors import DataError, TraceError
from fanin.initializers import Normal
from fanin.random.stream import Stream
from fanin.torch.fill import fill
from fanin.torch.trace.attempts import UNFINISHED, attempted
from fanin.torch.trace.twin_pass import TwinPass

_FEW, _SAMPLES = 2, 16
_TOKENS = frozenset(("input_ids", "decoder_input_ids"))


class _Remembering(TwinPass):
    """A pass that keeps what it ran on."""

    inputs: Any = None

    def run(self, inputs: Any) -> None:
        super().run(inputs)
        self.inputs = inputs


def synthetic_inputs(model: nn.Module, seed: int) -> tuple[Any, str]:
    """Sixteen samples that `model` accepts, and a note that says what they are.

    Shapes come from the model's signature, its transformers config or its first layer, and are tried without memory.
    Signals are N(0, 1); tokens run through the vocabulary, in another order in each sample.

    Raises:
        DataError: nobody can tell what the model takes.
    """
    pass_, notes = attempted(model, lambda: _Remembering(model, {}))
    if pass_ is None or pass_.inputs is None:
        why = next((note for note in notes if note.startswith(UNFINISHED)), "nothing tells what inputs it takes")
        raise DataError(f"no inputs were given, and none can be made up for {type(model).__name__}: {why}")
    inputs = _more(model, pass_.inputs)
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    leaves, tree = tree_flatten(inputs)
    ids = _only_tokens(inputs)
    made = [_valued(leaf, number, ids, model, device, seed) for number, leaf in enumerate(leaves)]
    shapes = ", ".join(f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in made if isinstance(t, Tensor))
    return tree_unflatten(made, tree), f"inputs were made up: {shapes}; signals are N(0, 1)"


def _more(model: nn.Module, inputs: Any) -> Any:
    """The same for more samples, where all that is given counts samples first, and the model takes them."""
    leaves, tree = tree_flatten(inputs)
    if not all(isinstance(leaf, Tensor) and leaf.ndim > 1 and leaf.shape[0] == _FEW for leaf in leaves):
        return inputs
    if isinstance(inputs, Mapping) and not _only_tokens(inputs):
        return inputs
    many = tree_unflatten([leaf.repeat(_SAMPLES // _FEW, *[1] * (leaf.ndim - 1)) for leaf in leaves], tree)
    try:
        _Remembering(model, {}).run(many)
    except TraceError:
        return inputs
    return many


def _only_tokens(inputs: Any) -> bool:
    return isinstance(inputs, Mapping) and set(cast("Mapping[str, Any]", inputs)) <= _TOKENS


def _valued(leaf: Any, number: int, ids: bool, model: nn.Module, device: torch.device, seed: int) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if leaf.is_meta:
        made = torch.empty(leaf.shape, dtype=leaf.dtype, device=device)
        fill(made, Normal(), Stream.named(seed, f"inputs.{number}"))
        return made
    table = next((m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)), None)
    if table is not None and not leaf.is_floating_point() and leaf.ndim == 2 and not bool(leaf.any()):
        leaf = torch.arange(leaf.numel()).reshape(leaf.shape) % table.num_embeddings
    elif ids and leaf.ndim == 2:
        leaf = torch.stack([row.roll(at) for at, row in enumerate(leaf)])
    return leaf.to(device)
