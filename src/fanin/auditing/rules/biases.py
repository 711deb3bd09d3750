"""Biases and rows with a meaning: the forget gate of an LSTM, the row of the padding token."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from fanin.auditing.records import Scene, Seen
from fanin.checking import Finding

_INPUT = re.compile(r"bias_ih(?=_l\d|$)")


def forget_bias(scene: Scene) -> Iterator[Finding]:
    """Both biases of an LSTM carry the forget bias: their sum opens the gate twice as far in the exponent."""
    for seen in scene.weights:
        other = scene.named(_INPUT.sub("bias_hh", seen.name)) if _INPUT.search(seen.name) else None
        if other is None or other is seen or seen.load is None or other.load is None or not _is_lstm(seen, scene):
            continue
        first, second = (_forget(each.load()) for each in (seen, other) if each.load is not None)
        if not torch.equal(first, second) or float(first.mean()) < 0.5:
            continue
        total = float((first + second).mean())
        yield Finding(
            "forget-bias",
            "warning",
            other.name,
            f"the forget bias of {seen.name} a second time: the two add up to {total:.3g}",
            f"{total / 2:.3g} in one of the two and 0 in the other",
            "torch's LSTM adds two biases, and the init (1, or chrono's log-uniform) was written into both",
            f'torch.nn.init.zeros_(model.get_parameter("{other.name}"))',
        )


def padding(scene: Scene) -> Iterator[Finding]:
    """The row of the padding token is not zero: it adds to every sum, and gets no gradient."""
    for seen in scene.of_role("embedding"):
        for use in seen.uses:
            row = use.padding
            if use.op != "embedding" or row is None or not 0 <= row < len(seen.seconds) or not seen.seconds[row]:
                continue
            by_authors = seen.planned is None and seen.native is not None and not _zero_row(seen)
            yield Finding(
                "padding",
                "info" if by_authors or scene.trained else "warning",
                seen.name,
                f"row {row}, of the padding token, has root mean square {seen.seconds[row] ** 0.5:.3g}",
                f"zeros in row {row}",
                "an init of the whole table after the constructor had zeroed the row, which gets no gradient and so "
                "stays as it is",
                f'model.get_parameter("{seen.name}").data[{row}].zero_()',
            )
            break


def _is_lstm(seen: Seen, scene: Scene) -> bool:
    """Four gates: the hidden matrix is [4·hidden, hidden]."""
    hidden = scene.named(_INPUT.sub("weight_hh", seen.name))
    return (
        hidden is not None
        and len(hidden.shape) == 2
        and seen.shape[0] % 4 == 0
        and hidden.shape[0] == seen.shape[0]
        and (hidden.shape[0] == 4 * hidden.shape[1] or "LSTM" in scene.types.get(seen.name.rpartition(".")[0], ""))
    )


def _forget(bias: torch.Tensor) -> torch.Tensor:
    """The second quarter: torch's order is input, forget, cell, output."""
    size = bias.shape[0] // 4
    return bias[size : 2 * size].double()


def _zero_row(seen: Seen) -> bool:
    """The model's own code leaves a row of zeros: its law is one of several parts."""
    return seen.native is not None and type(seen.native.initializer).__name__ == "Blocks"
